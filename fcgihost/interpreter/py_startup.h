/* Start-up: the imports and the application, tried again until they work. The policy is Python's
 * (fcgihost/startup.py). This header knows no Python. */
#ifndef FCGIHOST_PY_STARTUP_H
#define FCGIHOST_PY_STARTUP_H

#include "config/settings.h"

#include <stdbool.h>

struct supervisor;

/* All below: on the main thread, with the GIL. */

/* Attempts until all is loaded, or until the process ends; tells the supervisor once requests can be
 * served. The GIL is given up between attempts. After a failure it may ask the supervisor for the end:
 * for good, as [startup] on_failure says, or so that the next attempt begins in a fresh interpreter. */
void py_startup_run(const struct config *config, struct supervisor *supervisor);

enum py_startup_result {
    PY_STARTUP_FINE,
    PY_STARTUP_IMPERFECT, /* an import failed that is not required */
    PY_STARTUP_FAILED,    /* the application, or a required import */
};

/* One attempt at each, for --check, --call and plain CGI. The log says what failed. */
enum py_startup_result py_startup_run_once(const struct config *config);
/* Says what was loaded, for --check: "hello:application (function hello.application of
 * /srv/hello.py)". */
void py_startup_describe(const struct config *config);
void py_startup_clear(void);

#endif
