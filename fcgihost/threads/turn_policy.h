/* Decides when a thread that has found a request lets the next one lead (turn.h), by how long the
 * application takes on average. */
#ifndef FCGIHOST_TURN_POLICY_H
#define FCGIHOST_TURN_POLICY_H

#include "threads/turn.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    TURN_POLICY_SLOW_US = 100, /* mean from which passing at once is worth the context switch */
    /* A longer request counts as this much: among short ones a long time mostly means that the
     * thread lost the processor, perhaps to the web server. */
    TURN_POLICY_MOST_US = 4 * TURN_POLICY_SLOW_US,
    TURN_POLICY_WEIGHT = 16, /* the mean covers about so many requests */
};

/* Shared by all threads. */
struct turn_policy {
    struct turn turn;
    atomic_uint weighted_us; /* TURN_POLICY_WEIGHT times the application's mean time */
};

/* The watch may withdraw a request from a thread that waits for the GIL. */
enum turn_policy_entry { TURN_POLICY_ENTERED, TURN_POLICY_ENTERING, TURN_POLICY_WITHDRAWN };

/* One for each thread. */
struct turn_policy_runner {
    struct turn_policy *pace;
    unsigned number;  /* from 1, or TURN_WATCH */
    bool has_turn;    /* true also while it is offered */
    bool is_slow;     /* whether the mean was slow when the application was called */
    atomic_int entry; /* enum turn_policy_entry */
    uint64_t application_began_us;
};

void turn_policy_init(struct turn_policy *pace);
void turn_policy_destroy(struct turn_policy *pace);
/* Waits until this thread leads; returns at once if it offered the turn and nobody took it. */
void turn_policy_take(struct turn_policy_runner *runner);
/* This thread may be busy for a while: a follower may lead if it does not come back soon. */
void turn_policy_offer(struct turn_policy_runner *runner);
/* Lets another thread lead. Call it before waiting for a peer. */
void turn_policy_pass(struct turn_policy_runner *runner);
/* This thread is about to wait for the GIL, with a request. Without the GIL. */
void turn_policy_await_gil(struct turn_policy_runner *runner);
/* Called by the watch: takes the request away from a thread that waits for the GIL. false: that
 * does not wait, or has the GIL by now. Without the GIL. */
bool turn_policy_withdraw(struct turn_policy_runner *runner);
/* The application is about to run: lets the next thread lead, at once if the application is slow on
 * average, otherwise if this call proves to be. false: the request was withdrawn and no longer
 * belongs to this thread. With the GIL, as the next one. */
bool turn_policy_begin_application(struct turn_policy_runner *runner);
void turn_policy_end_application(struct turn_policy_runner *runner);

#endif
