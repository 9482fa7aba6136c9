/* Decides when a thread that has found a request lets the next one lead (turn.h), by how long the
 * application takes on average. */
#ifndef FCGIHOST_PACE_H
#define FCGIHOST_PACE_H

#include "threads/turn.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_SLOW_US = 100, /* mean from which passing the turn at once is worth its context switch */
    /* A longer request counts as this much: among short ones a long time mostly means that the
     * thread lost the processor, perhaps to the web server. */
    PACE_MOST_US = 4 * PACE_SLOW_US,
    PACE_WEIGHT = 16, /* the mean covers about so many requests */
};

/* Shared by all threads. */
struct pace {
    struct turn turn;
    atomic_uint weighted_us; /* PACE_WEIGHT times the application's mean time */
};

/* The watch may withdraw a request from a thread that waits for the GIL. */
enum pace_entry { PACE_ENTERED, PACE_ENTERING, PACE_WITHDRAWN };

/* One for each thread. */
struct pace_runner {
    struct pace *pace;
    unsigned number;  /* from 1, or TURN_WATCH */
    bool has_turn;    /* true also while it is offered */
    bool is_slow;     /* whether the mean was slow when the application was called */
    atomic_int entry; /* enum pace_entry */
    uint64_t application_began_us;
};

void pace_init(struct pace *pace);
void pace_destroy(struct pace *pace);
/* Waits until this thread leads; returns at once if it offered the turn and nobody took it. */
void pace_take_turn(struct pace_runner *runner);
/* This thread may be busy for a while: a follower may lead if it does not come back soon. */
void pace_offer_turn(struct pace_runner *runner);
/* Lets another thread lead. Call it before waiting for a peer. */
void pace_pass_turn(struct pace_runner *runner);
/* This thread is about to wait for the GIL, with a request. Without the GIL. */
void pace_await_gil(struct pace_runner *runner);
/* Called by the watch: takes the request away from a thread that waits for the GIL. false: that
 * does not wait, or has the GIL by now. Without the GIL. */
bool pace_withdraw(struct pace_runner *runner);
/* The application is about to run: lets the next thread lead, at once if the application is slow on
 * average, otherwise if this call proves to be. false: the request was withdrawn and no longer
 * belongs to this thread. With the GIL, as the next one. */
bool pace_begin_application(struct pace_runner *runner);
void pace_end_application(struct pace_runner *runner);

#endif
