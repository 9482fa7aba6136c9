/* Loading the application, and trying again until it works. This header knows no Python. */
#ifndef FCGIHOST_PY_APPLICATION_H
#define FCGIHOST_PY_APPLICATION_H

#include "config.h"
#include "event.h"

#include <stdbool.h>

/* One attempt, on the main thread, with the GIL. false: the traceback has been logged. */
bool py_application_load(const struct config *config);
/* Attempts, with a delay that doubles from a second to a minute, or at once when one of its files
 * changes, until one succeeds (then is_loaded is set) or stop is set. On the main thread, with the
 * GIL, which is given up meanwhile. */
void py_application_load_until(const struct config *config, struct event *is_loaded,
                               struct event *stop);
/* Says what was loaded, for --check: "hello:application (function hello.application of
 * /srv/hello.py)". With the GIL.
 */
void py_application_describe(const struct config *config);
void py_application_unload(void);

#endif
