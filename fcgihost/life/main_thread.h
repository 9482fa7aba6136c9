/* What the main thread is doing, as it says itself, and how the supervisor gets it out of what
 * takes too long. The main thread alone runs imports and cleanups; the supervisor never takes the
 * GIL, so that it can act even while Python hangs. */
#ifndef FCGIHOST_MAIN_THREAD_H
#define FCGIHOST_MAIN_THREAD_H

#include "threads/activity.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Python has them as _fcgihost.STEP_NONE and so on (py_module.c). */
enum main_step {
    STEP_NONE,
    STEP_IMPORT,  /* a start-up import, or the application */
    STEP_CLEANUP, /* a registered cleanup */
    STEP_THREADS, /* waiting for the application's threads */
    STEP_EXIT,    /* atexit functions, Py_FinalizeEx */
};

struct main_work {
    enum main_step step;
    uint64_t since_ms;
    char name[512]; /* for messages */
};

struct main_thread {
    pthread_t thread;
    pthread_mutex_t mutex; /* guards work, and is held while the thread is interrupted */
    struct main_work work;

    /* The supervisor's own: */
    uint64_t cleanup_timeout_ms;
    uint64_t interrupted_ms; /* time of the last interruption */
    uint64_t reported_ms;    /* since_ms of the import that was reported as slow */
    bool is_fallback_started;
};

/* The calling thread is the main thread. */
void main_thread_init(struct main_thread *main, uint64_t cleanup_timeout_ms);

/* For the main thread: what it does from now on; STEP_NONE: nothing that may be interrupted. Once
 * its time is up it may be interrupted with PY_INTERRUPT_SIGNAL (embed/py_task.h). */
void main_thread_begin_step(struct main_thread *main, enum main_step step, const char *name);

/* The rest is for the supervisor, which calls them on each tick. */

/* While serving or starting: one warning, with all stacks, for an import that has run for 30 s. */
void main_thread_report_slow_import(struct main_thread *main, const struct activities *activities,
                                    uint64_t now_ms);
/* While serving or starting: interrupts a cleanup of a failed attempt that has run for
 * cleanup_timeout, because the next attempt waits for it. */
void main_thread_interrupt_slow_cleanup(struct main_thread *main, uint64_t now_ms);
/* While cleaning up, until deadline_ms: interrupts an import at once, and a cleanup or the wait for
 * threads in the last quarter of the time, so that the other cleanups get some. If an import still
 * goes on, the cleanups run on another thread. */
void main_thread_hurry(struct main_thread *main, uint64_t deadline_ms, uint64_t now_ms);
/* What keeps the process from exiting: "the cleanup shop.db:close". */
void main_thread_describe(struct main_thread *main, char *text, size_t text_bytes);

#endif
