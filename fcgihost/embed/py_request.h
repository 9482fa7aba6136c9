/* The request that a thread serves, as fcgihost.request() shows it. */
#ifndef FCGIHOST_PY_REQUEST_H
#define FCGIHOST_PY_REQUEST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* A new reference to what make(environ) returned when it was asked for first, to None if this
 * thread serves no request, or NULL with an exception set. */
PyObject *py_wsgi_current_request(PyObject *make);

struct request;

/* The request that this thread serves just now, or NULL. With the GIL. */
struct request *py_wsgi_served_request(void);

#endif
