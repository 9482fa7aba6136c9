/* A log that keeps its messages, a line each: "warning request-timeout 4bf92f: GET /: …". It says
 * who wrote with the GIL held, which nobody may. After python_fixture.h. */
#ifndef FCGIHOST_TEST_LOG_FAKES_H
#define FCGIHOST_TEST_LOG_FAKES_H

#include "unit.h"

#include <pthread.h>

#include "base/log.h"

static struct bytes logged;
static pthread_mutex_t logged_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool was_logged_with_gil;
static unsigned dropped_count;

static inline void keep_message(enum log_level level, const struct log_topic *topic,
                                const char *prefix, const char *text, size_t n)
{
    static const char *const levels[] = {"error ", "warning ", "info ", "debug "};
    pthread_mutex_lock(&logged_mutex);
    was_logged_with_gil = was_logged_with_gil || PyGILState_Check();
    put_text(&logged, levels[level]);
    put_text(&logged, topic->event);
    if (topic->request_id != NULL) {
        put_text(&logged, " ");
        put_text(&logged, topic->request_id);
    }
    put_text(&logged, ": ");
    put_text(&logged, prefix);
    put_bytes(&logged, text, n);
    put_text(&logged, "\n");
    pthread_mutex_unlock(&logged_mutex);
}

static inline const char *logged_text(void)
{
    put_bytes(&logged, "", 1);
    logged.n--;
    return (const char *)logged.data;
}

static inline void forget_log(void)
{
    clear_bytes(&logged);
    was_logged_with_gil = false;
    dropped_count = 0;
}

/* It is the whole log; forgets it. */
static inline void assert_log(const char *expected)
{
    assert_string_equal(logged_text(), expected);
    assert_false(was_logged_with_gil);
    forget_log();
}

static inline void assert_log_has(const char *text)
{
    if (strstr(logged_text(), text) == NULL)
        fail_msg("\"%s\" is not in the log: %s", text, logged_text());
    assert_false(was_logged_with_gil);
}

void log_text(enum log_level level, const struct log_topic *topic, const char *text,
              size_t text_bytes)
{
    keep_message(level, topic, "", text, text_bytes);
}

void log_text_after(const char *prefix, enum log_level level, const struct log_topic *topic,
                    const char *text, size_t text_bytes)
{
    keep_message(level, topic, prefix, text, text_bytes);
}

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    keep_message(level, topic, "", text, strlen(text));
}

void log_error(const char *event, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    keep_message(LOG_LEVEL_ERROR, &(struct log_topic){.event = event}, "", text, strlen(text));
}

void log_warning(const char *event, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    keep_message(LOG_LEVEL_WARNING, &(struct log_topic){.event = event}, "", text, strlen(text));
}

void log_count_dropped(void)
{
    dropped_count++;
}

void log_access(const char *id, const struct log_access *access)
{
    (void)id, (void)access;
}

#endif
