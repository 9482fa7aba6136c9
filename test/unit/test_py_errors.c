/* wsgi.errors, written to by Python.
 *
 * links: py_errors.c py_streams.c reply.c error_page.c response.c request.c request_body.c request_id.c
 * request_log.c spool.c descriptors.c arena.c fork.c log_line.c */
#include "python_fixture.h"

#include "log_fakes.h"
#include "request_fakes.h"

#include "embed/py_errors.h"
#include "http/request_log.h"

struct py_settings py_settings;

static PyObject *errors;

static int set_up_python(void **state)
{
    (void)state;
    return python_start() < 0 ? -1 : PyType_Ready(&py_errors_type);
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    py_settings.is_front_logged = false;
    if (request_set_up() < 0 || py_stream_attach(&errors, &py_errors_type, request) < 0)
        return -1;
    set_param("REQUEST_METHOD", "GET");
    set_param("REQUEST_URI", "/a?secret");
    response_set_status(&request->response, "200 OK", 6);
    request->response.is_head_sent = true; /* so that what the front gets leaves at once */
    python_set("errors", errors);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    python_run("errors = None");
    py_stream_detach(errors);
    Py_CLEAR(errors);
    forget_log();
    return request_tear_down();
}

static void test_complete_lines_are_logged_as_one_record_and_the_rest_waits(void **state)
{
    (void)state;
    assert_python("errors.write('one\\ntwo\\nth')", "10");
    assert_log("error application-errors 7: GET /a: one\ntwo\n");
    assert_python("errors.write('ree')", "3");
    assert_log("");
    assert_python("errors.write(' and\\n')", "5");
    assert_log("error application-errors 7: GET /a: three and\n");
    assert_python("errors.write('')", "0");
    assert_python("errors.flush()", "None");
    assert_log("");
}

static void test_a_flush_logs_what_has_no_newline(void **state)
{
    (void)state;
    python_run("errors.write('half')\n"
               "errors.flush()\n"
               "errors.flush()\n");
    assert_log("error application-errors 7: GET /a: half\n");
    python_run("errors.write('more')");
    py_errors_flush(errors);
    py_errors_flush(errors);
    assert_log("error application-errors 7: GET /a: more\n");
}

static void test_print_and_logging_can_write_to_it(void **state)
{
    (void)state;
    python_run("print('a', 1, file=errors, flush=True)\n"
               "errors.writelines(['b\\n', 'c', '\\n'])\n"
               "errors.writelines(line for line in ['d\\n'])\n"
               "errors.writelines([])\n");
    assert_log("error application-errors 7: GET /a: a 1\n"
               "error application-errors 7: GET /a: b\n"
               "error application-errors 7: GET /a: c\n"
               "error application-errors 7: GET /a: d\n");
}

static void test_characters_that_are_no_text_are_escaped(void **state)
{
    (void)state;
    python_run("errors.write('\\ud800 \\xe9 \\U0001f4a9\\n')\n"
               "errors.write('\\udcff')\n"
               "errors.flush()\n");
    assert_log("error application-errors 7: GET /a: \\ud800 \xc3\xa9 \xf0\x9f\x92\xa9\n"
               "error application-errors 7: GET /a: \\udcff\n");
}

static void test_a_nul_does_not_end_a_line(void **state)
{
    (void)state;
    python_run("errors.write('a\\0b\\n')");
    assert_non_null(memmem(logged.data, logged.n, "GET /a: a\0b\n", 12));
}

static void test_only_text_is_taken(void **state)
{
    (void)state;
    assert_raises("errors.write(b'x\\n')", "TypeError", "wsgi.errors takes str, not bytes");
    assert_raises("errors.write(None)", "TypeError", "not NoneType");
    assert_raises("errors.write()", "TypeError", "");
    assert_raises("errors.writelines(['a\\n', b'b\\n', 'c\\n'])", "TypeError", "not bytes");
    assert_raises("errors.writelines(5)", "TypeError", "");
    assert_raises("errors.writelines(1 / 0 for i in [1])", "ZeroDivisionError", "");
    assert_log("error application-errors 7: GET /a: a\n");
}

static void test_after_its_request_every_method_raises(void **state)
{
    (void)state;
    python_run("errors.write('half')");
    py_stream_detach(errors);
    assert_raises("errors.write('x\\n')", "ValueError", "the request has ended");
    assert_raises("errors.writelines(['x\\n'])", "ValueError", "the request has ended");
    assert_raises("errors.flush()", "ValueError", "the request has ended");
    py_errors_flush(errors);
    assert_log("");
}

static void test_the_web_server_gets_it_too_if_a_setting_says_so(void **state)
{
    (void)state;
    python_run("errors.write('one\\n')");
    assert_int_equal(peer.errors.n, 0);
    py_settings.is_front_logged = true;
    python_run("errors.write('two\\n')");
    assert_memory_equal(peer.errors.data, "two\n", 4);
    assert_int_equal(peer.errors.n, 4);
}

static void *write_from_another(void *unused)
{
    (void)unused;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *result = python_try("errors.write('of another\\n')");
    Py_XDECREF(result);
    PyErr_Clear();
    PyGILState_Release(gil);
    return NULL;
}

static void test_other_threads_write_to_the_log_and_not_to_the_connection(void **state)
{
    (void)state;
    pthread_t other;
    py_settings.is_front_logged = true;
    assert_int_equal(pthread_create(&other, NULL, write_from_another, NULL), 0);
    Py_BEGIN_ALLOW_THREADS;
    pthread_join(other, NULL);
    Py_END_ALLOW_THREADS;
    assert_log("error application-errors 7: GET /a: of another\n");
    assert_int_equal(peer.errors.n, 0);
    assert_int_equal(((struct py_stream *)errors)->writers, 0);
}

static void test_a_request_logs_no_more_than_its_limit(void **state)
{
    (void)state;
    atomic_store(&request->logged_bytes, REQUEST_LOG_BYTES - REQUEST_LOG_LINE_BYTES - 10);
    python_run("errors.write('x' * 100 + '\\n')\n"
               "errors.write('y\\n')");
    assert_log_has("warning request-log-full 7: GET /a: it has logged 16 MiB");
    assert_null(strstr(logged_text(), ": y\n"));
    assert_int_equal(dropped_count, 2);
}

static void write_once(void)
{
    python_run("errors.write('one\\ntwo')\n"
               "errors.writelines(['\\n', 'x'])\n"
               "try: errors.write(b'')\n"
               "except TypeError: pass\n");
    py_errors_flush(errors);
    forget_log();
    atomic_store(&request->logged_bytes, 0);
}

static void test_ten_thousand_lines_leave_nothing_behind(void **state)
{
    (void)state;
    ASSERT_NO_GROWTH(write_once());
}

static void test_an_object_that_is_dropped_gives_its_line_back(void **state)
{
    (void)state;
    ASSERT_NO_GROWTH(
        python_run("errors.write(str(id(errors)))"); python_run("errors = None");
        py_stream_detach(errors); Py_CLEAR(errors);
        py_stream_attach(&errors, &py_errors_type, request); python_set("errors", errors);
        python_run("errors.write('left')"); python_run("errors = None"); Py_CLEAR(errors);
        py_stream_attach(&errors, &py_errors_type, request); python_set("errors", errors));
}

static void test_memory_that_runs_out_raises_or_logs(void **state)
{
    (void)state;
    PyObject *code = Py_CompileString("errors.write('\\ud800 one\\ntwo')", "test", Py_eval_input);
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        python_fail_allocation(n, false);
        PyObject *result = PyEval_EvalCode(code, python_names, python_names);
        has_failed = python_end_failures();
        assert_int_equal(result == NULL, PyErr_Occurred() != NULL);
        PyErr_Clear();
        Py_XDECREF(result);
        python_fail_allocation(n, false);
        py_errors_flush(errors);
        has_failed = python_end_failures() || has_failed;
        assert_null(PyErr_Occurred());
        assert_false(was_logged_with_gil);
    }
    Py_DECREF(code);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_complete_lines_are_logged_as_one_record_and_the_rest_waits),
        TEST(test_a_flush_logs_what_has_no_newline),
        TEST(test_print_and_logging_can_write_to_it),
        TEST(test_characters_that_are_no_text_are_escaped),
        TEST(test_a_nul_does_not_end_a_line),
        TEST(test_only_text_is_taken),
        TEST(test_after_its_request_every_method_raises),
        TEST(test_the_web_server_gets_it_too_if_a_setting_says_so),
        TEST(test_other_threads_write_to_the_log_and_not_to_the_connection),
        TEST(test_a_request_logs_no_more_than_its_limit),
        TEST(test_ten_thousand_lines_leave_nothing_behind),
        TEST(test_an_object_that_is_dropped_gives_its_line_back),
        TEST(test_memory_that_runs_out_raises_or_logs),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
