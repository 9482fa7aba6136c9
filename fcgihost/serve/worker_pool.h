/* Starts and ends all workers. */
#ifndef FCGIHOST_WORKER_POOL_H
#define FCGIHOST_WORKER_POOL_H

#include "serve/worker.h"

/* Starts the threads. The caller has set config, poller, readiness, routes and request_limit. 0, or
 * -1 with errno. */
int worker_pool_start(struct worker_pool *pool);
/* Waits until the threads have ended (the poller must have been told to quit), but not beyond the
 * deadline (clock_ms()). false: some did not end, and nothing was freed. */
bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms);

#endif
