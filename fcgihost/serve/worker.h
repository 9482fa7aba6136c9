/* A worker: a thread that serves requests. */
#ifndef FCGIHOST_WORKER_H
#define FCGIHOST_WORKER_H

#include "base/spool.h"
#include "config/config.h"
#include "connection/poller.h"
#include "connection/receiver.h"
#include "connection/sender.h"
#include "http/route.h"
#include "protocol/gate.h"
#include "serve/serve.h"
#include "threads/activity.h"
#include "threads/readiness.h"
#include "threads/turn_policy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker {
    struct worker_pool *pool;
    pthread_t thread;
    struct receiver receiver;
    struct server server; /* the watch's has no Python thread */
    /* For the watch, which may withdraw the request while the worker waits for the GIL: */
    struct connection *entering;     /* the request's connection; … */
    atomic_ullong entering_ready_us; /* … when it was ready to be served */
    pthread_mutex_t withdrawal;      /* held by the watch while it uses receiver.buffer */
};

/* The workers, and the watch, which looks after requests while all of them are busy. */
struct worker_pool {
    const struct config *config;
    struct poller *poller;
    struct readiness *readiness;
    struct scoreboard *board; /* shows the manager what the threads do; NULL: no manager */
    struct gate_limits gate_limits;
    struct sender sender;
    struct spool_store store; /* the temporary files of bodies and responses */
    struct route_table routes;
    struct turn_policy pace; /* decides which of them waits for requests */
    struct worker *workers;
    struct worker watch;
    bool has_watch;
    struct activities activities;     /* one for each worker that was started */
    atomic_uint running;              /* workers that have not ended */
    atomic_ullong requests;           /* requests begun so far */
    unsigned long long request_limit; /* wakes the supervisor when requests reaches it; 0: never */
};

/* A worker of the pool; number as in struct turn_policy_runner. 0, or -1 when out of memory. */
int worker_init(struct worker *worker, struct worker_pool *pool, unsigned number,
                struct activity *activity);
void worker_clear(struct worker *worker);
/* Receives from the connection and serves its requests, then gives it back to the poller or closes
 * it. The watch answers only what needs no Python, and queues the rest. Without the GIL. */
void worker_serve(struct worker *worker, struct connection *connection);
/* Called by the watch: takes away the request of a worker that waits for the GIL, if it has been
 * ready since before_us. Its connection, or NULL. */
struct connection *worker_withdraw(struct worker *worker, uint64_t before_us);
/* A thread's loop, until the poller is told to quit. */
void *worker_run(void *worker);

#endif
