/* A response's head, checked, in the form that all three protocols use (RFC 3875, section 6), and
 * how far it has been sent. */
#ifndef FCGIHOST_RESPONSE_H
#define FCGIHOST_RESPONSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { RESPONSE_PIECES = 65 }; /* the most that one call of transport_ops.send gets */

struct response {
    char *head; /* "Status: 200 OK\r\nName: value\r\n", Location first, without the empty line */
    size_t head_bytes, head_capacity;
    int status;             /* 0: none was set */
    int64_t content_length; /* as declared, -1 if not */
    uint64_t body_bytes;    /* given by the application, up to content_length */
    uint64_t excess_bytes;  /* given beyond that */
    char *held;             /* for the web server's error log, until the head has left; or NULL */
    size_t held_bytes;
    unsigned retry_after_s; /* for a page with status 503 */
    bool is_hosts_own;      /* a page of the host's, not the application's */
    bool is_head_sent;
    bool is_ended;
    bool is_early;        /* it ended while the application still runs: nothing more may be sent */
    bool is_end_withheld; /* until the request's body has been dropped */
    bool is_all_withheld; /* also head and body, which are both in head */
    bool is_abandoned;    /* the peer aborted the request, and waits only for its end */
    bool is_failed;       /* the application failed after the head was sent: close without an end */
    atomic_bool
        is_peer_gone; /* a send failed, or the peer was seen to have left; any thread sets it */
    atomic_bool is_in_use;  /* see response_enter */
    atomic_bool is_sending; /* a thread is in the transport's send */
};

/* Begins the head anew. status: "200 OK" (PEP 3333: three digits, a space, a reason). NULL, or what
 * is wrong with it, as constant text. */
const char *response_set_status(struct response *response, const char *status, size_t bytes);
/* Adds a header. NULL, or what is wrong with it: a name that is no token (RFC 9110, section 5.1), a
 * control character in the value, a Content-Length that is no number or comes twice, a header that
 * only the web server may set. */
const char *response_add_header(struct response *response, const char *name, size_t name_bytes,
                                const char *value, size_t value_bytes);
/* Inserts room for n bytes into the head at offset at. NULL: out of memory. */
char *response_make_room(struct response *response, size_t at, size_t n);
/* Appends raw bytes to the head. false: out of memory. */
bool response_append(struct response *response, const char *bytes, size_t n);
/* Before another head; held text stays. */
void response_reset(struct response *response);
/* At the end of the request. */
void response_drop_held(struct response *response);
void response_clear(struct response *response);

/* Nothing more can be sent: it has ended, or the peer has gone or aborted it. */
bool response_is_over(const struct response *response);

/* An application may use a request in several threads: a thread must enter before it sends or sets
 * anything here. false: another one is in. Never blocks. */
static inline bool response_enter(struct response *response)
{
    return !atomic_exchange(&response->is_in_use, true);
}

static inline void response_leave(struct response *response)
{
    atomic_store(&response->is_in_use, false);
}

/* Makes the response's head that of a page of plain text, in place of one that was not sent. A 503
 * gets Retry-After: response->retry_after_s, or 1. */
void response_set_page(struct response *response, const char *status, const char *text);

#endif
