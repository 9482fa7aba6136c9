/* What peers do not take of their responses leaves without a thread of the application: one thread
 * sends it, for all of them, as they take it. It begins when the first one needs it. */
#ifndef FCGIHOST_SENDER_H
#define FCGIHOST_SENDER_H

#include "base/spool.h"
#include "http/request.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct connection;

enum { SENDER_PATIENCE_MS = 50 /* outbox.patience_ms of a request at its start */ };

struct sender_slot {
    struct request *request; /* NULL: free */
    uint32_t serial;         /* of its last use: an event of an earlier one is recognised */
};

struct sender {
    struct spool_store *store;
    size_t memory_max;      /* of one response; the rest goes to the store */
    uint64_t io_timeout_ms; /* … as [limits] says, as the next one */
    uint64_t min_rate;
    /* All of the response has left, or it will not: the connection is the caller's again. By the
     * sender's thread, without its mutex and without the GIL. */
    void (*give_back)(void *owner, struct connection *connection);
    void *owner;

    pthread_mutex_t mutex;   /* guards what follows, and the outboxes */
    pthread_cond_t progress; /* some peer has taken something */
    unsigned waiting;        /* threads that wait for it */
    struct sender_slot *slots;
    uint32_t slot_count;
    size_t used; /* slots */
    int epoll_fd, wake_fd;
    pthread_t thread;
    bool has_thread, is_ending;
};

/* 0, or -1 with errno. The members above the mutex are the caller's to set afterwards. */
int sender_init(struct sender *sender);
/* Ends its thread. Nobody sends any more. */
void sender_clear(struct sender *sender);
/* Sends the pieces, and uses the array up: what the peer does not take soon waits in the request's
 * outbox, without this thread. Only where all files together are as large as they may be, and while
 * the peer has still to send its body, it waits for the peer, as socket_send does. 0, or -1 with
 * errno: the peer is gone. By a thread that has entered the response; request->send_wait is heeded.
 */
int sender_send(struct request *request, struct iovec *pieces, size_t count);
/* The connection's end, or SHUT_WR, is the response's: now, or once what waits has left. */
void sender_shut(struct request *request);
/* The application is done with its request. true: some of the response waits; the sender has the
 * connection until give_back. false: all has left, or can't. The worker that owns the connection.
 */
bool sender_finish(struct request *request);

#endif
