/* Start-up: the imports and the application, tried again until they work. The policy is Python's
 * (fcgihost/host/startup.py). This header knows no Python. */
#ifndef FCGIHOST_PY_STARTUP_H
#define FCGIHOST_PY_STARTUP_H

#include "config/config.h"

#include <stdbool.h>

struct supervisor;

/* All functions: main thread, with the GIL. */

/* Makes attempts until everything is loaded or the process stops, and tells the supervisor what can
 * be served; releases the GIL between attempts. After a failure it may ask the supervisor to stop
 * the process ([startup] on_failure), or to replace it, for an attempt in a fresh interpreter. */
void py_startup_run(const struct config *config, struct supervisor *supervisor);

enum py_startup_result {
    PY_STARTUP_FINE,
    PY_STARTUP_IMPERFECT, /* an import failed that is not required */
    PY_STARTUP_FAILED,    /* the application, or a required import */
};

/* One attempt at each, for --check, --call and plain CGI. The log says what failed. */
enum py_startup_result py_startup_run_once(const struct config *config);
/* Prints what was loaded, for --check: "hello:application (function hello.application of
 * /srv/hello.py)". */
void py_startup_describe(const struct config *config);

#endif
