/* One connection of a web server: what it sent, what is to be done next. */
#ifndef FCGIHOST_CONNECTION_H
#define FCGIHOST_CONNECTION_H

#include "base/handover.h"
#include "net/input.h"
#include "connection/receiver.h"
#include "http/request.h"
#include "http/transport.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The first member of everything that epoll points to. */
enum pollable { POLLABLE_LISTENER, POLLABLE_CONNECTION, POLLABLE_WAKE, POLLABLE_READY };

struct connection {
    enum pollable pollable;
    int fd;
    const struct transport_ops *ops; /* NULL until the first byte has told, with protocol = auto */
    struct input input;
    struct request *request; /* from the end of its head to the end of its response */
    size_t head_bytes;       /* of its head, which begin() has used up; … */
    uint8_t *head;       /* … a copy, for as long as the request waits to be served; else NULL */
    struct spool taken_over; /* what a predecessor took in of the body of a request, until its head
                                has been read anew */
    bool has_taken_over;
    const char *refusal; /* why it is closed, for the log; NULL: nothing to say */
    unsigned long served;
    bool is_answered;       /* its request has been: what is left of the body is being dropped */
    bool is_sending;        /* its request has been served, and the sender has what the peer has not
                               taken of the response, or had */
    unsigned cuts;          /* foreign records taken out of the head that is arriving */
    bool is_registered;     /* epoll knows the descriptor */
    atomic_bool is_watched; /* epoll waits for it; else a worker owns it */
    atomic_bool has_head;   /* a whole head has come: it is a request; for those who don't own it */
    atomic_bool is_lingering;  /* as is_answered, or is_sending; for those who don't own it */
    atomic_bool is_expired;    /* the deadline passed, and the poller shut it down */
    atomic_ullong deadline_ms; /* by then something must have come; 0: an idle kept connection may
                                  wait for ever */
    uint64_t
        park_end_ms; /* its request waits that long for the application; 0: it has not waited */
    struct connection *previous, *next;
    struct connection *next_parked; /* in one of the poller's queues, … */
    bool is_queued;                 /* … with the poller's mutex held: it is in one */
    atomic_ullong idle_ms;          /* since when it is, if it is kept and idle */
    uint64_t queued_us;             /* likewise: since when it waits for a thread */
    bool is_picked;                 /* likewise: it is being given to another process */
};

struct connection *connection_new(int fd);
/* What a predecessor handed over. NULL when out of memory; then the descriptor is closed. */
struct connection *connection_take_over(const struct handover_connection *left);
/* Can it be handed over, as no request of it is being served? Nobody but the poller has it. */
bool connection_can_move(const struct connection *connection);
/* What the next process must know of it; input is the caller's to free. -1 when out of memory. */
int connection_describe(const struct connection *connection, struct handover_connection *left);
/* Has something of a request come? The worker owns the connection. */
bool connection_has_begun(const struct connection *connection);
/* Closes the descriptor and frees everything. */
void connection_free(struct connection *connection);

enum connection_step {
    CONNECTION_WAIT,  /* nothing to do before the peer sends more */
    CONNECTION_READY, /* connection->request can be served */
    CONNECTION_CLOSE, /* it is over */
};

/* Receives what is there and looks at it. Waits for the peer only to take what is sent to it. The
 * worker owns the connection. */
enum connection_step connection_advance(struct receiver *receiver, struct connection *connection);
/* The connection goes back to the poller with its request: keeps what is in the worker's buffer.
 * WAIT, or CLOSE when out of memory. */
enum connection_step connection_keep_request(struct connection *connection);
/* After the application: if the sender has some of the response, it may now have the connection,
 * which comes back once that has left. */
enum connection_rest {
    CONNECTION_REST_NONE,
    CONNECTION_REST_SENT,  /* it has left, or can't; connection_advance goes on */
    CONNECTION_REST_WAITS, /* the connection is no longer the caller's */
};
enum connection_rest connection_leave_rest(struct connection *connection);
/* After the response: drops what is left of the body, without waiting for it, and then releases the
 * request. READY when the next request is there already, WAIT, also for the rest of the body, or
 * CLOSE. */
enum connection_step connection_finish_request(struct receiver *receiver,
                                               struct connection *connection);

#endif
