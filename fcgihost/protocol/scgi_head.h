/* The head of an SCGI request: a netstring of header names and values. Pure. */
#ifndef FCGIHOST_SCGI_HEAD_H
#define FCGIHOST_SCGI_HEAD_H

#include <stddef.h>
#include <stdint.h>

enum scgi_verdict { SCGI_MORE, SCGI_WHOLE, SCGI_REFUSE };

struct scgi_head {
    size_t head_bytes;  /* including the comma */
    const char *pairs;  /* name NUL value NUL name NUL … */
    size_t pairs_bytes; /* ends with a NUL */
    uint64_t content_length;
    const char *reason; /* with SCGI_REFUSE */
};

/* Parses the first n bytes of a connection. Refuses what the SCGI specification forbids
 * (CONTENT_LENGTH must come first and be a number, SCGI must be "1", names must not be empty), and
 * a head longer than max_bytes as soon as its length is known. The pairs point into bytes. */
enum scgi_verdict scgi_head_parse(const uint8_t *bytes, size_t n, size_t max_bytes,
                                  struct scgi_head *head);

/* Returns the pair at *p and advances *p; after SCGI_WHOLE every string ends within the head. */
struct scgi_pair {
    const char *name, *value;
    size_t name_bytes, value_bytes;
};
struct scgi_pair scgi_head_next(const char **p);

#endif
