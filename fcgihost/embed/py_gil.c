/* The GIL of the main thread. */
#include "embed/py_gil.h"

#include <Python.h>

static PyThreadState *main_state; /* while the GIL is released */

void py_gil_release(void)
{
    main_state = PyEval_SaveThread();
}

void py_gil_take(void)
{
    PyEval_RestoreThread(main_state);
}
