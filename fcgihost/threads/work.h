/* How long each thread has been running application code for a request, and what is due then: its
 * stack in the log, an exception in it, a fresh process. Knows no Python, and decides nothing with
 * a lock or the GIL held. */
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
    WORK_IDLE, /* no application code: the host is sending, or the thread has no request */
    WORK_GIL,  /* waits for the GIL, before the application */
    WORK_RUNS, /* runs application code, or waits in it */
};

/* What is due for a piece of work. */
enum work_due {
    WORK_SLOW = 1,    /* older than slow_request: log its stack */
    WORK_TIMEOUT = 2, /* older than request_time: fcgihost.RequestTimeout */
    WORK_GONE = 4,    /* its client has left: fcgihost.ClientGone */
    WORK_RETIRE = 8,  /* it goes on after RequestTimeout: the process must be replaced */
};

/* Of one thread: the piece of work that it does, a request or the cleanups of one. The thread
 * writes, the supervisor reads. */
struct work {
    atomic_ullong serial;   /* grows with each piece of work */
    atomic_ullong since_ms; /* when it began */
    atomic_uint phase;      /* enum work_phase */
    /* serial << 4 | enum work_due: what the supervisor wants done about it in Python, and what of
     * it has been done. */
    atomic_ullong wanted, done;
    _Atomic(struct python_thread *) python; /* for embed/; with the GIL it can be used */
};

/* The thread begins a piece of work, without the GIL; … */
void work_begin(struct work *work, uint64_t now_ms);
/* … has the GIL, and runs application code; … */
void work_enter(struct work *work);
/* … and has run it. */
void work_leave(struct work *work);

/* A thread at one moment, as the supervisor sees it. */
struct work_view {
    unsigned long long serial;
    uint64_t since_ms;
    enum work_phase phase;
    bool is_client_gone;
};

/* false: it does no such work. Any thread. */
bool work_look(const struct work *work, struct work_view *view);

/* 0: never. */
struct work_limits {
    uint64_t slow_ms, timeout_ms;
};

/* What the supervisor has found due for one thread so far. */
struct work_entry {
    unsigned long long serial;
    unsigned due; /* enum work_due */
    uint64_t timed_out_ms;
};

/* What has become due since the last call, each once: enum work_due. */
unsigned work_step(struct work_entry *entry, const struct work_limits *limits,
                   const struct work_view *view, uint64_t now_ms);
/* How long until something may become due, wait_ms at most. */
uint64_t work_wait_ms(const struct work_entry *entry, const struct work_limits *limits,
                      const struct work_view *view, uint64_t now_ms, uint64_t wait_ms);

/* Between the supervisor and the errand that does it with the GIL. */

/* The supervisor wants this as well for a piece of work. */
void work_want(struct work *work, unsigned long long serial, unsigned due);
/* What is wanted, and not done, for the piece of work that the thread does now. */
unsigned work_wanted(const struct work *work);
void work_set_done(struct work *work, unsigned due);

#endif
