/* Shared by all files that use Python: calls to fcgihost.host.entry, exceptions. */
#include "embed/py_support.h"

#include "base/fork.h"
#include "http/reply.h"
#include "http/request_id.h"
#include "http/request_log.h"

#include <unistd.h>

struct py_settings py_settings;

static PyObject *host_module; /* fcgihost.host.entry */

int py_module_import_host(void)
{
    host_module = PyImport_ImportModule("fcgihost.host.entry");
    return host_module != NULL ? 0 : -1;
}

PyObject *py_module_get(const char *name)
{
    return PyObject_GetAttrString(host_module, name);
}

PyObject *py_module_call(const char *function, PyObject *const *arguments, size_t count)
{
    PyObject *callable = PyObject_GetAttrString(host_module, function);
    if (callable == NULL)
        return NULL;
    PyObject *result = PyObject_Vectorcall(callable, arguments, count, NULL);
    Py_DECREF(callable);
    return result;
}

PyObject *py_module_call_with(const char *function, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    PyObject *arguments = Py_VaBuildValue(format, values);
    va_end(values);
    PyObject *callable = arguments != NULL ? PyObject_GetAttrString(host_module, function) : NULL;
    PyObject *result = callable != NULL ? PyObject_CallObject(callable, arguments) : NULL;
    Py_XDECREF(callable);
    Py_XDECREF(arguments);
    return result;
}

void py_module_clear(void)
{
    Py_CLEAR(host_module);
}

PyObject *py_exception_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

void py_exception_restore(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyObject *type = (PyObject *)Py_TYPE(exception);
    Py_INCREF(type);
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
#endif
}

/* The traceback as text: a new reference to a str, or NULL with nothing set. */
static PyObject *format_exception(PyObject *exception)
{
    PyObject *text = py_module_call("format_exception", &exception, 1);
    if (text == NULL) {
        PyErr_Clear();
        text = PyObject_Str((PyObject *)Py_TYPE(exception));
    }
    if (text == NULL)
        PyErr_Clear();
    return text;
}

/* What the log says of it after the words that name the request: a line break and the traceback, or
 * the rest of the line if the log has that already. A new reference to a str, or NULL with nothing
 * set. */
static PyObject *describe_failure(PyObject *exception, const char *name)
{
    PyObject *who = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "backslashreplace");
    PyObject *arguments[] = {exception, who};
    PyObject *text = who != NULL ? py_module_call("describe_failure", arguments, 2) : NULL;
    Py_XDECREF(who);
    if (text == NULL) {
        PyErr_Clear();
        text = PyUnicode_FromFormat("\n%S", (PyObject *)Py_TYPE(exception));
    }
    if (text == NULL)
        PyErr_Clear();
    return text;
}

static void log_exception(struct request *request, const char *event, const char *where,
                          PyObject *exception)
{
    char name[REQUEST_TEXT_BYTES], prefix[2 * REQUEST_TEXT_BYTES];
    struct log_topic topic = {.event = event, .request_id = request_id(request)};
    request_describe(request, name, sizeof(name));
    PyObject *described = describe_failure(exception, name);
    Py_ssize_t bytes = 0;
    const char *text = described != NULL ? PyUnicode_AsUTF8AndSize(described, &bytes) : NULL;
    if (text == NULL) {
        PyErr_Clear();
        text = "\nan exception that can't be shown";
        bytes = (Py_ssize_t)strlen(text);
    }
    snprintf(prefix, sizeof(prefix), "%s: %s", name, where);
    Py_BEGIN_ALLOW_THREADS;
    size_t n = (size_t)bytes, skipped = strspn(text, ";\n ");
    bool is_admitted = request_log_admit(request, &n);
    if (is_admitted)
        log_text_after(prefix, LOG_LEVEL_ERROR, &topic, text, n);
    if (is_admitted && py_settings.is_front_logged && n > skipped)
        reply_send_error(request, text + skipped, n - skipped);
    Py_END_ALLOW_THREADS;
    Py_XDECREF(described);
}

/* what, and in the lines below it the traceback, which may be NULL. */
static void log_traceback(const char *what, const char *event, const char *traceback)
{
    size_t n = traceback != NULL ? strlen(traceback) : 0;
    char *text = malloc(n + 1);
    if (text != NULL) {
        text[0] = '\n';
        memcpy(text + 1, traceback != NULL ? traceback : "", n);
    }
    log_text_after(what, LOG_LEVEL_ERROR, &(struct log_topic){.event = event}, text,
                   text != NULL ? n + 1 : 0);
    free(text);
}

void py_exception_print(const char *what)
{
    PyObject *exception = py_exception_take();
    PyObject *text = exception != NULL ? format_exception(exception) : NULL;
    const char *traceback = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    Py_BEGIN_ALLOW_THREADS;
    log_traceback(what, "host-failed", traceback);
    Py_END_ALLOW_THREADS;
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(exception);
}

void py_exception_log(struct request *request, const char *where)
{
    PyObject *exception = py_exception_take();
    if (exception == NULL)
        return;
    log_exception(request, "application-failed", where, exception);
    Py_DECREF(exception);
}

static void send_page(struct request *request, PyObject *exception)
{
    PyObject *text = py_settings.is_traceback_shown ? format_exception(exception) : NULL;
    const char *body = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    if (body == NULL) {
        PyErr_Clear();
        body = error_page_text(ERROR_PAGE_APPLICATION_FAILED);
    }
    Py_BEGIN_ALLOW_THREADS;
    reply_send_page(request, error_page_status(ERROR_PAGE_APPLICATION_FAILED), body);
    Py_END_ALLOW_THREADS;
    Py_XDECREF(text);
}

/* Answers if the exception stands for a certain response, as fcgihost.ResourceUnavailable does for
 * 503. false: it does not. */
static bool answer_as_described(struct request *request, PyObject *exception)
{
    PyObject *answer = py_module_call("describe_answer", &exception, 1), *cause;
    int seconds;
    const char *status, *page, *event, *line;
    bool is_described =
        answer != NULL && answer != Py_None &&
        PyArg_ParseTuple(answer, "szissO", &status, &page, &seconds, &event, &line, &cause);
    PyErr_Clear();
    if (is_described && cause != Py_None) {
        log_exception(request, event, line, cause);
        send_page(request, cause);
    } else if (is_described) {
        request->response.retry_after_s = (unsigned)seconds;
        Py_BEGIN_ALLOW_THREADS;
        request_log(request, event, line);
        reply_send_page(request, status,
                        page != NULL ? page : error_page_text(ERROR_PAGE_APPLICATION_FAILED));
        Py_END_ALLOW_THREADS;
    }
    Py_XDECREF(answer);
    return is_described;
}

void py_exception_answer(struct request *request, PyObject *exception)
{
    const struct response *response = &request->response;
    bool is_too_large = request->body_failure == BODY_TOO_LARGE && !response->is_head_sent &&
                        PyErr_GivenExceptionMatches(exception, PyExc_OSError);
    if (is_too_large) {
        Py_BEGIN_ALLOW_THREADS;
        request_log(request, "request-body-too-large",
                    "413: its body is larger than [limits] request_body");
        reply_send_error_page(request, ERROR_PAGE_BODY_TOO_LARGE);
        Py_END_ALLOW_THREADS;
    } else if (!response->is_head_sent && answer_as_described(request, exception)) {
        return;
    } else if (response->is_ended) {
        log_exception(request, "application-failed",
                      "the application failed after its response was complete", exception);
    } else if (response->is_head_sent) {
        log_exception(
            request, "application-failed",
            "the application failed after its response had begun: the connection is closed",
            exception);
        reply_break_off(request);
    } else {
        log_exception(request, "application-failed", "the application failed: answered with 500",
                      exception);
        send_page(request, exception);
    }
}

void py_leave_forked_child(void)
{
    if (!fork_is_child())
        return;
    int status = 0;
    PyObject *exception = py_exception_take();
    if (exception != NULL && PyErr_GivenExceptionMatches(exception, PyExc_SystemExit)) {
        PyObject *code = PyObject_GetAttrString(exception, "code");
        status = code == NULL || code == Py_None ? 0
                 : PyLong_Check(code)            ? (int)PyLong_AsLong(code)
                                                 : 1;
    } else if (exception != NULL) {
        PyObject *text = format_exception(exception);
        const char *traceback = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
        log_traceback("a forked child of the application failed", "forked-child-failed", traceback);
        status = 1;
    }
    _exit(status);
}

const char *py_latin1(PyObject *text, const char *what, Py_ssize_t *bytes)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", what, Py_TYPE(text)->tp_name);
        return NULL;
    }
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) < 0)
        return NULL;
#endif
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) {
        PyErr_Format(PyExc_ValueError, "%s %R has characters beyond Latin-1", what, text);
        return NULL;
    }
    *bytes = PyUnicode_GET_LENGTH(text);
    return (const char *)PyUnicode_1BYTE_DATA(text);
}
