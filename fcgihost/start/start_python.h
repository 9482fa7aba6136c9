/* Python's start and end, as each command needs them. */
#ifndef FCGIHOST_START_PYTHON_H
#define FCGIHOST_START_PYTHON_H

#include "config/config.h"
#include "interpreter/py_interpreter.h"

#include <stdbool.h>
#include <stdint.h>

/* Starts it; then the main thread holds the GIL. 0, or an exit code. */
int start_python(const struct config *config, const struct py_options *options);
/* Cleanups, atexit functions, Py_FinalizeEx. false: Python is not finalized, and the process must
 * exit with _exit. is_retry: the program is executed anew after a failed start; finalizing is left
 * out, as it may crash on what is half loaded. Main thread, with the GIL. */
bool start_python_finalize(uint64_t deadline_ms, bool is_stuck, bool is_retry);
/* The same for a command that ends with this code: returns it, or does not return. */
int start_python_finish(const struct config *config, int code);

#endif
