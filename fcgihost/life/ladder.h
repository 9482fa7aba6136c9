/* Requests that take too long, or whose client has left: what happens to them, step by step. The
 * supervisor looks at all threads; what has to be done in Python an errand does, for which it never
 * waits. */
#ifndef FCGIHOST_LADDER_H
#define FCGIHOST_LADDER_H

#include "config/settings.h"
#include "threads/activity.h"
#include "threads/work.h"

#include <stdbool.h>
#include <stdint.h>

struct ladder {
    struct work_limits limits;
    bool is_gone_watched; /* [limits] client_gone = interrupt */
    struct activities *activities;
    struct work_entry *entries; /* of each thread; NULL: nothing is looked at */
    uint64_t errand_since_ms;   /* when the errand was started that is under way; 0: none */
    bool is_wedge_logged;       /* the stacks, as that errand can't have the GIL */
    bool is_retired;            /* it has been asked for */
    bool is_hurried;            /* something is to be raised as soon as it can be */
};

/* The activities must have been started. 0, or -1 when out of memory. */
int ladder_init(struct ladder *ladder, const struct config *config, struct activities *activities);
/* Does what is due. true, once: the process must be retired, and the log says why. */
bool ladder_step(struct ladder *ladder, uint64_t now_ms);
/* Can Python not be entered, so that no request can be served? */
bool ladder_is_wedged(const struct ladder *ladder);
/* How long until the next step, wait_ms at most. */
uint64_t ladder_wait_ms(const struct ladder *ladder, uint64_t now_ms, uint64_t wait_ms);

#endif
