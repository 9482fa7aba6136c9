/* The virtual environment that [python] home names. */
#ifndef FCGIHOST_PY_HOME_H
#define FCGIHOST_PY_HOME_H

#include "config/config_error.h"
#include "config/settings.h"

/* Is it one, made with the Python that is built in? Before Python starts: otherwise that fails
 * where no error can be told, or much later, at an extension of the standard library. 0, or -1 with
 * one line in error. */
int py_home_check(const struct config *config, struct config_error *error);

#endif
