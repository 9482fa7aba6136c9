/* Leader/followers (Schmidt and others, Pattern-Oriented Software Architecture, volume 2): of the
 * threads that serve, one leads: it has the turn, and alone waits for requests. The others follow:
 * they sleep until they are promoted. A leader that has found a request gives the turn away in one
 * of two ways: it passes it, which wakes a follower, or it offers it.
 *
 * To pass costs a context switch, behind nginx 17 of 40 µs, more than a short request itself. An
 * offer costs nothing: a leader that comes back soon has its turn again. If it does not, the watch
 * promotes a follower. The watch is one more thread, which looks once in each tick while requests
 * come, and sleeps while none do. Where no follower is left, as every thread is busy, it leads
 * itself: it serves no request, but sees to those that wait (serve/worker.c). */
#ifndef FCGIHOST_TURN_H
#define FCGIHOST_TURN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    TURN_TICK_MS = 4,   /* each look costs 15 µs */
    TURN_IDLE_MS = 20,  /* if nobody has led for this long, the watch takes the turn */
    TURN_WATCH = 65535, /* the number of the watch; threads that serve have 1 and up */
};

/* Who may take an offered turn before its owner comes back. */
enum turn_offer {
    TURN_TO_ANY = 1,   /* the owner runs the application: a follower, or else the watch */
    TURN_TO_WATCH = 2, /* the owner waits for the GIL: a follower would only wait for it as well */
};

struct turn {
    atomic_ullong
        state; /* bit fields: how many offers were made, who may take the turn, who has it */
    atomic_bool is_watch_asleep; /* an offer or a pass must wake it */
    pthread_mutex_t mutex;
    pthread_cond_t promotion; /* where followers wait; … */
    pthread_cond_t alarm;     /* … and where the watch does */
    unsigned followers;       /* guarded by the mutex, as the next one */
    bool is_over;             /* turn_end() was called */
    /* Called when a worker wants the turn that the watch has, or lost it while it waited for the
     * GIL: must make the watch pass it soon, without waiting for that. By any worker, possibly with
     * the GIL or the mutex held. NULL: there is no watch. */
    void (*recall)(void *argument);
    void *recall_argument;
};

void turn_init(struct turn *turn);
void turn_destroy(struct turn *turn);
/* Waits as a follower until this thread leads. number: the thread's own, from 1. */
void turn_take(struct turn *turn, unsigned number);
/* Offers the turn until turn_reclaim; a second offer may only widen the first. No effect, here and
 * below, unless number has the turn. */
void turn_offer(struct turn *turn, unsigned number, enum turn_offer to);
/* Ends the offer. false: another thread has taken the turn. */
bool turn_reclaim(struct turn *turn, unsigned number);
/* Gives the turn to a follower, or to the next thread that wants it. */
void turn_pass(struct turn *turn, unsigned number);

/* The watch's loop: promotes followers while there are any. true: every thread is busy, and the
 * watch has the turn until it calls turn_pass. false: timeout_ms (0: none) has passed, or
 * turn_end() was called. */
bool turn_watch(struct turn *turn, unsigned timeout_ms);
/* Ends the watch. */
void turn_end(struct turn *turn);
bool turn_is_over(struct turn *turn);

#endif
