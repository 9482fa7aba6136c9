/* The text of a message: its prefix, and nothing from outside that looks like one. */
#ifndef FCGIHOST_LOG_LINE_H
#define FCGIHOST_LOG_LINE_H

#include "base/log_level.h"
#include "base/log_topic.h"

#include <stddef.h>
#include <time.h>

enum { LOG_TIME_BYTES = 96 };

/* A buffer that counts on when it is full, like snprintf: a first try without room says how much is
 * needed. */
struct log_line {
    char *data;
    size_t used;
    size_t room;
};

/* What a message is about, beside its text. */
struct log_origin {
    enum log_level level;
    long pid;
    struct timespec time;
    struct log_topic topic;
    size_t line_bytes; /* of its text, from its start: they are one line, whatever they hold; what
                          comes behind has lines of its own, like a traceback */
};

const char *log_line_level_name(enum log_level level);

/* The offset from UTC of all timestamps becomes what it is now: an application may set TZ. */
void log_line_fix_offset(void);
/* "2026-11-28T13:40:24.531+01:00" (RFC 3339). */
void log_line_format_time(const struct timespec *time, char text[LOG_TIME_BYTES]);
/* The same moment on the same clock, for gmtime-like use: its fields, without a lock. */
void log_line_split_time(const struct timespec *time, struct tm *fields);

void log_line_append_bytes(struct log_line *line, const char *bytes, size_t count);
/* Text with control characters as \x1b, and line breaks with two spaces behind. Tabs stay. */
void log_line_append_escaped(struct log_line *line, const char *text, size_t text_bytes);
/* Text of one line: its line breaks and tabs are escaped as well. */
void log_line_append_flat(struct log_line *line, const char *text, size_t text_bytes);
/* A whole message: "time [pid] level: text (request ID)\n". */
void log_line_append_message(struct log_line *line, const struct log_origin *origin,
                             const char *text, size_t text_bytes);
/* The same for syslog, which has prefixes of its own: the text alone. */
void log_line_append_bare(struct log_line *line, const struct log_origin *origin, const char *text,
                          size_t text_bytes);

#endif
