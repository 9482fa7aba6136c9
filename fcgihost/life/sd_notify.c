/* What the service manager (systemd) is told of the process. */
#include "life/sd_notify.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/config_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024 };

static struct {
    bool is_on;
    struct sockaddr_un address;
    socklen_t address_bytes;
    uint64_t watchdog_ms;
    bool is_ready, is_failure_logged;
    char pending[MESSAGE_BYTES]; /* the last message that found no room; "": none */
} service;

/* 0, or -1 if it is no address that this program can send to. */
static int parse_address(const char *text)
{
    size_t bytes = strlen(text);
    bool is_abstract = text[0] == '@';
    if ((text[0] != '/' && !is_abstract) || bytes >= sizeof(service.address.sun_path))
        return -1;
    service.address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(service.address.sun_path, text, bytes);
    if (is_abstract)
        service.address.sun_path[0] = '\0';
    service.address_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (is_abstract ? 0 : 1));
    return 0;
}

/* The variable as a number; 0: it is none. */
static unsigned long long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0 ? number : 0;
}

/* Without WATCHDOG_PID it is for whoever has the variable. */
static bool is_watched(bool is_worker)
{
    pid_t pid = is_worker ? getppid() : getpid();
    return getenv("WATCHDOG_PID") == NULL || number_of("WATCHDOG_PID") == (unsigned long long)pid;
}

void sd_notify_init(bool is_worker)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (is_watched(is_worker))
        service.watchdog_ms = number_of("WATCHDOG_USEC") / 1000;
    if (path != NULL && path[0] != '\0' && !is_worker) {
        service.is_on = parse_address(path) == 0;
        if (!service.is_on)
            log_warning("notify-socket",
                        "NOTIFY_SOCKET \"%s\": neither a path nor an abstract socket (@): the "
                        "service manager gets no notifications",
                        path);
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

uint64_t sd_notify_watchdog_ms(void)
{
    return service.watchdog_ms;
}

/* A socket for each message: the application may have closed one that was kept. 0, or -1 with
 * errno. */
static int send_message(const char *message)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    ssize_t n = sendto(fd, message, strlen(message), MSG_NOSIGNAL,
                       (const struct sockaddr *)&service.address, service.address_bytes);
    int error = errno;
    close(fd);
    errno = error;
    return n < 0 ? -1 : 0;
}

static void log_failure(void)
{
    if (service.is_failure_logged)
        return;
    service.is_failure_logged = true;
    log_warning("notify-failed", "can't notify the service manager: NOTIFY_SOCKET: %s",
                config_error_describe(errno));
}

void sd_notify_again(void)
{
    if (service.pending[0] != '\0' && send_message(service.pending) == 0)
        service.pending[0] = '\0';
}

/* is_change: systemd waits for it, so that it is kept until there is room. */
static void tell(const char *message, bool is_change)
{
    if (!service.is_on)
        return;
    sd_notify_again();
    if (service.pending[0] == '\0' && send_message(message) == 0)
        return;
    if (errno != EAGAIN && errno != ENOBUFS)
        log_failure();
    if (is_change || service.pending[0] == '\0')
        snprintf(service.pending, sizeof(service.pending), "%s", message);
}

/* Each line is a message of its own: none begins in the status. */
static void tell_status(const char *status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell_status(const char *status, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    char *text = message + bytes;
    snprintf(text, sizeof(message) - (size_t)bytes, "STATUS=%s", status);
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ')
            *text = ' ';
    tell(message, strstr(message, "=1\n") != NULL);
}

void sd_notify_starting(const char *status, uint64_t extend_ms)
{
    if (service.is_ready || extend_ms == 0)
        tell_status(status, "%s", "");
    else
        tell_status(status, "EXTEND_TIMEOUT_USEC=%llu\n", (unsigned long long)extend_ms * 1000);
}

void sd_notify_ready(const char *status)
{
    service.is_ready = true;
    tell_status(status, "READY=1\nMAINPID=%ld\n", (long)getpid());
}

void sd_notify_reloading(const char *status)
{
    if (service.is_ready)
        tell_status(status, "RELOADING=1\nMONOTONIC_USEC=%llu\n", (unsigned long long)clock_us());
}

void sd_notify_stopping(const char *status, uint64_t extend_ms)
{
    tell_status(status, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\n",
                (unsigned long long)extend_ms * 1000);
}

void sd_notify_alive(void)
{
    if (service.is_on && service.watchdog_ms > 0 && service.pending[0] == '\0')
        (void)send_message("WATCHDOG=1");
}
