/* The worker threads: each waits its turn, takes a request that is ready, and serves it. */
#ifndef FCGIHOST_WORKER_H
#define FCGIHOST_WORKER_H

#include "threads/activity.h"
#include "protocol/gate.h"
#include "threads/pace.h"
#include "connection/poller.h"
#include "threads/readiness.h"
#include "connection/receiver.h"
#include "http/route.h"
#include "serve/serve.h"
#include "config/settings.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker {
    struct worker_pool *pool;
    pthread_t thread;
    struct receiver receiver;
    struct server server;
};

struct worker_pool {
    const struct config *config;
    struct poller *poller;
    struct readiness *readiness;
    struct board *board; /* where a manager sees what the threads do; NULL: there is none */
    struct gate_limits gate_limits;
    struct route_table routes;
    /* Of the one thread that waits for a request, until it has the GIL: so no second thread ever
     * waits for the GIL with a new request, which costs more than the request itself. */
    struct pace pace;
    struct worker *workers;
    struct activities activities;     /* of the workers that were started */
    atomic_uint running;              /* threads that have not ended */
    atomic_ullong requests;           /* begun so far */
    unsigned long long request_limit; /* the supervisor is woken when there are so many; 0: never */
};

/* Starts the threads of a pool whose config, poller, readiness, routes and limit are set. 0, or -1
 * with errno. */
int worker_pool_start(struct worker_pool *pool);
/* Waits for the threads, which end when the poller is told to quit, until the deadline
 * (clock_ms()). false: some did not end; then nothing is freed. */
bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms);

#endif
