/* The module _fcgihost: the host, as its Python package sees it. */
#ifndef FCGIHOST_PY_MODULE_H
#define FCGIHOST_PY_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct supervisor;

/* For PyImport_AppendInittab. */
PyObject *py_module_init(void);
/* The supervisor that it speaks to; NULL, the default: none, plain CGI or --call. */
void py_module_set_supervisor(struct supervisor *supervisor);

#endif
