/* The gate in front of libfcgi: has a complete request head arrived, and is it safe? Pure. */
#ifndef FCGIHOST_GATE_H
#define FCGIHOST_GATE_H

#include "protocol/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gate_verdict {
    GATE_MORE,   /* incomplete: receive more, then examine everything again */
    GATE_WHOLE,  /* the first head_bytes bytes are a complete head, safe for libfcgi */
    GATE_CUT,    /* send the reply if there is one, remove cut_bytes at cut_offset, examine again */
    GATE_REFUSE, /* close the connection; reason says why */
};

struct gate_result {
    size_t head_bytes;
    uint16_t id;
    uint16_t role; /* enum record_role; other roles do not pass */
    bool is_kept;  /* FCGI_KEEP_CONN */
    size_t param_count;
    size_t cut_offset;
    size_t cut_bytes;
    bool is_last; /* with GATE_CUT: close after the reply, as the peer did not ask to keep
                     the connection */
    uint8_t reply[RECORD_REPLY_BYTES];
    size_t reply_bytes;
    const char *reason;
};

struct gate_limits {
    size_t head_bytes;        /* the largest head that is accepted, record headers included */
    unsigned max_connections; /* the answer to FCGI_MAX_CONNS */
    unsigned roles;           /* bit 1 << role for each role that is served */
};

/* Examines the first n bytes of a connection, or those after a finished request.
 *
 * libfcgi must see nothing but FCGI_BEGIN_REQUEST and a complete, terminated FCGI_PARAMS stream: it
 * trusts lengths before the bytes have arrived, ends names at '=' and values at NUL, and does not
 * answer management records safely. Those records, additional requests on the same connection and
 * records of finished requests are removed here, with the reply that the specification asks for. */
enum gate_verdict gate_examine(const uint8_t *bytes, size_t n, const struct gate_limits *limits,
                               struct gate_result *result);

#endif
