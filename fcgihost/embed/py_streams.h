/* wsgi.input, wsgi.errors and start_response: the objects through which an application reaches its
 * request. Each holds a pointer to the request that is cut when the request ends: used later, they
 * raise. */
#ifndef FCGIHOST_PY_STREAMS_H
#define FCGIHOST_PY_STREAMS_H

#include "embed/py_support.h"

#include <pthread.h>

struct py_stream {
    PyObject_HEAD vectorcallfunc vectorcall; /* start_response only */
    struct request *request;                 /* NULL once it is over */
    bool is_data;                            /* reads FCGI_DATA, which follows FCGI_STDIN */
    bool is_busy;                            /* a thread uses the request without the GIL */
    bool is_end_told; /* start_response: write() has raised, as nothing more could be sent */
    pthread_t thread; /* wsgi.errors: the worker, which alone may write to the connection */
    PyObject *line;   /* wsgi.errors: what has no newline yet, or NULL */
};

extern PyTypeObject py_input_type, py_errors_type, py_start_response_type;

/* Readies the types. 0, or -1 with an exception set. */
int py_streams_init(void);
/* Makes *slot stand for the request: the object that is there if nobody else kept it, else a new
 * one. 0, or -1. */
int py_stream_attach(PyObject **slot, PyTypeObject *type, struct request *request);
/* The request is over: cuts the pointer, waiting for a thread of the application that still uses
 * it. */
void py_stream_detach(PyObject *slot);
/* Is its request still served? If not, ValueError is set. */
bool py_stream_is_alive(const struct py_stream *stream);
/* For the methods: the request, now used by this thread alone, or NULL with an exception set. */
struct request *py_stream_enter(struct py_stream *stream);
void py_stream_leave(struct py_stream *stream);
/* Of start_response: can nothing more be sent? 1, 0, or -1 with an exception set if another thread
 * of the application is sending. */
int py_stream_is_over(struct py_stream *stream);
/* For start_response, and entered: sends bytes of the body, also the head alone if that is due.
 * Whether more can be sent. */
bool py_stream_send(struct py_stream *stream, char *bytes, Py_ssize_t n, bool is_head_due);
/* Writes out what wsgi.errors has without a newline. */
void py_errors_flush(PyObject *errors);

#endif
