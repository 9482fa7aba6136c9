/* Serving one request through a WSGI application (PEP 3333). For the workers: this header knows no
 * Python. */
#ifndef FCGIHOST_PY_WSGI_H
#define FCGIHOST_PY_WSGI_H

struct activity;
struct turn_policy_runner;
struct python_thread;
struct request;

/* Readies the types of the objects that requests get. Main thread, with the GIL. 0, or -1 with an
 * exception set. */
int py_wsgi_init(void);
/* The calling thread's Python thread state, made once, so that threading.local lives as long as the
 * thread. Without the GIL. NULL when out of memory. activity: the thread's; it must live as long.
 */
struct python_thread *py_wsgi_enter_thread(struct activity *activity);
/* Frees it. Without the GIL, which it takes meanwhile. */
void py_wsgi_leave_thread(struct python_thread *thread);

enum py_wsgi_outcome {
    PY_WSGI_SERVED,
    /* The caller holds the GIL: it does what cannot block, then calls py_wsgi_release_gil(). */
    PY_WSGI_SERVED_WITH_GIL,
    /* The request was withdrawn while the thread waited for the GIL, and is no longer the
     * caller's. */
    PY_WSGI_WITHDRAWN,
};

/* Calls the application and sends its response, or an error page. Lets another thread lead once it
 * has the GIL (threads/turn_policy.h). Called without the GIL. */
enum py_wsgi_outcome py_wsgi_serve(struct python_thread *thread, struct turn_policy_runner *runner,
                                   struct request *request);
/* Where request->after is set: the response has left, and what Python does then is due, as the
 * request's cleanups. Any thread that serves, without the GIL (or as after PY_WSGI_SERVED_WITH_GIL,
 * which it then releases). */
void py_wsgi_end_sent(struct python_thread *thread, struct request *request);
/* After PY_WSGI_SERVED_WITH_GIL. No effect if the GIL is not held, or was released since. */
void py_wsgi_release_gil(struct python_thread *thread);

#endif
