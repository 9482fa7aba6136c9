/* A thread that serves, as Python knows it, and the request that it serves. */
#ifndef FCGIHOST_PY_REQUEST_H
#define FCGIHOST_PY_REQUEST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "net/socket_io.h"
#include "threads/activity.h"

#include <stdbool.h>

struct request;

enum { PY_COPY_BYTES = 16 << 10 };

/* Of the request that a thread serves: an exception that the host raises in it (py_interrupt.h). */
struct interruption {
    bool is_possible;               /* the application's own code runs */
    bool is_stack_logged;           /* for a timeout, by the task */
    enum request_clock_due pending; /* to be raised; 0: nothing */
    enum request_clock_due set;     /* given to PyThreadState_SetAsyncExc; 0: nothing */
    unsigned raised;                /* enum request_clock_due: what has been, or has been set */
};

struct python_thread {
    struct socket_wait send_wait; /* releases the GIL if is_gil_kept */
    bool is_gil_kept;
    PyThreadState *state;
    bool is_state_own;
    struct activity *activity; /* the thread's */
    struct interruption interruption;
    PyObject *input, *errors, *start_response;
    PyObject *data;             /* the file that a filter reads; NULL in other roles */
    struct request *served;     /* NULL: none */
    PyObject *borrowed_environ; /* while the application runs; else NULL */
    PyObject *hold;           /* keeps the request's generation of code alive; NULL: it has none */
    PyObject *request;        /* what fcgihost.request() returns: NULL until it is called */
    char copy[PY_COPY_BYTES]; /* of a short response */
};

/* All functions: with the GIL, unless they say otherwise. */

/* The calling thread serves with this from now on. Without the GIL. */
void py_request_set_thread(struct python_thread *thread);
/* The calling thread, if it serves; else NULL. */
struct python_thread *py_request_thread(void);
/* What fcgihost.request() returns in the calling thread: a new reference to what make(environ)
 * returned when it was called first in this request; to None if the thread serves no request; NULL
 * with an exception set. */
PyObject *py_request_current(PyObject *make);
/* What keeps the generation of the calling thread's request alive: borrowed, or NULL. */
PyObject *py_request_hold(void);
/* The calling thread's request keeps hold to its end, unless it has one, or there is no request. */
void py_request_keep(PyObject *hold);
/* The request that the calling thread serves, or NULL. */
struct request *py_request_served(void);

#endif
