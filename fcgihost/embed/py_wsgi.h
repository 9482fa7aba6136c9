/* Serving one request through a WSGI application (PEP 3333). For the workers: this header knows no
 * Python. */
#ifndef FCGIHOST_PY_WSGI_H
#define FCGIHOST_PY_WSGI_H

struct pace_runner;
struct python_thread;
struct request;

/* A thread's persistent thread state: made once, so that threading.local lives as long as the
 * thread. Called and left without the GIL. NULL when out of memory. */
struct python_thread *py_wsgi_enter_thread(void);
/* Frees it. */
void py_wsgi_leave_thread(struct python_thread *thread);
/* Calls the application and sends its response, or an error page. Passes the runner's turn on as
 * soon as it has the GIL. Without the GIL; it may come back with it, so that py_wsgi_let_go() must
 * follow, after what does not wait and before anything that may. */
void py_wsgi_serve(struct python_thread *thread, struct pace_runner *runner,
                   struct request *request);
/* Gives up the GIL if py_wsgi_serve() has kept it; no effect otherwise. */
void py_wsgi_let_go(struct python_thread *thread);

#endif
