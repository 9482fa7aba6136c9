/* What the files of the poller share, and nobody else. Called with the poller's mutex held where
 * nothing else is said. */
#ifndef FCGIHOST_POLLER_INTERNAL_H
#define FCGIHOST_POLLER_INTERNAL_H

#include "connection/connection.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct listener;
struct poller;
struct poller_queue;

enum { WATCHED_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT };

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
/* At the end of the queue. */
void poller_enqueue(struct poller_queue *queue, struct connection *connection);

/* At the end of the queue for a thread. */
void poller_enqueue_ready(struct poller *poller, struct connection *connection);

#endif
