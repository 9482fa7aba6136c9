/* When an exception of the host's is raised in an application, and when it must not be. The test's
 * own thread serves, and is the task's too.
 *
 * links: py_interrupt.c py_request.c py_support.c reply.c error_page.c response.c request.c request_body.c
 * request_id.c request_log.c spool.c descriptors.c arena.c log_line.c activity.c request_clock.c
 * counters.c scoreboard.c */
#include "python_fixture.h"

#include "log_fakes.h"
#include "request_fakes.h"

#include "base/clock.h"
#include "base/fork.h"
#include "embed/py_interrupt.h"
#include "embed/py_request.h"
#include "embed/py_support.h"
#include "threads/activity.h"

static struct activities activities;
static struct request_clock *work;
static struct python_thread thread;
static bool is_child;

bool fork_is_child(void)
{
    return is_child;
}

static PyObject *run_task(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    py_interrupt_run(&activities);
    Py_RETURN_NONE;
}

static PyObject *check(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return py_interrupt_check() < 0 ? NULL : Py_NewRef(Py_None);
}

/* The request ends, and the thread is at the next one. */
static PyObject *go_on(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    py_interrupt_close(&thread, request);
    request_clock_leave(work);
    request_clock_begin(work, clock_ms());
    py_interrupt_open(&thread, request);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {{"run_task", run_task, METH_NOARGS, NULL},
                                  {"check", check, METH_NOARGS, NULL},
                                  {"go_on", go_on, METH_NOARGS, NULL}};

static int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_use_host("calls = []\n"
                    "OWN_FILES = '/host/', '<frozen importlib'\n"
                    "class RequestTimeout(Exception): pass\n"
                    "class ClientGone(Exception): pass\n"
                    "class Subclass(RequestTimeout): pass\n"
                    "def log_stack(request, request_id, seconds, setting, then, ident):\n"
                    "    calls.append((request, request_id, setting, then))\n"
                    "def log_timeout(request, what, exception):\n"
                    "    calls.append((request, what, exception and type(exception).__name__))\n");
    for (size_t i = 0; i < COUNT(functions); i++) {
        PyObject *function = PyCFunction_New(&functions[i], NULL);
        python_set(functions[i].ml_name, function);
        Py_DECREF(function);
    }
    return py_module_import_host();
}

static int tear_down_python(void **state)
{
    (void)state;
    py_module_clear();
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    is_child = false;
    py_settings = (struct py_settings){.request_time_ms = 0};
    if (request_set_up() < 0 || activities_init(&activities, 1) < 0)
        return -1;
    activities.count = 1;
    set_param("REQUEST_METHOD", "GET");
    set_param("REQUEST_URI", "/a");
    work = &activities.items[0].work;
    thread = (struct python_thread){
        .state = PyThreadState_Get(), .activity = &activities.items[0], .served = request};
    atomic_store(&work->python, &thread);
    py_request_set_thread(&thread);
    activity_begin(&activities.items[0], request);
    python_run("host.calls.clear()");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    py_request_set_thread(NULL);
    free(activities.items);
    forget_log();
    return request_tear_down();
}

static void want(unsigned due)
{
    request_clock_want(work, atomic_load(&work->serial), due);
}

/* The application's code runs for a while. */
static const char some_code[] = "[i for i in range(50)]";

static void assert_code_gets(const char *class)
{
    if (class != NULL)
        assert_raises(some_code, class, "");
    else
        Py_DECREF(python_eval(some_code));
}

static void assert_check_raises(const char *class)
{
    assert_int_equal(py_interrupt_check(), class != NULL ? -1 : 0);
    if (class != NULL)
        assert_raised(class, "");
    assert_null(PyErr_Occurred());
}

static void test_what_is_due_is_raised_once_in_the_applications_code(void **state)
{
    (void)state;
    static const struct {
        enum request_clock_due due;
        const char *class;
    } rows[] = {{REQUEST_CLOCK_TIMEOUT, "RequestTimeout"}, {REQUEST_CLOCK_GONE, "ClientGone"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        py_interrupt_open(&thread, request);
        want(rows[i].due);
        py_interrupt_run(&activities);
        assert_int_equal(request_clock_wanted(work), 0);
        assert_code_gets(rows[i].class);
        assert_code_gets(NULL);
        want(rows[i].due);
        py_interrupt_run(&activities);
        assert_code_gets(NULL);
        assert_check_raises(NULL);
        py_interrupt_close(&thread, request);
        request_clock_begin(work, clock_ms());
    }
}

static void test_the_timeout_comes_before_the_client_that_left(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT | REQUEST_CLOCK_GONE);
    py_interrupt_run(&activities);
    assert_code_gets("RequestTimeout");
    py_interrupt_run(&activities);
    assert_code_gets("ClientGone");
}

static void test_what_comes_just_before_the_end_is_withdrawn(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT);
    py_interrupt_run(&activities);
    py_interrupt_close(&thread, request);
    py_interrupt_close(&thread, request);
    assert_code_gets(NULL);
    request_clock_begin(work, clock_ms());
    py_interrupt_open(&thread, request);
    assert_code_gets(NULL);
    assert_check_raises(NULL);
}

static void test_what_comes_just_after_the_end_is_not_raised(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    py_interrupt_close(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT | REQUEST_CLOCK_GONE);
    py_interrupt_run(&activities);
    py_interrupt_run(&activities);
    assert_int_equal(request_clock_wanted(work), 0);
    assert_check_raises(NULL);
    assert_code_gets(NULL);
    assert_python("host.calls[0][3]",
                  "': it is beyond its own code (in close(), or a cleanup): nothing is raised in "
                  "it'");
}

static void test_what_comes_before_the_application_is_called_waits_for_it(void **state)
{
    (void)state;
    want(REQUEST_CLOCK_GONE);
    py_interrupt_run(&activities);
    assert_int_equal(request_clock_wanted(work), REQUEST_CLOCK_GONE);
    assert_code_gets(NULL);
    py_interrupt_open(&thread, request);
    py_interrupt_run(&activities);
    assert_code_gets("ClientGone");
}

static void test_what_was_wanted_of_an_earlier_request_is_nobodys(void **state)
{
    (void)state;
    want(REQUEST_CLOCK_TIMEOUT | REQUEST_CLOCK_GONE | REQUEST_CLOCK_SLOW);
    request_clock_begin(work, clock_ms());
    py_interrupt_open(&thread, request);
    py_interrupt_run(&activities);
    assert_code_gets(NULL);
    request_clock_leave(work);
    want(REQUEST_CLOCK_TIMEOUT | REQUEST_CLOCK_GONE | REQUEST_CLOCK_SLOW);
    py_interrupt_run(&activities);
    assert_code_gets(NULL);
    assert_python("host.calls", "[]");
}

static void run_own(const char *file, const char *source)
{
    PyObject *code = Py_CompileString(source, file, Py_file_input);
    assert_non_null(code);
    PyObject *result = PyEval_EvalCode(code, python_names, python_names);
    Py_DECREF(code);
    if (result == NULL)
        python_print_and_fail(source);
    Py_DECREF(result);
}

static void test_nothing_is_raised_in_code_of_the_host_or_of_the_import_system(void **state)
{
    (void)state;
    static const char *const files[] = {"/host/pool.py", "<frozen importlib._bootstrap>"};
    for (size_t i = 0; i < COUNT(files); i++) {
        py_interrupt_open(&thread, request);
        want(REQUEST_CLOCK_TIMEOUT);
        run_own(files[i], "run_task()\n"
                          "[i for i in range(50)]\n");
        assert_int_equal(request_clock_wanted(work), REQUEST_CLOCK_TIMEOUT);
        py_interrupt_run(&activities); /* it has left that code */
        assert_code_gets("RequestTimeout");
        py_interrupt_close(&thread, request);
        request_clock_begin(work, clock_ms());
    }
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT);
    assert_raises("run_task() or [i for i in range(50)]", "RequestTimeout", "");
}

static void test_a_wait_of_the_hosts_code_raises_what_could_not_be_raised_before(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_GONE);
    run_own("/host/pool.py", "run_task()\n"
                             "try: check()\n"
                             "except host.ClientGone: pass\n"
                             "else: raise AssertionError\n"
                             "check()\n");
    py_interrupt_run(&activities);
    assert_code_gets(NULL); /* it has been raised */
}

static void test_a_check_raises_it_in_the_place_of_python(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT);
    py_interrupt_run(&activities);
    assert_check_raises("RequestTimeout");
    assert_code_gets(NULL);
    assert_check_raises(NULL);
}

static void test_a_check_raises_a_timeout_that_nobody_has_noticed_yet(void **state)
{
    (void)state;
    py_settings.request_time_ms = 1;
    atomic_store(&work->since_ms, clock_ms() - 1000);
    py_interrupt_open(&thread, request);
    assert_true(request->wait_end_ms > 0);
    assert_check_raises("RequestTimeout");
    assert_int_equal(request->wait_end_ms, 0);
    assert_check_raises(NULL);
    want(REQUEST_CLOCK_TIMEOUT);
    py_interrupt_run(&activities); /* the supervisor was late */
    assert_code_gets(NULL);
}

static void test_nothing_waits_for_longer_than_the_limit_while_the_application_runs(void **state)
{
    (void)state;
    py_settings.request_time_ms = 5000;
    py_interrupt_open(&thread, request);
    assert_int_equal(request->wait_end_ms, atomic_load(&work->since_ms) + 5000);
    assert_check_raises(NULL);
    py_interrupt_close(&thread, request);
    assert_int_equal(request->wait_end_ms, 0);
}

static void test_a_thread_that_does_not_serve_is_never_interrupted(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    thread.interruption.pending = REQUEST_CLOCK_TIMEOUT;
    py_request_set_thread(NULL);
    assert_check_raises(NULL);
    py_request_set_thread(&thread);
    is_child = true;
    assert_check_raises(NULL);
    is_child = false;
    assert_check_raises("RequestTimeout");
}

static void test_a_slow_request_is_told_of_and_goes_on(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_SLOW);
    py_interrupt_run(&activities);
    py_interrupt_run(&activities);
    assert_code_gets(NULL);
    assert_python("host.calls", "[('GET /a', '7', '[log] slow_request', '')]");
}

static void test_the_stack_of_a_timeout_is_logged_once_before_it_is_raised(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT);
    run_own("/host/pool.py", "run_task(); run_task()\n"); /* twice in vain */
    py_interrupt_run(&activities);
    assert_code_gets("RequestTimeout");
    assert_python("host.calls", "[('GET /a', '7', '[limits] request_time', "
                                "': fcgihost.RequestTimeout is raised in it')]");
}

static void
test_a_request_that_ends_while_its_stack_is_logged_is_not_mistaken_for_the_next(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    python_run("kept, host.log_stack = host.log_stack, lambda *arguments: go_on()");
    want(REQUEST_CLOCK_TIMEOUT);
    py_interrupt_run(&activities);
    assert_code_gets(NULL);
    assert_check_raises(NULL);
    assert_int_equal(request_clock_wanted(work), 0);
    python_run("host.log_stack = kept");
}

static void test_a_stack_that_cannot_be_logged_hinders_nothing(void **state)
{
    (void)state;
    py_interrupt_open(&thread, request);
    python_run("kept, host.log_stack = host.log_stack, None");
    want(REQUEST_CLOCK_TIMEOUT);
    py_interrupt_run(&activities);
    assert_code_gets("RequestTimeout");
    assert_log_has("error host-failed: the stack of a request could not be logged");
    python_run("host.log_stack = kept");
}

static bool answer(const char *expression)
{
    PyObject *exception = python_eval(expression);
    bool is_answered = py_interrupt_answer(&thread, request, exception);
    Py_DECREF(exception);
    assert_null(PyErr_Occurred());
    return is_answered;
}

static void test_a_timeout_that_was_let_out_is_504(void **state)
{
    (void)state;
    assert_true(answer("host.Subclass()"));
    assert_int_equal(strncmp(peer_got(), "Status: 504 Gateway Timeout\r\n", 29), 0);
    assert_int_equal(peer.ends, 1);
    assert_python("host.calls", "[('GET /a', 'answered with 504', 'Subclass')]");
    request_begin();
    set_param("REQUEST_METHOD", "GET");
    thread.interruption.is_stack_logged = true;
    python_run("host.calls.clear()");
    assert_true(answer("host.RequestTimeout()"));
    assert_python("host.calls[0][2]", "None"); /* the log has it already */
}

static void test_a_timeout_behind_the_head_closes_the_connection(void **state)
{
    (void)state;
    response_set_status(&request->response, "200 OK", 6);
    request->response.is_head_sent = true;
    assert_true(answer("host.RequestTimeout()"));
    assert_true(request->must_close);
    assert_int_equal(peer.ends, 0);
    assert_python("host.calls[0][1]", "'its response had begun, the connection is closed'");
}

static void test_a_timeout_behind_the_end_spoils_nothing(void **state)
{
    (void)state;
    request->response.is_head_sent = request->response.is_ended = true;
    assert_true(answer("host.RequestTimeout()"));
    assert_false(request->must_close);
    assert_int_equal(peer.sends, 0);
    assert_python("host.calls[0][1]", "'its response was complete by then'");
}

static void test_a_client_that_left_gets_no_answer(void **state)
{
    (void)state;
    assert_true(answer("host.ClientGone()"));
    assert_true(request->must_close);
    assert_log("info client-gone 7: GET /a: its client has left: interrupted ([limits] "
               "client_gone)\n");
}

static void test_other_exceptions_are_not_answered_here(void **state)
{
    (void)state;
    assert_false(answer("KeyError('x')"));
    assert_false(answer("TimeoutError()"));
}

static void interrupt_once(void)
{
    request_clock_begin(work, clock_ms());
    py_interrupt_open(&thread, request);
    want(REQUEST_CLOCK_TIMEOUT | REQUEST_CLOCK_SLOW);
    py_interrupt_run(&activities);
    if (py_interrupt_check() < 0)
        PyErr_Clear();
    want(REQUEST_CLOCK_GONE);
    py_interrupt_run(&activities);
    py_interrupt_close(&thread, request);
    python_run("host.calls.clear()");
}

static void test_ten_thousand_interrupts_leave_nothing_behind(void **state)
{
    (void)state;
    Py_ssize_t before = Py_REFCNT(python_get("host"));
    ASSERT_NO_GROWTH(interrupt_once());
    assert_int_equal(Py_REFCNT(python_get("host")), before);
}

static void test_memory_that_runs_out_leaves_no_exception_behind(void **state)
{
    (void)state;
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        request_clock_begin(work, clock_ms());
        py_interrupt_open(&thread, request);
        want(REQUEST_CLOCK_TIMEOUT);
        python_fail_allocation(n, false);
        py_interrupt_run(&activities);
        has_failed = python_end_failures();
        assert_null(PyErr_Occurred());
        py_interrupt_close(&thread, request);
        assert_code_gets(NULL);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_due_is_raised_once_in_the_applications_code),
        TEST(test_the_timeout_comes_before_the_client_that_left),
        TEST(test_what_comes_just_before_the_end_is_withdrawn),
        TEST(test_what_comes_just_after_the_end_is_not_raised),
        TEST(test_what_comes_before_the_application_is_called_waits_for_it),
        TEST(test_what_was_wanted_of_an_earlier_request_is_nobodys),
        TEST(test_nothing_is_raised_in_code_of_the_host_or_of_the_import_system),
        TEST(test_a_wait_of_the_hosts_code_raises_what_could_not_be_raised_before),
        TEST(test_a_check_raises_it_in_the_place_of_python),
        TEST(test_a_check_raises_a_timeout_that_nobody_has_noticed_yet),
        TEST(test_nothing_waits_for_longer_than_the_limit_while_the_application_runs),
        TEST(test_a_thread_that_does_not_serve_is_never_interrupted),
        TEST(test_a_slow_request_is_told_of_and_goes_on),
        TEST(test_the_stack_of_a_timeout_is_logged_once_before_it_is_raised),
        TEST(test_a_request_that_ends_while_its_stack_is_logged_is_not_mistaken_for_the_next),
        TEST(test_a_stack_that_cannot_be_logged_hinders_nothing),
        TEST(test_a_timeout_that_was_let_out_is_504),
        TEST(test_a_timeout_behind_the_head_closes_the_connection),
        TEST(test_a_timeout_behind_the_end_spoils_nothing),
        TEST(test_a_client_that_left_gets_no_answer),
        TEST(test_other_exceptions_are_not_answered_here),
        TEST(test_ten_thousand_interrupts_leave_nothing_behind),
        TEST(test_memory_that_runs_out_leaves_no_exception_behind),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
