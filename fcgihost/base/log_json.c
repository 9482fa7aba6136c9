/* A message as a JSON object (RFC 8259); the names are OpenTelemetry's where it has some. */
#include "base/log_json.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

enum { THREAD_NAME_BYTES = 16 };

static void append_text(struct log_line *line, const char *text)
{
    log_line_append_bytes(line, text, strlen(text));
}

/* U+2028 and U+2029 end a line for some readers. */
static bool is_line_end(const char *bytes, size_t n)
{
    return n == 3 && memcmp(bytes, "\xe2\x80", 2) == 0 &&
           ((unsigned char)bytes[2] == 0xa8 || (unsigned char)bytes[2] == 0xa9);
}

/* What stands for bytes that can't stand for themselves; "" if they can. n: of a character, or 0.
 */
static void escape(const char *bytes, size_t n, char out[8])
{
    unsigned char byte = (unsigned char)*bytes;
    out[0] = '\0';
    if (n == 0)
        snprintf(out, 8, "\\\\x%02x", byte);
    else if (byte == '\n')
        memcpy(out, "\\n", 3);
    else if (byte == '"' || byte == '\\')
        snprintf(out, 8, "\\%c", byte);
    else if (byte < 0x20 || byte == 0x7f)
        snprintf(out, 8, "\\u%04x", byte);
    else if (n == 2 && byte == 0xc2 && (unsigned char)bytes[1] < 0xa0) /* U+0080 to U+009F */
        snprintf(out, 8, "\\u00%02x", (unsigned char)bytes[1]);
    else if (is_line_end(bytes, n))
        snprintf(out, 8, "\\u20%02x", (unsigned char)bytes[2] - 0x80);
}

static void append_quoted(struct log_line *line, const char *text, size_t text_bytes)
{
    size_t start = 0, n;
    append_text(line, "\"");
    for (size_t i = 0; i<text_bytes; i += n> 0 ? n : 1) {
        char escaped[8];
        n = utf8_bytes(text + i, text_bytes - i);
        escape(text + i, n, escaped);
        if (escaped[0] == '\0')
            continue;
        log_line_append_bytes(line, text + start, i - start);
        append_text(line, escaped);
        start = i + (n > 0 ? n : 1);
    }
    log_line_append_bytes(line, text + start, text_bytes - start);
    append_text(line, "\"");
}

/* name: with its quotes, comma and colon. */
static void append_string(struct log_line *line, const char *name, const char *value)
{
    append_text(line, name);
    if (value != NULL)
        append_quoted(line, value, strlen(value));
    else
        append_text(line, "null");
}

static void append_bytes(struct log_line *line, const char *name, const char *value, size_t n)
{
    append_text(line, name);
    append_quoted(line, value, n);
}

static void append_access(struct log_line *line, const struct log_access *access)
{
    char text[160], status[12] = "null";
    append_string(line, ",\"http.request.method\":", access->method);
    append_bytes(line, ",\"url.path\":", access->path, access->path_bytes);
    if (access->query != NULL)
        append_bytes(line, ",\"url.query\":", access->query, access->query_bytes);
    if (access->status != 0)
        snprintf(status, sizeof(status), "%d", access->status);
    snprintf(text, sizeof(text),
             ",\"http.response.status_code\":%s,\"http.response.body.size\":%" PRIu64
             ",\"duration_ms\":%" PRIu64 ".%03u,\"wait_ms\":%" PRIu64 ".%03u",
             status, access->body_bytes, access->duration_us / 1000,
             (unsigned)(access->duration_us % 1000), access->wait_us / 1000,
             (unsigned)(access->wait_us % 1000));
    append_text(line, text);
}

static void append_thread(struct log_line *line, const char *thread)
{
    char name[THREAD_NAME_BYTES + 1] = "";
    if (thread == NULL) {
        prctl(PR_GET_NAME, name);
        thread = name;
    }
    append_string(line, ",\"thread\":", *thread != '\0' ? thread : NULL);
}

void log_json_append(struct log_line *line, const struct log_origin *origin, const char *text,
                     size_t text_bytes)
{
    const struct log_topic *topic = &origin->topic;
    char time[LOG_TIME_BYTES], pid[32];
    log_line_format_time(&origin->time, time);
    append_string(line, "{\"timestamp\":", time);
    append_string(line, ",\"severity\":", log_line_level_name(origin->level));
    append_bytes(line, ",\"message\":", text, text_bytes);
    snprintf(pid, sizeof(pid), ",\"pid\":%ld", origin->pid);
    append_text(line, pid);
    append_thread(line, topic->thread);
    append_string(line, ",\"request_id\":", topic->request_id);
    append_string(line, ",\"event_id\":", topic->event);
    if (topic->access != NULL)
        append_access(line, topic->access);
    append_text(line, "}");
}
