/* Calls of the package, and what becomes of exceptions.
 *
 * links: py_support.c reply.c error_page.c response.c request.c request_body.c request_id.c request_log.c
 * spool.c descriptors.c arena.c log_line.c */
#include "python_fixture.h"

#include "log_fakes.h"
#include "request_fakes.h"

#include <sys/wait.h>

#include "base/fork.h"
#include "embed/py_support.h"

static bool is_child;

bool fork_is_child(void)
{
    return is_child;
}

static const char host[] =
    "NUMBER = 5\n"
    "def add(*numbers): return sum(numbers)\n"
    "def fail(): raise KeyError('inside')\n"
    "class Special(Exception): pass\n"
    "def format_exception(error): return 'traceback of ' + repr(error)\n"
    "def describe_failure(error, request): return '\\n%s in %s' % (format_exception(error), "
    "request)\n"
    "def describe_answer(error): return error.args[0] if isinstance(error, Special) else None\n";

static int set_up_python(void **state)
{
    (void)state;
    return python_start();
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    python_use_host(host);
    if (request_set_up() < 0 || py_module_import_host() < 0)
        return -1;
    set_param("REQUEST_METHOD", "GET");
    set_param("REQUEST_URI", "/a?secret");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    is_child = false;
    py_settings = (struct py_settings){.is_front_logged = false};
    py_module_clear();
    forget_log();
    return request_tear_down();
}

static void test_the_packages_names_and_functions_are_found(void **state)
{
    (void)state;
    PyObject *number = py_module_get("NUMBER");
    assert_int_equal(PyLong_AsLong(number), 5);
    PyObject *numbers[] = {number, number};
    PyObject *sum = py_module_call("add", numbers, 2);
    assert_int_equal(PyLong_AsLong(sum), 10);
    PyObject *another = py_module_call_with("add", "ii", 3, 4);
    assert_int_equal(PyLong_AsLong(another), 7);
    PyObject *none = py_module_call("add", NULL, 0);
    assert_int_equal(PyLong_AsLong(none), 0);
    Py_DECREF(none);
    Py_DECREF(another);
    Py_DECREF(sum);
    Py_DECREF(number);
}

static void test_what_is_missing_or_raises_is_an_exception(void **state)
{
    (void)state;
    assert_null(py_module_get("nothing"));
    assert_raised("AttributeError", "nothing");
    assert_null(py_module_call("nothing", NULL, 0));
    assert_raised("AttributeError", "nothing");
    assert_null(py_module_call("fail", NULL, 0));
    assert_raised("KeyError", "inside");
    assert_null(py_module_call_with("fail", "()"));
    assert_raised("KeyError", "inside");
    assert_null(py_module_call_with("add", "(N)", PyLong_FromString("x", NULL, 10)));
    assert_raised("ValueError", "");
}

static void test_a_package_that_is_not_there_is_no_start(void **state)
{
    (void)state;
    py_module_clear();
    python_run("for name in list(sys.modules):\n"
               "    if name.startswith('fcgihost'): del sys.modules[name]\n");
    assert_int_equal(py_module_import_host(), -1);
    assert_raised("ModuleNotFoundError", "fcgihost");
    py_module_clear();
}

static void test_an_exception_that_is_taken_can_be_set_again(void **state)
{
    (void)state;
    assert_null(py_exception_take());
    assert_null(python_try("1 / 0"));
    PyObject *exception = py_exception_take();
    assert_null(PyErr_Occurred());
    PyObject *traceback = PyException_GetTraceback(exception);
    assert_non_null(traceback);
    Py_DECREF(traceback);
    py_exception_restore(exception);
    assert_raised("ZeroDivisionError", "division by zero");
}

static void test_one_that_was_set_as_a_class_alone_is_taken_as_an_object(void **state)
{
    (void)state;
    PyErr_SetNone(PyExc_KeyError);
    PyObject *exception = py_exception_take();
    assert_true(PyErr_GivenExceptionMatches(exception, PyExc_KeyError));
    assert_int_equal(PyObject_IsInstance(exception, PyExc_KeyError), 1);
    Py_DECREF(exception);
}

static void test_a_failure_is_logged_with_the_requests_name_but_not_its_query(void **state)
{
    (void)state;
    assert_null(python_try("1 / 0"));
    py_exception_log(request, "it failed");
    assert_null(PyErr_Occurred());
    assert_log("error application-failed 7: GET /a: it failed\n"
               "traceback of ZeroDivisionError('division by zero') in GET /a\n");
    py_exception_log(request, "it did not fail");
    assert_log("");
}

static void test_a_failure_of_the_hosts_own_is_logged_without_a_request(void **state)
{
    (void)state;
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_print("the chores failed");
    assert_null(PyErr_Occurred());
    assert_log("error host-failed: the chores failed\ntraceback of KeyError('x')\n");
    py_exception_print("the chores failed");
    assert_log("error host-failed: the chores failed\n\n");
}

static void test_what_cannot_be_described_is_logged_all_the_same(void **state)
{
    (void)state;
    python_run("host.describe_failure = host.format_exception = None");
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_log(request, "it failed");
    assert_log("error application-failed 7: GET /a: it failed\n<class 'KeyError'>\n");
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_print("the chores failed");
    assert_log("error host-failed: the chores failed\n<class 'KeyError'>\n");
    python_run("host.describe_failure = lambda error, request: '\\ud800'\n"
               "host.format_exception = lambda error: '\\ud800'");
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_log(request, "it failed");
    assert_log("error application-failed 7: GET /a: it failed\nan exception that can't be shown\n");
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_print("the chores failed");
    assert_log("error host-failed: the chores failed\n\n");
}

static void test_a_path_that_is_no_text_does_not_hinder_the_log(void **state)
{
    (void)state;
    request_begin();
    set_param("REQUEST_METHOD", "GET");
    set_param("REQUEST_URI", "/\xff\xfe");
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_log(request, "it failed");
    assert_log_has("traceback of KeyError('x') in GET /\\xff\\xfe");
}

static void test_the_web_servers_log_gets_it_if_a_setting_says_so(void **state)
{
    (void)state;
    py_settings.is_front_logged = true;
    request->response.is_head_sent = true;
    PyErr_SetString(PyExc_KeyError, "x");
    py_exception_log(request, "it failed");
    assert_int_equal(peer.errors.n, 37);
    assert_memory_equal(peer.errors.data, "traceback of KeyError('x') in GET /a\n", 37);
}

static void answer(const char *expression)
{
    PyObject *exception = python_eval(expression);
    py_exception_answer(request, exception);
    assert_int_equal(Py_REFCNT(exception), 1);
    Py_DECREF(exception);
    assert_null(PyErr_Occurred());
    assert_false(was_logged_with_gil);
}

static void test_an_exception_is_a_500_page_without_its_text(void **state)
{
    (void)state;
    answer("KeyError('password')");
    assert_int_equal(strncmp(peer_got(), "Status: 500 Internal Server Error\r\n", 35), 0);
    assert_null(strstr(peer_got(), "password"));
    assert_int_equal(peer.ends, 1);
    assert_log_has("GET /a: the application failed: answered with 500\ntraceback of KeyError");
}

static void test_for_developers_the_page_has_the_traceback(void **state)
{
    (void)state;
    py_settings.is_traceback_shown = true;
    answer("KeyError('x')");
    assert_non_null(strstr(peer_got(), "\r\n\r\ntraceback of KeyError('x')"));
    request_begin();
    python_run("host.format_exception = lambda error: '\\ud800'");
    answer("KeyError('x')");
    assert_non_null(strstr(peer_got(), "The error log says why."));
}

static void test_a_failure_behind_the_head_breaks_the_connection_off(void **state)
{
    (void)state;
    request->response.is_head_sent = true;
    answer("host.Special(('503 x', 'y', 1, 'z', 'z', None))"); /* too late for that */
    assert_true(request->must_close);
    assert_int_equal(peer.sends, 0);
    assert_log_has("after its response had begun: the connection is closed");
}

static void test_a_failure_behind_the_end_is_only_logged(void **state)
{
    (void)state;
    request->response.is_head_sent = request->response.is_ended = true;
    answer("KeyError('x')");
    assert_false(request->must_close);
    assert_log_has("after its response was complete");
}

static void test_a_body_that_was_too_large_is_413_if_that_is_why_it_failed(void **state)
{
    (void)state;
    request->body_failure = BODY_TOO_LARGE;
    answer("OSError(27, 'too large')");
    assert_int_equal(strncmp(peer_got(), "Status: 413 Request Entity Too Large\r\n", 38), 0);
    assert_log("warning request-body-too-large 7: GET /a: 413: its body is larger than [limits] "
               "request_body\n");
    request_begin();
    request->body_failure = BODY_TOO_LARGE;
    answer("KeyError('another')");
    assert_int_equal(strncmp(peer_got(), "Status: 500", 11), 0);
}

static void test_an_exception_that_stands_for_an_answer_gives_it(void **state)
{
    (void)state;
    answer("host.Special(('503 Service Unavailable', 'later\\n', 30, 'event', '503: why', None))");
    assert_string_equal(peer_got(),
                        "Status: 503 Service Unavailable\r\nContent-Type: text/plain; "
                        "charset=utf-8\r\nContent-Length: 6\r\nRetry-After: 30\r\n\r\nlater\n");
    assert_log("warning event 7: GET /a: 503: why\n");
    request_begin();
    answer("host.Special(('404 Not Found', None, 0, 'event', '404: why', None))");
    assert_non_null(strstr(peer_got(), "The error log says why."));
    forget_log();
    request_begin();
    answer("host.Special(('500 x', None, 0, 'event', '500: script', KeyError('cause')))");
    assert_log_has("script\ntraceback of KeyError('cause')");
    assert_int_equal(strncmp(peer_got(), "Status: 500", 11), 0);
}

static void test_a_description_that_is_none_is_a_500(void **state)
{
    (void)state;
    static const char *const wrong[] = {"5", "()", "('503 x', 'y', 'z', 'e', 't', None)",
                                        "('503 \\ud800', 'y', 1, 'e', 't', None)"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char expression[128];
        snprintf(expression, sizeof(expression), "host.Special(%s)", wrong[i]);
        request_begin();
        answer(expression);
        assert_int_equal(strncmp(peer_got(), "Status: 500", 11), 0);
    }
    request_begin();
    python_run("host.describe_answer = None");
    answer("KeyError('x')");
    assert_int_equal(strncmp(peer_got(), "Status: 500", 11), 0);
}

/* The exit code of a child in which that is set. */
static int leave_child(const char *raised)
{
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        is_child = true;
        if (raised != NULL)
            (void)python_try(raised);
        py_leave_forked_child();
        _exit(99);
    }
    PyOS_AfterFork_Parent();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_a_forked_child_exits_as_a_program_would(void **state)
{
    (void)state;
    static const struct {
        const char *raised;
        int code;
    } rows[] = {
        {NULL, 0},
        {"(_ for _ in ()).throw(SystemExit)", 0},
        {"(_ for _ in ()).throw(SystemExit(0))", 0},
        {"(_ for _ in ()).throw(SystemExit(None))", 0},
        {"(_ for _ in ()).throw(SystemExit(7))", 7},
        {"(_ for _ in ()).throw(SystemExit(True))", 1},
        {"(_ for _ in ()).throw(SystemExit('text'))", 1},
        {"1 / 0", 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(leave_child(rows[i].raised), rows[i].code);
    py_leave_forked_child(); /* in the host it does nothing */
}

static void test_text_is_latin_1_or_refused(void **state)
{
    (void)state;
    Py_ssize_t n;
    PyObject *text = python_eval("'a\\xff\\0b'");
    const char *bytes = py_latin1(text, "it", &n);
    assert_int_equal(n, 4);
    assert_memory_equal(bytes, "a\xff\0b", 5);
    Py_DECREF(text);
    static const char *const rows[][3] = {
        {"'\\u0100'", "ValueError", "it '\xc4\x80' has characters beyond Latin-1"},
        {"'\\ud800'", "ValueError", "beyond Latin-1"},
        {"'\\U0001f4a9'", "ValueError", "beyond Latin-1"},
        {"b'x'", "TypeError", "it must be str, not bytes"},
        {"None", "TypeError", "it must be str, not NoneType"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        text = python_eval(rows[i][0]);
        assert_null(py_latin1(text, "it", &n));
        assert_raised(rows[i][1], rows[i][2]);
        Py_DECREF(text);
    }
}

static void fail_once(void)
{
    request_begin();
    PyObject *exception = python_try("1 / 0");
    exception = py_exception_take();
    py_exception_restore(exception);
    py_exception_log(request, "it failed");
    answer("host.Special(('503 x', 'later\\n', 30, 'event', '503: why', None))");
    request_begin();
    answer("host.Special(('500 x', None, 0, 'event', '500: script', KeyError('cause')))");
    if (py_module_call("fail", NULL, 0) == NULL)
        py_exception_print("it failed");
    forget_log();
}

static void test_ten_thousand_failures_leave_nothing_behind(void **state)
{
    (void)state;
    ASSERT_NO_GROWTH(fail_once());
}

static void test_memory_that_runs_out_is_answered_all_the_same(void **state)
{
    (void)state;
    static const char *const exceptions[] = {
        "KeyError('x')", "host.Special(('503 x', 'later\\n', 30, 'event', '503: why', None))",
        "host.Special(('500 x', None, 0, 'event', '500: script', KeyError('cause')))"};
    py_settings.is_traceback_shown = true;
    for (size_t i = 0; i < 2 * COUNT(exceptions); i++) {
        PyObject *exception = python_eval(exceptions[i / 2]);
        bool has_failed = true;
        for (unsigned long n = 1; has_failed; n++) {
            request_begin();
            python_fail_allocation(n, i % 2 == 1);
            py_exception_answer(request, exception);
            has_failed = python_end_failures();
            assert_null(PyErr_Occurred());
            assert_int_equal(peer.ends, 1);
            forget_log();
        }
        Py_DECREF(exception);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_packages_names_and_functions_are_found),
        TEST(test_what_is_missing_or_raises_is_an_exception),
        TEST(test_a_package_that_is_not_there_is_no_start),
        TEST(test_an_exception_that_is_taken_can_be_set_again),
        TEST(test_one_that_was_set_as_a_class_alone_is_taken_as_an_object),
        TEST(test_a_failure_is_logged_with_the_requests_name_but_not_its_query),
        TEST(test_a_failure_of_the_hosts_own_is_logged_without_a_request),
        TEST(test_what_cannot_be_described_is_logged_all_the_same),
        TEST(test_a_path_that_is_no_text_does_not_hinder_the_log),
        TEST(test_the_web_servers_log_gets_it_if_a_setting_says_so),
        TEST(test_an_exception_is_a_500_page_without_its_text),
        TEST(test_for_developers_the_page_has_the_traceback),
        TEST(test_a_failure_behind_the_head_breaks_the_connection_off),
        TEST(test_a_failure_behind_the_end_is_only_logged),
        TEST(test_a_body_that_was_too_large_is_413_if_that_is_why_it_failed),
        TEST(test_an_exception_that_stands_for_an_answer_gives_it),
        TEST(test_a_description_that_is_none_is_a_500),
        TEST(test_a_forked_child_exits_as_a_program_would),
        TEST(test_text_is_latin_1_or_refused),
        TEST(test_ten_thousand_failures_leave_nothing_behind),
        TEST(test_memory_that_runs_out_is_answered_all_the_same),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
