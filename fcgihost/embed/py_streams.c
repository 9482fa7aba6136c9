/* What wsgi.input, wsgi.errors and start_response have in common: the tie to a request, and its
 * end. */
#include "embed/py_streams.h"

#include "http/reply.h"

#include <stddef.h>
#include <sys/socket.h>
#include <time.h>

enum { SEND_WITH_GIL_BYTES = 64 << 10 };

int py_stream_attach(PyObject **slot, PyTypeObject *type, struct request *request)
{
    if (*slot != NULL && Py_REFCNT(*slot) != 1)
        Py_CLEAR(*slot);
    if (*slot == NULL)
        *slot = type->tp_alloc(type, 0);
    if (*slot == NULL)
        return -1;
    struct py_stream *stream = (struct py_stream *)*slot;
    stream->request = request;
    stream->thread = pthread_self();
    stream->is_end_told = false;
    stream->writers = 0;
    return 0;
}

void py_stream_pause(void)
{
    Py_BEGIN_ALLOW_THREADS;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    Py_END_ALLOW_THREADS;
}

void py_stream_detach(PyObject *slot)
{
    struct py_stream *stream = (struct py_stream *)slot;
    if (stream == NULL)
        return;
    while (stream->is_busy) {
        /* Another thread of the application reads or writes: with the connection shut down it
         * fails soon. */
        shutdown(stream->request->fd, SHUT_RDWR);
        stream->request->must_close = true;
        py_stream_pause();
    }
    stream->request = NULL;
    while (stream->writers > 0) /* each logs one more message, which waits for nobody for long */
        py_stream_pause();
    Py_CLEAR(stream->line);
}

bool py_stream_is_alive(const struct py_stream *stream)
{
    if (stream->request == NULL)
        PyErr_SetString(PyExc_ValueError,
                        "the request has ended: its streams can't be used any more");
    return stream->request != NULL;
}

struct request *py_stream_enter(struct py_stream *stream)
{
    if (!py_stream_is_alive(stream))
        return NULL;
    if (stream->is_busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is using this stream of the request");
        return NULL;
    }
    stream->is_busy = true;
    return stream->request;
}

void py_stream_leave(struct py_stream *stream)
{
    stream->is_busy = false;
}

struct gil_wait {
    struct socket_wait wait;
    PyThreadState *state; /* NULL: the GIL is still held */
};

static void give_up_gil(struct socket_wait *wait)
{
    struct gil_wait *gil_wait = (struct gil_wait *)(void *)wait;
    if (gil_wait->state == NULL)
        gil_wait->state = PyEval_SaveThread();
}

/* Releases the GIL only to wait for the peer, or while it copies a large piece: taking the GIL back
 * after each chunk cost 161 futex calls, and 10 of 600 µs, for 1 MiB in 128 chunks. */
static void send_bytes(struct request *request, char *bytes, Py_ssize_t n)
{
    struct gil_wait gil_wait = {
        .wait = {.before = give_up_gil,
                 .end_ms = atomic_load_explicit(&request->wait_end_ms, memory_order_relaxed)}};
    struct iovec piece = {.iov_base = bytes, .iov_len = (size_t)n};
    if (n > SEND_WITH_GIL_BYTES)
        give_up_gil(&gil_wait.wait);
    /* Another thread may be sending for wsgi.errors. */
    while (!response_enter(&request->response)) {
        give_up_gil(&gil_wait.wait);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    request->send_wait = &gil_wait.wait;
    reply_send(request, &piece, 1, false);
    request->send_wait = NULL;
    response_leave(&request->response);
    if (gil_wait.state != NULL)
        PyEval_RestoreThread(gil_wait.state);
}

int py_stream_is_over(struct py_stream *stream)
{
    const struct request *request = py_stream_enter(stream);
    if (request == NULL)
        return -1;
    py_stream_leave(stream);
    return response_is_over(&request->response);
}

bool py_stream_send(struct py_stream *stream, char *bytes, Py_ssize_t n, bool is_head_due)
{
    struct request *request = stream->request;
    if (request_is_unwanted(request, n == 0))
        return false;
    if (n > 0 || is_head_due || reply_is_whole(request))
        send_bytes(request, bytes, n);
    return !response_is_over(&request->response);
}
