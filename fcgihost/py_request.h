/* The request that a thread serves, as fcgihost.request() shows it. */
#ifndef FCGIHOST_PY_REQUEST_H
#define FCGIHOST_PY_REQUEST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* A new reference to what make(environ) returned when it was asked for first, to None if this
 * thread serves no request, or NULL with an exception set. */
PyObject *py_wsgi_current_request(PyObject *make);

#endif
