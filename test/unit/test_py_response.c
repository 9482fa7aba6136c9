/* start_response and write(), called by Python, over a transport that only writes down.
 *
 * links: py_response.c py_streams.c py_support.c reply.c error_page.c response.c request.c request_body.c
 * request_id.c request_log.c spool.c descriptors.c arena.c fork.c log_line.c */
#include "python_fixture.h"

#include "log_fakes.h"
#include "request_fakes.h"

#include "embed/py_interrupt.h"
#include "embed/py_response.h"

static PyObject *start_response;
static bool is_interrupted;

int py_interrupt_check(void)
{
    if (is_interrupted)
        PyErr_SetString(PyExc_KeyboardInterrupt, "interrupted");
    return is_interrupted ? -1 : 0;
}

static int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_use_host("");
    return PyType_Ready(&py_start_response_type);
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    is_interrupted = false;
    if (request_set_up() < 0 ||
        py_stream_attach(&start_response, &py_start_response_type, request) < 0)
        return -1;
    python_set("start_response", start_response);
    python_run("hello = '200 OK', [('Content-Type', 'text/plain')]\n"
               "try: raise KeyError('first')\n"
               "except KeyError: exc_info = sys.exc_info()\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    python_run("write = start_response = exc_info = None");
    py_stream_detach(start_response);
    Py_CLEAR(start_response);
    forget_log();
    return request_tear_down();
}

static struct py_stream *stream(void)
{
    return (struct py_stream *)start_response;
}

static void start_again(void)
{
    request_begin();
    assert_int_equal(py_stream_attach(&start_response, &py_start_response_type, request), 0);
    python_set("start_response", start_response);
}

static void test_the_head_waits_for_the_body(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    assert_int_equal(peer.sends, 0);
    assert_int_equal(request->response.status, 200);
    assert_python("write(b'hello')", "None");
    assert_string_equal(peer_got(), "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nhello");
    assert_python("write(b' again')", "None");
    assert_int_equal(peer.sends, 2);
    assert_int_equal(peer.ends, 0);
}

static void test_an_empty_write_sends_the_head(void **state)
{
    (void)state;
    python_run("start_response('404 Not Found', [])(b'')");
    assert_string_equal(peer_got(), "Status: 404 Not Found\r\n\r\n");
}

static void test_every_latin_1_character_of_a_value_is_one_byte(void **state)
{
    (void)state;
    python_run("start_response('200 Gr\\xfc\\xdf', [('X', '\\xa0\\xe9\\xff')])(b'')");
    assert_string_equal(peer_got(), "Status: 200 Gr\xfc\xdf\r\nX: \xa0\xe9\xff\r\n\r\n");
}

static void test_subclasses_of_the_types_that_wsgi_names_are_taken(void **state)
{
    (void)state;
    python_run(
        "class Text(str): pass\n"
        "class Headers(list): pass\n"
        "class Pair(tuple): pass\n"
        "class Bytes(bytes): pass\n"
        "start_response(Text('200 OK'), Headers([Pair((Text('A'), Text('b')))]))(Bytes(b'c'))");
    assert_string_equal(peer_got(), "Status: 200 OK\r\nA: b\r\n\r\nc");
}

static void test_a_second_call_needs_exc_info(void **state)
{
    (void)state;
    python_run("start_response(*hello)");
    assert_raises("start_response('500 Oops', [])", "RuntimeError", "again without exc_info");
    assert_raises("start_response('500 Oops', [], None)", "RuntimeError", "again without exc_info");
    assert_raises("start_response('500 Oops', [], exc_info=None)", "RuntimeError", "again");
    assert_int_equal(request->response.status, 200);
    python_run("start_response('500 Oops', [('A', 'b')], exc_info)(b'')");
    assert_string_equal(peer_got(), "Status: 500 Oops\r\nA: b\r\n\r\n");
}

static void test_exc_info_may_come_by_name_and_with_the_first_call(void **state)
{
    (void)state;
    python_run("start_response('500 Oops', [], exc_info=exc_info)\n"
               "start_response('501 Oops', [], exc_info=exc_info)(b'')");
    assert_string_equal(peer_got(), "Status: 501 Oops\r\n\r\n");
}

static void test_once_the_head_has_left_the_error_itself_is_raised_again(void **state)
{
    (void)state;
    python_run("start_response(*hello)(b'x')\n"
               "try: start_response('500 Oops', [], exc_info)\n"
               "except KeyError as error: raised = error");
    assert_python("raised is exc_info[1]", "True");
    assert_python("raised.__traceback__.tb_next is exc_info[2]", "True");
    assert_int_equal(request->response.status, 200);
    assert_raises("start_response('500 Oops', [], (KeyError, None, None))", "KeyError", "");
    assert_raises("start_response('500 Oops', [], (KeyError, 'text', 1))", "KeyError", "text");
    assert_raises("start_response('500 Oops', [], (1, 2, 3))", "TypeError", "exc_info must be");
    assert_raises("start_response('500 Oops', [], (str, 'x', None))", "TypeError", "exc_info");
    assert_raises("start_response('500 Oops', [])", "RuntimeError", "again");
}

static void test_what_is_wrong_is_refused_before_a_byte_leaves(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *class, *text;
    } rows[] = {
        {"200, []", "TypeError", "status must be str, not int"},
        {"b'200 OK', []", "TypeError", "status must be str, not bytes"},
        {"None, []", "TypeError", "status must be str"},
        {"'200', []", "ValueError", "status '200'"},
        {"'200OK', []", "ValueError", "status"},
        {"'20 OK', []", "ValueError", "status"},
        {"'', []", "ValueError", "status ''"},
        {"'2x0 OK', []", "ValueError", "status"},
        {"'099 OK', []", "ValueError", "status"},
        {"'200 O\\nK', []", "ValueError", "status"},
        {"'200 O\\x00K', []", "ValueError", "status"},
        {"'200 \\u20ac', []", "ValueError", "beyond Latin-1"},
        {"'200 \\ud800', []", "ValueError", "beyond Latin-1"},
        {"'200 OK', ()", "TypeError", "headers must be a list, not tuple"},
        {"'200 OK', None", "TypeError", "headers must be a list"},
        {"'200 OK', {'A': 'b'}", "TypeError", "headers must be a list, not dict"},
        {"'200 OK', [('A',)]", "TypeError", "each header must be a tuple"},
        {"'200 OK', [('A', 'b', 'c')]", "TypeError", "each header must be a tuple"},
        {"'200 OK', [['A', 'b']]", "TypeError", "each header must be a tuple"},
        {"'200 OK', ['Ab']", "TypeError", "each header must be a tuple"},
        {"'200 OK', [(b'A', 'b')]", "TypeError", "a header's name must be str, not bytes"},
        {"'200 OK', [('A', b'b')]", "TypeError", "a header's value must be str, not bytes"},
        {"'200 OK', [('A', 1)]", "TypeError", "a header's value must be str, not int"},
        {"'200 OK', [('A', None)]", "TypeError", "a header's value must be str"},
        {"'200 OK', [('', 'b')]", "ValueError", "header ('', 'b')"},
        {"'200 OK', [('A B', 'c')]", "ValueError", "header"},
        {"'200 OK', [('A:', 'c')]", "ValueError", "header"},
        {"'200 OK', [('A\\xe9', 'c')]", "ValueError", "header"},
        {"'200 OK', [('A\\x00', 'c')]", "ValueError", "header"},
        {"'200 OK', [('\\ud800', 'c')]", "ValueError", "beyond Latin-1"},
        {"'200 OK', [('A', 'b\\r\\nEvil: 1')]", "ValueError", "header"},
        {"'200 OK', [('A', 'b\\x00')]", "ValueError", "header"},
        {"'200 OK', [('A', 'b\\x7f')]", "ValueError", "header"},
        {"'200 OK', [('A', '\\u0100')]", "ValueError", "a header's value '\xc4\x80' has"},
        {"'200 OK', [('Content-Length', 'many')]", "ValueError", "header"},
        {"'200 OK', [('Content-Length', '-1')]", "ValueError", "header"},
        {"'200 OK', [('Content-Length', '1'), ('content-length', '2')]", "ValueError", "header"},
        {"'200 OK', [('Connection', 'close')]", "ValueError", "header"},
        {"'200 OK', [('Transfer-Encoding', 'chunked')]", "ValueError", "header"},
        {"'200 OK', [('Status', '200 OK')]", "ValueError", "header"},
        {"'200 OK', [('A', 'b'), ('C', '\\n')]", "ValueError", "header"},
        {"", "TypeError", "positional arguments"},
        {"'200 OK'", "TypeError", "positional arguments"},
        {"'200 OK', [], None, None", "TypeError", "positional arguments"},
        {"status='200 OK', headers=[]", "TypeError", "positional arguments"},
        {"'200 OK', headers=[]", "TypeError", "positional arguments"},
        {"'200 OK', [], error=None", "TypeError", "positional arguments"},
        {"'200 OK', [], None, exc_info=None", "TypeError", "positional arguments"},
        {"'200 OK', [], 'exc_info'", "TypeError", "exc_info must be a tuple"},
        {"'200 OK', [], exc_info[:2]", "TypeError", "exc_info must be a tuple"},
        {"'200 OK', [], exc_info=list(exc_info)", "TypeError", "exc_info must be a tuple"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char call[256];
        snprintf(call, sizeof(call), "start_response(%s)", rows[i].arguments);
        assert_raises(call, rows[i].class, rows[i].text);
        assert_int_equal(request->response.status, 0);
        assert_false(stream()->is_busy);
    }
    assert_int_equal(peer.sends, 0);
    python_run("start_response('200 OK', [('D', 'e')])(b'')");
    assert_string_equal(peer_got(), "Status: 200 OK\r\nD: e\r\n\r\n"); /* nothing stayed of it */
}

static void test_write_takes_bytes_alone(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    assert_raises("write('text')", "TypeError", "bytes");
    assert_raises("write(bytearray(b'x'))", "TypeError", "bytes");
    assert_raises("write(None)", "TypeError", "bytes");
    assert_raises("write()", "TypeError", "");
    assert_int_equal(peer.sends, 0);
    assert_false(stream()->is_busy);
}

static void test_write_behind_a_failed_start_response_is_refused(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    assert_raises("start_response('nonsense', [], exc_info)", "ValueError", "status");
    assert_raises("write(b'x')", "RuntimeError", "start_response had failed");
    assert_int_equal(peer.sends, 0);
    python_run("start_response('200 OK', [], exc_info)(b'x')");
    assert_string_equal(peer_got(), "Status: 200 OK\r\n\r\nx");
}

static void test_write_beyond_the_content_length_raises_and_sends_nothing(void **state)
{
    (void)state;
    python_run("write = start_response('200 OK', [('Content-Length', '5')])\n"
               "write(b'hello')");
    assert_int_equal(peer.ends, 1);
    assert_python("write(b'')", "None"); /* nothing that could not be sent */
    assert_false(stream()->is_end_told);
    assert_raises("write(b'x')", "BrokenPipeError", "all bytes of its Content-Length have been");
    assert_true(stream()->is_end_told);
    assert_int_equal(request->response.excess_bytes, 1);
    assert_int_equal(peer.sends, 1);
}

static void test_the_write_that_passes_the_content_length_sends_what_fits(void **state)
{
    (void)state;
    python_run("write = start_response('200 OK', [('Content-Length', '5')])\n"
               "write(b'hello, world')");
    assert_string_equal(peer_got(), "Status: 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(request->response.excess_bytes, 7);
    assert_raises("write(b'!')", "BrokenPipeError", "Content-Length");
}

static void test_a_response_without_a_body_raises_at_the_second_write(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        start_again();
        request->is_head = i == 0;
        python_run(i == 1   ? "write = start_response('204 No Content', [])"
                   : i == 2 ? "write = start_response('304 Not Modified', [])"
                            : "write = start_response('200 OK', [('Content-Length', '9')])");
        assert_python("write(b'body')", "None");
        assert_null(strstr(peer_got(), "body"));
        assert_int_equal(peer.ends, 1);
        assert_raises("write(b'')", "BrokenPipeError", "this response has no body");
        assert_raises("write(b'x')", "BrokenPipeError", "this response has no body");
    }
}

static void test_write_raises_once_the_peer_has_left(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    peer.is_peer_gone = true;
    assert_raises("write(b'x')", "BrokenPipeError", "the client, or the web server, has left");
    python_run("try: write(b'x')\n"
               "except OSError as error: number = error.errno\n");
    assert_python("number == 32", "True");
    assert_true(request->must_close);
    assert_int_equal(peer.sends, 1);
    start_again();
    python_run("write = start_response(*hello)");
    request->response.is_abandoned = true;
    assert_raises("write(b'x')", "BrokenPipeError", "has left");
}

static void test_the_gil_is_released_while_the_peer_is_slow(void **state)
{
    (void)state;
    peer.is_peer_slow = true;
    python_run("write = start_response(*hello)\n"
               "write(b'x'), write(b'y' * 100000)");
    assert_true(PyGILState_Check());
    assert_null(request->send_wait);
    assert_int_equal(peer.sent.n, 44 + 1 + 100000);
}

static void test_an_interrupt_comes_out_of_write_and_leaves_the_stream_usable(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    is_interrupted = true;
    assert_raises("write(b'x')", "KeyboardInterrupt", "interrupted");
    is_interrupted = false;
    assert_python("write(b'y')", "None");
    assert_int_equal(peer.sends, 2);
}

static void test_two_threads_cannot_send_at_the_same_time(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    assert_non_null(py_stream_enter(stream()));
    assert_raises("write(b'x')", "RuntimeError", "another thread is using");
    assert_raises("start_response(*hello)", "RuntimeError", "another thread is using");
    py_stream_leave(stream());
    assert_python("write(b'x')", "None");
}

static void test_after_the_request_both_raise(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    py_stream_detach(start_response);
    assert_raises("write(b'x')", "ValueError", "the request has ended");
    assert_raises("start_response(*hello)", "ValueError", "the request has ended");
    assert_raises("start_response(*hello, exc_info)", "ValueError", "the request has ended");
    assert_int_equal(peer.sends, 0);
}

static void test_the_write_of_an_earlier_request_does_not_reach_the_next(void **state)
{
    (void)state;
    python_run("write = start_response(*hello)");
    PyObject *before = start_response;
    Py_INCREF(before);
    py_stream_detach(start_response);
    start_again();
    assert_ptr_not_equal(start_response, before);
    assert_raises("write(b'x')", "ValueError", "the request has ended");
    Py_DECREF(before);
}

static void serve_once(void)
{
    start_again();
    python_run("write = start_response('200 OK', [('A', 'b'), ('Content-Length', '3')], exc_info)\n"
               "write(b'abc')\n"
               "for wrong in ('x',), ('200 OK', [1]), ('200 OK', [('A', '\\n')]), (1, []):\n"
               "    try: start_response(*wrong)\n"
               "    except Exception: pass\n"
               "try: write(b'd')\n"
               "except OSError: pass\n"
               "try: start_response('500 Oops', [], exc_info)\n"
               "except KeyError: exc_info[1].__traceback__ = None\n"
               "write = wrong = start_response = None");
    py_stream_detach(start_response);
}

static void test_ten_thousand_responses_leave_nothing_behind(void **state)
{
    (void)state;
    PyObject *code = python_eval("hello[0], exc_info[1]");
    Py_ssize_t before = Py_REFCNT(PyTuple_GET_ITEM(code, 1));
    ASSERT_NO_GROWTH(serve_once());
    assert_int_equal(Py_REFCNT(PyTuple_GET_ITEM(code, 1)), before);
    assert_int_equal(Py_REFCNT(start_response), 1);
    Py_DECREF(code);
}

static void test_memory_that_runs_out_raises_and_sends_no_half_head(void **state)
{
    (void)state;
    PyObject *arguments = python_eval("'200 OK', [('A', 'b'), ('C', 'd')]");
    bool has_failed = true;
    unsigned long n = 0;
    while (has_failed) {
        start_again();
        python_fail_allocation(++n, false);
        PyObject *write = PyObject_CallObject(start_response, arguments);
        has_failed = python_end_failures();
        assert_int_equal(write == NULL, has_failed);
        if (write == NULL)
            assert_raised("MemoryError", "");
        Py_XDECREF(write);
        assert_false(stream()->is_busy);
        assert_int_equal(peer.sends, 0);
    }
    assert_true(n > 1);
    Py_DECREF(arguments);
}

static void test_memory_that_runs_out_while_it_complains_still_raises(void **state)
{
    (void)state;
    PyObject *arguments = python_eval("'200 OK', [('A', '\\n')]");
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        python_fail_allocation(n, false);
        PyObject *write = PyObject_CallObject(start_response, arguments);
        has_failed = python_end_failures();
        assert_null(write);
        assert_non_null(PyErr_Occurred());
        PyErr_Clear();
        assert_int_equal(request->response.status, 0);
    }
    Py_DECREF(arguments);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_head_waits_for_the_body),
        TEST(test_an_empty_write_sends_the_head),
        TEST(test_every_latin_1_character_of_a_value_is_one_byte),
        TEST(test_subclasses_of_the_types_that_wsgi_names_are_taken),
        TEST(test_a_second_call_needs_exc_info),
        TEST(test_exc_info_may_come_by_name_and_with_the_first_call),
        TEST(test_once_the_head_has_left_the_error_itself_is_raised_again),
        TEST(test_what_is_wrong_is_refused_before_a_byte_leaves),
        TEST(test_write_takes_bytes_alone),
        TEST(test_write_behind_a_failed_start_response_is_refused),
        TEST(test_write_beyond_the_content_length_raises_and_sends_nothing),
        TEST(test_the_write_that_passes_the_content_length_sends_what_fits),
        TEST(test_a_response_without_a_body_raises_at_the_second_write),
        TEST(test_write_raises_once_the_peer_has_left),
        TEST(test_the_gil_is_released_while_the_peer_is_slow),
        TEST(test_an_interrupt_comes_out_of_write_and_leaves_the_stream_usable),
        TEST(test_two_threads_cannot_send_at_the_same_time),
        TEST(test_after_the_request_both_raise),
        TEST(test_the_write_of_an_earlier_request_does_not_reach_the_next),
        TEST(test_ten_thousand_responses_leave_nothing_behind),
        TEST(test_memory_that_runs_out_raises_and_sends_no_half_head),
        TEST(test_memory_that_runs_out_while_it_complains_still_raises),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
