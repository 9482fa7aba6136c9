/* The watch: the thread that sees to requests while all others are busy. */
#ifndef FCGIHOST_WATCH_H
#define FCGIHOST_WATCH_H

#include "serve/worker.h"

/* Before any thread of the pool is started. */
void watch_prepare(struct worker_pool *pool);
/* Its loop, until turn_end(). argument: pool->watch. It never takes the GIL, and waits for no peer.
 */
void *watch_run(void *argument);

#endif
