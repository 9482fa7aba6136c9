/* wsgi.input: the request's body as a file that ends (PEP 3333, "Input and Error Streams"). */
#ifndef FCGIHOST_PY_INPUT_H
#define FCGIHOST_PY_INPUT_H

#include "embed/py_streams.h"

/* Its objects are struct py_stream. */
extern PyTypeObject py_input_type;

#endif
