/* start_response and the write callable that it returns (PEP 3333, "The start_response()
 * Callable"). */
#include "embed/py_response.h"

#include "embed/py_interrupt.h"

#include "http/reply.h"

#include <errno.h>
#include <string.h>

/* One class whatever the reason, so that an application that writes for ever needs to catch only
 * one. Returns NULL. */
static PyObject *raise_end(struct py_stream *self, const struct request *request)
{
    const struct response *response = &request->response;
    const char *text = response->is_peer_gone || response->is_abandoned
                           ? "nothing more can be sent: the client, or the web server, has left"
                       : reply_is_bodyless(request)
                           ? "nothing more can be sent: this response has no body (HEAD, 204, 304)"
                           : "nothing more can be sent: all bytes of its Content-Length have been";
    PyObject *arguments = Py_BuildValue("(is)", EPIPE, text);
    self->is_end_told = true;
    if (arguments != NULL)
        PyErr_SetObject(PyExc_BrokenPipeError, arguments);
    Py_XDECREF(arguments);
    return NULL;
}

static PyObject *write_body(struct py_stream *self, PyObject *data)
{
    char *bytes;
    Py_ssize_t n;
    if (PyBytes_AsStringAndSize(data, &bytes, &n) < 0)
        return NULL;
    struct request *request = py_stream_enter(self);
    if (request == NULL)
        return NULL;
    if (request->response.status == 0) {
        py_stream_leave(self);
        PyErr_SetString(PyExc_RuntimeError, "write() was called after start_response had failed");
        return NULL;
    }
    const struct response *response = &request->response;
    bool was_ended = response->is_ended;
    py_stream_send(self, bytes, n, true);
    if (py_interrupt_check() < 0) {
        py_stream_leave(self);
        return NULL;
    }
    bool is_past_end = response->is_peer_gone || response->is_abandoned ||
                       (was_ended && (n > 0 || reply_is_bodyless(request)));
    PyObject *result = is_past_end ? raise_end(self, request) : Py_NewRef(Py_None);
    py_stream_leave(self);
    return result;
}

static PyMethodDef write_method = {"write", (PyCFunction)write_body, METH_O,
                                   "write(data): sends bytes of the body at once. "
                                   "BrokenPipeError once nothing more can be sent."};

/* start_response was given exc_info. 0 if the response may still be replaced; else -1 with an
 * exception set, which is the application's own if the head has been sent (PEP 3333). */
static int check_exc_info(const struct response *response, PyObject *exc_info)
{
    if (!PyTuple_Check(exc_info) || PyTuple_GET_SIZE(exc_info) != 3) {
        PyErr_SetString(PyExc_TypeError, "exc_info must be a tuple (type, value, traceback)");
        return -1;
    }
    if (!response->is_head_sent)
        return 0;
    PyObject *type = PyTuple_GET_ITEM(exc_info, 0), *value = PyTuple_GET_ITEM(exc_info, 1),
             *traceback = PyTuple_GET_ITEM(exc_info, 2);
    if (!PyExceptionClass_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "exc_info must be a tuple (type, value, traceback)");
        return -1;
    }
    PyErr_Restore(Py_NewRef(type), value != Py_None ? Py_NewRef(value) : NULL,
                  PyTraceBack_Check(traceback) ? Py_NewRef(traceback) : NULL);
    return -1;
}

static int set_status(struct response *response, PyObject *status)
{
    Py_ssize_t n;
    const char *text = py_latin1(status, "status", &n);
    if (text == NULL)
        return -1;
    const char *reason = response_set_status(response, text, (size_t)n);
    if (reason == NULL)
        return 0;
    PyErr_Format(PyExc_ValueError, "status %R: %s", status, reason);
    return -1;
}

static int add_header(struct response *response, PyObject *header)
{
    if (!PyTuple_Check(header) || PyTuple_GET_SIZE(header) != 2) {
        PyErr_Format(PyExc_TypeError, "each header must be a tuple (name, value), not %R", header);
        return -1;
    }
    Py_ssize_t name_bytes, value_bytes;
    const char *name = py_latin1(PyTuple_GET_ITEM(header, 0), "a header's name", &name_bytes);
    const char *value =
        name != NULL ? py_latin1(PyTuple_GET_ITEM(header, 1), "a header's value", &value_bytes)
                     : NULL;
    if (value == NULL)
        return -1;
    const char *reason =
        response_add_header(response, name, (size_t)name_bytes, value, (size_t)value_bytes);
    if (reason == NULL)
        return 0;
    PyErr_Format(PyExc_ValueError, "header %R: %s", header, reason);
    return -1;
}

static int set_head(struct response *response, PyObject *status, PyObject *headers)
{
    if (!PyList_Check(headers)) {
        PyErr_Format(PyExc_TypeError, "headers must be a list, not %.100s",
                     Py_TYPE(headers)->tp_name);
        return -1;
    }
    if (set_status(response, status) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(headers); i++)
        if (add_header(response, PyList_GET_ITEM(headers, i)) < 0)
            return -1;
    return 0;
}

static PyObject *start(struct py_stream *self, struct request *request, PyObject *const *arguments,
                       PyObject *exc_info)
{
    struct response *response = &request->response;
    if (exc_info != NULL && exc_info != Py_None) {
        if (check_exc_info(response, exc_info) < 0)
            return NULL;
    } else if (response->status != 0) {
        PyErr_SetString(PyExc_RuntimeError, "start_response was called again without exc_info");
        return NULL;
    }
    if (set_head(response, arguments[0], arguments[1]) < 0) {
        response_reset(response);
        return NULL;
    }
    return PyCFunction_New(&write_method, (PyObject *)self);
}

static PyObject *call(PyObject *callable, PyObject *const *arguments, size_t flagged_count,
                      PyObject *keywords)
{
    Py_ssize_t count = PyVectorcall_NARGS(flagged_count);
    PyObject *exc_info = count == 3 ? arguments[2] : NULL;
    Py_ssize_t keyword_count = keywords != NULL ? PyTuple_GET_SIZE(keywords) : 0;
    bool is_by_name =
        count == 2 && keyword_count == 1 &&
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "exc_info") == 0;
    if (is_by_name)
        exc_info = arguments[2];
    if (count < 2 || count > 3 || (keyword_count > 0 && !is_by_name)) {
        PyErr_SetString(
            PyExc_TypeError,
            "start_response(status, headers, exc_info=None) takes these positional arguments");
        return NULL;
    }
    struct py_stream *self = (struct py_stream *)callable;
    struct request *request = py_stream_enter(self);
    if (request == NULL)
        return NULL;
    PyObject *write = start(self, request, arguments, exc_info);
    py_stream_leave(self);
    return write;
}

static PyObject *start_response_new(PyTypeObject *type, Py_ssize_t n)
{
    PyObject *self = PyType_GenericAlloc(type, n);
    if (self != NULL)
        ((struct py_stream *)self)->vectorcall = call;
    return self;
}

PyTypeObject py_start_response_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_fcgihost.StartResponse",
    .tp_basicsize = sizeof(struct py_stream),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "start_response(status, headers, exc_info=None) -> write (PEP 3333).",
    .tp_alloc = start_response_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(struct py_stream, vectorcall),
};
