/* Writes JSON (RFC 8259): the commas, the quotes, every string escaped. */
#ifndef FCGIHOST_STATUS_JSON_H
#define FCGIHOST_STATUS_JSON_H

#include "status/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct json {
    struct strbuf *text;
    bool needs_comma;
};

/* key: NULL for an element of an array, and for the outermost value. Keys are constants of ours. */
void json_begin_object(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_begin_array(struct json *json, const char *key);
void json_end_array(struct json *json);
/* NULL becomes null. Bytes that are not UTF-8 become U+FFFD. What HTML gives a meaning is escaped
 * as well, so that the text may stand in a page. */
void json_string(struct json *json, const char *key, const char *value);
void json_unsigned(struct json *json, const char *key, unsigned long long value);
/* NaN and infinity, which JSON does not have, become null: so NAN says that a value is unknown. */
void json_number(struct json *json, const char *key, double value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* A moment, in microseconds since 1970: "2026-11-28T13:40:24.531Z" (RFC 3339). 0: null. */
void json_moment(struct json *json, const char *key, uint64_t moment_us);

#endif
