/* Where the log goes: standard error, a file, syslog. No write waits for a reader. */
#include "base/log_sink.h"

#include "base/descriptor_file.h"
#include "base/log_syslog.h"
#include "base/own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { FILE_MODE = 0640, TELL_MS = 1000 };

static struct {
    enum log_sink_kind kind;
    int fd;
    struct descriptor_file file; /* which fd is, as long as the application leaves it alone */
    char *path;
    bool is_torn; /* the last record could not be written to its end */
} sink = {.kind = LOG_SINK_BLOCKING, .fd = STDERR_FILENO};

/* For whom root makes files, and a file that root has opened. */
static uid_t owner = (uid_t)-1;
static gid_t owner_group = (gid_t)-1;
static int inherited_fd = -1;

void log_sink_give_files(uid_t uid, gid_t gid)
{
    owner = uid;
    owner_group = gid;
}

void log_sink_become_owner(void)
{
    if (geteuid() != 0 || owner == (uid_t)-1 || owner == 0)
        return;
    (void)!setgroups(0, NULL);
    if (owner_group != (gid_t)-1)
        (void)!setresgid(owner_group, owner_group, owner_group);
    (void)!setresuid(owner, owner, owner);
}

void log_sink_inherit(int fd)
{
    inherited_fd = fd;
}

bool log_sink_is_stderr_useless(void)
{
    struct stat status;
    if (fstat(STDERR_FILENO, &status) < 0)
        return errno == EBADF; /* else it is there, and may take messages */
    return S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

/* A file that we make has this mode whatever umask the application set meanwhile. Root gives it to
 * the user whom the workers become, who will have to open it again. */
static int create_file(const char *path)
{
    int fd = own_file_open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOCTTY, FILE_MODE);
    if (fd >= 0)
        (void)!fchmod(fd, FILE_MODE);
    if (fd >= 0 && geteuid() == 0 && owner != (uid_t)-1)
        (void)!fchown(fd, owner, owner_group);
    return fd;
}

/* A FIFO is opened for both, so that it needs no reader: what nobody has read yet stays in it. */
static int open_file(const char *path)
{
    enum { FLAGS = O_APPEND | O_NOCTTY | O_NONBLOCK };
    struct stat status;
    bool is_fifo = stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
    int fd = own_file_open(path, (is_fifo ? O_RDWR : O_WRONLY) | FLAGS, 0);
    if (fd < 0 && errno == ENOENT)
        fd = create_file(path);
    if (fd < 0 && errno == EEXIST) /* somebody was faster */
        fd = own_file_open(path, O_WRONLY | FLAGS, 0);
    return fd;
}

/* A description of our own of what descriptor 2 is, which may be non-blocking: the flags of the
 * inherited one are its other owners' too. */
static int open_own(void)
{
    return open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static enum log_sink_kind kind_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return LOG_SINK_BLOCKING;
    if (S_ISFIFO(status.st_mode) || isatty(fd))
        return LOG_SINK_PIPE;
    return S_ISSOCK(status.st_mode) ? LOG_SINK_SOCKET : LOG_SINK_FILE;
}

static bool is_lost(void)
{
    return descriptor_file_is_lost(sink.file, sink.fd);
}

static void note_file(void)
{
    sink.file = descriptor_file_of(sink.fd);
}

/* Another number than 2, since the application may put something else there. */
static int open_stderr(void)
{
    int fd = -1;
    sink.kind = kind_of(STDERR_FILENO);
    if (sink.kind == LOG_SINK_PIPE && (fd = open_own()) < 0)
        sink.kind = LOG_SINK_BLOCKING;
    if (fd < 0)
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    sink.fd = fd >= 0 ? fd : STDERR_FILENO;
    note_file();
    return 0;
}

/* Of a program that was executed anew: path may be one that only root can open. -1: none. */
static int take_inherited(void)
{
    int fd = inherited_fd;
    inherited_fd = -1;
    return fd > STDERR_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

static int open_path(const char *path)
{
    int fd = take_inherited();
    if (fd < 0)
        fd = open_file(path);
    char *copy = fd >= 0 ? strdup(path) : NULL;
    if (copy == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    sink.kind = kind_of(fd);
    sink.fd = fd;
    sink.path = copy;
    note_file();
    return 0;
}

/* A closed descriptor 2 is plugged: otherwise the next connection would become descriptor 2, and
 * what Python writes to stderr would reach a web server. */
static void plug_stderr(void)
{
    if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
        return;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fd != STDERR_FILENO) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    } else if (fd >= 0) {
        fcntl(fd, F_SETFD, 0); /* children of the application want a stderr as well */
    }
}

int log_sink_open(const char *destination)
{
    bool is_stderr = strcmp(destination, "stderr") == 0;
    bool is_useless = log_sink_is_stderr_useless();
    plug_stderr();
    log_sink_close();
    if (strcmp(destination, "syslog") == 0 || (is_stderr && is_useless)) {
        sink.kind = LOG_SINK_SYSLOG;
        sink.fd = -1;
        log_syslog_open();
        return 0;
    }
    return is_stderr ? open_stderr() : open_path(destination);
}

void log_sink_close(void)
{
    if (sink.kind == LOG_SINK_SYSLOG)
        log_syslog_close();
    else if (sink.fd != STDERR_FILENO)
        close(sink.fd);
    free(sink.path);
    sink.kind = LOG_SINK_BLOCKING;
    sink.fd = STDERR_FILENO;
    sink.path = NULL;
}

enum log_sink_kind log_sink_kind(void)
{
    return sink.kind;
}

int log_sink_fd(void)
{
    return sink.kind == LOG_SINK_SYSLOG ? log_syslog_fd() : sink.fd;
}

const char *log_sink_path(void)
{
    return sink.path;
}

/* Of a blocking pipe that can take more, PIPE_BUF bytes go at once, if no other process is faster.
 */
static ssize_t write_blocking(const char *bytes, size_t count)
{
    if (!log_sink_wait(0)) {
        errno = EAGAIN;
        return -1;
    }
    return write(sink.fd, bytes, count < PIPE_BUF ? count : PIPE_BUF);
}

static ssize_t write_some(const char *bytes, size_t count)
{
    ssize_t n;
    do {
        if (sink.kind == LOG_SINK_SOCKET)
            n = send(sink.fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (sink.kind == LOG_SINK_BLOCKING)
            n = write_blocking(bytes, count);
        else
            n = write(sink.fd, bytes, count);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* What could be written of a record, on a full disk, say, is taken back, so that no line is half
 * one; unless another process has written behind it, or the sink is no file. */
static bool take_back(size_t bytes)
{
    struct stat status;
    off_t end = lseek(sink.fd, 0, SEEK_CUR);
    return sink.kind == LOG_SINK_FILE && fstat(sink.fd, &status) == 0 && S_ISREG(status.st_mode) &&
           end >= (off_t)bytes && status.st_size == end &&
           ftruncate(sink.fd, end - (off_t)bytes) == 0;
}

static enum log_sink_result failure(const struct log_record *record)
{
    if (errno == EAGAIN)
        return LOG_SINK_WAIT;
    if (record->done > 0 && !take_back(record->done))
        sink.is_torn = true;
    return LOG_SINK_FAILED;
}

enum log_sink_result log_sink_write(struct log_record *record)
{
    if (sink.kind == LOG_SINK_SYSLOG)
        return log_syslog_send(record);
    if (sink.is_torn && record->done == 0) {
        if (write_some("\n", 1) < 0)
            return failure(record);
        sink.is_torn = false;
    }
    while (record->done < record->bytes) {
        ssize_t n = write_some(record->text + record->done, record->bytes - record->done);
        if (n < 0)
            return failure(record);
        record->done += (size_t)n;
    }
    return LOG_SINK_DONE;
}

bool log_sink_wait(int timeout_ms)
{
    struct pollfd writable = {.fd = log_sink_fd(), .events = POLLOUT};
    return poll(&writable, 1, timeout_ms) > 0;
}

void log_sink_tell(int fd, const char *line, size_t line_bytes)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (poll(&writable, 1, TELL_MS) > 0)
        (void)!write(fd, line, line_bytes < PIPE_BUF ? line_bytes : PIPE_BUF);
}

int log_sink_reopen(void)
{
    if (sink.path == NULL)
        return 0;
    int fd = open_file(sink.path);
    if (fd < 0)
        return -1;
    int result = 0, error = 0;
    if (is_lost())
        sink.fd = fd; /* the old number may be another file's */
    else {
        result = dup3(fd, sink.fd, O_CLOEXEC);
        error = errno;
        close(fd);
    }
    if (result >= 0) {
        sink.is_torn = false;
        note_file();
    }
    errno = error;
    return result < 0 ? -1 : 0;
}

void log_sink_mend(void)
{
    if (sink.kind == LOG_SINK_SYSLOG) {
        log_syslog_mend();
        return;
    }
    if (!is_lost())
        return;
    int fd = sink.path != NULL ? open_file(sink.path)
                               : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    sink.fd = fd; /* be it -1: the old number may be another file's */
    sink.is_torn = false;
    note_file();
}

bool log_sink_has_moved(void)
{
    struct stat named, open_one;
    if (sink.path == NULL || is_lost() || fstat(sink.fd, &open_one) < 0)
        return false; /* what is lost has to be mended */
    if (stat(sink.path, &named) < 0)
        return errno == ENOENT;
    return named.st_dev != open_one.st_dev || named.st_ino != open_one.st_ino;
}
