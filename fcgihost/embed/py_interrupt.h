/* Exceptions that the host raises in the application: fcgihost.RequestTimeout, fcgihost.ClientGone.
 *
 * One is raised only in the application's own code: from its call until it has returned, and while
 * its response is iterated over; not in the response's close(), in cleanups, in the host's package
 * or in Python's import system. All of it is decided with the GIL held, and what has not been
 * raised by then is withdrawn there: so no exception reaches the next request. */
#ifndef FCGIHOST_PY_INTERRUPT_H
#define FCGIHOST_PY_INTERRUPT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct activities;
struct python_thread;
struct request;

/* All functions: with the GIL. The first four are for a thread that serves. */

/* The request enters the application's own code: an exception may be raised from now on. */
void py_interrupt_open(struct python_thread *thread, struct request *request);
/* It has left that code: none may be raised any more. May be called again. */
void py_interrupt_close(struct python_thread *thread, struct request *request);
/* Raises what is due in the calling thread, also when request_time has just passed. 0, or -1 with
 * the exception set. For C code that waited, and for waits of the package. */
int py_interrupt_check(void);
/* The application ended with this exception. If it is one of those, answers with 504, or closes the
 * connection of a response that has begun, or of a client that has left. false: it is another one.
 */
bool py_interrupt_answer(struct python_thread *thread, struct request *request,
                         PyObject *exception);

/* For the task: does what the supervisor wants (request_clock_want): logs stacks, raises
 * exceptions. */
void py_interrupt_run(const struct activities *activities);

#endif
