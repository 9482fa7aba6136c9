/* The environ dictionary of a request (PEP 3333). */
#ifndef FCGIHOST_PY_ENVIRON_H
#define FCGIHOST_PY_ENVIRON_H

#include "embed/py_support.h"

/* All functions: with the GIL. */

/* Makes what is the same for every request: wsgi.version and so on. 0, or -1 with an exception set.
 */
int py_environ_init(bool is_multithread, bool is_multiprocess, bool is_run_once);
void py_environ_clear(void);
/* A new dictionary with the request's parameters and wsgi.input, wsgi.errors; NULL with an
 * exception set. */
PyObject *py_environ_new(struct request *request, PyObject *input, PyObject *errors);

#endif
