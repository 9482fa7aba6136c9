/* The one interpreter of the process: configures, starts and finalizes it. This header knows no
 * Python. All functions: main thread. */
#ifndef FCGIHOST_PY_INTERPRETER_H
#define FCGIHOST_PY_INTERPRETER_H

#include "config/config.h"
#include "config/config_error.h"

#include <stdbool.h>

struct py_options {
    bool is_multiprocess;          /* other processes may serve the same application */
    bool is_run_once;              /* plain CGI, --call */
    struct supervisor *supervisor; /* NULL for plain CGI, --call, --check */
};

/* Starts Python: the calling thread becomes Python's main thread and holds the GIL on return. 0, or
 * -1 with one line in error. */
int py_interpreter_start(const struct config *config, const struct py_options *options,
                         struct config_error *error);
/* With the GIL: runs the cleanups, joins the application's threads, runs atexit's functions, within
 * the time. is_stuck: a worker thread is still in Python. is_afresh: the process is replaced, and
 * exec ends the remaining threads. false: Python must not be finalized, because a thread goes on or
 * something was interrupted. */
bool py_interpreter_end(uint64_t timeout_ms, bool is_stuck, bool is_afresh);
/* Finalizes Python. With the GIL; no other thread may be in Python. */
void py_interpreter_stop(void);
/* The version of the linked Python, as "3.11.2". */
const char *py_interpreter_version(void);

#endif
