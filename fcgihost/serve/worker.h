/* A thread that serves: what it has, and what it does with one connection. */
#ifndef FCGIHOST_WORKER_H
#define FCGIHOST_WORKER_H

#include "base/spool.h"
#include "config/settings.h"
#include "connection/poller.h"
#include "connection/receiver.h"
#include "connection/sender.h"
#include "http/route.h"
#include "protocol/gate.h"
#include "serve/serve.h"
#include "threads/activity.h"
#include "threads/pace.h"
#include "threads/readiness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker {
    struct worker_pool *pool;
    pthread_t thread;
    struct receiver receiver;
    struct server server; /* without Python: the watch's */
    /* While the thread waits for the GIL the watch may withdraw its request: */
    struct connection *entering;     /* whose request it is; … */
    atomic_ullong entering_ready_us; /* … since when that could have been served */
    pthread_mutex_t withdrawal;      /* held by the watch for as long as it uses receiver.buffer */
};

/* The threads that serve, and the watch, which sees to requests while all of them are busy. */
struct worker_pool {
    const struct config *config;
    struct poller *poller;
    struct readiness *readiness;
    struct board *board; /* where a manager sees what the threads do; NULL: there is none */
    struct gate_limits gate_limits;
    struct sender sender;
    struct spool_store store; /* the temporary files of bodies and responses */
    struct route_table routes;
    struct pace pace; /* who of them waits for requests */
    struct worker *workers;
    struct worker watch;
    bool has_watch;
    struct activities activities;     /* of the workers that were started */
    atomic_uint running;              /* threads that have not ended, but for the watch */
    atomic_ullong requests;           /* begun so far */
    unsigned long long request_limit; /* the supervisor is woken when there are so many; 0: never */
};

/* A worker of the pool; number as in struct pace_runner. 0, or -1 when out of memory. */
int worker_init(struct worker *worker, struct worker_pool *pool, unsigned number,
                struct activity *activity);
void worker_clear(struct worker *worker);
/* Receives what the connection has to say, and serves its requests; gives it back to the poller, or
 * closes it. The watch answers only what needs no Python, and puts the rest into the poller's
 * queue. Without the GIL. */
void worker_serve(struct worker *worker, struct connection *connection);
/* The watch's: takes the request of a worker that waits for the GIL, if it could have been served
 * since before_us. The connection, or NULL. */
struct connection *worker_withdraw(struct worker *worker, uint64_t before_us);
/* A thread's loop, until the poller is told to quit. */
void *worker_run(void *worker);

#endif
