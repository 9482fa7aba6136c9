/* Sends the responses that slow peers do not take at once. One thread, started when first needed,
 * does so for all connections, so that the application's threads need not wait. */
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

enum { SENDER_PATIENCE_MS = 50 /* initial outbox.patience_ms of a request */ };

struct sender_slot {
    struct request *request; /* NULL: free */
    uint32_t serial;         /* counts its uses; marks events of earlier ones */
};

struct sender {
    struct spool_store *store;
    size_t memory_max;      /* memory for one response; the rest goes to a temporary file */
    uint64_t io_timeout_ms; /* [limits] io_timeout and min_rate */
    uint64_t min_rate;
    /* Called when the response has been sent or never will be: the connection belongs to the caller
     * again. By the sender's thread, without its mutex and without the GIL. */
    void (*give_back)(void *owner, struct connection *connection);
    void *owner;

    pthread_mutex_t mutex;   /* guards the members below, and every outbox */
    pthread_cond_t progress; /* signalled when a peer has taken something */
    unsigned waiting;        /* number of threads that wait for progress */
    struct sender_slot *slots;
    uint32_t slot_count;
    size_t used; /* slots in use */
    int epoll_fd, wake_fd;
    pthread_t thread;
    bool has_thread, is_ending;
};

/* 0, or -1 with errno. The caller then sets the members above the mutex. */
int sender_init(struct sender *sender);
/* Ends the thread. Nothing may be sent after this. */
void sender_clear(struct sender *sender);
/* Sends the pieces (and modifies the array). What the peer does not take soon is put into the
 * request's outbox and sent by the sender's thread. Blocks like socket_send only if temporary_space
 * is used up, or if the peer has not sent its whole body yet. 0, or -1 with errno: the peer is
 * gone; or ECONNABORTED: it has aborted the request, and only the end may be sent. The caller has
 * called response_enter; request->send_wait is honoured. */
int sender_send(struct request *request, struct iovec *pieces, size_t count);
/* Shuts down the sending side, which ends the response: now, or once the outbox is empty. */
void sender_shut(struct request *request);
/* Called by the worker that owns the connection when the application has returned. true: part of
 * the response is unsent, and the sender owns the connection until give_back. false: nothing is
 * left to send, or it can't be sent. */
bool sender_finish(struct request *request);

#endif
