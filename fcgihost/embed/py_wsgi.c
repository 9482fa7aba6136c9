/* Serving one request through a WSGI application. */
#include "embed/py_wsgi.h"

#include "base/fork.h"
#include "threads/pace.h"
#include "embed/py_environ.h"
#include "embed/py_request.h"
#include "embed/py_streams.h"
#include "protocol/record.h"
#include "http/reply.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 16 << 10, MAX_PIECES = RESPONSE_PIECES - 1, LONG_US = 200 };

struct python_thread {
    struct socket_wait send_wait; /* gives up the GIL that is_gil_kept */
    bool is_gil_kept;
    PyThreadState *state;
    bool is_state_own;
    PyObject *input, *errors, *start_response;
    PyObject *data;             /* the file that a filter reads; NULL in other roles */
    struct request *served;     /* NULL: none */
    PyObject *borrowed_environ; /* while the application runs; else NULL */
    PyObject *request;          /* what fcgihost.request() returns: NULL until it is asked for */
    char copy[COPY_BYTES];
};

/* What is still to be sent when the GIL has been given up. */
struct rest {
    struct iovec pieces[MAX_PIECES];
    size_t count;
    PyObject *held; /* owns the pieces' bytes, or NULL */
    bool is_failed; /* the error page was sent, or the connection is to be broken off */
};

static _Thread_local struct python_thread *current_thread;

static void let_go(struct socket_wait *wait)
{
    struct python_thread *thread = (struct python_thread *)(void *)wait;
    if (thread->is_gil_kept) {
        thread->is_gil_kept = false;
        PyEval_SaveThread();
    }
}

void py_wsgi_let_go(struct python_thread *thread)
{
    let_go(&thread->send_wait);
}

struct python_thread *py_wsgi_enter_thread(void)
{
    struct python_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        return NULL;
    thread->send_wait.before = let_go;
    /* The main thread, where it serves, has its own. For the others it is made without the GIL, for
     * which PyGILState_Ensure() would wait, and take it from the main thread, which loads. */
    thread->state = PyGILState_GetThisThreadState();
    thread->is_state_own = thread->state == NULL;
    if (thread->is_state_own)
        thread->state = PyThreadState_New(PyInterpreterState_Main());
    if (thread->state == NULL) {
        free(thread);
        return NULL;
    }
    current_thread = thread;
    return thread;
}

void py_wsgi_leave_thread(struct python_thread *thread)
{
    PyEval_RestoreThread(thread->state);
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
    /* To HEAD an application may answer without the body whose length it would be. */
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

/* A list or tuple of bytes, the usual case: everything is there, so it leaves in one piece together
 * with the head and the end. 0, -1 with an exception set, or 1: it has to be iterated. */
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
    if (total > COPY_BYTES) {
        /* The application may keep the list and change it while its bytes are being sent. */
        rest->held = PySequence_Tuple(sequence);
        return rest->held != NULL ? 0 : -1;
    }
    /* Short enough to be copied: then no reference needs the GIL again after sending. */
    char *end = thread->copy;
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(end, rest->pieces[i].iov_base, rest->pieces[i].iov_len);
        end += rest->pieces[i].iov_len;
    }
    rest->pieces[0] = (struct iovec){.iov_base = thread->copy, .iov_len = total};
    rest->count = 1;
    return 0;
}

/* 1: nothing more can be sent; 0: it can; -1 with an exception set. */
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

/* Each chunk leaves before the next one is asked for (PEP 3333, "Buffering and Streaming"), and
 * none is when nothing more can be sent. The first one always is: with it the head is final, and a
 * generator has begun, so that its end runs what it has in `finally`. */
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
    }
    Py_DECREF(iterator);
    if (result < 0 || PyErr_Occurred())
        return -1;
    return result == 0 && request->response.status == 0 ? not_started() : 0;
}

/* PEP 3333: close() is called whatever happened, and before the response's end, so that the client
 * does not come back earlier. An exception that is set stays. */
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
    if (!is_plain)
        close_iterable(request, result);
    return taken;
}

/* FastCGI 1.0, section 6.4: the file that the web server sends to a filter. */
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
    PyObject *result = PyObject_Vectorcall(py_program(request), arguments, 2, NULL);
    int taken = -1;
    if (result != NULL) {
        taken = take_result(thread, request, result, rest);
        Py_DECREF(result);
    }
    py_leave_forked_child();
    thread->borrowed_environ = NULL;
    Py_DECREF(environ);
    return taken;
}

PyObject *py_wsgi_current_request(PyObject *make)
{
    struct python_thread *thread = current_thread;
    if (thread == NULL || (thread->borrowed_environ == NULL && thread->request == NULL))
        Py_RETURN_NONE;
    if (thread->request == NULL)
        thread->request = PyObject_CallOneArg(make, thread->borrowed_environ);
    return Py_XNewRef(thread->request);
}

struct request *py_wsgi_served_request(void)
{
    return current_thread != NULL ? current_thread->served : NULL;
}

/* The response has left: what the request registered as cleanups runs. Takes and gives up the GIL.
 */
static void end_request(struct python_thread *thread, PyObject *held)
{
    PyEval_RestoreThread(thread->state);
    Py_XDECREF(held);
    if (thread->request != NULL) {
        PyObject *result = py_module_call("end_request", &thread->request, 1);
        if (result == NULL)
            py_exception_print("the cleanups of a request could not run");
        Py_XDECREF(result);
        Py_CLEAR(thread->request);
        py_leave_forked_child();
    }
    PyEval_SaveThread();
}

/* To give up the GIL wakes the thread that waits for it, which then often takes the core too, and
 * this thread gets back to its response when that one's request is done. Where the application took
 * so long that a few system calls are nothing to it, the response is sent, and its connection
 * watched for the next one or closed, before. Then the connections are served in the order of their
 * requests: of 2 ms of Python on 4 threads and one core the 99th percentile fell from 15.3 ms
 * to 10.9, where the four make 8 at least. */
static bool may_keep_gil(const struct python_thread *thread, const struct pace_runner *runner,
                         const struct request *request, const struct rest *rest)
{
    return py_settings.is_multithreaded && request->connection != NULL && !rest->is_failed &&
           rest->held == NULL && thread->request == NULL && runner->application_us >= LONG_US;
}

/* Did the application end by what write() raised, as it should when nothing more can be sent? */
static bool is_end_of_response(const struct python_thread *thread, PyObject *exception)
{
    const struct py_stream *stream = (const struct py_stream *)thread->start_response;
    return stream != NULL && stream->is_end_told &&
           PyErr_GivenExceptionMatches(exception, PyExc_BrokenPipeError);
}

/* Returns with the GIL, if it comes through without having to wait for the peer. */
static void send_with_gil(struct python_thread *thread, struct request *request, struct rest *rest)
{
    thread->is_gil_kept = true;
    request->send_wait = &thread->send_wait;
    reply_send_last(request, rest->pieces, rest->count);
    request->send_wait = NULL;
    if (request->response.is_end_withheld)
        let_go(&thread->send_wait);
}

void py_wsgi_serve(struct python_thread *thread, struct pace_runner *runner,
                   struct request *request)
{
    struct rest rest;
    rest.count = 0;
    rest.held = NULL;
    rest.is_failed = false;
    PyEval_RestoreThread(thread->state);
    pace_begin_application(runner);
    thread->served = request;
    rest.is_failed = call_application(thread, request, &rest) < 0;
    pace_end_application(runner);
    PyObject *exception = py_exception_take();
    if (thread->errors != NULL)
        py_errors_flush(thread->errors);
    if (rest.is_failed && is_end_of_response(thread, exception))
        rest.is_failed = false;
    py_stream_detach(thread->start_response);
    py_stream_detach(thread->input);
    py_stream_detach(thread->data);
    py_stream_detach(thread->errors);
    if (rest.is_failed)
        py_exception_answer(request, exception);
    Py_XDECREF(exception);
    thread->served = NULL;
    if (may_keep_gil(thread, runner, request, &rest)) {
        send_with_gil(thread, request, &rest);
        return;
    }
    PyEval_SaveThread();
    if (rest.held != NULL)
        pace_pass_turn(runner); /* a large body: the peer must be waited for */
    if (!rest.is_failed)
        reply_send_last(request, rest.pieces, rest.count);
    if (rest.held != NULL || thread->request != NULL)
        end_request(thread, rest.held);
}
