/* The head of an SCGI request: a netstring of header names and values. Pure. */
#ifndef FCGIHOST_SCGI_HEAD_H
#define FCGIHOST_SCGI_HEAD_H

#include <stddef.h>
#include <stdint.h>

enum scgi_verdict { SCGI_MORE, SCGI_WHOLE, SCGI_REFUSE };

struct scgi_head {
    size_t head_bytes;  /* up to and with the comma */
    const char *pairs;  /* name NUL value NUL name NUL … */
    size_t pairs_bytes; /* ends with a NUL */
    uint64_t content_length;
    const char *reason; /* with SCGI_REFUSE */
};

/* Looks at the first n bytes of a connection. Refuses what the SCGI specification forbids:
 * CONTENT_LENGTH must come first and be a number, SCGI must be "1", names are not empty; and a head
 * of more than max_bytes as soon as its length has been seen. The pairs point into bytes. */
enum scgi_verdict scgi_head_parse(const uint8_t *bytes, size_t n, size_t max_bytes,
                                  struct scgi_head *head);

/* The next pair of pairs: advances *p. Every string is NUL-terminated within the head. */
struct scgi_pair {
    const char *name, *value;
    size_t name_bytes, value_bytes;
};
struct scgi_pair scgi_head_next(const char **p);

#endif
