/* Syslog without syslog(3), which waits for a daemon that does not read, for ever. The form is that
 * of RFC 3164, as glibc's: "<30>Nov 28 13:40:24 fcgihost[4711]: text". */
#include "base/log_syslog.h"

#include "base/descriptor_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum { PREFIX_BYTES = 80, CUT_BYTES = 8 << 10 /* what every daemon takes */ };

const char *log_syslog_path = "/dev/log";

static int socket_fd = -1;
static struct descriptor_file socket_file; /* as long as the application leaves it alone */
static bool is_stream;

static int connect_as(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", log_syslog_path);
    if (fd < 0)
        return -1;
    /* A stream's connect() waits for a daemon that does not accept. */
    if (type == SOCK_STREAM)
        fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void log_syslog_open(void)
{
    log_syslog_close();
    is_stream = false;
    socket_fd = connect_as(SOCK_DGRAM);
    if (socket_fd < 0 && errno == EPROTOTYPE) {
        is_stream = true;
        socket_fd = connect_as(SOCK_STREAM);
    }
    socket_file = descriptor_file_of(socket_fd);
}

void log_syslog_close(void)
{
    if (socket_fd >= 0 && !descriptor_file_is_lost(socket_file, socket_fd))
        close(socket_fd);
    socket_fd = -1;
}

void log_syslog_mend(void)
{
    if (socket_fd >= 0 && descriptor_file_is_lost(socket_file, socket_fd))
        log_syslog_open();
}

int log_syslog_fd(void)
{
    return socket_fd;
}

static size_t format_prefix(const struct log_origin *origin, char text[PREFIX_BYTES])
{
    static const int severities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm fields;
    log_line_split_time(&origin->time, &fields);
    return (size_t)snprintf(text, PREFIX_BYTES, "<%d>%.3s %2d %02d:%02d:%02d fcgihost[%ld]: ",
                            LOG_DAEMON | severities[origin->level],
                            months + (size_t)fields.tm_mon * 3, fields.tm_mday, fields.tm_hour,
                            fields.tm_min, fields.tm_sec, origin->pid);
}

/* 0, or -1 with errno. A stream wants a NUL behind each line. */
static int send_line(const struct log_origin *origin, const char *line, size_t line_bytes)
{
    char prefix[PREFIX_BYTES];
    struct iovec pieces[] = {{.iov_base = prefix, .iov_len = format_prefix(origin, prefix)},
                             {.iov_base = (void *)(uintptr_t)line, .iov_len = line_bytes},
                             {.iov_base = (void *)(uintptr_t) "", .iov_len = is_stream}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};
    if (socket_fd < 0) {
        errno = ENOTCONN;
        return -1;
    }
    while (sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        if (errno == EMSGSIZE && pieces[1].iov_len > CUT_BYTES)
            pieces[1].iov_len = CUT_BYTES;
        else if (errno != EINTR)
            return -1;
    return 0;
}

/* The daemon may have been started anew since. */
static int send_or_connect(const struct log_origin *origin, const char *line, size_t line_bytes)
{
    int result = send_line(origin, line, line_bytes);
    if (result == 0 || errno == EAGAIN || errno == ENOBUFS)
        return result;
    log_syslog_open();
    return send_line(origin, line, line_bytes);
}

enum log_sink_result log_syslog_send(struct log_record *record)
{
    do {
        const char *line = record->text + record->done;
        size_t left = record->bytes - record->done;
        const char *end = memchr(line, '\n', left);
        size_t line_bytes = end != NULL ? (size_t)(end - line) : left;
        if (send_or_connect(&record->origin, line, line_bytes) < 0)
            return errno == EAGAIN || errno == ENOBUFS ? LOG_SINK_WAIT : LOG_SINK_FAILED;
        record->done += line_bytes + (end != NULL);
    } while (record->done < record->bytes);
    return LOG_SINK_DONE;
}
