/* The callables that serve requests, as they were loaded: for each application one for each role.
 */
#ifndef FCGIHOST_PY_PROGRAMS_H
#define FCGIHOST_PY_PROGRAMS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "protocol/record.h"

/* All functions: with the GIL. */

/* loaded: a tuple (responder, authorizer, filter), None for a role that is not served; requests
 * that begin from now on get these. 0, or -1 with TypeError set if loaded is anything else. */
int py_programs_put(unsigned long application, PyObject *loaded);
/* changes: a list of (application, responder), None for one that stays as it is. Requests that
 * begin from now on get these, and keep hold (generations.Hold) to their end: all at once, as no
 * other thread gets the GIL meanwhile. number: hold's generation. 0, or -1 with an exception set.
 */
int py_programs_switch(PyObject *changes, PyObject *hold, unsigned number);
/* What a request of that application keeps to its end; borrowed, or NULL. */
PyObject *py_programs_hold(unsigned long application);
/* The number of the generation that requests begin with. Any thread, without the GIL. */
unsigned py_programs_generation(void);
/* The callable for a role of an application that has been loaded. Borrowed. */
PyObject *py_programs_get(unsigned long application, enum record_role role);
void py_programs_clear(void);

#endif
