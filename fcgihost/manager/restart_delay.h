/* How long the manager waits before it starts a worker again: pure, and the times are its caller's.
 */
#ifndef FCGIHOST_RESTART_DELAY_H
#define FCGIHOST_RESTART_DELAY_H

#include <stdint.h>

enum {
    RESTART_YOUNG_MS = 10000,         /* a worker that dies before this age dies young: a delay */
    RESTART_DELAY_MIN_MS = 100,       /* before another one takes its place; doubles … */
    RESTART_DELAY_MAX_MS = 30000,     /* … up to this */
    REPLACEMENT_DELAY_MIN_MS = 1000,  /* between two attempts to replace a worker; doubles … */
    REPLACEMENT_DELAY_MAX_MS = 60000, /* … up to this */
};

/* All zero: nothing is waited for. */
struct restart_delay {
    uint64_t until_ms; /* not before that, by clock_ms() */
    uint64_t last_ms;  /* the delay that ends then */
};

/* The worker of a place has died, and none is left there. Returns the delay: 0 if it was old
 * enough. */
uint64_t restart_delay_died(struct restart_delay *delay, uint64_t started_ms, uint64_t now_ms);
/* A worker's successor could not load. */
void restart_delay_not_replaced(struct restart_delay *delay, uint64_t now_ms);

#endif
