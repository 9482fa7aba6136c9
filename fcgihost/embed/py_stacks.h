/* The Python stacks of all threads, for the log. This header knows no Python. */
#ifndef FCGIHOST_PY_STACKS_H
#define FCGIHOST_PY_STACKS_H

#include <signal.h>

struct activities;

/* A thread that gets it writes the stacks to the descriptor of py_stacks_open(), without the GIL.
 */
#define PY_STACKS_SIGNAL (SIGRTMAX - 2)

/* Makes the file in memory that stacks are written to. The descriptor, or -1 with errno. */
int py_stacks_open(void);
/* Before Python is finalized, which removes the signal's handler. */
void py_stacks_close(void);
/* Logs the stack of every thread with the request that it serves; why: the message's first words.
 * If the GIL can't be had it says so, and reads the stacks without it. Any thread without the GIL;
 * blocks for half a second at most. */
void py_stacks_log(const struct activities *activities, const char *why);
/* The same, for a caller who knows that the GIL can't be had. Does not block. */
void py_stacks_log_from_outside(const struct activities *activities, const char *why);

#endif
