/* What the Python side of the host shares: versions' differences, calls into fcgihost._host,
 * exceptions. */
#ifndef FCGIHOST_PY_SUPPORT_H
#define FCGIHOST_PY_SUPPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/log.h"
#include "http/request.h"

#include <stdbool.h>

#if PY_VERSION_HEX < 0x030A0000
static inline PyObject *Py_NewRef(PyObject *object)
{
    Py_INCREF(object);
    return object;
}
static inline PyObject *Py_XNewRef(PyObject *object)
{
    Py_XINCREF(object);
    return object;
}
#endif

/* The callable for the request's route and role, which have been loaded. Borrowed. */
PyObject *py_program(const struct request *request);

/* Imports fcgihost._host, once. 0, or -1 with an exception set. */
int py_module_import_host(void);
/* Calls a function of fcgihost._host. A new reference, or NULL with an exception set. */
PyObject *py_module_call(const char *function, PyObject *const *arguments, size_t count);
/* The same with arguments as Py_BuildValue makes them: a format of two items or more. */
PyObject *py_module_call_with(const char *function, const char *format, ...);
void py_module_clear(void);

/* Takes the exception that is set, normalised, with its traceback: a new reference. NULL if none is
 * set. */
PyObject *py_exception_take(void);
void py_exception_restore(PyObject *exception);
/* The traceback as text: a new reference to a str, or NULL with nothing set. */
PyObject *py_exception_format(PyObject *exception);
/* Logs the exception that is set, and clears it. Gives up the GIL meanwhile. */
void py_exception_print(const char *what);
/* Logs the exception that is set as what went wrong in the request, to the web server too if [log]
 * front says so, and clears it. Gives up the GIL meanwhile. */
void py_exception_log(struct request *request, const char *where);
/* Logs the exception, and answers: a 500 page, or 413, if nothing has left; else the connection is
 * to be broken off. */
void py_exception_answer(struct request *request, PyObject *exception);
/* After os.fork() in the application the child comes back into the host too, and ends here: with 0
 * if the application returned, with the code of its SystemExit, with 1 for another exception. Does
 * nothing in the host itself. */
void py_leave_forked_child(void);

/* The pages and logs of requests. */
struct py_settings {
    bool is_front_logged;
    bool is_traceback_shown;
    bool is_multithreaded; /* several threads serve */
};
extern struct py_settings py_settings;

/* A str's characters if they are all Latin-1, as PEP 3333 wants its strings; else NULL with
 * ValueError set, or TypeError where it is no str. what names it. */
const char *py_latin1(PyObject *text, const char *what, Py_ssize_t *bytes);

#endif
