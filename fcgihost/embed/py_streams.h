/* What wsgi.input, wsgi.errors and start_response have in common: a pointer to their request, which
 * is cut when the request ends. An application that uses one later gets an exception. */
#ifndef FCGIHOST_PY_STREAMS_H
#define FCGIHOST_PY_STREAMS_H

#include "embed/py_support.h"

#include <pthread.h>

struct py_stream {
    PyObject_HEAD vectorcallfunc vectorcall; /* start_response only */
    struct request *request;                 /* NULL once the request has ended */
    bool is_data;                            /* reads FCGI_DATA, which follows FCGI_STDIN */
    bool is_busy;                            /* a thread uses the request, without the GIL */
    unsigned writers; /* wsgi.errors: threads that log for the request, without the GIL */
    bool is_end_told; /* start_response: write() has raised, as nothing more could be sent */
    pthread_t thread; /* wsgi.errors: the worker, which alone may write to the connection */
    PyObject *line;   /* wsgi.errors: text that no newline has followed yet, or NULL */
};

/* All functions: with the GIL on entry and on return. */

/* Attaches *slot to the request: the object that is there if nobody else refers to it, else a new
 * one. 0, or -1 with an exception set. */
int py_stream_attach(PyObject **slot, PyTypeObject *type, struct request *request);
/* The request has ended: cuts the pointer. Waits, without the GIL, for a thread of the application
 * that is still using it. slot may be NULL. */
void py_stream_detach(PyObject *slot);
/* true: its request has not ended. false, with ValueError set: it has. */
bool py_stream_is_alive(const struct py_stream *stream);
/* Begins to use the request: other threads can't until py_stream_leave. NULL with an exception set
 * if it has ended, or if another thread is using it. */
struct request *py_stream_enter(struct py_stream *stream);
void py_stream_leave(struct py_stream *stream);
/* A millisecond without the GIL, for who waits for another thread. */
void py_stream_pause(void);
/* For start_response: can nothing more be sent? 1, 0, or -1 with an exception set if another thread
 * of the application is sending. */
int py_stream_is_over(struct py_stream *stream);
/* For start_response, between enter and leave: sends bytes of the body, and the head before them;
 * the head alone if is_head_due. Releases the GIL while it waits for the peer. Returns whether more
 * can be sent. */
bool py_stream_send(struct py_stream *stream, char *bytes, Py_ssize_t n, bool is_head_due);

#endif
