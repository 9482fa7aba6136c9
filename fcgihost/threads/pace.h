/* How long the application takes, and so when a thread lets the next one wait for a request. */
#ifndef FCGIHOST_PACE_H
#define FCGIHOST_PACE_H

#include "threads/turn.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Of all threads together. */
struct pace {
    struct turn turn;
    atomic_uint slowness; /* the more, the more likely it is that the next request takes long */
};

/* Context switches of a thread: voluntary (blocked), involuntary (preempted). */
struct pace_switches {
    long voluntary, involuntary;
};

/* Of one thread. */
struct pace_runner {
    struct pace *pace;
    unsigned number;   /* from 1 */
    bool has_turn;     /* or had it when it offered it */
    bool is_suspected; /* of being slow: what happens to it is counted */
    uint64_t application_began_us, application_us; /* how long the last one took */
    struct pace_switches switches_before;
};

void pace_init(struct pace *pace);
void pace_destroy(struct pace *pace);
/* Waits for the turn, unless it was offered and nobody took it. */
void pace_take_turn(struct pace_runner *runner);
/* Much may be left to do: another thread may take the turn meanwhile. */
void pace_offer_turn(struct pace_runner *runner);
/* Lets the next thread wait for a request. Called before this one waits for a peer. */
void pace_pass_turn(struct pace_runner *runner);
/* The application is about to run, with the GIL held, and has run. Lets the next thread wait for a
 * request: at once if applications have been slow lately, else if this one proves to be. */
void pace_begin_application(struct pace_runner *runner);
void pace_end_application(struct pace_runner *runner);

#endif
