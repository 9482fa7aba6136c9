/* Text that grows, for the status formats. Zero it before; strbuf_clear frees it. */
#ifndef FCGIHOST_STATUS_STRBUF_H
#define FCGIHOST_STATUS_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
    char *data;
    size_t used, capacity;
    bool has_failed; /* out of memory: what follows is dropped */
};

void strbuf_put_bytes(struct strbuf *text, const char *bytes, size_t n);
void strbuf_put(struct strbuf *text, const char *string);
__attribute__((format(printf, 2, 3))) void strbuf_format(struct strbuf *text, const char *format,
                                                         ...);
void strbuf_clear(struct strbuf *text);

/* How many bytes of the string are one valid UTF-8 character; 0: the first byte begins none. */
size_t text_utf8_bytes(const char *string);

#endif
