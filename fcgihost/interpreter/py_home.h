/* The virtual environment that [python] home names. */
#ifndef FCGIHOST_PY_HOME_H
#define FCGIHOST_PY_HOME_H

#include "config/config.h"
#include "config/config_error.h"

/* Checks that it is a virtual environment of the linked Python. Called before Python starts, which
 * with another one would exit without a useful error, or fail later, when an extension of the
 * standard library is imported. 0, or -1 with one line in error. */
int py_home_check(const struct config *config, struct config_error *error);

#endif
