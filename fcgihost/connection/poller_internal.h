/* What the files of the poller share, and nobody else. Called with the poller's mutex held where
 * nothing else is said. */
#ifndef FCGIHOST_POLLER_INTERNAL_H
#define FCGIHOST_POLLER_INTERNAL_H

#include "connection/connection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct config;
struct listener;
struct poller;
struct poller_queue;

enum { WATCHED_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT };

/* Its response has just left: it is to be looked at once there is room for more. */
static inline uint32_t poller_events_of(const struct connection *connection)
{
    return connection->is_sending ? WATCHED_EVENTS | EPOLLOUT : WATCHED_EVENTS;
}

struct poller_listener {
    enum pollable pollable;
    struct listener *listener;
};

/* epoll_ctl(2), with or without the mutex. */
int poller_control(struct poller *poller, int operation, int fd, uint32_t events, void *pollable);
void poller_set_listener_events(struct poller *poller, uint32_t events);
/* Whether connections in the ready queue wake anybody. */
void poller_heed_ready(struct poller *poller, bool is_heeded);
void poller_link(struct poller *poller, struct connection *connection);
void poller_unlink(struct poller *poller, struct connection *connection);
/* Does it wait for its next request? */
bool poller_is_idle(const struct connection *connection);
/* Has it nothing to read, so that whoever waits for it, waits for its peer? */
bool poller_is_silent(const struct connection *connection);

/* poller_accept.c */
/* For poller_init: how many connections may be open, and who may connect. -1 with errno. */
size_t poller_find_max(const struct poller *poller, const struct config *config);
int poller_parse_allow(struct poller *poller, const struct config *config);
/* The next one of the listener's backlog, linked; NULL: none is there, or no room. Without the
 * mutex, as the next one. */
struct connection *poller_accept(struct poller *poller, struct listener *listener);
/* There may be room again. */
void poller_resume_accepting(struct poller *poller);

/* poller_queue.c */
/* At the end of the queue. */
void poller_enqueue(struct poller_queue *queue, struct connection *connection);
/* At the end of the queue for a thread. */
void poller_enqueue_ready(struct poller *poller, struct connection *connection);
/* The first one that waits for a thread, if it does so since before_us (UINT64_MAX: in any case);
 * else NULL. Without the mutex. */
struct connection *poller_take_ready(struct poller *poller, uint64_t before_us);
/* The wait of those that have parked until then is over; they are in the order of their ends. */
void poller_release_parked(struct poller *poller, uint64_t until_ms);
size_t poller_count_queue(const struct poller_queue *queue);

#endif
