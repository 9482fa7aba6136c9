/* Text that grows, for the status formats. Zero it before; text_clear frees it. */
#ifndef FCGIHOST_STATUS_TEXT_H
#define FCGIHOST_STATUS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data;
    size_t used, capacity;
    bool has_failed; /* out of memory: what follows is dropped */
};

void text_put_bytes(struct text *text, const char *bytes, size_t n);
void text_put(struct text *text, const char *string);
__attribute__((format(printf, 2, 3))) void text_format(struct text *text, const char *format, ...);
void text_clear(struct text *text);

/* How many bytes of the string are one valid UTF-8 character; 0: the first byte begins none. */
size_t text_utf8_bytes(const char *string);

#endif
