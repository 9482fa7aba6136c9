/* The application's signal handlers: Python runs them on the main thread alone, which waits in C
 * for the end, and has to come back for them. */
#ifndef FCGIHOST_PY_SIGNALS_H
#define FCGIHOST_PY_SIGNALS_H

#include "base/event.h"

/* Makes what py_signals_wait(event) waits with, early, so that the number of descriptors is told
 * once. If there are none left, it looks twice a second. */
void py_signals_open(struct event *event);

/* Waits for the event; until then the handlers run. On the main thread, without the GIL. */
void py_signals_wait(struct event *event);

/* Runs the handlers that are due. What one raises is logged, and that is all. On the main thread,
 * with the GIL. */
void py_signals_run(void);

/* Before Python's own end, which gives every signal with a handler back to the system: one that
 * comes afterwards would kill the process. With the GIL. */
void py_signals_close(void);

#endif
