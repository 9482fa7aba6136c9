/* The text of a message: its prefix, and nothing from outside that looks like one. */
#include "base/log_line.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { DAY_S = 86400, MINUTE_S = 60 };

static atomic_long offset_s;

const char *log_line_level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[level];
}

void log_line_fix_offset(void)
{
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local) != NULL)
        atomic_store(&offset_s, local.tm_gmtoff);
}

/* Howard Hinnant's days_from_civil, backwards. glibc's gmtime_r takes a lock that a forked child
 * may find locked for ever. */
static void set_date(struct tm *fields, long days)
{
    long z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    long day_of_era = z - era * 146097;
    long year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    long day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    long month = (5 * day_of_year + 2) / 153; /* from March on */
    fields->tm_mday = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    fields->tm_mon = (int)(month < 10 ? month + 2 : month - 10);
    fields->tm_year = (int)(year_of_era + era * 400 + (fields->tm_mon <= 1) - 1900);
}

void log_line_split_time(const struct timespec *time, struct tm *fields)
{
    long seconds = (long)time->tv_sec + atomic_load_explicit(&offset_s, memory_order_relaxed);
    long days = (seconds >= 0 ? seconds : seconds - DAY_S + 1) / DAY_S;
    int second = (int)(seconds - days * DAY_S);
    *fields = (struct tm){
        .tm_hour = second / 3600, .tm_min = second / MINUTE_S % 60, .tm_sec = second % MINUTE_S};
    set_date(fields, days);
}

void log_line_format_time(const struct timespec *time, char text[LOG_TIME_BYTES])
{
    struct tm fields;
    long minutes = atomic_load_explicit(&offset_s, memory_order_relaxed) / MINUTE_S;
    long distance = minutes < 0 ? -minutes : minutes;
    log_line_split_time(time, &fields);
    snprintf(text, LOG_TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%03u%c%02u:%02u",
             fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday, fields.tm_hour,
             fields.tm_min, fields.tm_sec, (unsigned)(time->tv_nsec / 1000000) % 1000,
             minutes < 0 ? '-' : '+', (unsigned)distance / 60 % 100, (unsigned)distance % 60);
}

void log_line_append_bytes(struct log_line *line, const char *bytes, size_t count)
{
    if (line->used < line->room) {
        size_t left = line->room - line->used;
        memcpy(line->data + line->used, bytes, count < left ? count : left);
    }
    line->used += count;
}

/* How many bytes from here on are a control character, or end a line for readers that know Unicode:
 * U+0080 to U+009F, which some terminals obey, U+2028 and U+2029. 0: it is none. */
static size_t control_bytes(const char *text, size_t n)
{
    unsigned char byte = (unsigned char)text[0];
    if (byte < 0x20 || byte == 0x7f)
        return 1;
    if (n > 1 && byte == 0xc2 && (text[1] & 0xe0) == 0x80)
        return 2;
    bool is_line_end =
        n > 2 && memcmp(text, "\xe2\x80", 2) == 0 && (text[2] == '\xa8' || text[2] == '\xa9');
    return is_line_end ? 3 : 0;
}

static void append_escapes(struct log_line *line, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char escape[5];
        snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)bytes[i]);
        log_line_append_bytes(line, escape, 4);
    }
}

static void append(struct log_line *line, const char *text, size_t text_bytes, bool is_flat)
{
    size_t start = 0, count;
    for (size_t i = 0; i<text_bytes; i += count> 0 ? count : 1) {
        count = control_bytes(text + i, text_bytes - i);
        if (count == 0 || (text[i] == '\t' && !is_flat))
            continue;
        log_line_append_bytes(line, text + start, i - start);
        if (text[i] == '\n' && !is_flat)
            log_line_append_bytes(line, "\n  ", 3);
        else
            append_escapes(line, text + i, count);
        start = i + count;
    }
    log_line_append_bytes(line, text + start, text_bytes - start);
}

void log_line_append_escaped(struct log_line *line, const char *text, size_t text_bytes)
{
    append(line, text, text_bytes, false);
}

void log_line_append_flat(struct log_line *line, const char *text, size_t text_bytes)
{
    append(line, text, text_bytes, true);
}

/* The identifier of its request ends the first line. */
static void append_body(struct log_line *line, const struct log_origin *origin, const char *text,
                        size_t text_bytes)
{
    const char *id = origin->topic.request_id;
    size_t flat_bytes = origin->line_bytes < text_bytes ? origin->line_bytes : text_bytes;
    const char *newline = memchr(text + flat_bytes, '\n', text_bytes - flat_bytes);
    size_t first_bytes = newline != NULL ? (size_t)(newline - text) : text_bytes;
    log_line_append_flat(line, text, flat_bytes);
    log_line_append_escaped(line, text + flat_bytes, first_bytes - flat_bytes);
    if (id != NULL) {
        log_line_append_bytes(line, " (request ", 10);
        log_line_append_flat(line, id, strlen(id));
        log_line_append_bytes(line, ")", 1);
    }
    log_line_append_escaped(line, text + first_bytes, text_bytes - first_bytes);
}

void log_line_append_message(struct log_line *line, const struct log_origin *origin,
                             const char *text, size_t text_bytes)
{
    char time[LOG_TIME_BYTES], prefix[LOG_TIME_BYTES + 48];
    log_line_format_time(&origin->time, time);
    int length = snprintf(prefix, sizeof(prefix), "%s [%ld] %s: ", time, origin->pid,
                          log_line_level_name(origin->level));
    log_line_append_bytes(line, prefix, (size_t)length);
    append_body(line, origin, text, text_bytes);
    log_line_append_bytes(line, "\n", 1);
}

void log_line_append_bare(struct log_line *line, const struct log_origin *origin, const char *text,
                          size_t text_bytes)
{
    append_body(line, origin, text, text_bytes);
}
