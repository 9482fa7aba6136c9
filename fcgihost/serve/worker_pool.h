/* The threads that serve, started and ended together. */
#ifndef FCGIHOST_WORKER_POOL_H
#define FCGIHOST_WORKER_POOL_H

#include "serve/worker.h"

/* Starts the threads of a pool whose config, poller, readiness, routes and limit are set. 0, or -1
 * with errno. */
int worker_pool_start(struct worker_pool *pool);
/* Waits for the threads, which end when the poller is told to quit, until the deadline
 * (clock_ms()). false: some did not end; then nothing is freed. */
bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms);

#endif
