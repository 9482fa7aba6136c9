/* Requests that take too long, or whose client has left: what happens to them, step by step. The
 * supervisor looks at all threads. A task, for which it never waits, does what takes Python. */
#ifndef FCGIHOST_REQUEST_DEADLINES_H
#define FCGIHOST_REQUEST_DEADLINES_H

#include "config/config.h"
#include "threads/activity.h"
#include "threads/request_clock.h"

#include <stdbool.h>
#include <stdint.h>

struct request_deadlines {
    struct request_clock_limits limits;
    bool is_gone_watched; /* [limits] client_gone = interrupt */
    struct activities *activities;
    struct request_clock_entry *entries; /* one for each thread; NULL: nothing to watch */
    uint64_t task_since_ms;              /* when the running task was started; 0: none runs */
    bool is_wedge_logged; /* the stacks, read from outside, as that task does not get the GIL */
    bool is_retired;      /* it has been asked for */
    bool is_hurried;      /* an exception waits until it can be raised */
};

/* The activities must have been started. 0, or -1 when out of memory. */
int request_deadlines_init(struct request_deadlines *deadlines, const struct config *config,
                           struct activities *activities);
void request_deadlines_clear(struct request_deadlines *deadlines);
/* Does what is due. true, once: the process must be retired, and the log says why. */
bool request_deadlines_step(struct request_deadlines *deadlines, uint64_t now_ms);
/* Can Python not be entered, so that no request can be served? */
bool request_deadlines_is_wedged(const struct request_deadlines *deadlines);
/* How long until the next step, wait_ms at most. */
uint64_t request_deadlines_wait_ms(const struct request_deadlines *deadlines, uint64_t now_ms,
                                   uint64_t wait_ms);

#endif
