/* Python work for the supervisor, which must never wait for the GIL: each errand runs on a thread
 * of its own. This header knows no Python. */
#ifndef FCGIHOST_PY_ERRAND_H
#define FCGIHOST_PY_ERRAND_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Sent to the main thread, it interrupts an import or a cleanup (interrupt.py). */
#define PY_INTERRUPT_SIGNAL (SIGRTMAX - 1)

struct activities;

enum py_errand {
    PY_ERRAND_STOPPING, /* sets fcgihost.stopping */
    PY_ERRAND_CLEANUPS, /* runs the cleanups while the main thread is stuck in an import */
    PY_ERRAND_STACKS,   /* logs the stacks of all threads */
    PY_ERRAND_OVERDUE,  /* does what work_want() says about requests */
    PY_ERRAND_ANSWER,   /* nothing: it shows that the GIL can be had */
    PY_ERRANDS
};

/* All functions: any thread, without the GIL. */

/* Python has been initialised: from now on errands can run. Main thread; the GIL may be held. */
void py_errand_open(void);
/* Whose requests PY_ERRAND_OVERDUE sees to. Before the first of them. */
void py_errand_set_activities(const struct activities *activities);
/* Returns at once. No effect before py_errand_open and after py_errand_close. */
void py_errand_start(enum py_errand errand);
/* Has one been started that has not ended? Then it waits for the GIL, or runs. */
bool py_errand_is_under_way(enum py_errand errand);
/* Runs the errand and waits for it, that long at most. false: it could not begin in time, and
 * won't, or has not ended. why: for the log; must stay valid. */
bool py_errand_run(enum py_errand errand, const char *why, uint64_t timeout_ms);
/* Allows no new errand, and waits for those under way, that long at most. false: one is stuck. */
bool py_errand_close(uint64_t timeout_ms);

#endif
