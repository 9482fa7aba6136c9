/* The gate before libfcgi: is what arrived a request's head, whole and safe? Pure. */
#ifndef FCGIHOST_GATE_H
#define FCGIHOST_GATE_H

#include "protocol/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gate_verdict {
    GATE_MORE,   /* receive more, then look again at everything */
    GATE_WHOLE,  /* the first head_bytes bytes are one head, safe for libfcgi */
    GATE_CUT,    /* send the reply if there is one, remove cut_bytes at cut_offset, look again */
    GATE_REFUSE, /* close; reason says why */
};

struct gate_result {
    size_t head_bytes;
    uint16_t id;
    uint16_t role; /* enum record_role: the gate lets no other pass */
    bool is_kept;  /* FCGI_KEEP_CONN */
    size_t param_count;
    size_t cut_offset;
    size_t cut_bytes;
    bool is_last; /* with GATE_CUT: close after the reply, the peer did not ask to keep the
                     connection */
    uint8_t reply[RECORD_REPLY_BYTES];
    size_t reply_bytes;
    const char *reason;
};

struct gate_limits {
    size_t head_bytes;        /* a head of more bytes, record headers included, is refused */
    unsigned max_connections; /* the answer to FCGI_MAX_CONNS */
    unsigned roles;           /* bit 1 << role for each role that is served */
};

/* Looks at the first n bytes of a connection, or of what follows a finished request.
 *
 * libfcgi must meet nothing but FCGI_BEGIN_REQUEST, FCGI_PARAMS and their end: it believes lengths
 * before the bytes are there, ends names at '=' and values at NUL, and must not be asked to answer
 * management records. Those, requests that come beside the first one, and records of requests that
 * are over are cut out here, with the answer the specification wants. */
enum gate_verdict gate_examine(const uint8_t *bytes, size_t n, const struct gate_limits *limits,
                               struct gate_result *result);

#endif
