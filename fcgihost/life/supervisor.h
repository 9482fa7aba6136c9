/* The supervisor thread: drives the lifecycle from start to exit, and keeps its deadlines. It never
 * takes the GIL, so that nothing in Python can stop it from doing so. */
#ifndef FCGIHOST_SUPERVISOR_H
#define FCGIHOST_SUPERVISOR_H

#include "base/event.h"
#include "connection/poller.h"
#include "life/children.h"
#include "life/lifecycle.h"
#include "life/main_thread.h"
#include "life/manager_link.h"
#include "life/process_notify.h"
#include "life/replacement.h"
#include "life/request_deadlines.h"
#include "serve/worker.h"
#include "threads/readiness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct supervisor {
    const struct config *config;
    struct poller *poller;
    struct worker_pool *pool;
    pthread_t thread;
    int event_fd; /* wakes the thread; signal handlers, the poller and supervisor_wake write to it
                   */
    struct event stop;    /* the drain is over: the main thread has to clean up and finalize */
    struct event is_done; /* the main thread has done so */
    struct lifecycle lifecycle; /* the supervisor thread's own until it has ended */
    atomic_int state;           /* enum lifecycle_state, a copy for other threads */
    atomic_int asked;           /* enum lifecycle_reason: a signal, or the application */
    atomic_bool is_reopen_wanted, are_stacks_wanted;
    struct readiness readiness;
    unsigned long long announced; /* readiness.loaded as it was when parked requests last resumed */
    bool is_serving_told;         /* in the log */
    uint64_t memory_checked_ms, files_checked_ms, plugged_ms;
    struct main_thread main;
    struct replacement replacement;
    struct manager_link link;      /* without a manager it has no effect */
    uint64_t ask_again_ms;         /* the manager could not be asked: not before this time */
    enum lifecycle_reason refused; /* the reason that it could not be asked for, which is logged */
    atomic_bool is_reload_owed;    /* the manager could not be asked for a reload, because of … */
    char reload_why[sizeof(((struct worker_request *)0)->reason)]; /* … this */
    bool has_lost_descriptors; /* the application has closed them */
    bool is_bequeathing;       /* idle connections are given to the heir */
    bool is_orphaned;          /* the manager has gone */
    struct request_deadlines deadlines;
    struct process_notify service;        /* what systemd hears */
    struct child_list inherited_children; /* of the program that this one replaced: to be reaped */
};

/* Makes the event descriptor. The calling thread becomes the main thread. 0, or -1 with errno. */
int supervisor_init(struct supervisor *supervisor, const struct config *config);
/* Starts the thread; poller and pool must outlive it. Main thread. 0, or -1 with errno. */
int supervisor_start(struct supervisor *supervisor, struct poller *poller,
                     struct worker_pool *pool);
/* Python is finalized: ends the thread and joins it. Main thread. */
void supervisor_finish(struct supervisor *supervisor);

/* Any thread, and signal handlers. */
void supervisor_wake(struct supervisor *supervisor);
/* Asks the process to stop. The first reason counts, except that SIGQUIT ends the drain. Any
 * thread, and signal handlers. */
void supervisor_ask(struct supervisor *supervisor, enum lifecycle_reason reason);
/* The start has failed: asks for the next attempt, in a fresh interpreter, which gets a copy of
 * startup. -1: out of memory, and nothing happens. Main thread. */
int supervisor_ask_retry(struct supervisor *supervisor, const void *startup, size_t bytes);
/* Something failed to load while others are served, and may load now in a fresh process: asks the
 * manager for one, which gets a copy of startup. false: there is no manager. A wish that gets lost
 * is repeated by the caller, which asks at each attempt that is due. Main thread. */
bool supervisor_ask_heal(struct supervisor *supervisor, const char *what, const void *startup,
                         size_t bytes);
/* Code has changed: asks the manager to replace all workers, until it could be asked. false:
 * there is no manager. Main thread. */
bool supervisor_ask_reload(struct supervisor *supervisor, const char *why);
/* Any thread. */
enum lifecycle_state supervisor_state(struct supervisor *supervisor);

/* Waits until the timeout, or until the process stops: then true. attempt_ms: the next attempt to
 * load, from now, for Retry-After. Main thread, without the GIL. */
bool supervisor_wait(struct supervisor *supervisor, uint64_t timeout_ms, uint64_t attempt_ms);

#endif
