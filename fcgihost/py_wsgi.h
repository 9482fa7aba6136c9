/* Serving one request through a WSGI application (PEP 3333). For the workers: this header knows no
 * Python. */
#ifndef FCGIHOST_PY_WSGI_H
#define FCGIHOST_PY_WSGI_H

struct worker;
struct request;

/* A worker's persistent thread state: made once, so that threading.local lives as long as the
 * thread. Called and left without the GIL. 0, or -1. */
int py_wsgi_enter_thread(struct worker *worker);
void py_wsgi_leave_thread(struct worker *worker);
/* Calls the application and sends its response, or an error page. Passes the worker's turn on as
 * soon as it has the GIL. Without the GIL; it may come back with it, so that py_wsgi_let_go() must
 * follow, after what does not wait and before anything that may. */
void py_wsgi_serve(struct worker *worker, struct request *request);
/* Gives up the GIL if py_wsgi_serve() has kept it; else does nothing. */
void py_wsgi_let_go(struct worker *worker);

#endif
