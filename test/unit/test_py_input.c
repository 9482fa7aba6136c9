/* wsgi.input, read by Python, over a body that comes in pieces; io.BytesIO knows what is right.
 *
 * links: py_input.c py_streams.c request.c log_line.c request_body.c response.c spool.c descriptors.c
 * arena.c */
#include "python_fixture.h"

#include "request_fakes.h"

#include "base/fork.h"
#include "embed/py_input.h"
#include "embed/py_interrupt.h"
#include "protocol/record.h"

static PyObject *stream;
static bool is_child, is_interrupted;

bool fork_is_child(void)
{
    return is_child;
}

int py_interrupt_check(void)
{
    if (is_interrupted)
        PyErr_SetString(PyExc_KeyboardInterrupt, "interrupted");
    return is_interrupted ? -1 : 0;
}

int reply_send(struct request *sender, const struct iovec *pieces, size_t count, bool is_last)
{
    (void)sender, (void)pieces, (void)count, (void)is_last;
    return 0;
}

bool reply_is_whole(const struct request *asked)
{
    (void)asked;
    return false;
}

static int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_run("import errno, io, random\n");
    return PyType_Ready(&py_input_type);
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int attach(void)
{
    if (py_stream_attach(&stream, &py_input_type, request) < 0)
        return -1;
    ((struct py_stream *)stream)->is_data = false;
    python_set("body", stream);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    is_child = is_interrupted = false;
    input = (struct input){.data = NULL};
    return request_set_up() < 0 ? -1 : attach();
}

static int tear_down(void **state)
{
    (void)state;
    python_run("body = None");
    py_stream_detach(stream);
    Py_CLEAR(stream);
    return request_tear_down();
}

/* Another request with that body. */
static void begin(const char *body, size_t piece_bytes, int64_t length)
{
    request_begin();
    peer_has_body(body, strlen(body), piece_bytes, length);
    assert_int_equal(attach(), 0);
}

/* Nobody is using the stream, so that others can. */
static void assert_left(void)
{
    assert_false(((struct py_stream *)stream)->is_busy);
    assert_false(atomic_load(&input.is_in_use));
    assert_true(PyGILState_Check());
}

static const char *const methods[] = {
    "body.read()",      "body.read(1)",
    "body.readline()",  "body.readline(2)",
    "body.readlines()", "body.readlines(1)",
    "body.read1()",     "body.read1(1)",
    "body.readall()",   "body.readinto(bytearray(3))",
    "list(body)",       "next(body)",
};

static void test_each_method_returns_what_a_file_in_memory_would(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "a",
        "\n",
        "\n\n",
        "a\nb",
        "a\nb\n",
        "one\ntwo\nthree",
        "no newline in it at all",
        "\r\n\r\n",
        "\na\n\nbc\n\n\n",
        "long long long line\nand a short\n",
    };
    static const size_t pieces[] = {1, 2, 3, 7, 100};
    python_run(
        "def compare(seed):\n"
        "    choose, limit = random.Random(seed), expected.getbuffer().nbytes + 2\n"
        "    for step in range(40):\n"
        "        name = choose.choice(['read', 'readline', 'readlines', 'next', 'read1',\n"
        "                              'readinto', 'list', 'readall'][:choose.choice([3, 8])])\n"
        "        n = choose.choice([None, -1, -7, 0, 1, 2, 3, choose.randrange(limit)])\n"
        "        if name == 'next': pair = next(body, b''), next(expected, b'')\n"
        "        elif name == 'list':\n"
        "            if step < 35: continue\n"
        "            pair = list(body), list(expected)\n"
        "        elif name == 'readall':\n"
        "            if step < 35: continue\n"
        "            pair = body.readall(), expected.read()\n"
        "        elif name == 'readinto':\n"
        "            into, n = bytearray(b'#' * 5), choose.randrange(6)\n"
        "            got = body.readinto(memoryview(into)[:n])\n"
        "            right = expected.read(got)\n"
        "            assert got or not n or not expected.read(), (got, n)\n"
        "            pair = bytes(into), right + b'#' * (5 - got)\n"
        "        elif name == 'read1':\n"
        "            got = body.read1(n)\n"
        "            assert got or n == 0 or not expected.read(), (got, n)\n"
        "            pair = got, expected.read(len(got))\n"
        "        else: pair = getattr(body, name)(n), getattr(expected, name)(n)\n"
        "        assert pair[0] == pair[1], (seed, step, name, n, pair)\n");
    for (size_t i = 0; i < COUNT(bodies) * COUNT(pieces) * 2; i++) {
        const char *text = bodies[i % COUNT(bodies)];
        begin(text, pieces[i / COUNT(bodies) % COUNT(pieces)],
              i % 2 == 0 ? -1 : (int64_t)strlen(text));
        peer.is_body_late = i % 3 == 0;
        for (int seed = 0; seed < 20; seed++) {
            char call[64];
            peer.taken_bytes = 0;
            request->body_bytes = 0;
            request->is_body_ended = false;
            PyObject *bytes = PyBytes_FromString(text);
            python_set("text", bytes);
            Py_DECREF(bytes);
            python_run("expected = io.BytesIO(text)");
            snprintf(call, sizeof(call), "compare(%d)", (int)i * 100 + seed);
            python_run(call);
        }
        assert_left();
    }
}

static void test_the_end_is_empty_for_ever(void **state)
{
    (void)state;
    begin("a\nb", 2, -1);
    assert_python("body.read()", "b'a\\nb'");
    for (int i = 0; i < 3; i++) {
        assert_python("body.read(), body.read(5), body.readline(), body.readlines(), body.read1()",
                      "(b'', b'', b'', [], b'')");
        assert_python("body.readall(), body.readinto(bytearray(2)), list(body)", "(b'', 0, [])");
        assert_raises("next(body)", "StopIteration", "");
    }
}

static void test_nothing_behind_the_content_length_is_read(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"body.read()", "b'abc'"},     {"body.read(100)", "b'abc'"},
        {"body.readline()", "b'abc'"}, {"body.readlines()", "[b'abc']"},
        {"body.read1(100)", "b'abc'"}, {"body.readinto(bytearray(9))", "3"},
        {"list(body)", "[b'abc']"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        begin("abcNEXT REQUEST", 100, 3);
        assert_python(rows[i][0], rows[i][1]);
        assert_python("body.read()", "b''");
        assert_int_equal(peer.taken_bytes, 3);
    }
}

static void test_a_large_body_comes_whole(void **state)
{
    (void)state;
    enum { BYTES = 9 << 20 };
    char *large = malloc(BYTES);
    assert_non_null(large);
    uint32_t random = 1;
    for (size_t i = 0; i < BYTES; i++)
        large[i] = (char)next_random(&random);
    PyObject *expected = PyBytes_FromStringAndSize(large, BYTES);
    python_set("expected", expected);
    static const char *const reads[] = {
        "body.read() == expected",
        "body.read(10**9) == expected",
        "b''.join(body) == expected",
        "b''.join(iter(lambda: body.read(70000), b'')) == expected",
        "b''.join(iter(lambda: body.read1(), b'')) == expected",
    };
    for (size_t i = 0; i < 2 * COUNT(reads); i++) {
        request_begin();
        peer_has_body(large, BYTES, 65535, i % 2 == 0 ? -1 : BYTES);
        assert_int_equal(attach(), 0);
        assert_python(reads[i / 2], "True");
    }
    python_run("expected = None");
    Py_DECREF(expected);
    free(large);
}

static void test_a_length_that_is_only_claimed_allocates_little(void **state)
{
    (void)state;
    begin("abc", 100, INT64_MAX);
    python_memory.largest = 0;
    assert_raises("body.read()", "ConnectionAbortedError", "the request body was cut short");
    begin("abc", 100, -1);
    assert_python("body.read(1 << 62)", "b'abc'");
    begin("abc", 100, -1);
    assert_python("body.read1(1 << 62)", "b'abc'");
    assert_in_range(python_memory.largest, 3, (4 << 20) + 4096);
}

static void test_sizes_that_are_none_are_refused_and_nothing_is_read(void **state)
{
    (void)state;
    static const char *const names[] = {"read", "readline", "readlines", "read1"};
    begin("abc", 100, -1);
    for (size_t i = 0; i < COUNT(names); i++) {
        static const char *const rows[][3] = {
            {"1.5", "TypeError", "float"},   {"'1'", "TypeError", "str"},
            {"b''", "TypeError", "bytes"},   {"1, 2", "TypeError", "at most 1 argument, got 2"},
            {"10**30", "OverflowError", ""}, {"-10**30", "OverflowError", ""},
        };
        for (size_t j = 0; j < COUNT(rows); j++) {
            char call[64];
            snprintf(call, sizeof(call), "body.%s(%s)", names[i], rows[j][0]);
            assert_raises(call, rows[j][1], rows[j][2]);
        }
    }
    assert_raises("body.readinto(b'abc')", "BufferError", "");
    assert_raises("body.readinto(5)", "TypeError", "");
    assert_raises("body.read(size=1)", "TypeError", "");
    assert_left();
    assert_python("body.read(True), body.readline(type('', (), {'__index__': lambda self: 1})())",
                  "(b'a', b'b')");
}

static void test_a_body_that_was_cut_raises_in_every_method_and_stays_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        if (strstr(methods[i], "(1)") || strstr(methods[i], "(2)"))
            continue; /* what has come may be returned */
        begin("ab", 100, 5);
        peer.ending = BODY_CUT;
        peer.error = ECONNRESET;
        if (strstr(methods[i], "read1") || strstr(methods[i], "into"))
            assert_python("body.read(2)", "b'ab'");
        assert_raises(methods[i], "ConnectionResetError", "the request body was cut short");
        for (size_t j = 0; j < COUNT(methods); j++)
            assert_raises(methods[j], "ConnectionResetError", "the request body was cut short");
        assert_left();
        assert_true(request->must_close);
    }
}

static void test_an_end_before_the_content_length_is_a_cut_too(void **state)
{
    (void)state;
    begin("one\ntwo", 100, 100);
    assert_python("body.readline()", "b'one\\n'");
    assert_raises("body.readline()", "ConnectionAbortedError", "cut short");
    begin("one\ntwo", 100, 100);
    assert_raises("body.readlines()", "ConnectionAbortedError", "cut short");
}

static void test_a_body_that_is_too_large_raises_once_the_limit_is_passed(void **state)
{
    (void)state;
    begin("abcdef", 2, -1);
    request->body_limit = 4;
    assert_python("body.read(4)", "b'abcd'");
    assert_raises("body.read(1)", "OSError", "larger than [limits] request_body");
    python_run("try: body.read()\n"
               "except OSError as error: assert error.errno == errno.EFBIG, error\n"
               "else: assert False");
}

static void pass_time_limit(const char *body)
{
    begin(body, 100, -1);
    peer.ending = BODY_CUT;
    peer.error = ETIMEDOUT;
    request->wait_end_ms = 1; /* it is past */
}

static void
test_a_wait_that_the_time_limit_ends_raises_what_is_due_and_reading_can_go_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        pass_time_limit("");
        is_interrupted = true;
        assert_raises(methods[i], "KeyboardInterrupt", "interrupted");
        is_interrupted = false;
        assert_raises(methods[i], "TimeoutError", "longer than [limits] request_time");
        assert_left();
        peer_has_body("rest", 4, 100, -1);
        request->wait_end_ms = 0;
        assert_python("body.read()", "b'rest'");
    }
}

static void test_what_was_lost_in_an_interrupted_read_is_not_passed_over_in_silence(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        pass_time_limit("ab");
        PyObject *value = python_try(methods[i]);
        bool has_lost = value == NULL && peer.taken_bytes > 0;
        Py_XDECREF(value);
        PyErr_Clear();
        peer_has_body("rest", 4, 100, -1);
        request->wait_end_ms = 0;
        if (has_lost)
            assert_raises("body.read()", "ConnectionAbortedError", "cut short");
        else
            Py_DECREF(python_eval("body.read()"));
    }
}

static void test_after_its_request_every_method_raises(void **state)
{
    (void)state;
    static const char *const others[] = {"body.readable()", "body.writable()", "body.seekable()",
                                         "body.isatty()"};
    begin("abc", 1, 3);
    assert_python("body.closed, body.readable(), body.writable(), body.seekable(), body.isatty()",
                  "(False, True, False, False, False)");
    py_stream_detach(stream);
    for (size_t i = 0; i < COUNT(methods); i++)
        assert_raises(methods[i], "ValueError", "the request has ended");
    for (size_t i = 0; i < COUNT(others); i++)
        assert_raises(others[i], "ValueError", "the request has ended");
    assert_python("body.closed, body.close(), body.flush()", "(True, None, None)");
    assert_int_equal(peer.taken_bytes, 0);
}

static void test_close_has_no_effect(void **state)
{
    (void)state;
    begin("abc", 1, 3);
    assert_python("body.close(), body.closed, body.flush(), body.read()",
                  "(None, False, None, b'abc')");
}

static void test_the_files_of_the_standard_library_read_from_it(void **state)
{
    (void)state;
    begin("first\nsecond\nthird", 4, -1);
    assert_python("[line for line in io.TextIOWrapper(io.BufferedReader(body, 5))]",
                  "['first\\n', 'second\\n', 'third']");
}

static void test_an_iterator_is_the_body_itself(void **state)
{
    (void)state;
    assert_python("iter(body) is body", "True");
}

static void test_a_forked_child_reads_nothing_of_its_parents(void **state)
{
    (void)state;
    begin("abc", 1, 3);
    is_child = true;
    for (size_t i = 0; i < COUNT(methods); i++)
        assert_raises(methods[i], "OSError", "a forked child can't read");
    assert_int_equal(peer.taken_bytes, 0);
    assert_left();
}

static void test_two_threads_cannot_read_at_the_same_time(void **state)
{
    (void)state;
    begin("abc", 1, 3);
    assert_non_null(py_stream_enter((struct py_stream *)stream));
    for (size_t i = 0; i < COUNT(methods); i++)
        assert_raises(methods[i], "RuntimeError", "another thread is using");
    py_stream_leave((struct py_stream *)stream);
    assert_python("body.read()", "b'abc'");
}

static void test_a_filter_reads_its_file_behind_the_body(void **state)
{
    (void)state;
    begin("abc", 1, 3);
    request->role = ROLE_FILTER;
    PyObject *data = NULL;
    assert_int_equal(py_stream_attach(&data, &py_input_type, request), 0);
    ((struct py_stream *)data)->is_data = true;
    python_set("data", data);
    assert_python("body.read(1)", "b'a'");
    assert_python("data.read(3), data.readline()", "(b'the', b' file')");
    for (size_t i = 0; i < COUNT(methods); i++)
        if (strcmp(methods[i], "next(body)") != 0)
            Py_DECREF(python_eval(methods[i])); /* nothing more of it: not the file's bytes */
    assert_python("body.read(), body.readlines(), body.read1(), list(body)", "(b'', [], b'', [])");
    python_run("data = None");
    py_stream_detach(data);
    Py_DECREF(data);
}

static void test_a_file_to_filter_that_was_cut_says_so(void **state)
{
    (void)state;
    begin("", 1, 0);
    set_param("FCGI_DATA_LENGTH", "100");
    ((struct py_stream *)stream)->is_data = true;
    assert_raises("body.read()", "ConnectionAbortedError", "the file to filter was cut short");
}

static void read_once(const char *method)
{
    begin("a\nb\nc", 2, -1);
    PyObject *value = python_try(method);
    Py_XDECREF(value);
    PyErr_Clear();
    peer.ending = BODY_CUT;
    peer.error = EIO;
    peer.body_bytes = 0;
    peer.taken_bytes = 0;
    request->is_body_ended = false;
    value = python_try(method);
    Py_XDECREF(value);
    PyErr_Clear();
}

static void test_ten_thousand_reads_leave_nothing_behind(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++)
        ASSERT_NO_GROWTH(read_once(methods[i]));
    assert_int_equal(Py_REFCNT(stream), 2); /* ours, and the name */
}

static void test_memory_that_runs_out_raises_in_every_method(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(methods); i++) {
        PyObject *code = Py_CompileString(methods[i], "test", Py_eval_input);
        bool has_failed = true;
        for (unsigned long n = 1; has_failed; n++) {
            begin("one\ntwo\nthree", 2, -1);
            python_fail_allocation(n, false);
            PyObject *value = PyEval_EvalCode(code, python_names, python_names);
            has_failed = python_end_failures();
            assert_int_equal(value == NULL, PyErr_Occurred() != NULL);
            if (value == NULL)
                assert_raised("MemoryError", "");
            Py_XDECREF(value);
            assert_left();
        }
        Py_DECREF(code);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_method_returns_what_a_file_in_memory_would),
        TEST(test_the_end_is_empty_for_ever),
        TEST(test_nothing_behind_the_content_length_is_read),
        TEST(test_a_large_body_comes_whole),
        TEST(test_a_length_that_is_only_claimed_allocates_little),
        TEST(test_sizes_that_are_none_are_refused_and_nothing_is_read),
        TEST(test_a_body_that_was_cut_raises_in_every_method_and_stays_so),
        TEST(test_an_end_before_the_content_length_is_a_cut_too),
        TEST(test_a_body_that_is_too_large_raises_once_the_limit_is_passed),
        TEST(test_a_wait_that_the_time_limit_ends_raises_what_is_due_and_reading_can_go_on),
        TEST(test_what_was_lost_in_an_interrupted_read_is_not_passed_over_in_silence),
        TEST(test_after_its_request_every_method_raises),
        TEST(test_close_has_no_effect),
        TEST(test_the_files_of_the_standard_library_read_from_it),
        TEST(test_an_iterator_is_the_body_itself),
        TEST(test_a_forked_child_reads_nothing_of_its_parents),
        TEST(test_two_threads_cannot_read_at_the_same_time),
        TEST(test_a_filter_reads_its_file_behind_the_body),
        TEST(test_a_file_to_filter_that_was_cut_says_so),
        TEST(test_ten_thousand_reads_leave_nothing_behind),
        TEST(test_memory_that_runs_out_raises_in_every_method),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
