/* The module _fcgihost: what the host offers to its Python package. */
#ifndef FCGIHOST_PY_MODULE_H
#define FCGIHOST_PY_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct supervisor;

/* For PyImport_AppendInittab; Python calls it with the GIL. */
PyObject *py_module_init(void);
/* The supervisor that its functions use; NULL, the default, for plain CGI, --call and --check.
 * Main thread, before Python starts. */
void py_module_set_supervisor(struct supervisor *supervisor);

#endif
