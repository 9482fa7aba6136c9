/* The one interpreter of the process: its configuration, its start, its end. This header knows no
 * Python. */
#ifndef FCGIHOST_PY_INTERPRETER_H
#define FCGIHOST_PY_INTERPRETER_H

#include "config.h"

#include <stdbool.h>

/* Is [python] home a virtual environment of the Python that this program is linked with? 0, or -1
 * with one line. To be asked before py_interpreter_start, for which a wrong one is a fatal error.
 */
int py_interpreter_check_home(const struct config *config, struct config_error *error);

struct py_options {
    bool is_multiprocess; /* other processes may serve the same application */
    bool is_run_once;     /* plain CGI, --call */
};

/* Starts Python; the calling thread, which is the main thread from now on, holds the GIL. 0, or -1
 * with one line. */
int py_interpreter_start(const struct config *config, const struct py_options *options,
                         struct config_error *error);
/* The main thread's GIL. */
void py_interpreter_release_gil(void);
void py_interpreter_take_gil(void);
/* Runs what was registered as a cleanup and with atexit, and ends Python, with the GIL held. No
 * worker may be in Python. */
void py_interpreter_stop(void);
/* The version that is linked, as "3.11.2". */
const char *py_interpreter_version(void);

#endif
