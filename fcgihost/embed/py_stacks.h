/* The Python stacks of all threads, for the log. This header knows no Python. */
#ifndef FCGIHOST_PY_STACKS_H
#define FCGIHOST_PY_STACKS_H

#include <signal.h>

struct activities;

/* Has them written to the descriptor, without the GIL. */
#define PY_STACKS_SIGNAL (SIGRTMAX - 2)

/* Makes the memory file that stacks are written to. The descriptor, or -1 with errno. */
int py_stacks_open(void);
/* Python's end begins, and takes the signal's handler away. */
void py_stacks_close(void);
/* Logs the stack of every thread, with the request that it serves, after the word why. If Python
 * can't be entered it says so, and reads the stacks from outside. Without the GIL. */
void py_stacks_log(const struct activities *activities, const char *why);

#endif
