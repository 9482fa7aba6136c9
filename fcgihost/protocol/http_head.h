/* The head of a plain HTTP/1 request, as far as the status needs it. Pure. */
#ifndef FCGIHOST_HTTP_HEAD_H
#define FCGIHOST_HTTP_HEAD_H

#include <stddef.h>
#include <stdint.h>

enum http_verdict { HTTP_MORE, HTTP_WHOLE, HTTP_REFUSE };

struct http_head {
    size_t head_bytes; /* including the empty line */
    const char *method, *target;
    size_t method_bytes, target_bytes;
    const char *reason; /* with HTTP_REFUSE */
};

/* Parses the first n bytes of a connection: "GET /path HTTP/1.1", headers, an empty line (RFC
 * 9112). Headers are skipped. A head longer than max_bytes, or one that can't become valid, is
 * refused as soon as that is seen. The strings point into bytes and have no NUL at their end. */
enum http_verdict http_head_parse(const uint8_t *bytes, size_t n, size_t max_bytes,
                                  struct http_head *head);

#endif
