/* Python work that the supervisor asks for, on threads of its own, so that it never waits for the
 * GIL itself. This header knows no Python. */
#ifndef FCGIHOST_PY_ERRAND_H
#define FCGIHOST_PY_ERRAND_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Sent to the main thread, it gets it out of an import or a cleanup, if Python can (interrupt.py).
 */
#define PY_INTERRUPT_SIGNAL (SIGRTMAX - 1)

enum py_errand {
    PY_ERRAND_STOPPING, /* sets fcgihost.stopping */
    PY_ERRAND_CLEANUPS, /* runs the cleanups, because the main thread can't */
    PY_ERRAND_STACKS,   /* logs the stacks of all threads */
};

/* Python is there: from now on errands can be run. */
void py_errand_open(void);
/* Returns at once. Does nothing before py_errand_open and after py_errand_close. */
void py_errand_start(enum py_errand errand);
/* Waits for it, that long at most: false if it has not been done; then it won't be. why: for the
 * log, constant text. */
bool py_errand_run(enum py_errand errand, const char *why, uint64_t timeout_ms);
/* No more errands: waits for those under way, that long at most. false: one is stuck. Without the
 * GIL. */
bool py_errand_close(uint64_t timeout_ms);

#endif
