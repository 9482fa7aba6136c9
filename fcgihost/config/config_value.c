/* Parses the values of options; knows no option, no file and no command line. */
#include "config/config_value.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* The largest first: what is written back uses the first one that divides. */
static const struct unit time_units[] = {
    {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
#define KIB UINT64_C(1024)
static const struct unit size_units[] = {
    {"G", KIB *KIB *KIB}, {"M", KIB *KIB}, {"K", KIB}, {"", 1}, {NULL, 0}};

__attribute__((format(printf, 2, 3))) static int refuse(struct config_value_reason *reason,
                                                        const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason->text, sizeof(reason->text), format, arguments);
    va_end(arguments);
    return -1;
}

/* NULL if text does not start with a digit; else where the digits end. A number that is too large
 * for 64 bits becomes the largest, which no range includes. */
static const char *parse_digits(const char *text, uint64_t *number)
{
    const char *at = text;

    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*at - '0'), number)) {
            *number = UINT64_MAX;
            at += strspn(at, "0123456789");
            break;
        }
    }
    return at == text ? NULL : at;
}

static bool is_negative_number(const char *text)
{
    return text[0] == '-' && text[1] >= '0' && text[1] <= '9';
}

static int refuse_range(struct config_value_reason *reason, const struct config_value_range *range,
                        enum config_value_unit unit)
{
    static const char *const nouns[] = {"number", "time", "size"};
    char min[24];
    char max[24];

    config_value_format(range->min, unit, min);
    config_value_format(range->max, unit, max);
    return refuse(reason, "is out of range (%s to %s): write a %s within it", min, max,
                  nouns[unit]);
}

static bool is_within(uint64_t number, const struct config_value_range *range)
{
    return number >= range->min && number <= range->max && number != UINT64_MAX;
}

int config_value_parse_integer(const char *text, const struct config_value_range *range,
                               uint64_t *number, struct config_value_reason *reason)
{
    const char *rest = parse_digits(text, number);

    if (is_negative_number(text))
        return refuse_range(reason, range, CONFIG_VALUE_PLAIN);
    if (rest == NULL || *rest != '\0') {
        char min[24];
        char max[24];

        config_value_format(range->min, CONFIG_VALUE_PLAIN, min);
        config_value_format(range->max, CONFIG_VALUE_PLAIN, max);
        return refuse(reason, "is not a number: write a whole number from %s to %s", min, max);
    }
    return is_within(*number, range) ? 0 : refuse_range(reason, range, CONFIG_VALUE_PLAIN);
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

/* rest is the unit, NULL if there was no number before it. */
static int scale(const char *text, const char *rest, const struct unit *unit, uint64_t *number)
{
    if (rest == NULL || unit == NULL || is_negative_number(text))
        return -1;
    if (__builtin_mul_overflow(*number, unit->factor, number))
        *number = UINT64_MAX;
    return 0;
}

int config_value_parse_time(const char *text, const struct config_value_range *range,
                            uint64_t *milliseconds, struct config_value_reason *reason)
{
    const char *rest = parse_digits(text, milliseconds);
    const struct unit *unit = NULL;

    if (rest != NULL)
        unit = find_unit(time_units, *rest == '\0' ? "s" : rest);
    if (scale(text, rest, unit, milliseconds) < 0) {
        if (is_negative_number(text))
            return refuse_range(reason, range, CONFIG_VALUE_TIME);
        return refuse(
            reason, rest == NULL
                        ? "is not a time: write a whole number with ms, s, m or h, like 30s"
                        : "has an unknown unit: write a whole number with ms, s, m or h, like 30s");
    }
    return is_within(*milliseconds, range) ? 0 : refuse_range(reason, range, CONFIG_VALUE_TIME);
}

int config_value_parse_size(const char *text, const struct config_value_range *range,
                            uint64_t *bytes, struct config_value_reason *reason)
{
    const char *rest = parse_digits(text, bytes);
    const struct unit *unit = NULL;

    if (rest != NULL) {
        char name[2] = {*rest, '\0'};

        if (name[0] >= 'a' && name[0] <= 'z')
            name[0] = (char)(name[0] - 'a' + 'A');
        unit = *rest == '\0' || rest[1] == '\0' ? find_unit(size_units, name) : NULL;
    }
    if (scale(text, rest, unit, bytes) < 0) {
        if (is_negative_number(text))
            return refuse_range(reason, range, CONFIG_VALUE_SIZE);
        return refuse(
            reason,
            rest == NULL
                ? "is not a size: write a whole number, alone or with K, M or G, "
                  "like 64K"
                : "has an unknown unit: write a whole number, alone or with K, M or G, like 64K");
    }
    return is_within(*bytes, range) ? 0 : refuse_range(reason, range, CONFIG_VALUE_SIZE);
}

int config_value_parse_octal(const char *text, const struct config_value_range *range,
                             unsigned *mode, struct config_value_reason *reason)
{
    const char *at = text;
    uint64_t number = 0;

    for (; *at >= '0' && *at <= '7'; at++)
        if (number <= range->max)
            number = number * 8 + (uint64_t)(*at - '0');
    if (at == text || *at != '\0')
        return refuse(reason, "is not an octal mode: write digits from 0 to 7, like 0660");
    if (!is_within(number, range)) {
        return refuse(reason, "is out of range (%04o to %04o): write an octal mode within it",
                      (unsigned)range->min, (unsigned)range->max);
    }
    *mode = (unsigned)number;
    return 0;
}

int config_value_parse_switch(const char *text, bool *is_on, struct config_value_reason *reason)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", NULL};
    unsigned place;

    if (config_value_parse_word(text, words, &place, reason) < 0)
        return refuse(reason, "is not a switch: write yes or no (true, false, on and off also do)");
    *is_on = place % 2 == 1;
    return 0;
}

int config_value_parse_word(const char *text, const char *const *words, unsigned *place,
                            struct config_value_reason *reason)
{
    int used;

    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *place = i;
            return 0;
        }
    }
    refuse(reason, "is not known: write one of ");
    used = (int)strlen(reason->text);
    for (unsigned i = 0; words[i] != NULL && used < (int)sizeof(reason->text); i++) {
        used += snprintf(reason->text + used, sizeof(reason->text) - (size_t)used, "%s%s",
                         i == 0 ? "" : ", ", words[i]);
    }
    return -1;
}

/* Bytes above 127 pass: Python's names may hold any letter, and only Python knows which are. */
static const char *skip_name(const char *text)
{
    const char *at = text;

    if (*at >= '0' && *at <= '9')
        return at;
    while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
           *at == '_' || (unsigned char)*at >= 0x80)
        at++;
    return at;
}

/* Names with dots between them; text itself if it is none. */
static const char *skip_names(const char *text)
{
    const char *end = skip_name(text);

    while (end != text && *end == '.') {
        const char *next = skip_name(end + 1);
        if (next == end + 1)
            return text;
        end = next;
    }
    return end;
}

int config_value_check_wsgi(const char *text, struct config_value_reason *reason)
{
    const char *at = text;
    const char *end;

    if (strchr(text, '/') != NULL) {
        return refuse(reason, "is a path, not package.module:callable: write a module's name, or "
                              "give the file as script");
    }
    if (strchr(text, ':') == NULL) {
        return refuse(reason, "is not package.module:callable: add \":\" and the callable's name, "
                              "like :application");
    }
    if (strstr(text, ".py:") != NULL)
        return refuse(reason, "names a file, not a module: leave out \".py\"");
    end = skip_names(at);
    if (end != at && *end == ':') {
        at = end + 1;
        end = skip_names(at);
        if (end != at && *end == '\0')
            return 0;
    }
    return refuse(reason, "is not package.module:callable: write Python names, with dots "
                          "between them");
}

int config_value_check_import(const char *text, struct config_value_reason *reason)
{
    const char *end = skip_names(text);

    if (strchr(text, '/') != NULL || strstr(text, ".py:") != NULL)
        return refuse(reason, "names a file, not a module: write the name used to import it");
    if (end != text && *end == ':') {
        text = end + 1;
        end = skip_names(text);
    }
    if (end != text && *end == '\0')
        return 0;
    return refuse(reason, "is neither module nor module:function: write Python names, with dots "
                          "between them");
}

int config_value_check_name(const char *text, struct config_value_reason *reason)
{
    const char *end = skip_name(text);

    if (end == text || *end != '\0') {
        return refuse(reason,
                      "is not a Python name: write letters, digits and _, like application");
    }
    return 0;
}

static bool has_segment(const char *path, const char *segment)
{
    size_t length = strlen(segment);

    for (const char *at = path; (at = strchr(at, '/')) != NULL;) {
        at++;
        if (strncmp(at, segment, length) == 0 && (at[length] == '/' || at[length] == '\0'))
            return true;
    }
    return false;
}

int config_value_parse_mount(const char *text, char *normal, struct config_value_reason *reason)
{
    size_t length = strlen(text);

    if (text[0] != '/') {
        return refuse(reason,
                      "does not start with \"/\": write a URL prefix like /shop, or / for root");
    }
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return refuse(reason, "contains a control character: write a URL prefix like /shop");
        else if (*at == '?' || *at == '#')
            return refuse(reason,
                          "contains \"?\" or \"#\", which end a URL's path: write the path alone");
    while (length > 0 && text[length - 1] == '/')
        length--;
    memcpy(normal, text, length);
    normal[length] = '\0';
    if (strstr(normal, "//") != NULL)
        return refuse(reason, "contains \"//\": write single slashes");
    if (has_segment(normal, ".") || has_segment(normal, ".."))
        return refuse(reason, "contains a segment \".\" or \"..\": write the prefix without it");
    return 0;
}

int config_value_parse_extensions(const char *text, char *normal,
                                  struct config_value_reason *reason)
{
    char *end = normal;

    for (const char *at = text + strspn(text, " \t"); *at != '\0'; at += strspn(at, " \t")) {
        size_t length = strcspn(at, " \t");

        if (at[0] != '.' || length < 2 || memchr(at, '/', length) != NULL ||
            memchr(at, ',', length) != NULL) {
            return refuse(reason, "is not a list of extensions: write each with its dot, and "
                                  "spaces between them, like .py .wsgi");
        }
        if (end != normal)
            *end++ = ' ';
        memcpy(end, at, length);
        end += length;
        at += length;
    }
    *end = '\0';
    return end != normal ? 0 : refuse(reason, "contains no extension: write one, like .wsgi");
}

void config_value_format(uint64_t number, enum config_value_unit unit, char text[24])
{
    const struct unit *at = unit == CONFIG_VALUE_TIME ? time_units : size_units;

    if (unit == CONFIG_VALUE_PLAIN || number == 0) {
        snprintf(text, 24, "%llu", (unsigned long long)number);
        return;
    }
    while (number % at->factor != 0)
        at++;
    snprintf(text, 24, "%llu%s", (unsigned long long)(number / at->factor), at->name);
}

void config_value_quote(const char *text, char quoted[CONFIG_VALUE_QUOTED_SIZE])
{
    size_t used = 0;

    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;

        if (used + sizeof("\\xNN...") > CONFIG_VALUE_QUOTED_SIZE) {
            memcpy(quoted + used, "...", 3);
            used += 3;
            break;
        }
        if (byte < 0x20 || byte == 0x7f) {
            used +=
                (size_t)snprintf(quoted + used, CONFIG_VALUE_QUOTED_SIZE - used, "\\x%02x", byte);
        } else {
            quoted[used++] = *at;
        }
    }
    quoted[used] = '\0';
}

enum { DISTANCE_LENGTH_MAX = 63 };

static unsigned smaller(unsigned one, unsigned other)
{
    return one < other ? one : other;
}

unsigned config_value_distance(const char *one, const char *other)
{
    unsigned table[3][DISTANCE_LENGTH_MAX + 1];
    size_t rows = strlen(one);
    size_t columns = strlen(other);

    if (rows > DISTANCE_LENGTH_MAX || columns > DISTANCE_LENGTH_MAX)
        return strcmp(one, other) == 0 ? 0 : DISTANCE_LENGTH_MAX + 1;
    for (size_t column = 0; column <= columns; column++)
        table[0][column] = (unsigned)column;
    for (size_t row = 1; row <= rows; row++) {
        unsigned *now = table[row % 3];
        const unsigned *above = table[(row + 2) % 3];
        const unsigned *above_that = table[(row + 1) % 3];

        now[0] = (unsigned)row;
        for (size_t column = 1; column <= columns; column++) {
            unsigned is_other = one[row - 1] != other[column - 1];

            now[column] =
                smaller(above[column - 1] + is_other, smaller(above[column], now[column - 1]) + 1);
            if (row > 1 && column > 1 && one[row - 1] == other[column - 2] &&
                one[row - 2] == other[column - 1])
                now[column] = smaller(now[column], above_that[column - 2] + 1);
        }
    }
    return table[rows % 3][columns];
}

char *config_value_trim(char *text)
{
    size_t length;

    while (isspace((unsigned char)*text))
        text++;
    length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}
