/* How long each thread has been running application code for a request, and what is due then: its
 * stack in the log, an exception in it, a fresh process. Knows nothing of Python, and decides
 * without a lock or the GIL. */
#ifndef FCGIHOST_REQUEST_CLOCK_H
#define FCGIHOST_REQUEST_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct python_thread;

enum {
    REQUEST_CLOCK_GRACE_MS = 5000,  /* between RequestTimeout and retiring the process */
    REQUEST_CLOCK_WEDGE_MS = 30000, /* if no thread could take the GIL so long, none ever will */
};

enum request_clock_phase {
    REQUEST_CLOCK_IDLE, /* runs no application code: sends a response, or has no request */
    REQUEST_CLOCK_GIL,  /* waits for the GIL before calling the application */
    REQUEST_CLOCK_RUNS, /* the application is running, or waiting for something */
};

/* What is due for a piece of work, as bits. */
enum request_clock_due {
    REQUEST_CLOCK_SLOW = 1,    /* older than slow_request: log its stack */
    REQUEST_CLOCK_TIMEOUT = 2, /* older than request_time: fcgihost.RequestTimeout */
    REQUEST_CLOCK_GONE = 4,    /* its client has left: fcgihost.ClientGone */
    REQUEST_CLOCK_RETIRE = 8,  /* ignored RequestTimeout: replace the process */
};

/* The current piece of work of one thread: a request, or the cleanups of one. The thread writes,
 * the supervisor reads. */
struct request_clock {
    atomic_ullong serial;   /* incremented for each piece of work */
    atomic_ullong since_ms; /* when it began */
    atomic_uint phase;      /* enum request_clock_phase */
    /* serial << 4 | enum request_clock_due: what the supervisor wants done about it in Python, and
     * what of that has been done. */
    atomic_ullong wanted, done;
    _Atomic(struct python_thread *) python; /* for embed/, which uses it with the GIL held */
};

/* Called by the thread: it begins a piece of work, without the GIL; … */
void request_clock_begin(struct request_clock *work, uint64_t now_ms);
/* … it has the GIL, and calls the application; … */
void request_clock_enter(struct request_clock *work);
/* … the application has returned. */
void request_clock_leave(struct request_clock *work);

/* A snapshot of a thread's work, for the supervisor. */
struct request_clock_view {
    unsigned long long serial;
    uint64_t since_ms;
    enum request_clock_phase phase;
    bool is_client_gone;
};

/* false: no application code is running. Any thread. */
bool request_clock_look(const struct request_clock *work, struct request_clock_view *view);

/* 0: never. */
struct request_clock_limits {
    uint64_t slow_ms, timeout_ms;
};

/* What the supervisor has found due for one thread's current work. */
struct request_clock_entry {
    unsigned long long serial;
    unsigned due; /* enum request_clock_due */
    uint64_t timed_out_ms;
};

/* What has become due since the last call, each thing once: bits of enum request_clock_due. */
unsigned request_clock_step(struct request_clock_entry *entry,
                            const struct request_clock_limits *limits,
                            const struct request_clock_view *view, uint64_t now_ms);
/* How long until something may become due; at most wait_ms. */
uint64_t request_clock_wait_ms(const struct request_clock_entry *entry,
                               const struct request_clock_limits *limits,
                               const struct request_clock_view *view, uint64_t now_ms,
                               uint64_t wait_ms);

/* Between the supervisor and the task that acts on it with the GIL held. */

/* Adds to what the supervisor wants done for a piece of work. */
void request_clock_want(struct request_clock *work, unsigned long long serial, unsigned due);
/* What is wanted and not yet done for the thread's current piece of work. */
unsigned request_clock_wanted(const struct request_clock *work);
void request_clock_set_done(struct request_clock *work, unsigned due);

#endif
