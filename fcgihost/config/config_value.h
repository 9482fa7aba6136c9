/* The values of options as people write them: numbers, times, sizes, names, prefixes. Pure. */
#ifndef FCGIHOST_CONFIG_VALUE_H
#define FCGIHOST_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIG_VALUE_REASON_SIZE = 256, CONFIG_VALUE_QUOTED_SIZE = 160 };

/* Why a value is refused and what to write instead, worded to follow the quoted value: is out of
 * range (1 to 1024): write a number within it */
struct config_value_reason {
    char text[CONFIG_VALUE_REASON_SIZE];
};

/* Both ends included. */
struct config_value_range {
    uint64_t min;
    uint64_t max;
};

/* All of these: 0 with the result set, or -1 with the reason; the whole text must be the value.
 * No pointer may be NULL. */
int config_value_parse_integer(const char *text, const struct config_value_range *range,
                               uint64_t *number, struct config_value_reason *reason);
/* Milliseconds. A number without a unit means seconds. */
int config_value_parse_time(const char *text, const struct config_value_range *range,
                            uint64_t *milliseconds, struct config_value_reason *reason);
/* Bytes. K, M and G are powers of 1024; a number without a unit means bytes. */
int config_value_parse_size(const char *text, const struct config_value_range *range,
                            uint64_t *bytes, struct config_value_reason *reason);
/* A file mode: octal with or without a leading 0, as chmod(1) takes it. */
int config_value_parse_octal(const char *text, const struct config_value_range *range,
                             unsigned *mode, struct config_value_reason *reason);
int config_value_parse_switch(const char *text, bool *is_on, struct config_value_reason *reason);
/* The place of text in words, which ends with NULL. */
int config_value_parse_word(const char *text, const char *const *words, unsigned *place,
                            struct config_value_reason *reason);
/* "package.module:callable" */
int config_value_check_wsgi(const char *text, struct config_value_reason *reason);
/* "package.module" or "package.module:function" */
int config_value_check_import(const char *text, struct config_value_reason *reason);
/* One Python name, without a dot. */
int config_value_check_name(const char *text, struct config_value_reason *reason);
/* A URL prefix without its trailing slashes, so that "/" becomes "". normal has room for
 * strlen(text) + 1. */
int config_value_parse_mount(const char *text, char *normal, struct config_value_reason *reason);

/* Ends of files' names, ".py .wsgi", with one space between. normal has room for strlen(text) + 1.
 */
int config_value_parse_extensions(const char *text, char *normal,
                                  struct config_value_reason *reason);

/* "1ms", "24h", "64K": the shortest way to write a number of that kind, for messages. */
enum config_value_unit { CONFIG_VALUE_PLAIN, CONFIG_VALUE_TIME, CONFIG_VALUE_SIZE };
void config_value_format(uint64_t number, enum config_value_unit unit, char text[24]);

/* What stands in a message for text from outside: one line, control characters escaped, cut with
 * "..." where it is long. */
void config_value_quote(const char *text, char quoted[CONFIG_VALUE_QUOTED_SIZE]);

/* Edit distance: how many letters must be added, dropped, changed or swapped with their neighbour
 * to turn one text into the other. */
unsigned config_value_distance(const char *one, const char *other);

/* Cuts white space off both ends, in place. */
char *config_value_trim(char *text);

#endif
