/* One request, independent of the protocol: its parameters, its body, its response. */
#ifndef FCGIHOST_REQUEST_H
#define FCGIHOST_REQUEST_H

#include "base/arena.h"
#include "base/spool.h"
#include "http/response.h"
#include "http/transport.h"
#include "net/input.h"
#include "net/socket_io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    REQUEST_BUCKETS = 256,
    REQUEST_STATE_BYTES = 256,             /* for the transport's private state */
    REQUEST_RATE_MS = SOCKET_RATE_MS,      /* min_rate is measured over periods of this length */
    REQUEST_DRAIN_PIECE_BYTES = 1 << 20,   /* dropped by one call at most: others wait */
    REQUEST_TAKEN_PIECE_BYTES = 256 << 10, /* most that one call receives into request->body */
    REQUEST_BURST_TIMES = 16,              /* times memory_max of a body may be in memory, … */
    REQUEST_PAUSE_MS = 100,                /* … until nothing has arrived for so long */
    REQUEST_DOUBT_MS = 1000,               /* how long a body that is unlikely may take to begin */
    /* Some web servers stop sending the body once they have the response's head, and wait for its
     * end. */
    REQUEST_DRAIN_WITHHELD_MS = 2000,
    REQUEST_PREFETCH_BYTES = 64 << 10, /* of a body: as much as a thread's buffer holds */
};

struct path_route;

/* A CGI meta-variable (RFC 3875, section 4.1) or a header. Both strings end with NUL. */
struct param {
    const char *name, *value;
    uint32_t name_bytes, value_bytes;
    uint32_t hash;
    uint32_t next;    /* in its bucket, 1 + index; 0 ends it */
    const char *sent; /* the value that the web server sent, if it was replaced */
    bool is_added;    /* the web server did not send it */
    bool is_dropped;  /* never shown to the application */
    char *joined;     /* the value, if it was merged from several */
    uint32_t joined_capacity;
};

enum body_failure {
    BODY_FINE,
    BODY_WAS_CUT,
    BODY_TOO_LARGE,
    BODY_HAS_NO_ROOM, /* in neither memory nor temporary files */
};

/* Whether the body is received into request->body before a thread gets the request. */
enum intake {
    INTAKE_NONE,  /* no: there is none, all of it is in the input, or the application streams it */
    INTAKE_BEGUN, /* yes: what has arrived so far is in request->body */
    INTAKE_DONE,  /* all of it is in request->body, or it failed: see body_failure */
};

/* The state of draining the unread rest of the body. */
enum drain_state {
    DRAIN_WAIT,   /* its end has not arrived */
    DRAIN_DONE,   /* the whole body has been received */
    DRAIN_FAILED, /* it was cut short, is too long, or too slow */
};

/* By clock_us(); 0: not yet. */
struct request_times {
    uint64_t ready_us; /* enough had arrived to serve it, and a thread of the host saw that */
    uint64_t taken_us; /* a worker took it */
    uint64_t begun_us; /* the application, or the host's own answer, began */
    uint64_t ended_us; /* its response was sent */
};

/* What the peer has not yet taken of the response, in the wire format: see connection/sender.h.
 * Guarded by the sender's mutex, except the first three members. */
struct outbox {
    struct sender *sender; /* NULL: sending blocks until the peer takes everything */
    atomic_bool is_used;   /* everything that is sent now goes into bytes; written by the worker */
    unsigned patience_ms;  /* how long to wait for the peer before that; written by the worker */
    struct spool bytes;
    uint32_t slot, serial;        /* its slot in the sender, if is_registered */
    bool is_registered, is_armed; /* is_armed: the sender gets an event when the peer takes more */
    bool is_finished;             /* by the application: give the connection back once empty */
    bool is_cut;                  /* the peer has aborted the request: the rest was dropped */
    bool is_shut_due;             /* shut down the sending side once bytes is empty */
    int error;                    /* errno of the failure that ended it; 0: none */
    uint64_t lost_bytes;          /* how many were unsent when it failed */
    uint64_t taken_bytes;         /* taken by the peer so far */
    uint64_t deadline_ms;         /* the peer must have taken something by then */
    uint64_t rate_begin_ms, rate_end_ms; /* the current period, which goes on while it is unsure */
    uint64_t rate_bytes;                 /* taken_bytes at its start */
    uint64_t rate_queued, queued;        /* socket_queued() then, and when it was looked at last */
};

struct request {
    const struct transport_ops *ops;
    struct connection *connection; /* NULL for plain CGI */
    struct input *input;
    int fd;
    uint64_t io_timeout_ms;
    /* When reading the body stops waiting (clock_ms()); 0: never. Set by the thread that serves,
     * while another one of the application may be reading. */
    atomic_ullong wait_end_ms;
    uint64_t min_rate;       /* bytes per second that the peer must send or take; 0: any */
    struct socket_pace pace; /* of the peer, while a thread waits for it to take the response */
    struct socket_wait *send_wait;  /* set while a send may block with the GIL held */
    const char *id;                 /* use request_id(); NULL: not computed yet */
    unsigned role;                  /* enum record_role */
    const struct path_route *route; /* chosen by meta_prepare; NULL: not yet */
    bool is_question;               /* meta_asks_authorizer: only an authorizer may serve it */
    bool is_keep_wanted;            /* the peer asked to keep the connection */
    atomic_bool must_close;         /* the connection can't be reused; set by any thread */
    bool is_head;                   /* its method is HEAD: no body is sent back */

    struct param *params;
    size_t param_count, param_capacity;
    uint32_t buckets[REQUEST_BUCKETS];
    struct arena arena; /* memory that is freed with the request */

    int64_t content_length; /* -1: unknown, read to the end of the stream */
    uint64_t body_limit;    /* 0: none */
    uint64_t body_bytes;    /* read so far */
    enum intake intake;
    struct spool body;       /* received ahead of the application, and not read yet */
    uint64_t taken_bytes;    /* how much has been received into body */
    uint64_t came_ms;        /* when some of it last arrived, by clock_ms() */
    uint64_t read_waited_ms; /* how long its reader has waited for the peer in this period, … */
    uint64_t read_before_bytes; /* … before which so much had come */
    bool is_body_ended;
    bool is_body_here;     /* all of it had arrived when a thread got the request */
    bool is_data;          /* the body is FCGI_DATA now */
    bool is_aborted;       /* by the peer, before the end of the body: nothing more of it follows */
    uint64_t doubt_end_ms; /* when a body that is unlikely, and has not begun, is taken to be empty,
                              by clock_ms(); 0: it is waited for */
    enum drain_state drain;
    uint64_t dropped_bytes;           /* by request_drain_body */
    uint64_t peer_deadline_ms;        /* when more of the body must have arrived; 0: not set yet */
    uint64_t rate_end_ms, rate_bytes; /* end of the rate's period, bytes at its start */
    enum body_failure body_failure;
    int body_errno;

    struct outbox outbox;
    atomic_ullong logged_bytes; /* by the application, written or dropped (http/request_log.h) */
    void *after; /* work for Python once the response was sent (embed/py_wsgi.h), or NULL */
    struct request_times times;
    struct response response;
    uint64_t looked_ms; /* when request_is_unwanted last checked; 0: never */
    bool is_probed;     /* request_has_peer_left has turned on TCP keepalive probes */
    _Alignas(16) unsigned char state[REQUEST_STATE_BYTES];
};

/* NULL: out of memory. request_reset makes it reusable and keeps its allocations. */
struct request *request_new(void);
void request_reset(struct request *request);
void request_free(struct request *request);

/* Adds a parameter; the strings must live as long as the request. A repeated name is merged:
 * HTTP_COOKIE with "; ", other HTTP_* except HTTP_HOST with ", "; of anything else the last one
 * wins. 0, or -1. */
int request_add_param(struct request *request, const char *name, size_t name_bytes,
                      const char *value, size_t value_bytes);
/* Sets or replaces a parameter; value must live as long as the request. 0, or -1. */
int request_set_param(struct request *request, const char *name, const char *value);

/* So that the compiler computes hashes of names that are literals. */
#define REQUEST_INLINE __attribute__((always_inline)) static inline

REQUEST_INLINE uint64_t request_load_8(const char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

REQUEST_INLINE uint32_t request_load_4(const char *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

enum {
    REQUEST_HASH_WORDS = 8, /* of a name, until the keys repeat */
    REQUEST_HASH_KEYS = 2 + 2 * (REQUEST_HASH_WORDS + 2) + 2,
};

/* Random after request_seed_hash(), and read-only from then on. */
extern uint64_t request_hash_keys[REQUEST_HASH_KEYS];

/* Call it before there are requests or threads. Clients choose the names of headers, and must not
 * be able to choose names with equal hashes. 0, or -1 with errno. */
int request_seed_hash(void);

REQUEST_INLINE uint64_t request_hash_word(uint64_t word, unsigned key)
{
    return (request_hash_keys[key] + (uint32_t)word) * (request_hash_keys[key + 1] + (word >> 32));
}

/* The hash of a name, eight bytes at a time; the last words may overlap. To somebody who does not
 * know the keys, two names have equal hashes with a probability of 2^-32 (multilinear hashing:
 * Lemire and Kaser, Strongly universal string hashing is fast, 2014). Inlined so that the compiler
 * loads the words of literals itself: a bytewise hash of some thirty such names and 26 parameters
 * took 1 µs a request. */
REQUEST_INLINE uint32_t request_hash(const char *name, size_t n)
{
    uint64_t hash = request_hash_keys[0] + request_hash_keys[1] * n;
    unsigned key = 2;
    for (; n > 16; name += 8, n -= 8) {
        hash += request_hash_word(request_load_8(name), key);
        key += 2;
        if (key == 2 + 2 * REQUEST_HASH_WORDS) {
            hash = request_hash_word(hash, REQUEST_HASH_KEYS - 2);
            key = 2;
        }
    }
    uint64_t first, last;
    if (n >= 8) {
        first = request_load_8(name);
        last = request_load_8(name + (n - 8));
    } else if (n >= 4) {
        first = request_load_4(name);
        last = request_load_4(name + (n - 4));
    } else {
        first = n > 0 ? (unsigned char)name[0] | (uint64_t)(unsigned char)name[n / 2] << 8 : 0;
        last = n > 0 ? (unsigned char)name[n - 1] : 0;
    }
    hash += request_hash_word(first, key) + request_hash_word(last, key + 2);
    return (uint32_t)(hash >> 32);
}

const struct param *request_find_hashed(const struct request *request, const char *name,
                                        size_t name_bytes, uint32_t hash);
/* The parameter, or NULL if it is missing or dropped. */
REQUEST_INLINE const struct param *request_find(const struct request *request, const char *name)
{
    size_t n = strlen(name);
    return request_find_hashed(request, name, n, request_hash(name, n));
}
/* Its value, or NULL. */
REQUEST_INLINE const char *request_value(const struct request *request, const char *name)
{
    const struct param *param = request_find(request, name);
    return param != NULL ? param->value : NULL;
}
/* Its value as a number; -1 if it is missing, empty, or not a number of at most 18 digits. */
int64_t request_number(const struct request *request, const char *name);

/* Of its peer, for socket_send_paced(). */
static inline struct socket_pace *request_pace(struct request *request)
{
    request->pace.timeout_ms = request->io_timeout_ms;
    request->pace.min_rate = request->min_rate;
    return &request->pace;
}

enum { REQUEST_TEXT_BYTES = 1024 };
/* "GET /path" for messages, one line, cut if long; without the query, which may be secret. */
void request_describe(const struct request *request, char *text, size_t text_bytes);

/* Receives the body into request->body: memory_max bytes of memory, more while it arrives
 * without a pause, then a file of the store; call it again to go on. Never waits for the peer.
 * true: finished, intake is INTAKE_DONE. false: call it again when more arrives, at
 * peer_deadline_ms, and at request_pause_end. */
bool request_take_in_body(struct request *request, struct spool_store *store, size_t memory_max);
/* When what is in memory beyond memory_max goes to the file, or the body is taken to be empty,
 * unless more arrives before, by clock_ms(). 0: neither. */
uint64_t request_pause_end(const struct request *request);
/* Reads up to n bytes of the body, never beyond CONTENT_LENGTH; blocks if none have arrived, for at
 * most io_timeout_ms, and no longer for a peer that is below min_rate in REQUEST_RATE_MS of
 * waiting. Returns their number, 0 at the end, or -1: body_failure says why, BODY_FINE meaning that
 * wait_end_ms has passed and the body can still be read. Without the GIL. */
long request_read_body(struct request *request, void *buffer, size_t n);
/* As request_read_body, but without consuming: request_skip_body does that. */
long request_peek_body(struct request *request, const uint8_t **content);
void request_skip_body(struct request *request, size_t n);
/* From now on the body is FCGI_DATA, the file that a filter reads (FastCGI 1.0, section 6.4); the
 * unread rest of FCGI_STDIN is dropped. Errors are reported by the next read. */
void request_begin_data(struct request *request);
/* Is the peer known to have gone, or to have aborted the request? Never blocks. */
bool request_is_peer_gone(const struct request *request);
/* Has the peer closed the connection, or aborted the request? A peer that has only shut down its
 * sending side has not. Never blocks. For another thread, while the request runs in the
 * application. */
bool request_has_peer_left(struct request *request);
/* For an application that keeps producing: can it stop, because nothing more of the response will
 * be sent? Checks the connection only every LOOK_MS, and notes the result in the response.
 * is_silent: nothing is being sent that would show that the peer has gone. Never blocks. The caller
 * has entered (response_enter). */
bool request_is_unwanted(struct request *request, bool is_silent);
/* Has the application read the whole body, and has its end arrived? Consumes that end, and no
 * content. Never blocks. */
bool request_has_read_body(struct request *request);
/* Can n bytes be read without blocking? For callers that release the GIL only if not. */
bool request_is_body_at_hand(struct request *request, size_t n);
/* Has the whole body arrived, so that the peer has nothing more to send? Not known, so false, while
 * another thread of the application is reading. */
bool request_is_body_received(struct request *request);
/* Drops what has arrived of the unread rest of the body. Never blocks. On DRAIN_WAIT call it again
 * when more arrives, and at peer_deadline_ms; on DRAIN_FAILED the connection can't be reused. */
enum drain_state request_drain_body(struct request *request);
/* The application will read no more: drops what arrives while the response is being sent. */
void request_drop_body(struct request *request);

#endif
