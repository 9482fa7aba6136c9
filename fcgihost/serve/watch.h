/* The watch: the thread that looks after requests while all workers are busy. */
#ifndef FCGIHOST_WATCH_H
#define FCGIHOST_WATCH_H

#include "serve/worker.h"

/* Called before any thread of the pool starts. */
void watch_prepare(struct worker_pool *pool);
/* The thread's loop, until turn_end(). argument: pool->watch. It never takes the GIL and never
 * waits for a peer. */
void *watch_run(void *argument);

#endif
