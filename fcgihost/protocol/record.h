/* FastCGI 1.0 records: headers, replies to management records, reading a stream. Pure. */
#ifndef FCGIHOST_RECORD_H
#define FCGIHOST_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORD_VERSION = 1,
    RECORD_HEADER_BYTES = 8,
    RECORD_HEADER_PADDING = 6, /* the byte that says how much padding there is */
    RECORD_BEGIN_BYTES = 8,    /* content of FCGI_BEGIN_REQUEST */
    RECORD_CONTENT_BYTES =
        65528, /* the most we put into one record: a multiple of 8 needs no padding */
    RECORD_END_BYTES = 2 * RECORD_HEADER_BYTES,
    RECORD_REPLY_BYTES = 80,        /* room for any answer of record_answer and record_put_end */
    RECORD_MANAGEMENT_BYTES = 4096, /* a longer management record is refused */
    RECORD_FLAG_KEEP_CONNECTION = 1,
};

enum record_type {
    RECORD_BEGIN_REQUEST = 1,
    RECORD_ABORT_REQUEST,
    RECORD_END_REQUEST,
    RECORD_PARAMS,
    RECORD_STDIN,
    RECORD_STDOUT,
    RECORD_STDERR,
    RECORD_DATA,
    RECORD_GET_VALUES,
    RECORD_GET_VALUES_RESULT,
    RECORD_UNKNOWN_TYPE,
};

enum record_role { ROLE_RESPONDER = 1, ROLE_AUTHORIZER, ROLE_FILTER };

enum record_protocol_status {
    STATUS_REQUEST_COMPLETE,
    STATUS_CANT_MPX_CONN,
    STATUS_OVERLOADED,
    STATUS_UNKNOWN_ROLE
};

struct record {
    uint8_t version;
    uint8_t type;
    uint16_t id;
    uint16_t content_bytes;
    uint8_t padding_bytes;
};

/* Reads a header of RECORD_HEADER_BYTES bytes (FastCGI 1.0, section 3.3). */
struct record record_parse(const uint8_t *bytes);
/* Header, content and padding. */
size_t record_total_bytes(const struct record *record);

/* Write a record at out and return the byte after it. */
uint8_t *record_put_header(uint8_t *out, enum record_type type, uint16_t id, size_t content_bytes);
uint8_t *record_put_end(uint8_t *out, uint16_t id, enum record_protocol_status status);

/* The answer to a whole management record (section 4): FCGI_GET_VALUES_RESULT, or
 * FCGI_UNKNOWN_TYPE. Each of the three known names is answered once, however often it is asked for.
 * Returns its length. */
size_t record_answer(const struct record *record, const uint8_t *content, unsigned max_connections,
                     uint8_t reply[RECORD_REPLY_BYTES]);

/* One FastCGI name-value length of 1 or 4 bytes (section 3.4). Advances *bytes; -1 if it is cut
 * short. */
long record_get_length(const uint8_t **bytes, const uint8_t *end);

/* The position of a reader in a request's stream (FCGI_STDIN or FCGI_DATA). Zero it, then set id,
 * type and max_connections. */
struct record_stream {
    uint16_t id;
    uint8_t type;
    bool is_ended;
    bool is_ending;           /* its last record has arrived, perhaps without all of its padding */
    bool is_aborted;          /* that is FCGI_ABORT_REQUEST: nothing more of the request follows */
    uint32_t content_left;    /* of the current record of this stream */
    uint32_t skip_left;       /* of padding, or of a record that is ignored */
    unsigned max_connections; /* the answer to FCGI_MAX_CONNS */
};

enum stream_event {
    STREAM_MORE,    /* all bytes are consumed: receive more */
    STREAM_CONTENT, /* step.content is for the application; consume it with record_stream_take */
    STREAM_END,     /* the stream's empty record; is_ended is set */
    STREAM_ABORT,   /* FCGI_ABORT_REQUEST ended it; is_ended and is_aborted are set */
    STREAM_REPLY,   /* send step.reply, then continue */
    STREAM_BAD,     /* not FastCGI: close the connection */
};

struct stream_step {
    size_t used_bytes; /* consumed, before the content */
    const uint8_t *content;
    size_t content_bytes;
    uint8_t reply[RECORD_REPLY_BYTES];
    size_t reply_bytes;
};

/* The next event in bytes. Incomplete headers and management records are not consumed: a buffer of
 * RECORD_HEADER_BYTES + RECORD_MANAGEMENT_BYTES is large enough for any. */
enum stream_event record_stream_next(struct record_stream *stream, const uint8_t *bytes, size_t n,
                                     struct stream_step *step);
void record_stream_take(struct record_stream *stream, size_t content_bytes);
/* How much content bytes holds, at least; *is_ended: the stream's regular end as well. Takes a copy
 * of stream, and so consumes nothing. */
size_t record_stream_count(struct record_stream stream, const uint8_t *bytes, size_t n,
                           bool *is_ended);

/* Where a reader is who takes a sequence of records in pieces of any length. Zeroed, it is in front
 * of a header. */
struct record_border {
    uint8_t header[RECORD_HEADER_BYTES]; /* what has been taken of a header, … */
    size_t header_bytes;                 /* … so many bytes; 0: of none */
    size_t left;                         /* content and padding of the current record, to come */
};

void record_border_pass(struct record_border *border, const uint8_t *bytes, size_t n);
/* How many bytes are sure to belong to the record that has begun; 0: none has. */
static inline size_t record_border_distance(const struct record_border *border)
{
    return border->header_bytes > 0 ? RECORD_HEADER_BYTES - border->header_bytes : border->left;
}

#endif
