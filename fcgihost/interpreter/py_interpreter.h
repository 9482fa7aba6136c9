/* The one interpreter of the process: its configuration, its start, its end. This header knows no
 * Python. */
#ifndef FCGIHOST_PY_INTERPRETER_H
#define FCGIHOST_PY_INTERPRETER_H

#include "config/config_error.h"
#include "config/settings.h"

#include <stdbool.h>

struct py_options {
    bool is_multiprocess;          /* other processes may serve the same application */
    bool is_run_once;              /* plain CGI, --call */
    struct supervisor *supervisor; /* NULL for plain CGI, --call, --check */
};

/* Starts Python; the calling thread, which is the main thread from now on, holds the GIL. 0, or -1
 * with one line. */
int py_interpreter_start(const struct config *config, const struct py_options *options,
                         struct config_error *error);
/* The application's part of the end, with the GIL held: runs what was registered as a cleanup,
 * waits for its threads, runs what was registered with atexit, within the time. is_stuck: a worker
 * is still in Python. is_afresh: a fresh interpreter takes over at once, which ends the threads that
 * go on. false: Python itself can't be ended, because a thread goes on, or something was interrupted. */
bool py_interpreter_end(uint64_t timeout_ms, bool is_stuck, bool is_afresh);
/* Ends Python, with the GIL held. No other thread may be in it. */
void py_interpreter_stop(void);
/* The version that is linked, as "3.11.2". */
const char *py_interpreter_version(void);

#endif
