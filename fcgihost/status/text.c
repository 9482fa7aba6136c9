/* Text that grows. */
#include "status/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 4096 };

static bool make_room(struct text *text, size_t n)
{
    if (text->has_failed)
        return false;
    if (text->used + n <= text->capacity)
        return true;
    size_t capacity = text->capacity > 0 ? text->capacity : FIRST_BYTES;
    while (capacity < text->used + n)
        capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (data == NULL) {
        text->has_failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_put_bytes(struct text *text, const char *bytes, size_t n)
{
    if (n == 0 || !make_room(text, n))
        return;
    memcpy(text->data + text->used, bytes, n);
    text->used += n;
}

void text_put(struct text *text, const char *string)
{
    text_put_bytes(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    if (n > 0 && make_room(text, (size_t)n + 1)) {
        vsnprintf(text->data + text->used, (size_t)n + 1, format, again);
        text->used += (size_t)n;
    }
    va_end(again);
    va_end(arguments);
}

void text_clear(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

/* RFC 3629: neither overlong forms, nor surrogates, nor anything beyond U+10FFFF. */
size_t text_utf8_bytes(const char *string)
{
    const unsigned char *p = (const unsigned char *)string;
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] == 0 || (p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
        return 0;
    return n;
}
