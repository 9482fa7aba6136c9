/* wsgi.errors: lines for the log (PEP 3333, "Input and Error Streams"). */
#ifndef FCGIHOST_PY_ERRORS_H
#define FCGIHOST_PY_ERRORS_H

#include "embed/py_streams.h"

/* Its objects are struct py_stream. */
extern PyTypeObject py_errors_type;
/* Logs what was written without a newline. With the GIL, which it releases meanwhile. */
void py_errors_flush(PyObject *errors);

#endif
