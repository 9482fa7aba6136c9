/* How the main thread releases and takes the GIL. Other threads have thread states of their own
 * (py_wsgi.c, py_task.c). This header knows no Python. */
#ifndef FCGIHOST_PY_GIL_H
#define FCGIHOST_PY_GIL_H

/* Main thread, which holds the GIL after py_interpreter_start(); alternately. */
void py_gil_release(void);
void py_gil_take(void);

#endif
