/* What applications return and raise, and what becomes of it.
 *
 * links: py_wsgi.c py_environ.c py_errors.c py_input.c py_interrupt.c py_programs.c py_request.c
 * py_response.c py_streams.c py_support.c name_cache.c reply.c error_page.c response.c request.c request_body.c
 * request_id.c request_log.c spool.c descriptors.c arena.c log_line.c activity.c request_clock.c
 * turn_policy.c turn.c counters.c scoreboard.c */
#include "wsgi_fixture.h"

/* What a response is made of */

static void test_a_list_leaves_in_one_piece_with_its_length(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    start_fine(start_response)\n"
             "    return [b'hello', b'', b' world']\n");
    assert_answer("Status: 200 OK\r\nA: b\r\nContent-Length: 11\r\n\r\nhello world");
    assert_int_equal(peer.sends, 1);
    assert_log("");
}

static void test_any_sequence_of_a_list_or_a_tuple_is_a_body(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "[]",           "()", "[b'x'] * 64", "[b'x'] * 65", "(b'x',) * 200", "[b'x' * 20000, b'y']",
        "[Bytes(b'x')]"};
    python_run("class Bytes(bytes): pass");
    for (size_t i = 0; i < COUNT(bodies); i++) {
        char source[256];
        snprintf(source, sizeof(source),
                 "def application(environ, start_response):\n"
                 "    start_response('200 OK', [])\n"
                 "    return %s\n",
                 bodies[i]);
        serve_by(source);
        snprintf(source, sizeof(source),
                 "sent_so_far()[0].partition(b'\\r\\n\\r\\n')[2] == b''.join(%s)", bodies[i]);
        assert_python(source, "True");
        assert_int_equal(peer.ends, 1);
    }
    assert_log("");
}

static void clear_list(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    python_run("kept.clear()");
    PyGILState_Release(gil);
}

static void test_a_list_that_changes_while_it_is_sent_is_sent_as_it_was(void **state)
{
    (void)state;
    use("def application(environ, start_response):\n"
        "    global kept\n"
        "    start_response('200 OK', [])\n"
        "    kept = [bytes([98]) * 20000]\n"
        "    return kept\n");
    begin();
    peer.on_send = clear_list;
    serve();
    assert_python("sent_so_far()[0].count(b'b')", "20000");
}

static void test_each_chunk_leaves_before_the_next_is_made(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    start_fine(start_response)\n"
             "    for text in b'one', b'', b'two':\n"
             "        yield text\n"
             "        events.append(sent_so_far()[0][-3:])\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nonetwo");
    assert_python("events", "[b'one', b'one', b'two']");
}

static void test_a_head_may_come_with_the_first_chunk(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    yield b''\n"
             "    start_fine(start_response)\n"
             "    yield b'x'\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nx");
}

static void test_what_write_sent_precedes_the_body(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    write = start_fine(start_response)\n"
             "    write(b'one')\n"
             "    return [b'two']\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nonetwo");
}

static void test_the_environ_has_what_the_request_has(void **state)
{
    (void)state;
    use("def application(environ, start_response):\n"
        "    events.append([type(environ) is dict, environ['REQUEST_URI'],\n"
        "                   environ['fcgihost.request_id'], 'fcgihost.data' in environ,\n"
        "                   environ['wsgi.input'].read()])\n"
        "    return start_fine(start_response) and []\n");
    begin();
    peer_has_body("the body", 8, 3, 8);
    serve();
    assert_python("events", "[[True, '/a?secret', '7', False, b'the body']]");
}

static void test_a_filter_gets_its_file_too(void **state)
{
    (void)state;
    use("def application(environ, start_response):\n"
        "    start_fine(start_response)\n"
        "    return [environ['fcgihost.data'].read()]\n");
    begin();
    request->role = ROLE_FILTER;
    serve();
    assert_answer("Status: 200 OK\r\nA: b\r\nContent-Length: 8\r\n\r\nthe file");
}

/* When nothing more can be sent */

static const char counting[] = "class Body:\n"
                               "    def __init__(self): self.left = 5\n"
                               "    def __iter__(self): return self\n"
                               "    def __next__(self):\n"
                               "        if self.left == 0: raise StopIteration\n"
                               "        self.left -= 1\n"
                               "        events.append(self.left)\n"
                               "        return b'xx'\n"
                               "    def close(self): events.append(('closed', sent_so_far()[1]))\n"
                               "def application(environ, start_response):\n"
                               "    start_response(status, headers)\n"
                               "    return Body()\n";

static void serve_counting(const char *status, const char *headers)
{
    char source[128];
    snprintf(source, sizeof(source), "status, headers = '%s', %s\nevents.clear()", status, headers);
    python_run(source);
    use(counting);
    begin();
}

static void test_a_body_is_closed_before_the_response_ends(void **state)
{
    (void)state;
    serve_counting("200 OK", "[]");
    serve();
    assert_python("events", "[4, 3, 2, 1, 0, ('closed', 0)]");
    assert_int_equal(peer.ends, 1);
}

static void test_no_further_chunk_is_asked_for_once_the_length_is_reached(void **state)
{
    (void)state;
    serve_counting("200 OK", "[('Content-Length', '3')]");
    serve();
    assert_python("events", "[4, 3, ('closed', 1)]");
    assert_answer("Status: 200 OK\r\nContent-Length: 3\r\n\r\nxxx");
}

static void test_no_further_chunk_is_asked_for_where_no_body_is_sent(void **state)
{
    (void)state;
    static const char *const statuses[] = {"200 OK", "204 No Content", "304 Not Modified"};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        serve_counting(statuses[i], "[]");
        request->is_head = i == 0;
        serve();
        assert_python("events", "[4, ('closed', 1)]");
        assert_null(strstr(peer_got(), "xx"));
        assert_int_equal(peer.ends, 1);
    }
}

static void test_no_further_chunk_is_asked_for_once_the_peer_has_left(void **state)
{
    (void)state;
    serve_counting("200 OK", "[]");
    peer.is_peer_gone = true;
    serve();
    assert_python("events", "[4, ('closed', 0)]");
    assert_true(request->must_close);
    assert_log("");
}

static void test_a_body_that_is_too_short_closes_the_connection(void **state)
{
    (void)state;
    serve_counting("200 OK", "[('Content-Length', '100')]");
    serve();
    assert_int_equal(peer.ends, 0);
    assert_true(request->must_close);
    assert_true(reply_is_short(request));
}

static void test_what_write_raises_at_the_end_is_no_failure(void **state)
{
    (void)state;
    static const char source[] = "def application(environ, start_response):\n"
                                 "    write = start_response('200 OK', [('Content-Length', '1')])\n"
                                 "    while True: write(b'x')\n";
    serve_by(source);
    assert_answer("Status: 200 OK\r\nContent-Length: 1\r\n\r\nx");
    assert_log("");
    use(source);
    begin();
    peer.is_peer_gone = true;
    serve();
    assert_log("");
}

static void test_a_broken_pipe_of_the_applications_own_is_a_failure(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response): raise BrokenPipeError('mine')\n");
    assert_failed("BrokenPipeError('mine')");
}

/* What applications do wrong */

static void test_an_application_that_raises_is_answered_with_500(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"raise KeyError('x')", "traceback of KeyError('x')"},
        {"raise SystemExit(3)", "SystemExit(3)"},
        {"raise KeyboardInterrupt", "KeyboardInterrupt()"},
        {"raise GeneratorExit", "GeneratorExit()"},
        {"raise StopIteration", "StopIteration()"},
        {"start_fine(start_response); raise KeyError('x')", "KeyError('x')"},
        {"return None", "TypeError"},
        {"return 5", "TypeError"},
        {"return [b'x']", "without calling start_response"},
        {"return []", "without calling start_response"},
        {"return iter([])", "without calling start_response"},
        {"return iter([b'x'])", "without calling start_response"},
        {"start_fine(start_response); return ['text']", "must yield bytes, not str (a str has"},
        {"start_fine(start_response); return 'text'", "must yield bytes, not str (a str has"},
        {"start_fine(start_response); return [b'x', None]", "must yield bytes, not NoneType"},
        {"start_fine(start_response); return iter([1])", "must yield bytes, not int"},
        {"start_response('200 OK', [('A', '\\n')])", "ValueError"},
        {"start_fine(start_response); start_fine(start_response)", "RuntimeError"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char source[256];
        snprintf(source, sizeof(source), "def application(environ, start_response): %s\n",
                 rows[i][0]);
        serve_by(source);
        if (strstr(rows[i][0], "[b'x', None]") != NULL) {
            assert_true(request->must_close); /* the first has left */
            assert_log_has(rows[i][1]);
            forget_log();
        } else
            assert_failed(rows[i][1]);
    }
}

static void test_something_that_cannot_be_called_is_answered_with_500(void **state)
{
    (void)state;
    serve_by("application = 5\n");
    assert_failed("'int' object is not callable");
}

static void test_the_page_has_a_traceback_only_if_a_setting_says_so(void **state)
{
    (void)state;
    py_settings.is_traceback_shown = true;
    serve_by("def application(environ, start_response): raise KeyError('x')\n");
    assert_non_null(strstr(peer_got(), "\r\n\r\ntraceback of KeyError('x')"));
}

static void test_an_exception_that_stands_for_an_answer_is_it(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response): raise host.Unavailable\n");
    assert_answer("Status: 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
                  "Content-Length: 6\r\nRetry-After: 7\r\n\r\nlater\n");
    assert_log("warning unavailable 7: GET /a: 503: later\n");
}

static void test_a_failure_behind_the_head_closes_the_connection(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "write = start_fine(start_response); write(b'x'); raise KeyError('x')",
        "start_fine(start_response); yield b'x'; raise KeyError('x')",
        "start_fine(start_response); yield b'x'; yield 'KeyError(\\'x\\')'",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char source[256];
        snprintf(source, sizeof(source), "def application(environ, start_response): %s\n", rows[i]);
        serve_by(source);
        assert_string_equal(peer_got(), "Status: 200 OK\r\nA: b\r\n\r\nx");
        assert_int_equal(peer.ends, 0);
        assert_true(request->must_close);
        assert_true(request->response.is_failed);
        assert_log_has("failed after its response had begun: the connection is closed");
        forget_log();
    }
}

static void test_a_failure_behind_the_end_spoils_nothing(void **state)
{
    (void)state;
    serve_by("def application(environ, start_response):\n"
             "    write = start_response('200 OK', [('Content-Length', '1')])\n"
             "    write(b'x')\n"
             "    raise KeyError('x')\n");
    assert_answer("Status: 200 OK\r\nContent-Length: 1\r\n\r\nx");
    assert_log_has("the application failed after its response was complete");
}

static void test_a_generator_that_raises_at_once_is_answered_with_500_and_closed(void **state)
{
    (void)state;
    serve_by(
        "class Body:\n"
        "    def __iter__(self): return self\n"
        "    def __next__(self): raise KeyError('x')\n"
        "    def close(self): events.append('closed')\n"
        "def application(environ, start_response): start_fine(start_response); return Body()\n");
    assert_failed("KeyError('x')");
    assert_python("events", "['closed']");
}

static void test_a_body_that_cannot_be_iterated_is_closed_all_the_same(void **state)
{
    (void)state;
    serve_by(
        "class Body:\n"
        "    def __iter__(self): raise KeyError('x')\n"
        "    def close(self): events.append('closed')\n"
        "def application(environ, start_response): start_fine(start_response); return Body()\n");
    assert_failed("KeyError('x')");
    assert_python("events", "['closed']");
}

static void test_a_close_that_raises_is_logged_and_the_response_is_complete(void **state)
{
    (void)state;
    serve_by(
        "class Body:\n"
        "    def __iter__(self): return iter([b'x'])\n"
        "    def close(self): raise OSError('disk')\n"
        "def application(environ, start_response): start_fine(start_response); return Body()\n");
    assert_answer("Status: 200 OK\r\nA: b\r\n\r\nx");
    assert_log("error application-failed 7: GET /a: close() of the application's body failed\n"
               "traceback of OSError('disk')\n");
}

static void test_a_close_that_raises_does_not_hide_why_the_body_failed(void **state)
{
    (void)state;
    serve_by(
        "class Body:\n"
        "    def __iter__(self): raise KeyError('first')\n"
        "    @property\n"
        "    def close(self): raise OSError('second')\n"
        "def application(environ, start_response): start_fine(start_response); return Body()\n");
    assert_log_has("OSError('second')");
    assert_failed("answered with 500\ntraceback of KeyError('first')");
}

static void test_the_finally_of_a_generator_runs_when_it_is_closed(void **state)
{
    (void)state;
    use("def application(environ, start_response):\n"
        "    start_fine(start_response)\n"
        "    try:\n"
        "        for i in range(9): yield b'x'\n"
        "    finally: events.append(i)\n");
    begin();
    request->is_head = true;
    serve();
    assert_python("events", "[0]");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_list_leaves_in_one_piece_with_its_length),
        TEST(test_any_sequence_of_a_list_or_a_tuple_is_a_body),
        TEST(test_a_list_that_changes_while_it_is_sent_is_sent_as_it_was),
        TEST(test_each_chunk_leaves_before_the_next_is_made),
        TEST(test_a_head_may_come_with_the_first_chunk),
        TEST(test_what_write_sent_precedes_the_body),
        TEST(test_the_environ_has_what_the_request_has),
        TEST(test_a_filter_gets_its_file_too),
        TEST(test_a_body_is_closed_before_the_response_ends),
        TEST(test_no_further_chunk_is_asked_for_once_the_length_is_reached),
        TEST(test_no_further_chunk_is_asked_for_where_no_body_is_sent),
        TEST(test_no_further_chunk_is_asked_for_once_the_peer_has_left),
        TEST(test_a_body_that_is_too_short_closes_the_connection),
        TEST(test_what_write_raises_at_the_end_is_no_failure),
        TEST(test_a_broken_pipe_of_the_applications_own_is_a_failure),
        TEST(test_an_application_that_raises_is_answered_with_500),
        TEST(test_something_that_cannot_be_called_is_answered_with_500),
        TEST(test_the_page_has_a_traceback_only_if_a_setting_says_so),
        TEST(test_an_exception_that_stands_for_an_answer_is_it),
        TEST(test_a_failure_behind_the_head_closes_the_connection),
        TEST(test_a_failure_behind_the_end_spoils_nothing),
        TEST(test_a_generator_that_raises_at_once_is_answered_with_500_and_closed),
        TEST(test_a_body_that_cannot_be_iterated_is_closed_all_the_same),
        TEST(test_a_close_that_raises_is_logged_and_the_response_is_complete),
        TEST(test_a_close_that_raises_does_not_hide_why_the_body_failed),
        TEST(test_the_finally_of_a_generator_runs_when_it_is_closed),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
