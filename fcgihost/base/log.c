/* The log: what is logged, and when it opens and closes. */
#include "base/log.h"

#include "base/clock.h"
#include "base/log_gather.h"
#include "base/log_queue.h"
#include "base/log_standard.h"
#include "base/own_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK_BYTES = 2048 };

static atomic_int threshold = LOG_LEVEL_INFO;
static bool is_open;

/* Fills in what is missing in its origin. */
static void add(struct log_origin origin, const char *text, size_t text_bytes)
{
    int saved_errno = errno;
    while (text_bytes > 0 && text[text_bytes - 1] == '\n')
        text_bytes--;
    clock_gettime(CLOCK_REALTIME, &origin.time);
    origin.pid = (long)getpid();
    log_queue_add(&origin, text, text_bytes);
    errno = saved_errno;
}

static void tell_gathered(const struct log_gathered *over)
{
    char text[160];
    int n = snprintf(text, sizeof(text), "%s: %llu more like it came within a second", over->event,
                     over->count);
    add((struct log_origin){.level = over->level, .topic.event = "messages-gathered"}, text,
        (size_t)n);
}

static void tell_all_gathered(bool is_every)
{
    struct log_gathered over;
    while (log_gather_take(clock_ms(), is_every, &over))
        tell_gathered(&over);
}

void log_tell_gathered(void)
{
    tell_all_gathered(false);
}

static bool is_left_out(enum log_level level, const struct log_topic *topic)
{
    struct log_gathered over;
    if (!topic->is_gathered)
        return false;
    bool is_admitted = log_gather_admit(topic->event, level, clock_ms(), &over);
    if (over.event != NULL)
        tell_gathered(&over);
    return !is_admitted;
}

void log_text(enum log_level level, const struct log_topic *topic, const char *text,
              size_t text_bytes)
{
    if ((int)level <= threshold)
        add((struct log_origin){.level = level, .topic = *topic}, text, text_bytes);
}

void log_text_after(const char *prefix, enum log_level level, const struct log_topic *topic,
                    const char *text, size_t text_bytes)
{
    size_t prefix_bytes = strlen(prefix);
    if ((int)level > threshold)
        return;
    char *joined = malloc(prefix_bytes + text_bytes);
    if (joined == NULL) {
        log_text(level, topic, text, text_bytes);
        return;
    }
    memcpy(joined, prefix, prefix_bytes);
    memcpy(joined + prefix_bytes, text, text_bytes);
    add((struct log_origin){.level = level, .topic = *topic, .line_bytes = prefix_bytes}, joined,
        prefix_bytes + text_bytes);
    free(joined);
}

__attribute__((format(printf, 3, 0))) static void log_format(enum log_level level,
                                                             const struct log_topic *topic,
                                                             const char *format, va_list arguments)
{
    int saved_errno = errno;
    char stack[STACK_BYTES];
    char *text = stack;
    va_list again;
    int length;

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
        add((struct log_origin){.level = level, .topic = *topic, .line_bytes = (size_t)length},
            text, (size_t)length);
    if (text != stack)
        free(text);
    errno = saved_errno;
}

#define LOG_OF_LEVEL(name, level)                                                                  \
    void name(const char *event, const char *format, ...)                                          \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        if ((int)(level) <= threshold)                                                             \
            log_format(level, &(struct log_topic){.event = event}, format, arguments);             \
        va_end(arguments);                                                                         \
    }

LOG_OF_LEVEL(log_error, LOG_LEVEL_ERROR)
LOG_OF_LEVEL(log_warning, LOG_LEVEL_WARNING)
LOG_OF_LEVEL(log_info, LOG_LEVEL_INFO)
LOG_OF_LEVEL(log_debug, LOG_LEVEL_DEBUG)

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if ((int)level <= threshold && !is_left_out(level, topic))
        log_format(level, topic, format, arguments);
    va_end(arguments);
}

static __attribute__((format(printf, 2, 3))) void add_access(const struct log_topic *topic,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_format(LOG_LEVEL_INFO, topic, format, arguments);
    va_end(arguments);
}

void log_access(const char *request_id, const struct log_access *access)
{
    struct log_topic topic = {.event = "access", .request_id = request_id, .access = access};
    char status[12] = "-";
    if (access->status != 0)
        snprintf(status, sizeof(status), "%d", access->status);
    add_access(&topic, "%s %.*s%s%.*s %s %llu bytes %.3f ms waited %.3f ms", access->method,
               (int)access->path_bytes, access->path, access->query != NULL ? "?" : "",
               (int)access->query_bytes, access->query != NULL ? access->query : "", status,
               (unsigned long long)access->body_bytes, (double)access->duration_us / 1000,
               (double)access->wait_us / 1000);
}

int log_open(const char *destination, enum log_level level)
{
    threshold = (int)level;
    log_line_fix_offset();
    is_open = log_sink_open(destination) == 0;
    return is_open ? 0 : -1;
}

void log_set_format(enum log_format format)
{
    log_queue_set_format(format);
}

int log_start_writer(void)
{
    return log_standard_take() < 0 || log_queue_start() < 0 ? -1 : 0;
}

void log_reopen(void)
{
    int saved_errno = errno;
    log_queue_reopen();
    errno = saved_errno;
}

/* A folder that is gone is told of once, and not each second; and not at the first look, as another
 * process, which may do what this one may not, could be about to make the file. */
void log_reopen_now(bool is_asked)
{
    enum { TELL_AT = 2 };
    static unsigned failures;
    if (log_sink_path() == NULL)
        return;
    int result = log_sink_reopen();
    if (result < 0 && (is_asked || failures + 1 == TELL_AT))
        log_error("log-not-reopened",
                  "log file \"%s\": can't be opened again: %s: the old one stays in use",
                  log_sink_path(),
                  own_file_refusal(errno) != NULL ? own_file_refusal(errno) : strerror(errno));
    failures = result < 0 ? failures + (failures < TELL_AT) : 0;
}

void log_mend(void)
{
    log_queue_mend();
}

bool log_flush(void)
{
    return log_queue_flush();
}

void log_leave_standard(void)
{
    log_queue_flush();
    log_standard_give_back();
}

void log_close(void)
{
    tell_all_gathered(true);
    log_queue_stop();
    log_sink_close();
    is_open = false;
}

/* Without the log's form, for the shell or the web server that has started the process. */
static void tell_starter(const char *text)
{
    char bytes[4096];
    struct log_line line = {.data = bytes, .room = sizeof(bytes) - 1};
    log_line_append_bytes(&line, "fcgihost: ", 10);
    log_line_append_flat(&line, text, strlen(text));
    size_t n = line.used < line.room ? line.used : line.room;
    bytes[n++] = '\n';
    log_sink_tell(log_standard_error(), bytes, n);
}

void log_fail(const char *event, const char *text)
{
    bool is_useless = log_sink_is_stderr_useless();
    if (!is_open && is_useless)
        log_open("syslog", LOG_LEVEL_INFO);
    bool is_elsewhere = log_sink_kind() == LOG_SINK_SYSLOG || log_sink_path() != NULL,
         is_object = is_open && log_queue_format() == LOG_FORMAT_JSON;
    if (is_elsewhere || !is_object)
        tell_starter(text);
    if (is_elsewhere || is_object)
        log_error(event, "%s", text);
}

int log_descriptor(void)
{
    return log_sink_fd();
}

enum log_level log_threshold(void)
{
    return (enum log_level)threshold;
}

void log_only_queue(void)
{
    log_queue_never_write();
}

void log_count_dropped(void)
{
    log_queue_count_dropped();
}

unsigned long long log_dropped(void)
{
    return log_queue_dropped();
}
