/* The end of a request that Python serves: what it leaves behind, interrupts that come then, the
 * GIL, forked children, and memory that runs out.
 *
 * links: py_wsgi.c py_environ.c py_errors.c py_input.c py_interrupt.c py_programs.c py_request.c
 * py_response.c py_streams.c py_support.c name_cache.c reply.c error_page.c response.c request.c request_body.c
 * request_id.c request_log.c spool.c descriptors.c arena.c log_line.c activity.c request_clock.c
 * turn_policy.c turn.c counters.c scoreboard.c */
#include "wsgi_fixture.h"

#include <sys/wait.h>

/* The request's end */

static void test_what_an_application_keeps_raises_after_its_request(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    global kept\n"
             "    kept = environ, start_response, start_fine(start_response)\n"
             "    return []\n");
    assert_raises("kept[0]['wsgi.input'].read()", "ValueError", "the request has ended");
    assert_raises("kept[0]['wsgi.errors'].write('x')", "ValueError", "the request has ended");
    assert_raises("kept[1]('200 OK', [])", "ValueError", "the request has ended");
    assert_raises("kept[2](b'x')", "ValueError", "the request has ended");
    begin();
    serve(); /* and does not touch the next one */
    assert_raises("kept[2](b'x')", "ValueError", "the request has ended");
    assert_answer("Status: 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n");
}

static void test_what_was_written_without_a_newline_is_logged_at_the_end(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    environ['wsgi.errors'].write('one\\ntwo')\n"
             "    start_fine(start_response)\n"
             "    return []\n");
    assert_log("error application-errors 7: GET /a: one\n"
               "error application-errors 7: GET /a: two\n");
}

static const char asking[] = "def application(environ, start_response):\n"
                             "    start_fine(start_response)\n"
                             "    current_request(lambda environ: environ['REQUEST_URI'])\n"
                             "    return [b'x']\n";

static void test_a_requests_cleanups_run_once_its_response_has_left(void **state)
{
    (void)state;
    use(asking);
    python_run("host.end_request = lambda request: host.calls.append((request, sent_so_far()[1]))");
    begin();
    serve();
    assert_python("host.calls", "[('/a?secret', 1)]");
    assert_null(thread->request);
    python_run("host.end_request = host.calls.append");
}

static void test_cleanups_that_cannot_run_are_logged(void **state)
{
    (void)state;
    use(asking);
    python_run("def raising(request): raise KeyError('cleanup')\n"
               "host.end_request = raising");
    begin();
    serve();
    assert_log("error host-failed: the cleanups of a request could not run\n"
               "traceback of KeyError('cleanup')\n");
    python_run("host.end_request = host.calls.append");
}

static void test_cleanups_wait_for_a_peer_that_has_not_taken_all(void **state)
{
    (void)state;
    use(asking);
    begin();
    atomic_store(&request->outbox.is_used, true);
    serve();
    assert_python("host.calls", "[]");
    assert_non_null(request->after);
    PyThreadState *own = PyEval_SaveThread();
    py_wsgi_end_sent(thread, request);
    PyEval_RestoreThread(own);
    assert_python("host.calls", "['/a?secret']");
    assert_null(request->after);
    assert_null(thread->request);
}

/* The application's code is replaced, for requests that begin later. */
static PyObject *switch_away(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    PyObject *changes = Py_BuildValue("[(kO)]", 0ul, Py_None);
    int result = py_programs_switch(changes, Py_None, 3);
    Py_DECREF(changes);
    return result == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef switch_away_method = {"switch_away", switch_away, METH_NOARGS, NULL};

static void test_a_request_keeps_its_generation_until_its_response_has_left(void **state)
{
    (void)state;
    PyObject *function = PyCFunction_New(&switch_away_method, NULL);
    python_set("switch_away", function);
    Py_DECREF(function);
    use("class Hold:\n"
        "    def __del__(self): events.append(('released', sent_so_far()[1]))\n"
        "def application(environ, start_response):\n"
        "    switch_away()\n"
        "    start_fine(start_response)\n"
        "    return [b'x']\n"
        "hold = Hold()\n");
    PyObject *changes = Py_BuildValue("[(kO)]", 0ul, Py_None);
    assert_int_equal(py_programs_switch(changes, python_get("hold"), 2), 0);
    Py_DECREF(changes);
    python_run("hold = None");
    begin();
    serve();
    assert_python("events", "[('released', 1)]");
    assert_null(thread->hold);
}

/* Interrupts */

static void test_a_generator_gets_an_interrupt_where_it_yields(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    start_fine(start_response)\n"
             "    interrupt_me()\n"
             "    try: yield b'one'\n"
             "    except host.RequestTimeout: yield b'late'\n"
             "    yield b'last'\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nonelatelast");
    assert_python("host.calls", "[]");
}

static void test_a_generator_may_end_at_an_interrupt(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    start_fine(start_response)\n"
             "    interrupt_me()\n"
             "    try: yield b'one'\n"
             "    except host.RequestTimeout: return\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\none");
}

static void test_an_interrupt_that_is_let_out_answers_504(void **state)
{
    (void)state;
    serve_by(
        "class Body:\n"
        "    def __iter__(self): interrupt_me(); return iter([b'', b''])\n"
        "    def close(self): events.append('closed')\n"
        "def application(environ, start_response): start_fine(start_response); return Body()\n");
    assert_int_equal(strncmp(peer_got(), "Status: 504 Gateway Timeout\r\n", 29), 0);
    assert_int_equal(peer.ends, 1);
    assert_python("host.calls, events", "(['timeout'], ['closed'])");
}

static void test_an_interrupt_that_comes_as_the_application_ends_reaches_nobody(void **state)
{
    (void)state;
    serve_by(
        "class Body:\n"
        "    def __iter__(self): return iter([b'x'])\n"
        "    def close(self): interrupt_me()\n"
        "def application(environ, start_response): start_fine(start_response); return Body()\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nx");
    assert_int_equal(thread->interruption.pending, 0);
    serve_by("def application(environ, start_response):\n"
             "    start_fine(start_response)\n"
             "    interrupt_me()\n"
             "    return [b'x']\n");
    assert_answer("Status: 200 OK\r\nA: b\r\nContent-Length: 1\r\n\r\nx");
    serve_by("def application(environ, start_response):\n"
             "    start_fine(start_response)\n"
             "    yield b'x'\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nx");
    assert_python("host.calls", "[]");
}

/* The GIL */

static void test_the_gil_is_kept_where_applications_are_slow(void **state)
{
    (void)state;
    use("def application(environ, start_response): start_fine(start_response); return [b'x']\n");
    py_settings.is_multithreaded = true;
    atomic_store(&pace.weighted_us, 10 * TURN_POLICY_SLOW_US * TURN_POLICY_WEIGHT);
    begin();
    assert_int_equal(serve(), PY_WSGI_SERVED_WITH_GIL);
    assert_int_equal(peer.ends, 1);
    begin();
    peer.is_peer_slow = true;
    assert_int_equal(serve(), PY_WSGI_SERVED);
    assert_int_equal(peer.ends, 1);
}

static void *serve_on_another(void *outcome)
{
    struct activity other;
    activity_init(&other);
    struct python_thread *own = py_wsgi_enter_thread(&other);
    activity_begin(&other, request);
    *(int *)outcome = (int)py_wsgi_serve(own, &runner, request);
    activity_end(&other);
    py_wsgi_leave_thread(own);
    return NULL;
}

static void test_a_request_that_is_withdrawn_meanwhile_is_not_touched(void **state)
{
    (void)state;
    use("def application(environ, start_response): events.append(1)\n");
    begin();
    pthread_t other;
    int outcome = -1;
    assert_int_equal(pthread_create(&other, NULL, serve_on_another, &outcome), 0);
    while (!turn_policy_withdraw(&runner)) /* it waits for the GIL, which is ours */
        sched_yield();
    Py_BEGIN_ALLOW_THREADS;
    pthread_join(other, NULL);
    Py_END_ALLOW_THREADS;
    assert_int_equal(outcome, PY_WSGI_WITHDRAWN);
    assert_python("events", "[]");
    assert_int_equal(peer.sends, 0);
}

static void *serve_twice(void *unused)
{
    (void)unused;
    struct activity other;
    activity_init(&other);
    struct python_thread *own = py_wsgi_enter_thread(&other);
    for (int i = 0; i < 2; i++) {
        request_begin();
        activity_begin(&other, request);
        py_wsgi_serve(own, &runner, request);
        activity_end(&other);
    }
    py_wsgi_leave_thread(own);
    return NULL;
}

static void test_what_is_local_to_a_thread_lives_as_long_as_it(void **state)
{
    (void)state;
    use("import _thread\n"
        "class Object:\n"
        "    def __del__(self): events.append('released')\n"
        "local = _thread._local()\n"
        "def application(environ, start_response):\n"
        "    events.append(hasattr(local, 'object'))\n"
        "    local.object = getattr(local, 'object', None) or Object()\n"
        "    start_fine(start_response)\n"
        "    return []\n");
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, serve_twice, NULL), 0);
    Py_BEGIN_ALLOW_THREADS;
    pthread_join(other, NULL);
    Py_END_ALLOW_THREADS;
    assert_python("events", "[False, True, 'released']");
}

/* Forked children */

static int serve_in_child(const char *source)
{
    use(source);
    begin();
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        is_child = true;
        PyEval_SaveThread();
        activity_begin(&activity, request);
        py_wsgi_serve(thread, &runner, request);
        _exit(99); /* it has come back into the host */
    }
    PyOS_AfterFork_Parent();
    assert_true(child >= 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_a_forked_child_never_comes_back_into_the_host(void **state)
{
    (void)state;
    assert_int_equal(serve_in_child("def application(environ, start_response):\n"
                                    "    start_fine(start_response)\n"
                                    "    return []\n"),
                     0);
    assert_int_equal(
        serve_in_child("def application(environ, start_response): raise SystemExit(3)\n"), 3);
    assert_int_equal(serve_in_child("def application(environ, start_response): raise SystemExit\n"),
                     0);
    assert_int_equal(serve_in_child("def application(environ, start_response): raise KeyError\n"),
                     1);
}

/* Memory */

static const char *const applications[] = {
    "def application(environ, start_response):\n"
    "    start_fine(start_response)\n"
    "    return [b'x', b'y']\n",
    "def application(environ, start_response):\n"
    "    start_fine(start_response)\n"
    "    return [b'x' * 20000]\n",
    "def application(environ, start_response):\n"
    "    start_fine(start_response)(b'x')\n"
    "    yield environ['wsgi.input'].read()\n",
    "def application(environ, start_response):\n"
    "    environ['wsgi.errors'].write('one\\ntwo')\n"
    "    raise KeyError('x')\n",
    "class Body:\n"
    "    def __iter__(self): return iter([b'x'])\n"
    "    def close(self): raise KeyError('close')\n"
    "def application(environ, start_response):\n"
    "    start_fine(start_response)\n"
    "    return Body()\n",
    "def application(environ, start_response):\n"
    "    current_request(id)\n"
    "    interrupt_me()\n"
    "    start_fine(start_response)\n"
    "    yield b''\n",
    "def application(environ, start_response):\n"
    "    raise host.Unavailable\n",
};

static void test_ten_thousand_requests_leave_nothing_behind(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(applications); i++) {
        use(applications[i]);
        python_run("host.end_request = lambda request: None\n"
                   "host.log_timeout = lambda *arguments: None\n");
        Py_ssize_t before = Py_REFCNT(python_get("application"));
        ASSERT_NO_GROWTH(begin(); peer_has_body("body", 4, 3, 4); serve(); forget_log());
        assert_int_equal(Py_REFCNT(python_get("application")), before);
    }
}

/* "500, or a closed connection": never an end of what is not whole, never a crash. */
static void serve_without_memory(unsigned long n, bool is_for_ever, bool *has_failed)
{
    begin();
    peer_has_body("body", 4, 3, 4);
    python_fail_allocation(n, is_for_ever);
    serve();
    *has_failed = python_end_failures();
    if (peer.ends == 0 && !request->must_close)
        fail_msg("allocation %lu: neither an answer nor a closed connection: %s", n, peer_got());
    if (peer.ends > 0 && reply_is_short(request))
        fail_msg("allocation %lu: half a response with an end: %s", n, peer_got());
    if (thread->start_response != NULL)
        assert_false(((struct py_stream *)thread->start_response)->is_busy);
    forget_log();
}

static void assert_serves_on(void)
{
    PyObject *hello = python_get("hello");
    PyObject *loaded = PyTuple_Pack(3, hello, hello, hello);
    assert_int_equal(py_programs_put(0, loaded), 0);
    Py_DECREF(loaded);
    begin();
    serve();
    assert_answer("Status: 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}

static void fail_each_allocation(bool is_for_ever)
{
    python_run("host.end_request = lambda request: None\n"
               "host.log_timeout = lambda *arguments: None\n"
               "def hello(environ, start_response):\n"
               "    start_response('200 OK', [])\n"
               "    return [b'hello']\n");
    for (size_t i = 0; i < COUNT(applications); i++) {
        bool has_failed = true;
        for (unsigned long n = 1; has_failed; n++) {
            use(applications[i]);
            Py_CLEAR(thread->input);
            Py_CLEAR(thread->errors);
            Py_CLEAR(thread->start_response);
            serve_without_memory(n, is_for_ever, &has_failed);
            assert_serves_on();
        }
    }
}

static void test_an_allocation_that_fails_costs_that_request_alone(void **state)
{
    (void)state;
    fail_each_allocation(false);
}

static void test_memory_that_stays_away_costs_that_request_alone(void **state)
{
    (void)state;
    fail_each_allocation(true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_an_application_keeps_raises_after_its_request),
        TEST(test_what_was_written_without_a_newline_is_logged_at_the_end),
        TEST(test_a_requests_cleanups_run_once_its_response_has_left),
        TEST(test_cleanups_that_cannot_run_are_logged),
        TEST(test_cleanups_wait_for_a_peer_that_has_not_taken_all),
        TEST(test_a_request_keeps_its_generation_until_its_response_has_left),
        TEST(test_a_generator_gets_an_interrupt_where_it_yields),
        TEST(test_a_generator_may_end_at_an_interrupt),
        TEST(test_an_interrupt_that_is_let_out_answers_504),
        TEST(test_an_interrupt_that_comes_as_the_application_ends_reaches_nobody),
        TEST(test_the_gil_is_kept_where_applications_are_slow),
        TEST(test_a_request_that_is_withdrawn_meanwhile_is_not_touched),
        TEST(test_what_is_local_to_a_thread_lives_as_long_as_it),
        TEST(test_a_forked_child_never_comes_back_into_the_host),
        TEST(test_ten_thousand_requests_leave_nothing_behind),
        TEST(test_an_allocation_that_fails_costs_that_request_alone),
        TEST(test_memory_that_stays_away_costs_that_request_alone),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
