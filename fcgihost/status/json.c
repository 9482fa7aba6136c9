/* Writes JSON. */
#include "status/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void put_quoted(struct strbuf *text, const char *string)
{
    strbuf_put(text, "\"");
    while (*string != '\0') {
        unsigned char byte = (unsigned char)*string;
        size_t n = text_utf8_bytes(string);
        bool is_line_end = n == 3 && memcmp(string, "\xe2\x80", 2) == 0 &&
                           ((unsigned char)string[2] & 0xfe) == 0xa8; /* U+2028, U+2029 */
        if (n == 0) {
            strbuf_put(text, "\\ufffd");
            n = 1;
        } else if (is_line_end) {
            strbuf_put(text, string[2] == '\xa8' ? "\\u2028" : "\\u2029");
        } else if (byte < 0x20 || byte == 0x7f || strchr("\"\\<>&'", byte) != NULL) {
            strbuf_format(text, "\\u%04x", byte);
        } else {
            strbuf_put_bytes(text, string, n);
        }
        string += n;
    }
    strbuf_put(text, "\"");
}

static void begin(struct json *json, const char *key)
{
    if (json->needs_comma)
        strbuf_put(json->text, ",");
    json->needs_comma = true;
    if (key != NULL) {
        put_quoted(json->text, key);
        strbuf_put(json->text, ":");
    }
}

static void open_bracket(struct json *json, const char *key, const char *bracket)
{
    begin(json, key);
    strbuf_put(json->text, bracket);
    json->needs_comma = false;
}

static void close_bracket(struct json *json, const char *bracket)
{
    strbuf_put(json->text, bracket);
    json->needs_comma = true;
}

void json_begin_object(struct json *json, const char *key)
{
    open_bracket(json, key, "{");
}

void json_end_object(struct json *json)
{
    close_bracket(json, "}");
}

void json_begin_array(struct json *json, const char *key)
{
    open_bracket(json, key, "[");
}

void json_end_array(struct json *json)
{
    close_bracket(json, "]");
}

void json_string(struct json *json, const char *key, const char *value)
{
    if (value == NULL) {
        json_null(json, key);
        return;
    }
    begin(json, key);
    put_quoted(json->text, value);
}

void json_unsigned(struct json *json, const char *key, unsigned long long value)
{
    begin(json, key);
    strbuf_format(json->text, "%llu", value);
}

void json_number(struct json *json, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(json, key);
        return;
    }
    begin(json, key);
    strbuf_format(json->text, "%.15g", value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    strbuf_put(json->text, value ? "true" : "false");
}

void json_null(struct json *json, const char *key)
{
    begin(json, key);
    strbuf_put(json->text, "null");
}

void json_moment(struct json *json, const char *key, uint64_t moment_us)
{
    time_t seconds = (time_t)(moment_us / 1000000);
    struct tm utc;
    char text[40];
    if (moment_us == 0 || gmtime_r(&seconds, &utc) == NULL) {
        json_null(json, key);
        return;
    }
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(moment_us / 1000 % 1000));
    json_string(json, key, text);
}
