/* wsgi.input: the request's body as a file that ends (PEP 3333, "Input and Error Streams"). */
#include "embed/py_input.h"

#include "base/fork.h"
#include "embed/py_interrupt.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

enum { FIRST_BYTES = 64 << 10, EXACT_BYTES = 4 << 20, YIELDS = 10 };

/* before: how much had been read when the caller began. A wait that request_time has ended loses
 * what the caller has read so far: then the body can't be read on as if nothing were missing. */
static void raise_failure(struct request *request, uint64_t before)
{
    bool is_overdue = request->body_failure == BODY_FINE;
    if (is_overdue && request->body_bytes > before) {
        request->body_failure = BODY_WAS_CUT;
        request->body_errno = ECONNABORTED;
    }
    if (is_overdue && py_interrupt_check() < 0)
        return;
    const char *text = request->body_failure == BODY_TOO_LARGE
                           ? "the request body is larger than [limits] request_body"
                       : is_overdue ? "the request has taken longer than [limits] request_time"
                       : request->body_errno == ETIMEDOUT
                           ? "the request body did not arrive within [limits] io_timeout, or more "
                             "slowly than min_rate"
                       : request->is_data ? "the file to filter was cut short"
                                          : "the request body was cut short";
    int error = is_overdue ? ETIMEDOUT : request->body_errno;
    PyObject *arguments = Py_BuildValue("(is)", error, text);
    if (arguments != NULL)
        PyErr_SetObject(PyExc_OSError, arguments);
    Py_XDECREF(arguments);
}

/* As request_read_body. Releases the GIL only if it has to wait for the peer. */
static long read_body(struct request *request, char *buffer, size_t n)
{
    long got;
    if (request_is_body_at_hand(request, n))
        return request_read_body(request, buffer, n);
    Py_BEGIN_ALLOW_THREADS;
    got = request_read_body(request, buffer, n);
    Py_END_ALLOW_THREADS;
    return got;
}

/* The first size of the buffer: the rest of the body if its length is known, up to what a peer may
 * make the host allocate by claiming a length. */
static size_t first_capacity(const struct request *request, size_t limit)
{
    size_t wanted = FIRST_BYTES;
    if (request->content_length >= 0) {
        uint64_t left = (uint64_t)request->content_length - request->body_bytes;
        wanted = left < EXACT_BYTES ? (size_t)left : EXACT_BYTES;
    } else if (limit < EXACT_BYTES)
        wanted = limit;
    return wanted < limit ? wanted : limit;
}

static PyObject *read_limited(struct request *request, size_t limit)
{
    size_t capacity = first_capacity(request, limit), used = 0;
    uint64_t before = request->body_bytes;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)capacity);
    if (bytes == NULL)
        return NULL;
    for (;;) {
        long got = read_body(request, PyBytes_AS_STRING(bytes) + used, capacity - used);
        if (got < 0) {
            raise_failure(request, before);
            Py_DECREF(bytes);
            return NULL;
        }
        used += (size_t)got;
        if (used < capacity || capacity == limit)
            break;
        /* The body is longer than the buffer. */
        size_t larger = capacity > 0 ? 2 * capacity : 1;
        capacity = larger < limit ? larger : limit;
        if (request->content_length >= 0 &&
            request->body_bytes >= (uint64_t)request->content_length)
            break;
        if (_PyBytes_Resize(&bytes, (Py_ssize_t)capacity) < 0)
            return NULL;
    }
    if ((size_t)PyBytes_GET_SIZE(bytes) != used)
        _PyBytes_Resize(&bytes, (Py_ssize_t)used);
    return bytes;
}

/* The size argument: absent, None or negative means all. 0, or -1 with an exception set. */
static int parse_size(PyObject *const *arguments, Py_ssize_t count, size_t *size)
{
    *size = PY_SSIZE_T_MAX;
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "at most 1 argument, got %zd", count);
        return -1;
    }
    if (count == 0 || arguments[0] == Py_None)
        return 0;
    Py_ssize_t value = PyNumber_AsSsize_t(arguments[0], PyExc_OverflowError);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value >= 0)
        *size = (size_t)value;
    return 0;
}

/* Begins to use the request. NULL with an exception set; always in a forked child, which would take
 * bytes from its parent's connection. */
static struct request *enter(struct py_stream *self)
{
    if (fork_is_child()) {
        PyErr_SetString(PyExc_OSError,
                        "a forked child can't read the request's body: it belongs to the parent");
        return NULL;
    }
    struct request *request = py_stream_enter(self);
    if (request == NULL)
        return NULL;
    /* A thread that sends holds it briefly, as it takes in what has arrived; one that reads the
     * other stream of a filter may wait for its peer. */
    for (int i = 0; !input_enter(request->input); i++)
        if (i < YIELDS)
            sched_yield();
        else
            py_stream_pause();
    if (!self->is_data || request->is_data)
        return request;
    Py_BEGIN_ALLOW_THREADS;
    request_begin_data(request);
    Py_END_ALLOW_THREADS;
    return request;
}

static void leave(struct py_stream *self, struct request *request)
{
    input_leave(request->input);
    py_stream_leave(self);
}

/* Once FCGI_DATA is being read, nothing more can be read of FCGI_STDIN. */
static bool is_over(const struct py_stream *self, const struct request *request)
{
    return request->is_data && !self->is_data;
}

static PyObject *input_read(struct py_stream *self, PyObject *const *arguments, Py_ssize_t count)
{
    size_t size;
    if (parse_size(arguments, count, &size) < 0)
        return NULL;
    struct request *request = enter(self);
    if (request == NULL)
        return NULL;
    PyObject *bytes = read_limited(request, is_over(self, request) ? 0 : size);
    leave(self, request);
    return bytes;
}

static long peek_body(struct request *request, const uint8_t **content)
{
    long available;
    if (request_is_body_at_hand(request, 1))
        return request_peek_body(request, content);
    Py_BEGIN_ALLOW_THREADS;
    available = request_peek_body(request, content);
    Py_END_ALLOW_THREADS;
    return available;
}

static PyObject *read_line(struct request *request, size_t limit)
{
    PyObject *line = PyBytes_FromStringAndSize(NULL, 0);
    uint64_t before = request->body_bytes;
    while (line != NULL && (size_t)PyBytes_GET_SIZE(line) < limit) {
        const uint8_t *content;
        long available = peek_body(request, &content);
        if (available < 0) {
            raise_failure(request, before);
            Py_CLEAR(line);
            break;
        }
        if (available == 0)
            break;
        size_t used = (size_t)PyBytes_GET_SIZE(line), n = (size_t)available;
        if (n > limit - used)
            n = limit - used;
        const uint8_t *newline = memchr(content, '\n', n);
        if (newline != NULL)
            n = (size_t)(newline - content) + 1;
        if (_PyBytes_Resize(&line, (Py_ssize_t)(used + n)) < 0)
            return NULL;
        memcpy(PyBytes_AS_STRING(line) + used, content, n);
        request_skip_body(request, n);
        if (newline != NULL)
            break;
    }
    return line;
}

static PyObject *input_readline(struct py_stream *self, PyObject *const *arguments,
                                Py_ssize_t count)
{
    size_t limit;
    if (parse_size(arguments, count, &limit) < 0)
        return NULL;
    struct request *request = enter(self);
    if (request == NULL)
        return NULL;
    PyObject *line = read_line(request, is_over(self, request) ? 0 : limit);
    leave(self, request);
    return line;
}

static PyObject *input_next(struct py_stream *self)
{
    PyObject *line = input_readline(self, NULL, 0);
    if (line != NULL && PyBytes_GET_SIZE(line) == 0)
        Py_CLEAR(line);
    return line;
}

static PyObject *input_readlines(struct py_stream *self, PyObject *const *arguments,
                                 Py_ssize_t count)
{
    size_t hint, total = 0;
    if (parse_size(arguments, count, &hint) < 0)
        return NULL;
    if (hint == 0)
        hint = PY_SSIZE_T_MAX; /* as io.IOBase.readlines does */
    PyObject *lines = PyList_New(0);
    while (lines != NULL && total < hint) {
        PyObject *line = input_readline(self, NULL, 0);
        if (line == NULL || PyList_Append(lines, line) < 0) {
            Py_XDECREF(line);
            Py_CLEAR(lines);
            break;
        }
        size_t n = (size_t)PyBytes_GET_SIZE(line);
        Py_DECREF(line);
        total += n;
        if (n == 0) {
            if (PyList_SetSlice(lines, PyList_GET_SIZE(lines) - 1, PyList_GET_SIZE(lines), NULL) <
                0)
                Py_CLEAR(lines);
            break;
        }
    }
    return lines;
}

/* Reads what has arrived, at most n bytes; waits if nothing has. 0: the end; -1 with an exception
 * set. */
static Py_ssize_t read_piece(struct py_stream *self, struct request *request, char *buffer,
                             size_t n)
{
    const uint8_t *content;
    long available = is_over(self, request) || n == 0 ? 0 : peek_body(request, &content);
    if (available < 0) {
        raise_failure(request, request->body_bytes);
        return -1;
    }
    if ((size_t)available < n)
        n = (size_t)available;
    if (n > 0) {
        memcpy(buffer, content, n);
        request_skip_body(request, n);
    }
    return (Py_ssize_t)n;
}

static PyObject *input_readinto(struct py_stream *self, PyObject *target)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(target, &buffer, PyBUF_WRITABLE) < 0)
        return NULL;
    struct request *request = enter(self);
    Py_ssize_t n = -1;
    if (request != NULL) {
        n = read_piece(self, request, buffer.buf, (size_t)buffer.len);
        leave(self, request);
    }
    PyBuffer_Release(&buffer);
    return n >= 0 ? PyLong_FromSsize_t(n) : NULL;
}

static PyObject *input_read1(struct py_stream *self, PyObject *const *arguments, Py_ssize_t count)
{
    size_t size;
    if (parse_size(arguments, count, &size) < 0)
        return NULL;
    if (size > FIRST_BYTES)
        size = FIRST_BYTES;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    struct request *request = bytes != NULL ? enter(self) : NULL;
    Py_ssize_t n = -1;
    if (request != NULL) {
        n = read_piece(self, request, PyBytes_AS_STRING(bytes), size);
        leave(self, request);
    }
    if (n < 0)
        Py_CLEAR(bytes);
    else if ((size_t)n < size)
        _PyBytes_Resize(&bytes, n);
    return bytes;
}

static PyObject *input_readall(struct py_stream *self, PyObject *unused)
{
    (void)unused;
    return input_read(self, NULL, 0);
}

static PyObject *input_is(struct py_stream *self, PyObject *answer)
{
    return py_stream_is_alive(self) ? Py_NewRef(answer) : NULL;
}

static PyObject *input_readable(struct py_stream *self, PyObject *unused)
{
    (void)unused;
    return input_is(self, Py_True);
}

static PyObject *input_is_not(struct py_stream *self, PyObject *unused)
{
    (void)unused;
    return input_is(self, Py_False);
}

/* close() has no effect: an object that wraps the body closes it when garbage-collected, while
 * others still read it. */
static PyObject *input_nothing(struct py_stream *self, PyObject *unused)
{
    (void)self, (void)unused;
    Py_RETURN_NONE;
}

static PyObject *input_get_closed(struct py_stream *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->request == NULL);
}

static PyGetSetDef attributes[] = {
    {"closed", (getter)input_get_closed, NULL, "Has the request ended?", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))input_read, METH_FASTCALL,
     "read(size=-1) -> bytes. b'' at the end. OSError if the body was cut short."},
    {"readline", (PyCFunction)(void (*)(void))input_readline, METH_FASTCALL,
     "readline(size=-1) -> bytes, with its newline, of at most size bytes."},
    {"readlines", (PyCFunction)(void (*)(void))input_readlines, METH_FASTCALL,
     "readlines(hint=-1) -> list of lines, of about hint bytes together."},
    {"read1", (PyCFunction)(void (*)(void))input_read1, METH_FASTCALL,
     "read1(size=-1) -> bytes: what is there, waiting only if nothing is. b'' at the end."},
    {"readall", (PyCFunction)input_readall, METH_NOARGS, "readall() -> bytes, as read()."},
    {"readinto", (PyCFunction)input_readinto, METH_O,
     "readinto(buffer) -> how many bytes, of what is there; waits only if nothing is. 0: the end."},
    {"readable", (PyCFunction)input_readable, METH_NOARGS, "readable() -> True."},
    {"writable", (PyCFunction)input_is_not, METH_NOARGS, "writable() -> False."},
    {"seekable", (PyCFunction)input_is_not, METH_NOARGS, "seekable() -> False."},
    {"isatty", (PyCFunction)input_is_not, METH_NOARGS, "isatty() -> False."},
    {"flush", (PyCFunction)input_nothing, METH_NOARGS, "flush(): no effect."},
    {"close", (PyCFunction)input_nothing, METH_NOARGS,
     "close(): no effect; the body is closed when its request ends."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject py_input_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_fcgihost.Input",
    .tp_basicsize = sizeof(struct py_stream),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The body of a request (PEP 3333).",
    .tp_methods = methods,
    .tp_getset = attributes,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)input_next,
};
