/* The GIL of the main thread. Other threads have a thread state of their own (py_wsgi.c,
 * py_errand.c). This header knows no Python. */
#ifndef FCGIHOST_PY_GIL_H
#define FCGIHOST_PY_GIL_H

/* On the main thread, which holds it after py_interpreter_start(); in turns. */
void py_gil_release(void);
void py_gil_take(void);

#endif
