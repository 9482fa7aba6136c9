/* wsgi.errors: lines for the log (PEP 3333, "Input and Error Streams"). */
#include "embed/py_errors.h"

#include "http/reply.h"
#include "http/request_id.h"
#include "http/request_log.h"

#include <string.h>

/* "GET /path: text", or as much of it as the request may log: *n; false: nothing. What no request
 * is named for comes from a stream that has been cut. */
static bool log_line(struct request *request, const char *text, size_t *n)
{
    char name[REQUEST_TEXT_BYTES + 2];
    struct log_topic topic = {.event = "application-errors"};
    if (request == NULL) {
        log_text(LOG_LEVEL_ERROR, &topic, text, *n);
        return true;
    }
    if (!request_log_admit(request, n))
        return false;
    topic.request_id = request_id(request);
    request_describe(request, name, REQUEST_TEXT_BYTES);
    memcpy(name + strlen(name), ": ", 3);
    log_text_after(name, LOG_LEVEL_ERROR, &topic, text, *n);
    return true;
}

/* Any thread of the application may call it, but only the worker may write to the connection. */
static void write_out(struct py_stream *self, const char *text, size_t n)
{
    struct request *request = self->request;
    bool is_sent = py_settings.is_front_logged && request != NULL &&
                   pthread_equal(self->thread, pthread_self());
    self->writers++; /* the request does not end before that: py_stream_detach() */
    Py_BEGIN_ALLOW_THREADS;
    if (log_line(request, text, &n) && is_sent)
        reply_send_error(request, text, n);
    Py_END_ALLOW_THREADS;
    self->writers--;
}

/* Complete lines are logged as one record; what follows the last newline is kept. */
static int add_text(struct py_stream *self, PyObject *text)
{
    PyObject *all = self->line != NULL ? PyUnicode_Concat(self->line, text) : Py_NewRef(text);
    if (all == NULL)
        return -1;
    PyObject *utf8 = PyUnicode_AsEncodedString(all, "utf-8", "backslashreplace");
    Py_DECREF(all);
    if (utf8 == NULL)
        return -1;
    const char *bytes = PyBytes_AS_STRING(utf8);
    size_t n = (size_t)PyBytes_GET_SIZE(utf8);
    const char *newline = memrchr(bytes, '\n', n);
    size_t whole = newline != NULL ? (size_t)(newline - bytes) : 0;
    size_t rest = newline != NULL ? whole + 1 : 0;
    Py_CLEAR(self->line);
    if (rest < n)
        self->line = PyUnicode_DecodeUTF8(bytes + rest, (Py_ssize_t)(n - rest), "replace");
    if (newline != NULL)
        write_out(self, bytes, whole);
    Py_DECREF(utf8);
    return PyErr_Occurred() ? -1 : 0;
}

static int write_text(struct py_stream *self, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "wsgi.errors takes str, not %.100s", Py_TYPE(text)->tp_name);
        return -1;
    }
    if (!py_stream_is_alive(self))
        return -1;
    return add_text(self, text);
}

static PyObject *errors_write(struct py_stream *self, PyObject *text)
{
    if (write_text(self, text) < 0)
        return NULL;
    return PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

static PyObject *errors_writelines(struct py_stream *self, PyObject *lines)
{
    PyObject *iterator = PyObject_GetIter(lines), *line;
    if (iterator == NULL)
        return NULL;
    while ((line = PyIter_Next(iterator)) != NULL) {
        int result = write_text(self, line);
        Py_DECREF(line);
        if (result < 0)
            break;
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

void py_errors_flush(PyObject *errors)
{
    struct py_stream *self = (struct py_stream *)errors;
    PyObject *line = self->line;
    if (line == NULL)
        return;
    self->line = NULL;
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(line, &n);
    if (text != NULL)
        write_out(self, text, (size_t)n);
    PyErr_Clear();
    Py_DECREF(line);
}

static PyObject *errors_flush(struct py_stream *self, PyObject *unused)
{
    (void)unused;
    if (!py_stream_is_alive(self))
        return NULL;
    py_errors_flush((PyObject *)self);
    Py_RETURN_NONE;
}

static void errors_dealloc(struct py_stream *self)
{
    Py_CLEAR(self->line);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"write", (PyCFunction)errors_write, METH_O, "write(text): complete lines go to the log."},
    {"writelines", (PyCFunction)errors_writelines, METH_O, "writelines(lines)"},
    {"flush", (PyCFunction)errors_flush, METH_NOARGS,
     "flush(): what was written without a newline goes to the log too."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject py_errors_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_fcgihost.Errors",
    .tp_basicsize = sizeof(struct py_stream),
    .tp_dealloc = (destructor)errors_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The log, as a request sees it (PEP 3333).",
    .tp_methods = methods,
};
