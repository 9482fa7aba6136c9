/* When a thread that has found a request lets the next one lead (turn.h): by how long the
 * application takes on average. */
#ifndef FCGIHOST_PACE_H
#define FCGIHOST_PACE_H

#include "threads/turn.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_SLOW_US = 100, /* from this mean on, passing the turn is worth its context switch */
    /* At most this of one request counts: among short ones a longer time mostly means that the
     * thread had lost the processor, perhaps to the web server. */
    PACE_MOST_US = 4 * PACE_SLOW_US,
    PACE_WEIGHT = 16, /* about how many requests the mean covers */
};

/* Of all threads together. */
struct pace {
    struct turn turn;
    atomic_uint weighted_us; /* PACE_WEIGHT times the mean of what the application took */
};

/* The watch may withdraw a request from a thread that waits for the GIL. */
enum pace_entry { PACE_ENTERED, PACE_ENTERING, PACE_WITHDRAWN };

/* Of one thread. */
struct pace_runner {
    struct pace *pace;
    unsigned number;  /* from 1, or TURN_WATCH */
    bool has_turn;    /* or has offered it */
    bool is_slow;     /* by the mean, when the application was called */
    atomic_int entry; /* enum pace_entry */
    uint64_t application_began_us;
};

void pace_init(struct pace *pace);
void pace_destroy(struct pace *pace);
/* Waits until this thread leads: not at all if it has offered the turn and nobody took it. */
void pace_take_turn(struct pace_runner *runner);
/* The thread may be busy for a while: a follower may lead if it does not come back soon. */
void pace_offer_turn(struct pace_runner *runner);
/* Another thread leads from now on. Called before this one waits for a peer. */
void pace_pass_turn(struct pace_runner *runner);
/* The thread is about to wait for the GIL, with a request. Without the GIL. */
void pace_await_gil(struct pace_runner *runner);
/* The watch takes the request from a thread that waits for the GIL. false: it does not wait, or has
 * the GIL by now. Without the GIL. */
bool pace_withdraw(struct pace_runner *runner);
/* The application is about to run: lets the next thread lead, at once if applications are slow,
 * else if this one proves to be. false: the request was withdrawn, and is no longer this thread's.
 * With the GIL, as the next one. */
bool pace_begin_application(struct pace_runner *runner);
void pace_end_application(struct pace_runner *runner);

#endif
