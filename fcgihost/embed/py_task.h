/* Python work for the supervisor, which must never wait for the GIL: each task runs on a thread
 * of its own. This header knows no Python. */
#ifndef FCGIHOST_PY_TASK_H
#define FCGIHOST_PY_TASK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Sent to the main thread, it interrupts an import or a cleanup (interrupt.py). */
#define PY_INTERRUPT_SIGNAL (SIGRTMAX - 1)

struct activities;

enum py_task {
    PY_TASK_STOPPING, /* sets fcgihost.stopping */
    PY_TASK_CLEANUPS, /* runs the cleanups while the main thread is stuck in an import */
    PY_TASK_STACKS,   /* logs the stacks of all threads */
    PY_TASK_OVERDUE,  /* does what request_clock_want() says about requests */
    PY_TASK_ANSWER,   /* nothing: it shows that the GIL can be had */
    PY_TASKS
};

/* All functions: any thread, without the GIL. */

/* Python has been initialised: from now on tasks can run. Main thread; the GIL may be held. */
void py_task_open(void);
/* Whose requests PY_TASK_OVERDUE sees to. Before the first of them. */
void py_task_set_activities(const struct activities *activities);
/* Returns at once. No effect before py_task_open and after py_task_close. */
void py_task_start(enum py_task task);
/* Has one been started that has not ended? Then it waits for the GIL, or runs. */
bool py_task_is_under_way(enum py_task task);
/* Runs the task and waits for it. false: it did not get the GIL in that time, and never begins; or
 * it has begun, and has lost the GIL for four times as long. why: for the log; must stay valid. */
bool py_task_run(enum py_task task, const char *why, uint64_t timeout_ms);
/* Allows no new task, and waits for those under way, that long at most. false: one is stuck. */
bool py_task_close(uint64_t timeout_ms);

#endif
