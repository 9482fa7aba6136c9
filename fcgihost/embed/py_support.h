/* Shared by all files that use Python: differences between versions, calls to fcgihost.host.entry,
 * exceptions. All functions: with the GIL on entry and on return. */
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

/* Imports fcgihost.host.entry, once. 0, or -1 with an exception set. */
int py_module_import_host(void);
/* What it has under that name: a new reference, or NULL with an exception set. */
PyObject *py_module_get(const char *name);
/* Calls a function of fcgihost.host.entry; no argument may be NULL. A new reference, or NULL with
 * an exception set. */
PyObject *py_module_call(const char *function, PyObject *const *arguments, size_t count);
/* The same with arguments as Py_BuildValue makes them; the format must make a tuple. */
PyObject *py_module_call_with(const char *function, const char *format, ...);
void py_module_clear(void);

/* Clears the exception that is set and returns it, normalised, with its traceback: a new reference.
 * NULL if none is set. */
PyObject *py_exception_take(void);
/* Sets it again; steals the reference. */
void py_exception_restore(PyObject *exception);
/* Logs the exception that is set after the text what, and clears it. Releases the GIL meanwhile. */
void py_exception_print(const char *what);
/* Logs the exception that is set with the request's method and path, and clears it; sends it to the
 * web server too if [log] front says so. Releases the GIL meanwhile. */
void py_exception_log(struct request *request, const char *where);
/* Logs the exception, and answers the request: with an error page if no byte has been sent, else by
 * closing the connection. Releases the GIL meanwhile. */
void py_exception_answer(struct request *request, PyObject *exception);
/* A child that the application made with os.fork() returns into the host too, and exits here: with
 * 0 if the application returned, with the code of its SystemExit, with 1 after another exception.
 * No effect in the host itself. */
void py_leave_forked_child(void);

/* The pages and logs of requests. */
struct py_settings {
    bool is_front_logged;
    bool is_traceback_shown;
    bool is_multithreaded;    /* several threads serve */
    uint64_t request_time_ms; /* 0: any */
};
extern struct py_settings py_settings;

/* The characters of a str that is all Latin-1, as PEP 3333 demands; valid as long as text. Else
 * NULL with ValueError set, or TypeError if it is no str. what: its name in the message. */
const char *py_latin1(PyObject *text, const char *what, Py_ssize_t *bytes);

#endif
