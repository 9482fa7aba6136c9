/* Descriptors 1 and 2 lead to the log, whatever it is. */
#include "base/log_standard.h"

#include "base/clock.h"
#include "base/log_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LINE_BYTES = 64 << 10, /* a longer line is cut in pieces */
    DRAIN_LINES = 1000,    /* with LINE_BYTES of text the queue has room for them in any format */
    LOOK_MS = 1000,        /* at the file: was it moved? */
};

/* What 1 and 2 were; -1: they still are. */
static int saved[] = {-1, -1};

int log_standard_error(void)
{
    return saved[1] >= 0 ? saved[1] : STDERR_FILENO;
}

static int put(int fd)
{
    for (int i = 0; i < 2; i++) {
        if (saved[i] < 0)
            saved[i] = fcntl(STDOUT_FILENO + i, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (saved[i] < 0 || dup2(fd, STDOUT_FILENO + i) < 0)
            return -1;
    }
    return 0;
}

static void collect_relays(void)
{
    while (waitpid(-1, NULL, __WCLONE | WNOHANG) > 0)
        continue;
}

void log_standard_give_back(void)
{
    for (int i = 0; i < 2; i++)
        if (saved[i] >= 0)
            dup2(saved[i], STDOUT_FILENO + i);
    collect_relays();
}

/* The relay: what it reads, the log gets as lines of the host. */

struct relay {
    int fd;
    long pid;
    size_t bytes;
    char text[LINE_BYTES];
};

static void add_line(const struct relay *relay, const char *line, size_t bytes)
{
    struct log_origin origin = {.level = LOG_LEVEL_INFO,
                                .pid = relay->pid,
                                .topic = {.event = "application-output", .thread = ""}};
    clock_gettime(CLOCK_REALTIME, &origin.time);
    log_queue_add(&origin, line, bytes);
}

/* All lines that are whole, or as long as there is room. Writes meanwhile what can be written: a
 * buffer of short lines makes more messages than the queue has room for. */
static void add_lines(struct relay *relay)
{
    char *newline, *line = relay->text, *end = relay->text + relay->bytes;
    for (unsigned added = 1; (newline = memchr(line, '\n', (size_t)(end - line))) != NULL;
         added++) {
        add_line(relay, line, (size_t)(newline - line));
        line = newline + 1;
        if (added % DRAIN_LINES == 0)
            log_queue_drain();
    }
    relay->bytes = (size_t)(end - line);
    if (relay->bytes == LINE_BYTES) {
        add_line(relay, line, LINE_BYTES);
        relay->bytes = 0;
    }
    memmove(relay->text, line, relay->bytes);
}

/* false: nobody can print any more. */
static bool read_some(struct relay *relay)
{
    /* There is room, as add_lines() leaves some; gcc 14 wants to see that it is no more. */
    size_t room = relay->bytes < LINE_BYTES ? LINE_BYTES - relay->bytes : 0;
    ssize_t n = read(relay->fd, relay->text + (LINE_BYTES - room), room);
    if (n < 0)
        return errno == EINTR;
    relay->bytes += (size_t)n;
    add_lines(relay);
    if (n == 0 && relay->bytes > 0)
        add_line(relay, relay->text, relay->bytes);
    return n > 0;
}

/* As the log's own thread does, in the host. */
static void look_at_file(void)
{
    static uint64_t looked_ms;
    if (log_sink_path() == NULL || clock_ms() < looked_ms + LOOK_MS)
        return;
    looked_ms = clock_ms();
    if (log_sink_has_moved())
        log_reopen_now(false);
}

static void run_relay(struct relay *relay)
{
    bool is_drained = true, is_open = true;
    log_queue_collect(true);
    while (is_open) {
        struct pollfd fds[] = {{.fd = relay->fd, .events = POLLIN},
                               {.fd = is_drained ? -1 : log_sink_fd(), .events = POLLOUT}};
        if (poll(fds, 2, log_sink_path() != NULL ? LOOK_MS : -1) < 0)
            continue;
        look_at_file();
        if (fds[0].revents != 0)
            is_open = read_some(relay);
        is_drained = log_queue_drain();
    }
    log_queue_collect(false);
    log_queue_flush();
}

/* Linux before 5.9 has no close_range(2), and a sandbox may refuse it. With its own end for writing
 * open the relay would never end. */
static void close_from_to(unsigned first, unsigned last)
{
    if (close_range(first, last, 0) == 0)
        return;
    long count = sysconf(_SC_OPEN_MAX);
    for (unsigned fd = first; fd <= last && (long)fd < count; fd++)
        close((int)fd);
}

/* It has the pipe and the log, and nothing else of the host; no signal ends it, but that nobody can
 * print any more does. */
static void become_relay(struct relay *relay)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, "fcgihost-log");
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(relay->fd, STDIN_FILENO);
    relay->fd = STDIN_FILENO;
    dup2(null_fd, STDOUT_FILENO);
    dup2(null_fd, STDERR_FILENO);
    unsigned kept = log_sink_fd() > STDERR_FILENO ? (unsigned)log_sink_fd() : STDERR_FILENO;
    if (kept > STDERR_FILENO + 1)
        close_from_to(STDERR_FILENO + 1, kept - 1);
    close_from_to(kept + 1, ~0u);
    (void)!chdir("/");
    log_sink_become_owner();
    run_relay(relay);
    _exit(0);
}

/* The child sends no signal when it ends, so that the application's wait() never sees it. */
static int start_relay(int fd)
{
    static struct relay relay;
    relay = (struct relay){.fd = fd, .pid = (long)getpid()};
    collect_relays();
    log_queue_share_dropped();
    long child = syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (child == 0)
        become_relay(&relay);
    return child > 0 ? 0 : -1;
}

static int put_relay(void)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    int result = start_relay(fds[0]);
    if (result == 0)
        result = put(fds[1]);
    close(fds[0]);
    close(fds[1]);
    return result;
}

/* Under mod_fcgid standard output is /dev/null, standard error Apache's log. */
static int join_output(void)
{
    struct stat status;
    bool is_useless = fstat(STDOUT_FILENO, &status) < 0 ||
                      (S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3));
    if (!is_useless)
        return 0;
    saved[0] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ? -1 : 0;
}

int log_standard_take(void)
{
    bool is_stderr = log_sink_kind() != LOG_SINK_SYSLOG && log_sink_path() == NULL;
    return is_stderr && log_queue_format() == LOG_FORMAT_TEXT ? join_output() : put_relay();
}
