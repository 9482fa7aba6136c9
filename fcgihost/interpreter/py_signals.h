/* The application's signal handlers. Python runs them on the main thread only, which waits in C
 * code until the process stops, and must enter Python for each signal. */
#ifndef FCGIHOST_PY_SIGNALS_H
#define FCGIHOST_PY_SIGNALS_H

#include "base/event.h"

/* Opens the descriptors of py_signals_wait(event): early, before the host counts how many are left
 * for connections. Without descriptors it polls twice a second. Main thread. */
void py_signals_open(struct event *event);

/* Waits for the event, and runs the handlers of signals that come until then, and Python's
 * entry.do_chores(). Main thread, without the GIL. */
void py_signals_wait(struct event *event);

/* do_chores() is called soon. Any thread, with or without the GIL; takes no lock. */
void py_signals_wake(void);

/* Runs the handlers of the signals that have come; logs what they raise. Main thread, with the
 * GIL. */
void py_signals_run(void);

/* Before Python is finalized, which restores the default action of each signal that has a handler:
 * a signal that came afterwards would kill the process. Main thread, with the GIL. */
void py_signals_close(void);

#endif
