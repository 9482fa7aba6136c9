/* The supervisor thread: signals, deadlines, and the end. It never takes the GIL, so that nothing
 * that Python does can keep it from its work. */
#ifndef FCGIHOST_SUPERVISOR_H
#define FCGIHOST_SUPERVISOR_H

#include "life/children.h"
#include "base/event.h"
#include "base/handover.h"
#include "life/lifecycle.h"
#include "connection/poller.h"
#include "threads/readiness.h"
#include "serve/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the main thread is in the middle of. */
enum supervisor_step {
    STEP_NONE,
    STEP_IMPORT,  /* a start-up import, or the application */
    STEP_CLEANUP, /* a registered cleanup */
    STEP_THREADS, /* waiting for the application's threads */
    STEP_EXIT,    /* atexit functions, Python's own end */
};

struct supervisor_work {
    enum supervisor_step step;
    uint64_t since_ms;
    char name[512]; /* for people */
};

struct supervisor {
    const struct config *config;
    struct poller *poller;
    struct worker_pool *pool;
    pthread_t thread;
    pthread_t main_thread;
    int event_fd;               /* written to by signals, by the poller, and by supervisor_wake */
    struct event stop;          /* the requests are over: the main thread has to end Python */
    struct event is_done;       /* and has done so */
    struct lifecycle lifecycle; /* the thread's own until it has ended */
    atomic_int state;           /* enum lifecycle_state, for others */
    atomic_int asked;           /* enum lifecycle_reason: what signals and the application want */
    atomic_bool is_reopen_wanted, are_stacks_wanted;
    struct readiness readiness;
    unsigned long long told_loaded; /* as readiness.loaded: whose waiting requests were told */
    uint64_t looked_at_memory_ms;
    uint64_t interrupted_ms; /* when the main thread was interrupted last */
    bool is_fallback_started;
    uint64_t started_us;       /* since 1970; before attempts at its start that failed */
    atomic_bool is_end_wanted; /* the process itself is to end, not only what it runs */
    atomic_bool
        is_replaced; /* it executes the program anew at its end, and hands over what waits */
    struct child_list fosters;     /* children of the program before, which nobody else waits for */
    struct handover_bytes startup; /* what the next start has to know of this one; the heap's */

    uint64_t reported_ms; /* the start of the import that was reported as slow */

    pthread_mutex_t mutex; /* guards the step; the main thread is interrupted with it held */
    struct supervisor_work work;
};

/* Makes the event descriptor and takes the signals over. Called by the main thread. 0, or -1 with
 * errno. */
int supervisor_init(struct supervisor *supervisor, const struct config *config);
/* The poller and the pool must outlive it. 0, or -1 with errno. */
int supervisor_start(struct supervisor *supervisor, struct poller *poller,
                     struct worker_pool *pool);
/* Takes the signals over again, from an application that set handlers while it was loaded: the main
 * thread, which alone runs Python's, does not come back to Python. */
void supervisor_take_signals(void);
/* The main thread's last word: Python has ended. Ends the thread. */
void supervisor_finish(struct supervisor *supervisor);

/* After the end: executes the program anew, if that is to be; returns if it is not. */
void supervisor_replace_process(struct supervisor *supervisor);

/* For any thread. */
void supervisor_wake(struct supervisor *supervisor);
/* The process is to end. The first reason counts, but for SIGQUIT, which cuts the drain short. */
void supervisor_ask(struct supervisor *supervisor, enum lifecycle_reason reason);
/* The start has failed, and the next attempt wants a fresh interpreter; startup: what that one has
 * to know, copied. -1: out of memory, and the process goes on. On the main thread. */
int supervisor_ask_afresh(struct supervisor *supervisor, const void *startup, size_t bytes);
enum lifecycle_state supervisor_state(struct supervisor *supervisor);

/* For the main thread: what it does now, until the next one or STEP_NONE; name is for people. It
 * may be interrupted (see py_interrupt.h) once its time is over. */
void supervisor_begin_step(struct supervisor *supervisor, enum supervisor_step step,
                           const char *name);
/* Waits for that long, or until the process ends: then true. attempt_ms: when it tries again, from
 * now, for Retry-After. Without the GIL. */
bool supervisor_wait(struct supervisor *supervisor, uint64_t timeout_ms, uint64_t attempt_ms);

#endif
