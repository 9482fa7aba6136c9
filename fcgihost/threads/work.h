/* How long each thread has been running application code for a request, and what is due then: its
 * stack in the log, an exception in it, a fresh process. Knows nothing of Python, and decides
 * without a lock or the GIL. */
#ifndef FCGIHOST_WORK_H
#define FCGIHOST_WORK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct python_thread;

enum {
    WORK_GRACE_MS = 5000,  /* between RequestTimeout and retiring the process */
    WORK_WEDGE_MS = 30000, /* if no thread could take the GIL for this long, none ever will */
};

enum work_phase {
    WORK_IDLE, /* runs no application code: sends a response, or has no request */
    WORK_GIL,  /* waits for the GIL before calling the application */
    WORK_RUNS, /* the application is running, or waiting for something */
};

/* What is due for a piece of work, as bits. */
enum work_due {
    WORK_SLOW = 1,    /* older than slow_request: log its stack */
    WORK_TIMEOUT = 2, /* older than request_time: fcgihost.RequestTimeout */
    WORK_GONE = 4,    /* its client has left: fcgihost.ClientGone */
    WORK_RETIRE = 8,  /* ignored RequestTimeout: replace the process */
};

/* The current piece of work of one thread: a request, or the cleanups of one. The thread writes,
 * the supervisor reads. */
struct work {
    atomic_ullong serial;   /* incremented for each piece of work */
    atomic_ullong since_ms; /* when it began */
    atomic_uint phase;      /* enum work_phase */
    /* serial << 4 | enum work_due: what the supervisor wants done about it in Python, and what of
     * that has been done. */
    atomic_ullong wanted, done;
    _Atomic(struct python_thread *) python; /* for embed/, which uses it with the GIL held */
};

/* Called by the thread: it begins a piece of work, without the GIL; … */
void work_begin(struct work *work, uint64_t now_ms);
/* … it has the GIL, and calls the application; … */
void work_enter(struct work *work);
/* … the application has returned. */
void work_leave(struct work *work);

/* A snapshot of a thread's work, for the supervisor. */
struct work_view {
    unsigned long long serial;
    uint64_t since_ms;
    enum work_phase phase;
    bool is_client_gone;
};

/* false: no application code is running. Any thread. */
bool work_look(const struct work *work, struct work_view *view);

/* 0: never. */
struct work_limits {
    uint64_t slow_ms, timeout_ms;
};

/* What the supervisor has found due for one thread's current work. */
struct work_entry {
    unsigned long long serial;
    unsigned due; /* enum work_due */
    uint64_t timed_out_ms;
};

/* What has become due since the last call, each thing once: bits of enum work_due. */
unsigned work_step(struct work_entry *entry, const struct work_limits *limits,
                   const struct work_view *view, uint64_t now_ms);
/* How long until something may become due; at most wait_ms. */
uint64_t work_wait_ms(const struct work_entry *entry, const struct work_limits *limits,
                      const struct work_view *view, uint64_t now_ms, uint64_t wait_ms);

/* Between the supervisor and the errand that acts on it with the GIL held. */

/* Adds to what the supervisor wants done for a piece of work. */
void work_want(struct work *work, unsigned long long serial, unsigned due);
/* What is wanted and not yet done for the thread's current piece of work. */
unsigned work_wanted(const struct work *work);
void work_set_done(struct work *work, unsigned due);

#endif
