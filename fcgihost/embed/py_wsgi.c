/* Serving one request through a WSGI application. */
#include "embed/py_wsgi.h"

#include "base/clock.h"
#include "base/fork.h"
#include "embed/py_environ.h"
#include "embed/py_errors.h"
#include "embed/py_input.h"
#include "embed/py_interrupt.h"
#include "embed/py_programs.h"
#include "embed/py_request.h"
#include "embed/py_response.h"
#include "http/reply.h"
#include "http/route.h"
#include "protocol/record.h"
#include "threads/activity.h"
#include "threads/turn_policy.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PIECES = RESPONSE_PIECES - 1 };

/* What is still to be sent once the GIL has been released. */
struct rest {
    struct iovec pieces[MAX_PIECES];
    size_t count;
    PyObject *held; /* owns the pieces' bytes, or NULL */
    bool is_failed; /* the error page was sent, or the connection is to be broken off */
};

static void release_gil(struct socket_wait *wait)
{
    struct python_thread *thread = (struct python_thread *)(void *)wait;
    if (thread->is_gil_kept) {
        thread->is_gil_kept = false;
        PyEval_SaveThread();
    }
}

void py_wsgi_release_gil(struct python_thread *thread)
{
    release_gil(&thread->send_wait);
}

int py_wsgi_init(void)
{
    return PyType_Ready(&py_input_type) < 0 || PyType_Ready(&py_errors_type) < 0 ||
                   PyType_Ready(&py_start_response_type) < 0
               ? -1
               : 0;
}

struct python_thread *py_wsgi_enter_thread(struct activity *activity)
{
    struct python_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        return NULL;
    thread->send_wait.before = release_gil;
    /* The main thread, if it serves, has a state already. For a worker one is made without the GIL:
     * PyGILState_Ensure() would wait for it while the main thread loads the application. */
    thread->state = PyGILState_GetThisThreadState();
    thread->is_state_own = thread->state == NULL;
    if (thread->is_state_own)
        thread->state = PyThreadState_New(PyInterpreterState_Main());
    if (thread->state == NULL) {
        free(thread);
        return NULL;
    }
    thread->activity = activity;
    atomic_store(&activity->work.python, thread);
    py_request_set_thread(thread);
    return thread;
}

void py_wsgi_leave_thread(struct python_thread *thread)
{
    PyEval_RestoreThread(thread->state);
    atomic_store(&thread->activity->work.python, NULL);
    Py_CLEAR(thread->input);
    Py_CLEAR(thread->data);
    Py_CLEAR(thread->errors);
    Py_CLEAR(thread->start_response);
    if (thread->is_state_own) {
        PyThreadState_Clear(thread->state);
        PyThreadState_DeleteCurrent();
    } else
        PyEval_SaveThread();
    free(thread);
}

static int not_started(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "the application returned its body without calling start_response");
    return -1;
}

static int add_content_length(struct request *request, size_t body_bytes)
{
    struct response *response = &request->response;
    /* An application may answer HEAD without the body that its Content-Length would describe. */
    if (body_bytes == 0 && request->is_head)
        return 0;
    if (response->is_head_sent || response->content_length >= 0 || response->status == 204 ||
        response->status == 304)
        return 0;
    char length[24];
    int n = PyOS_snprintf(length, sizeof(length), "%zu", body_bytes);
    if (response_add_header(response, "Content-Length", 14, length, (size_t)n) == NULL)
        return 0;
    PyErr_NoMemory();
    return -1;
}

/* A list or tuple of bytes, the usual case: the body is complete, and is sent in one piece together
 * with the head and the end of the response. 0, -1 with an exception set, or 1: it must be
 * iterated. */
static int take_sequence(struct python_thread *thread, struct request *request, PyObject *sequence,
                         struct rest *rest)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
    PyObject **items = PySequence_Fast_ITEMS(sequence);
    size_t total = 0;
    if (count > MAX_PIECES)
        return 1;
    if (py_stream_is_over((struct py_stream *)thread->start_response) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyBytes_CheckExact(items[i]))
            return 1;
        rest->pieces[i] = (struct iovec){.iov_base = PyBytes_AS_STRING(items[i]),
                                         .iov_len = (size_t)PyBytes_GET_SIZE(items[i])};
        total += (size_t)PyBytes_GET_SIZE(items[i]);
    }
    if (request->response.status == 0)
        return not_started();
    if (add_content_length(request, total) < 0)
        return -1;
    rest->count = (size_t)count;
    if (total > PY_COPY_BYTES) {
        /* A copy, as the application may change the list while its bytes are being sent. */
        rest->held = PySequence_Tuple(sequence);
        return rest->held != NULL ? 0 : -1;
    }
    /* Short enough to copy the bytes: then nothing needs the GIL again after sending. */
    char *end = thread->copy;
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(end, rest->pieces[i].iov_base, rest->pieces[i].iov_len);
        end += rest->pieces[i].iov_len;
    }
    rest->pieces[0] = (struct iovec){.iov_base = thread->copy, .iov_len = total};
    rest->count = 1;
    return 0;
}

/* 0: more can be sent; 1: no more can; -1 with an exception set. */
static int send_chunk(struct py_stream *stream, PyObject *chunk)
{
    char *bytes;
    Py_ssize_t n;
    if (!PyBytes_Check(chunk)) {
        PyErr_Format(PyExc_TypeError, "the application's body must yield bytes, not %.100s%s",
                     Py_TYPE(chunk)->tp_name,
                     PyUnicode_Check(chunk) ? " (a str has to be encoded)" : "");
        return -1;
    }
    if (PyBytes_AsStringAndSize(chunk, &bytes, &n) < 0)
        return -1;
    struct request *request = py_stream_enter(stream);
    if (request == NULL)
        return -1;
    int result = n > 0 && request->response.status == 0    ? not_started()
                 : py_stream_send(stream, bytes, n, false) ? 0
                                                           : 1;
    py_stream_leave(stream);
    return result;
}

/* An exception of the host's has been raised between two chunks: a generator gets it where it
 * yields, so that its own code sees it. As send_chunk, if it goes on or ends by itself; -1 if not.
 */
static int throw_into(struct py_stream *stream, PyObject *iterator)
{
    if (!PyGen_CheckExact(iterator))
        return -1;
    PyObject *exception = py_exception_take();
    PyObject *chunk = PyObject_CallMethod(iterator, "throw", "O", exception);
    Py_XDECREF(exception);
    if (chunk == NULL && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyErr_Clear();
        return 1;
    }
    int result = chunk != NULL ? send_chunk(stream, chunk) : -1;
    Py_XDECREF(chunk);
    return result;
}

/* Each chunk is sent before the next one is asked for (PEP 3333, "Buffering and Streaming"). Once
 * nothing more can be sent no further chunk is asked for. The first one always is: only then is the
 * head final, and only a generator that has begun runs its `finally` blocks when it is closed. */
static int send_iterable(struct python_thread *thread, struct request *request, PyObject *iterable)
{
    struct py_stream *stream = (struct py_stream *)thread->start_response;
    PyObject *iterator = PyObject_GetIter(iterable), *chunk;
    if (iterator == NULL)
        return -1;
    int result = py_stream_is_over(stream);
    while (result == 0 && (chunk = PyIter_Next(iterator)) != NULL) {
        result = send_chunk(stream, chunk);
        Py_DECREF(chunk);
        if (result >= 0 && py_interrupt_check() < 0)
            result = throw_into(stream, iterator);
    }
    Py_DECREF(iterator);
    if (result < 0 || PyErr_Occurred())
        return -1;
    return result == 0 && request->response.status == 0 ? not_started() : 0;
}

/* PEP 3333: close() is called whatever happened. It is called before the response is completed, so
 * that the client's next request comes after it. An exception that is set stays set. */
static void close_iterable(struct request *request, PyObject *iterable)
{
    PyObject *pending = py_exception_take();
    PyObject *close = PyObject_GetAttrString(iterable, "close");
    PyObject *result = NULL;
    if (close == NULL && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    if (close != NULL)
        result = PyObject_CallNoArgs(close);
    if (PyErr_Occurred())
        py_exception_log(request, "close() of the application's body failed");
    Py_XDECREF(result);
    Py_XDECREF(close);
    if (pending != NULL)
        py_exception_restore(pending);
}

static int take_result(struct python_thread *thread, struct request *request, PyObject *result,
                       struct rest *rest)
{
    bool is_plain = PyList_CheckExact(result) || PyTuple_CheckExact(result);
    int taken = is_plain ? take_sequence(thread, request, result, rest) : 1;
    if (taken > 0)
        taken = send_iterable(thread, request, result);
    py_interrupt_close(thread, request);
    if (!is_plain)
        close_iterable(request, result);
    return taken;
}

/* FastCGI 1.0, section 6.4: the file that the web server sends to a filter, as fcgihost.data. */
static int add_data(struct python_thread *thread, struct request *request, PyObject *environ)
{
    if (py_stream_attach(&thread->data, &py_input_type, request) < 0)
        return -1;
    ((struct py_stream *)thread->data)->is_data = true;
    return PyDict_SetItemString(environ, "fcgihost.data", thread->data);
}

static int call_application(struct python_thread *thread, struct request *request,
                            struct rest *rest)
{
    if (py_stream_attach(&thread->input, &py_input_type, request) < 0 ||
        py_stream_attach(&thread->errors, &py_errors_type, request) < 0 ||
        py_stream_attach(&thread->start_response, &py_start_response_type, request) < 0)
        return -1;
    PyObject *environ = py_environ_new(request, thread->input, thread->errors);
    if (environ == NULL)
        return -1;
    if (request->role == ROLE_FILTER && add_data(thread, request, environ) < 0) {
        Py_DECREF(environ);
        return -1;
    }
    PyObject *arguments[] = {environ, thread->start_response};
    thread->borrowed_environ = environ;
    thread->hold = Py_XNewRef(py_programs_hold(request->route->application));
    py_interrupt_open(thread, request);
    PyObject *result = PyObject_Vectorcall(
        py_programs_get(request->route->application, request->role), arguments, 2, NULL);
    int taken = -1;
    if (result != NULL) {
        taken = take_result(thread, request, result, rest);
        Py_DECREF(result);
    }
    py_interrupt_close(thread, request);
    py_leave_forked_child();
    thread->borrowed_environ = NULL;
    Py_DECREF(environ);
    return taken;
}

/* Releases the request's generation, unless what comes after the response still belongs to it. An
 * old one is released last: that may be what its cleanups wait for. */
static void release_hold(struct python_thread *thread, const struct request *request)
{
    if (thread->request == NULL && thread->hold != NULL &&
        thread->hold == py_programs_hold(request->route->application))
        Py_CLEAR(thread->hold);
}

/* After the response has been sent: releases what it was sent from, runs the cleanups that were
 * registered on the request, which have as much time as the request had, and releases its
 * generation. Without the GIL, which it takes meanwhile. */
static void end_request(struct python_thread *thread, PyObject *held)
{
    if (thread->request != NULL)
        request_clock_begin(&thread->activity->work, clock_ms());
    PyEval_RestoreThread(thread->state);
    Py_XDECREF(held);
    if (thread->request != NULL) {
        request_clock_enter(&thread->activity->work);
        PyObject *result = py_module_call("end_request", &thread->request, 1);
        if (result == NULL)
            py_exception_print("the cleanups of a request could not run");
        Py_XDECREF(result);
        Py_CLEAR(thread->request);
        py_leave_forked_child();
        request_clock_leave(&thread->activity->work);
    }
    Py_CLEAR(thread->hold);
    PyEval_SaveThread();
}

/* Releasing the GIL wakes a thread that waits for it, which often takes the core too: this thread
 * then sends its response only after that thread's request. If applications take so long that a
 * few system calls add little, the GIL is kept until the response has been sent and the connection
 * is watched again or closed, so that requests are completed in the order they came. With 2 ms of
 * Python, 4 threads and one core the 99th percentile fell from 15.3 ms to 10.9; 8 is the minimum.
 */
static bool may_keep_gil(const struct python_thread *thread,
                         const struct turn_policy_runner *runner, const struct request *request,
                         const struct rest *rest)
{
    return py_settings.is_multithreaded && request->connection != NULL && !rest->is_failed &&
           rest->held == NULL && thread->request == NULL && thread->hold == NULL && runner->is_slow;
}

/* Did the application let out what write() raises once nothing more can be sent? That is no error.
 */
static bool is_end_of_response(const struct python_thread *thread, PyObject *exception)
{
    const struct py_stream *stream = (const struct py_stream *)thread->start_response;
    return stream != NULL && stream->is_end_told &&
           PyErr_GivenExceptionMatches(exception, PyExc_BrokenPipeError);
}

/* Keeps the GIL, unless it has to wait for the peer. */
static enum py_wsgi_outcome send_with_gil(struct python_thread *thread, struct request *request,
                                          struct rest *rest)
{
    thread->is_gil_kept = true;
    request->send_wait = &thread->send_wait;
    reply_send_last(request, rest->pieces, rest->count);
    request->send_wait = NULL;
    if (request->response.is_end_withheld)
        release_gil(&thread->send_wait);
    return thread->is_gil_kept ? PY_WSGI_SERVED_WITH_GIL : PY_WSGI_SERVED;
}

/* What Python has to do once the response has left. */
struct after {
    PyObject *request, *hold;
};

/* Leaves it to py_wsgi_end_sent if the peer has not taken all of the response yet. */
static void leave_for_after(struct python_thread *thread, struct request *request)
{
    if ((thread->request == NULL && thread->hold == NULL) || !atomic_load(&request->outbox.is_used))
        return;
    struct after *after = malloc(sizeof(*after));
    if (after == NULL)
        return; /* then it comes too early */
    *after = (struct after){.request = thread->request, .hold = thread->hold};
    thread->request = thread->hold = NULL;
    request->after = after;
}

void py_wsgi_end_sent(struct python_thread *thread, struct request *request)
{
    struct after *after = request->after;
    release_gil(&thread->send_wait);
    thread->request = after->request;
    thread->hold = after->hold;
    request->after = NULL;
    free(after);
    end_request(thread, NULL);
}

enum py_wsgi_outcome py_wsgi_serve(struct python_thread *thread, struct turn_policy_runner *runner,
                                   struct request *request)
{
    struct rest rest;
    rest.count = 0;
    rest.held = NULL;
    rest.is_failed = false;
    turn_policy_await_gil(runner);
    PyEval_RestoreThread(thread->state);
    if (!turn_policy_begin_application(runner)) {
        PyEval_SaveThread();
        return PY_WSGI_WITHDRAWN;
    }
    thread->served = request;
    rest.is_failed = call_application(thread, request, &rest) < 0;
    turn_policy_end_application(runner);
    PyObject *exception = py_exception_take();
    activity_end_application(thread->activity);
    if (thread->errors != NULL)
        py_errors_flush(thread->errors);
    if (rest.is_failed && is_end_of_response(thread, exception))
        rest.is_failed = false;
    py_stream_detach(thread->start_response);
    py_stream_detach(thread->input);
    py_stream_detach(thread->data);
    py_stream_detach(thread->errors);
    if (rest.is_failed && !py_interrupt_answer(thread, request, exception))
        py_exception_answer(request, exception);
    Py_XDECREF(exception);
    thread->served = NULL;
    release_hold(thread, request);
    if (may_keep_gil(thread, runner, request, &rest))
        return send_with_gil(thread, request, &rest);
    PyEval_SaveThread();
    if (rest.held != NULL)
        turn_policy_pass(runner); /* a large body: the peer must be waited for */
    if (!rest.is_failed)
        reply_send_last(request, rest.pieces, rest.count);
    leave_for_after(thread, request);
    if (rest.held != NULL || thread->request != NULL || thread->hold != NULL)
        end_request(thread, rest.held);
    return PY_WSGI_SERVED;
}
