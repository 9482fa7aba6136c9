/* One connection from a web server: what has been received on it, and what to do next. */
#ifndef FCGIHOST_CONNECTION_H
#define FCGIHOST_CONNECTION_H

#include "base/handover.h"
#include "connection/hold.h"
#include "connection/receiver.h"
#include "http/request.h"
#include "http/transport.h"
#include "net/input.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* First member of every struct that an epoll event points to; tells which struct it is. */
enum pollable { POLLABLE_LISTENER, POLLABLE_CONNECTION, POLLABLE_WAKE, POLLABLE_READY };

struct connection {
    enum pollable pollable;
    int fd;
    const struct transport_ops *ops; /* NULL until the first byte, with protocol = auto */
    struct input input;
    struct request *request; /* from the end of the request's head to the end of its response */
    size_t head_bytes;       /* length of the request's head, which begin() has consumed; … */
    uint8_t *head;           /* … a copy of it while the request waits to be served; else NULL */
    struct spool taken_over; /* what a predecessor process received of a body */
    bool has_taken_over;
    const char *refusal; /* why the connection is closed, for the log; NULL: not logged */
    unsigned long served;
    bool is_answered; /* the request has been answered; the rest of its body is being dropped */
    bool is_sending;  /* served; the sender still has, or just sent, the response */
    unsigned cuts;    /* records of other requests removed from the head that is arriving */
    bool is_emptied;  /* all that had come was read since its worker got it … */
    atomic_bool has_hung_up; /* epoll has reported that nothing will follow, in an edge that does
                                not come again */
    bool is_registered;      /* the descriptor has been added to epoll, … */
    bool is_lasting;  /* … which goes on reporting what comes, also while a worker owns it; … */
    bool was_lasting; /* … or once did: an event for it may be left when it is closed, as after it
                         was reported twice */
    struct hold hold; /* free: epoll waits for it */
    atomic_bool has_head;      /* for other threads: request != NULL */
    atomic_bool is_lingering;  /* for other threads: is_answered or is_sending */
    atomic_bool is_expired;    /* the deadline passed and the poller shut the connection down */
    atomic_ullong deadline_ms; /* bytes must have arrived by then; 0: no limit */
    uint64_t park_end_ms;      /* how long it waits for the application; 0: not at all so far */
    struct connection *previous, *next;
    uint64_t buried_round;          /* of the poller, when it was closed */
    struct connection *next_parked; /* next in a queue of the poller */
    bool is_queued; /* guarded by the poller's mutex, as the next ones: it is in a queue */
    atomic_ullong pause_end_ms; /* while it is watched: request_pause_end of its request */
    atomic_ullong idle_ms;      /* when it became idle, if it is kept and idle */
    uint64_t queued_us;         /* when it began to wait for a thread */
    bool is_picked;             /* it is being given to another process */
};

struct connection *connection_new(int fd);
/* A connection that a predecessor process handed over. NULL when out of memory; the descriptor is
 * then closed. */
struct connection *connection_take_over(const struct handover_connection *left);
/* Can it be handed to another process, because none of its requests is being served? The poller
 * must own it. */
bool connection_can_move(const struct connection *connection);
/* Describes the connection to the next process; the caller frees left->input. -1 when out of
 * memory. */
int connection_describe(const struct connection *connection, struct handover_connection *left);
/* Has any part of a request arrived? The calling worker owns the connection. */
bool connection_has_begun(const struct connection *connection);
/* Closes the descriptor and frees everything, but not the struct. */
void connection_clear(struct connection *connection);
/* The struct, too. */
void connection_free(struct connection *connection);

enum connection_step {
    CONNECTION_WAIT,  /* nothing to do until the peer sends more */
    CONNECTION_READY, /* connection->request can be served */
    CONNECTION_CLOSE, /* close the connection */
};

/* Receives and parses what has arrived. Blocks only if the peer is slow to take a reply. The
 * calling worker owns the connection. */
enum connection_step connection_advance(struct receiver *receiver, struct connection *connection);
/* Before the connection goes back to the poller with its request: copies what is in the worker's
 * buffer. WAIT, or CLOSE when out of memory. */
enum connection_step connection_keep_request(struct connection *connection);
/* After the application has returned: hands the connection to the sender if part of the response is
 * still unsent; it comes back once that has been sent. */
enum connection_rest {
    CONNECTION_REST_NONE,
    CONNECTION_REST_SENT,  /* the rest has been sent, or can't be; call connection_advance */
    CONNECTION_REST_WAITS, /* the caller no longer owns the connection */
};
enum connection_rest connection_leave_rest(struct connection *connection);
/* After the response: drops the unread rest of the body, as far as it has arrived, then releases
 * the request. READY: the next request has arrived already; WAIT: nothing yet, or the body is still
 * arriving; CLOSE. */
enum connection_step connection_finish_request(struct receiver *receiver,
                                               struct connection *connection);

#endif
