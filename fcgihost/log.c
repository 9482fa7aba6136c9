/* Writes the log: one write(2) for each message, and no line that came from outside looks like
 * ours. */
#include "log.h"

#include "own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_BYTES = 2048,
    /* For a stderr that somebody else made non-blocking: after that long the message is given up.
     */
    FULL_PIPE_MS = 1000
};

/* The number never changes once the log is open: a reopen puts another file behind it, so that
 * writers need no lock. -1: syslog. */
static atomic_int log_fd = STDERR_FILENO;
static atomic_int threshold = LOG_LEVEL_INFO;
static char *file_path;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

/* Counts on when it is full, like snprintf: so the room that a message needs is known after one
 * try. */
struct line_buffer {
    char *data;
    size_t used;
    size_t room;
};

static void append(struct line_buffer *buffer, const char *bytes, size_t count)
{
    if (buffer->used < buffer->room) {
        size_t left = buffer->room - buffer->used;

        memcpy(buffer->data + buffer->used, bytes, count < left ? count : left);
    }
    buffer->used += count;
}

static void append_escaped(struct line_buffer *buffer, const char *text, size_t text_bytes)
{
    size_t start = 0;

    for (size_t i = 0; i < text_bytes; i++) {
        unsigned char byte = (unsigned char)text[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            char escape[5];

            append(buffer, text + start, i - start);
            snprintf(escape, sizeof(escape), "\\x%02x", byte);
            append(buffer, escape, 4);
            start = i + 1;
        }
    }
    append(buffer, text + start, text_bytes - start);
}

static void append_prefix(struct line_buffer *buffer, enum log_level level)
{
    struct timespec now;
    struct tm local;
    char date[32];
    char prefix[96];
    int length;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
    length = snprintf(prefix, sizeof(prefix), "%s.%03ld [%ld] %s: ", date, now.tv_nsec / 1000000,
                      (long)getpid(), level_names[level]);
    append(buffer, prefix, (size_t)length);
}

/* The bytes up to the next line break; *text goes behind it. */
static size_t take_line(const char **text, size_t *text_bytes, const char **line)
{
    const char *end = memchr(*text, '\n', *text_bytes);
    size_t length = end != NULL ? (size_t)(end - *text) : *text_bytes;
    size_t taken = end != NULL ? length + 1 : length;

    *line = *text;
    *text += taken;
    *text_bytes -= taken;
    return length;
}

static void build(struct line_buffer *buffer, enum log_level level, const char *text,
                  size_t text_bytes)
{
    const char *line;
    size_t length = take_line(&text, &text_bytes, &line);

    append_prefix(buffer, level);
    append_escaped(buffer, line, length);
    while (text_bytes > 0) {
        length = take_line(&text, &text_bytes, &line);
        append(buffer, "\n  ", 3);
        append_escaped(buffer, line, length);
    }
    append(buffer, "\n", 1);
}

static void write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);

        if (written >= 0) {
            bytes += written;
            count -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};

            if (poll(&writable, 1, FULL_PIPE_MS) == 0)
                return;
        } else if (errno != EINTR) {
            return; /* There is nowhere left to tell it. */
        }
    }
}

static void write_message(int fd, enum log_level level, const char *text, size_t text_bytes)
{
    char stack[STACK_BYTES];
    struct line_buffer buffer = {.data = stack, .room = sizeof(stack)};
    char *heap = NULL;

    build(&buffer, level, text, text_bytes);
    if (buffer.used > buffer.room) {
        heap = malloc(buffer.used);
        if (heap != NULL) {
            buffer.data = heap;
            buffer.room = buffer.used;
            buffer.used = 0;
            build(&buffer, level, text, text_bytes);
        }
    }
    if (buffer.used > buffer.room) {
        static const char cut[] = "... (cut: out of memory)\n";

        memcpy(buffer.data + buffer.room - (sizeof(cut) - 1), cut, sizeof(cut) - 1);
        buffer.used = buffer.room;
    }
    write_all(fd, buffer.data, buffer.used);
    free(heap);
}

static void send_syslog(enum log_level level, const char *text, size_t text_bytes)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    const char *indent = "";

    do {
        char stack[STACK_BYTES];
        struct line_buffer buffer = {.data = stack, .room = sizeof(stack)};
        const char *line;
        size_t length = take_line(&text, &text_bytes, &line);
        char *heap = NULL;

        append_escaped(&buffer, line, length);
        if (buffer.used > buffer.room && (heap = malloc(buffer.used)) != NULL) {
            buffer = (struct line_buffer){.data = heap, .room = buffer.used};
            append_escaped(&buffer, line, length);
        }
        syslog(priorities[level], "%s%.*s", indent,
               (int)(buffer.used < buffer.room ? buffer.used : buffer.room), buffer.data);
        free(heap);
        indent = "  ";
    } while (text_bytes > 0);
}

void log_text(enum log_level level, const char *text, size_t text_bytes)
{
    int saved_errno = errno;
    int fd = log_fd;

    if ((int)level > threshold)
        return;
    while (text_bytes > 0 && text[text_bytes - 1] == '\n')
        text_bytes--;
    if (fd >= 0)
        write_message(fd, level, text, text_bytes);
    else
        send_syslog(level, text, text_bytes);
    errno = saved_errno;
}

__attribute__((format(printf, 2, 0))) static void log_format(enum log_level level,
                                                             const char *format, va_list arguments)
{
    int saved_errno = errno;
    char stack[STACK_BYTES];
    char *text = stack;
    va_list again;
    int length;

    if ((int)level > threshold)
        return;
    va_copy(again, arguments);
    length = vsnprintf(stack, sizeof(stack), format, arguments);
    if (length >= (int)sizeof(stack)) {
        if (vasprintf(&text, format, again) < 0) {
            text = stack;
            length = (int)sizeof(stack) - 1;
        }
    }
    va_end(again);
    if (length >= 0)
        log_text(level, text, (size_t)length);
    if (text != stack)
        free(text);
    errno = saved_errno;
}

void log_error(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_format(LOG_LEVEL_ERROR, format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_format(LOG_LEVEL_WARNING, format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_format(LOG_LEVEL_INFO, format, arguments);
    va_end(arguments);
}

void log_debug(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_format(LOG_LEVEL_DEBUG, format, arguments);
    va_end(arguments);
}

static int open_file(const char *path)
{
    return own_file_open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0640);
}

/* Is descriptor 2 closed or /dev/null? A closed one is plugged: otherwise the next connection would
 * become descriptor 2, and what Python writes to stderr would reach a web server. */
static bool is_stderr_useless(void)
{
    struct stat status;
    int fd;

    if (fstat(STDERR_FILENO, &status) == 0)
        return S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fd != STDERR_FILENO) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    } else if (fd >= 0) {
        fcntl(fd, F_SETFD, 0); /* children of the application want a stderr as well */
    }
    return true;
}

int log_open(const char *destination, enum log_level level)
{
    /* Looked at in every case: a closed descriptor 2 must be plugged before anything else is
     * opened. */
    bool is_useless = is_stderr_useless();
    bool is_stderr = strcmp(destination, "stderr") == 0;
    int fd;

    threshold = (int)level;
    if (strcmp(destination, "syslog") == 0 || (is_stderr && is_useless)) {
        openlog("fcgihost", LOG_PID | LOG_NDELAY, LOG_DAEMON);
        log_fd = -1;
        return 0;
    }
    if (is_stderr) {
        log_fd = STDERR_FILENO;
        return 0;
    }
    fd = open_file(destination);
    file_path = fd >= 0 ? strdup(destination) : NULL;
    if (file_path == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    log_fd = fd;
    return 0;
}

void log_reopen(void)
{
    int saved_errno = errno;
    int fd;

    if (file_path == NULL)
        return;
    fd = open_file(file_path);
    if (fd < 0 || dup3(fd, log_fd, O_CLOEXEC) < 0) {
        log_error("log file \"%s\": can't be opened again: %s: the old one stays in use", file_path,
                  own_file_refusal(errno) != NULL ? own_file_refusal(errno) : strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    errno = saved_errno;
}

void log_close(void)
{
    int fd = log_fd;

    log_fd = STDERR_FILENO;
    if (file_path != NULL) {
        close(fd);
        free(file_path);
        file_path = NULL;
    } else if (fd < 0) {
        closelog();
    }
}

int log_descriptor(void)
{
    return log_fd;
}

enum log_level log_threshold(void)
{
    return (enum log_level)threshold;
}
