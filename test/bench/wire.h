/* FastCGI, SCGI and HTTP as a client of the benchmark sees them: builds the one request that is
 * sent again and again, and checks every byte of what comes back. Pure: no sockets. */
#ifndef FCGIHOST_BENCH_WIRE_H
#define FCGIHOST_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_protocol { WIRE_FASTCGI, WIRE_SCGI, WIRE_HTTP };

/* One request and the response that it must get: this status and these bytes, no others. */
struct wire_exchange {
    enum wire_protocol protocol;
    bool is_kept; /* asks the peer to keep the connection */
    const char *path;
    size_t upload_bytes; /* above 0 it is a POST */
    const char *expected_body;
    size_t expected_bytes;
    long expected_status;
    bool is_rich; /* 30 headers and 12 cookies, as a browser sends them through proxies */
};

/* The whole request as sent; the caller frees it. NULL: no memory. */
char *wire_build_request(const struct wire_exchange *exchange, size_t *request_bytes);

enum wire_verdict {
    WIRE_MORE,
    WIRE_WHOLE, /* and as expected */
    WIRE_WRONG, /* problem says why */
};

enum { WIRE_HEAD_BYTES = 4096 };

/* A response that is being received; zero it before the first byte. */
struct wire_response {
    const char *problem;
    size_t received_bytes;
    /* FastCGI: the record that is being received */
    uint8_t header[8], end_body[8];
    size_t header_bytes, content_left, padding_left, end_bytes;
    bool has_ended;
    /* what the records carry, or all of it: a head and a body */
    char head[WIRE_HEAD_BYTES];
    size_t head_bytes, body_bytes;
    bool is_in_body;
};

/* The next n bytes from the peer. */
enum wire_verdict wire_receive(struct wire_response *response, const struct wire_exchange *exchange,
                               const char *bytes, size_t n);

/* The peer has closed its side: only now is an SCGI response whole. */
enum wire_verdict wire_receive_end(struct wire_response *response,
                                   const struct wire_exchange *exchange);

#endif
