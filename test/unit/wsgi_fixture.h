/* What the tests of py_wsgi.c share: requests that the test's thread serves through an application
 * in real Python, over a transport that only writes down. The package is a few lines, which say
 * what they were called for. */
#ifndef FCGIHOST_TEST_WSGI_FIXTURE_H
#define FCGIHOST_TEST_WSGI_FIXTURE_H

#include "python_fixture.h"

#include "log_fakes.h"
#include "request_fakes.h"

#include "base/fork.h"
#include "embed/py_environ.h"
#include "embed/py_interrupt.h"
#include "embed/py_programs.h"
#include "embed/py_request.h"
#include "embed/py_streams.h"
#include "embed/py_wsgi.h"
#include "http/meta_variables.h"
#include "protocol/record.h"
#include "threads/turn_policy.h"

static struct activity activity;
static struct turn_policy pace;
static struct turn_policy_runner runner;
static struct python_thread *thread;
static bool is_child;

bool fork_is_child(void)
{
    return is_child;
}

const char *meta_url_scheme(const struct request *asked)
{
    (void)asked;
    return "http";
}

static inline PyObject *current_request(PyObject *self, PyObject *make)
{
    (void)self;
    return py_request_current(make);
}

/* As if the task had found that the request takes too long. */
static inline PyObject *interrupt_me(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    py_request_thread()->interruption.pending = REQUEST_CLOCK_TIMEOUT;
    Py_RETURN_NONE;
}

static inline PyObject *sent_so_far(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return Py_BuildValue("y#I", peer_got(), (Py_ssize_t)peer.sent.n, peer.ends);
}

static PyMethodDef functions[] = {
    {"current_request", current_request, METH_O, NULL},
    {"interrupt_me", interrupt_me, METH_NOARGS, NULL},
    {"sent_so_far", sent_so_far, METH_NOARGS, NULL},
};

static const char host[] =
    "calls = []\n"
    "OWN_FILES = '/host/',\n"
    "class FileWrapper: pass\n"
    "class RequestTimeout(Exception): pass\n"
    "class ClientGone(Exception): pass\n"
    "class Unavailable(Exception): pass\n"
    "def format_exception(error): return 'traceback of ' + repr(error)\n"
    "def describe_failure(error, request): return '\\n' + format_exception(error)\n"
    "def describe_answer(error):\n"
    "    if isinstance(error, Unavailable):\n"
    "        return '503 Service Unavailable', 'later\\n', 7, 'unavailable', '503: later', None\n"
    "def end_request(request): calls.append(request)\n"
    "def log_timeout(*arguments): calls.append('timeout')\n";

static inline int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_use_host(host);
    for (size_t i = 0; i < COUNT(functions); i++) {
        PyObject *function = PyCFunction_New(&functions[i], NULL);
        python_set(functions[i].ml_name, function);
        Py_DECREF(function);
    }
    return py_wsgi_init() < 0 || py_module_import_host() < 0 ||
           py_environ_init(false, false, false) < 0;
}

static inline int tear_down_python(void **state)
{
    (void)state;
    py_programs_clear();
    py_environ_clear();
    py_module_clear();
    return python_stop();
}

static inline struct python_thread *enter(struct activity *entered)
{
    PyThreadState *own = PyEval_SaveThread();
    struct python_thread *result = py_wsgi_enter_thread(entered);
    PyEval_RestoreThread(own);
    return result;
}

static inline void leave(struct python_thread *left)
{
    PyThreadState *own = PyEval_SaveThread();
    py_wsgi_leave_thread(left);
    PyEval_RestoreThread(own);
}

static inline int set_up(void **state)
{
    (void)state;
    is_child = false;
    py_settings = (struct py_settings){.is_multithreaded = false};
    activity_init(&activity);
    turn_policy_init(&pace);
    runner = (struct turn_policy_runner){.pace = &pace, .number = 1};
    input = (struct input){.data = NULL};
    thread = enter(&activity);
    python_run("host.calls.clear()\n"
               "events = []\n"
               "kept = None\n");
    return thread == NULL ? -1 : request_set_up();
}

static inline int tear_down(void **state)
{
    (void)state;
    leave(thread);
    py_request_set_thread(NULL);
    turn_policy_destroy(&pace);
    python_run("kept = application = None");
    py_programs_clear();
    forget_log();
    return request_tear_down();
}

/* source defines application(environ, start_response), or anything else of that name. */
static inline void use(const char *source)
{
    python_run("def start_fine(start_response): return start_response('200 OK', [('A', 'b')])\n");
    python_run(source);
    PyObject *loaded = Py_BuildValue("OOO", python_get("application"), python_get("application"),
                                     python_get("application"));
    assert_int_equal(py_programs_put(0, loaded), 0);
    Py_DECREF(loaded);
}

static inline void begin(void)
{
    request_begin();
    set_param("REQUEST_METHOD", "GET");
    set_param("REQUEST_URI", "/a?secret");
}

/* As a worker does; the GIL is held before and afterwards. */
static inline enum py_wsgi_outcome serve(void)
{
    PyThreadState *own = PyEval_SaveThread();
    activity_begin(&activity, request);
    enum py_wsgi_outcome outcome = py_wsgi_serve(thread, &runner, request);
    bool has_gil = PyGILState_Check();
    py_wsgi_release_gil(thread);
    bool has_gil_still = PyGILState_Check();
    activity_end(&activity);
    PyEval_RestoreThread(own);
    assert_int_equal(has_gil, outcome == PY_WSGI_SERVED_WITH_GIL);
    assert_false(has_gil_still);
    assert_null(PyErr_Occurred());
    assert_null(thread->served);
    assert_null(thread->borrowed_environ);
    assert_int_equal(atomic_load(&activity.work.phase), REQUEST_CLOCK_IDLE);
    return outcome;
}

static inline void serve_by(const char *source)
{
    use(source);
    begin();
    assert_int_equal(serve(), PY_WSGI_SERVED);
}

static inline void assert_answer(const char *expected)
{
    assert_string_equal(peer_got(), expected);
    assert_int_equal(peer.ends, 1);
    assert_false(request->must_close);
}

static const char page_500[] =
    "Status: 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 71\r\n\r\nThe application could not answer this request. The error log says "
    "why.\n";

static inline void assert_failed(const char *what)
{
    assert_answer(page_500);
    assert_log_has("error application-failed 7: GET /a: the application failed: answered with 500");
    assert_log_has(what);
    assert_null(strstr(logged_text(), "secret"));
    forget_log();
}

#endif
