/* A response's head and body, checked, in the form that all three protocols want (RFC 3875, section
 * 6). */
#ifndef FCGIHOST_RESPONSE_H
#define FCGIHOST_RESPONSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { RESPONSE_PIECES = 65 }; /* what a transport gets at most in one call of send */

struct response {
    char *head; /* "Status: 200 OK\r\nName: value\r\n", Location first, without the empty line */
    size_t head_bytes, head_capacity;
    int status;             /* 0: none was set */
    int64_t content_length; /* as declared, -1 if not */
    uint64_t body_bytes;    /* what the application gave, up to content_length */
    uint64_t excess_bytes;  /* what it gave beyond */
    char *held;             /* for the web server's error log, until the head has left; or NULL */
    size_t held_bytes;
    unsigned retry_after_s; /* for a page with status 503 */
    bool is_head_sent;
    bool is_ended;
    bool is_early;        /* it ended while the application still ran: nothing more could be sent */
    bool is_end_withheld; /* from the transport, until the request's body has been dropped */
    bool is_all_withheld; /* head and body too, which are both in head */
    bool is_abandoned;    /* the peer has aborted the request, and waits for no more than its end */
    bool is_failed;       /* the application failed when the head had left: to be broken off */
    atomic_bool
        is_peer_gone; /* a send failed, or the peer was seen to have left; any thread sets it */
    atomic_bool is_in_use;  /* see response_enter */
    atomic_bool is_sending; /* a record is on its way; who only answers in between is short */
};

/* Starts the head, or starts it again. status is "200 OK" (PEP 3333: three digits, a space, a
 * reason). NULL, or what is wrong with it, as constant text. */
const char *response_set_status(struct response *response, const char *status, size_t bytes);
/* Adds a header. NULL, or what is wrong with it: a name that is no token (RFC 9110, section 5.1), a
 * control character in the value, a Content-Length that is no number or comes twice, a header that
 * is the web server's. */
const char *response_add_header(struct response *response, const char *name, size_t name_bytes,
                                const char *value, size_t value_bytes);
/* Room for n bytes in the head, before what is there from a place on. NULL: out of memory. */
char *response_make_room(struct response *response, size_t at, size_t n);
/* Raw bytes at the end of the head. false: out of memory. */
bool response_append(struct response *response, const char *bytes, size_t n);
bool response_has_header(const struct response *response, const char *name);
/* What is held for the web server's log stays. */
void response_reset(struct response *response);
/* The request is over: that goes too. */
void response_drop_held(struct response *response);
void response_clear(struct response *response);

/* Can nothing more be sent: has it ended, or does nobody wait for it any more? */
bool response_is_over(const struct response *response);

/* Two threads of an application may use a request: who sends, or sets what is for sending, enters
 * first. false: another thread has. */
static inline bool response_enter(struct response *response)
{
    return !atomic_exchange(&response->is_in_use, true);
}

static inline void response_leave(struct response *response)
{
    atomic_store(&response->is_in_use, false);
}

#endif
