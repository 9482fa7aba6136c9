/* Text that grows. */
#include "status/strbuf.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 4096 };

static bool make_room(struct strbuf *text, size_t n)
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

void strbuf_put_bytes(struct strbuf *text, const char *bytes, size_t n)
{
    if (n == 0 || !make_room(text, n))
        return;
    memcpy(text->data + text->used, bytes, n);
    text->used += n;
}

void strbuf_put(struct strbuf *text, const char *string)
{
    strbuf_put_bytes(text, string, strlen(string));
}

void strbuf_format(struct strbuf *text, const char *format, ...)
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

void strbuf_clear(struct strbuf *text)
{
    free(text->data);
    *text = (struct strbuf){0};
}

size_t text_utf8_bytes(const char *string)
{
    return *string != '\0' ? utf8_bytes(string, strnlen(string, 4)) : 0;
}
