/* Shared by the poller's own files only. Functions are called with the poller's mutex held unless a
 * comment says otherwise. */
#ifndef FCGIHOST_POLLER_INTERNAL_H
#define FCGIHOST_POLLER_INTERNAL_H

#include "connection/connection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

struct config;
struct listener;
struct poller;
struct poller_queue;

/* A connection is reported once, then its worker arms it again; but one that is kept between two
 * requests stays armed, which spares each of them an epoll_ctl. */
enum {
    WATCHED_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
    LASTING_EVENTS = EPOLLIN | EPOLLRDHUP | (int)EPOLLET,
};

/* When the sender has just sent a response, an event is wanted as soon as the socket is
 * writable. */
static inline uint32_t poller_events_of(const struct connection *connection)
{
    if (connection->is_lasting)
        return (uint32_t)LASTING_EVENTS;
    return connection->is_sending ? WATCHED_EVENTS | EPOLLOUT : WATCHED_EVENTS;
}

struct poller_listener {
    enum pollable pollable;
    struct listener *listener;
    struct descriptor_file file; /* likewise, of its descriptor */
};

/* epoll_ctl(2), with or without the mutex. */
int poller_control(struct poller *poller, int operation, int fd, uint32_t events, void *pollable);
/* Of all listeners. 0, or -1 with errno: not of all. */
int poller_set_listener_events(struct poller *poller, uint32_t events);
/* Whether a connection in the ready queue wakes the thread that waits in epoll. */
void poller_heed_ready(struct poller *poller, bool is_heeded);
void poller_link(struct poller *poller, struct connection *connection);
void poller_unlink(struct poller *poller, struct connection *connection);
/* Closes a connection that was unlinked, but frees it later: events that epoll_wait has returned,
 * or is returning, may point to it. Those of its next call can't. */
void poller_bury(struct poller *poller, struct connection *connection);
/* poller_watch for who has the mutex, and for connections without a request. 1: an event has come,
 * for which it can be put into a queue. */
int poller_give(struct poller *poller, struct connection *connection, uint64_t deadline_ms);

/* poller_accept.c */
/* For poller_init: how many connections may be open; who may connect (-1 with errno). */
size_t poller_find_max(const struct poller *poller, const struct config *config);
int poller_parse_allow(struct poller *poller, const struct config *config);
/* Accepts and links the next connection of the listener's backlog. NULL: none is waiting, or there
 * is no room. Called, like the next one, without the mutex. */
struct connection *poller_accept(struct poller *poller, struct listener *listener);
/* Called when there may be room again. */
void poller_resume_accepting(struct poller *poller);

/* idle_connections.c */
/* Is it kept, between two requests? */
bool poller_is_idle(const struct connection *connection);
/* Closes connections whose deadline has passed. Without the mutex. */
void poller_expire(struct poller *poller, uint64_t now_ms);
enum room {
    ROOM_NONE,  /* none is idle */
    ROOM_LATER, /* none has been idle for long */
    ROOM_SOON,  /* one is being closed */
};
/* Closes the connection that has been idle longest, if its peer seems not to need it. */
enum room poller_make_room(struct poller *poller);
/* Closes idle kept connections, the longest idle first, while few descriptors are free: not only
 * new connections need them, temporary files do, too. Called every second or so, without the
 * mutex. */
void poller_free_descriptors(struct poller *poller);

/* poller_queue.c */
/* Appends to the queue. */
void poller_enqueue(struct poller_queue *queue, struct connection *connection);
/* Appends to the queue of those that wait for a thread. */
void poller_enqueue_ready(struct poller *poller, struct connection *connection);
/* Takes the first connection that waits for a thread, if it has waited since before_us (UINT64_MAX:
 * in any case); else NULL. Without the mutex. */
struct connection *poller_take_ready(struct poller *poller, uint64_t before_us);
/* Moves connections parked until until_ms, or earlier, to the ready queue; the parked queue is
 * sorted by that time. */
void poller_release_parked(struct poller *poller, uint64_t until_ms);
size_t poller_count_queue(const struct poller_queue *queue);

#endif
