/* start_response and the write callable that it returns (PEP 3333, "The start_response()
 * Callable"). */
#ifndef FCGIHOST_PY_RESPONSE_H
#define FCGIHOST_PY_RESPONSE_H

#include "embed/py_streams.h"

/* Its objects are struct py_stream. */
extern PyTypeObject py_start_response_type;

#endif
