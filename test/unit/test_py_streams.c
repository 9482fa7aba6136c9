/* The tie between an object of Python's and its request; sending is only written down.
 *
 * links: py_streams.c response.c */
#include "python_fixture.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "embed/py_streams.h"
#include "http/reply.h"

static struct request request;
static PyObject *slot;
static int fds[2];
static bool is_whole, is_unwanted, is_slow;
static bool had_gil, had_gil_before;
static unsigned sends, pieces_sent;
static bool was_silent;

int reply_send(struct request *sender, const struct iovec *pieces, size_t count, bool is_last)
{
    (void)is_last;
    assert_ptr_equal(sender, &request);
    had_gil_before = PyGILState_Check();
    if (is_slow)
        sender->send_wait->before(sender->send_wait);
    had_gil = PyGILState_Check();
    sends++;
    pieces_sent = pieces[0].iov_len > 0 ? (unsigned)count : 0;
    return 0;
}

bool reply_is_whole(const struct request *asked)
{
    (void)asked;
    return is_whole;
}

bool request_is_unwanted(struct request *asked, bool is_silent)
{
    (void)asked;
    was_silent = is_silent;
    return is_unwanted;
}

static PyTypeObject type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "test.Stream",
    .tp_basicsize = sizeof(struct py_stream),
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

static int set_up_python(void **state)
{
    (void)state;
    return python_start() < 0 ? -1 : PyType_Ready(&type);
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    memset(&request, 0, sizeof(request));
    is_whole = is_unwanted = is_slow = false;
    sends = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return -1;
    request.fd = fds[0];
    return py_stream_attach(&slot, &type, &request);
}

static int tear_down(void **state)
{
    (void)state;
    py_stream_detach(slot);
    Py_CLEAR(slot);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static struct py_stream *stream(void)
{
    return (struct py_stream *)slot;
}

static void test_an_object_that_nobody_else_has_is_used_again(void **state)
{
    (void)state;
    PyObject *before = slot;
    py_stream_detach(slot);
    stream()->is_end_told = true;
    assert_int_equal(py_stream_attach(&slot, &type, &request), 0);
    assert_ptr_equal(slot, before);
    assert_false(stream()->is_end_told);
    assert_true(py_stream_is_alive(stream()));
}

static void test_an_object_that_somebody_keeps_is_left_to_him_without_a_request(void **state)
{
    (void)state;
    PyObject *kept = slot;
    Py_INCREF(kept);
    py_stream_detach(slot);
    assert_int_equal(py_stream_attach(&slot, &type, &request), 0);
    assert_ptr_not_equal(slot, kept);
    assert_int_equal(Py_REFCNT(kept), 1);
    assert_int_equal(Py_REFCNT(slot), 1);
    assert_null(py_stream_enter((struct py_stream *)kept));
    assert_raised("ValueError", "the request has ended");
    Py_DECREF(kept);
}

static void test_without_memory_there_is_no_object(void **state)
{
    (void)state;
    PyObject *none = NULL;
    python_fail_allocation(1, false);
    assert_int_equal(py_stream_attach(&none, &type, &request), -1);
    python_end_failures();
    assert_raised("MemoryError", "");
    assert_null(none);
}

static void test_an_ended_request_is_said_to_have_ended(void **state)
{
    (void)state;
    py_stream_detach(NULL);
    assert_true(py_stream_is_alive(stream()));
    py_stream_detach(slot);
    assert_false(py_stream_is_alive(stream()));
    assert_raised("ValueError", "can't be used any more");
    assert_int_equal(py_stream_is_over(stream()), -1);
    assert_raised("ValueError", "can't be used any more");
}

static void test_only_one_thread_may_be_in_a_stream(void **state)
{
    (void)state;
    assert_ptr_equal(py_stream_enter(stream()), &request);
    assert_null(py_stream_enter(stream()));
    assert_raised("RuntimeError", "another thread is using");
    assert_int_equal(py_stream_is_over(stream()), -1);
    assert_raised("RuntimeError", "another thread is using");
    py_stream_leave(stream());
    assert_ptr_equal(py_stream_enter(stream()), &request);
    py_stream_leave(stream());
}

static void test_a_response_is_over_once_it_has_ended_or_nobody_is_there(void **state)
{
    (void)state;
    assert_int_equal(py_stream_is_over(stream()), 0);
    request.response.is_ended = true;
    assert_int_equal(py_stream_is_over(stream()), 1);
    request.response.is_ended = false;
    atomic_store(&request.response.is_peer_gone, true);
    assert_int_equal(py_stream_is_over(stream()), 1);
    assert_false(stream()->is_busy);
}

static char bytes[100000];

static void test_the_gil_is_released_only_to_wait_or_for_a_large_piece(void **state)
{
    (void)state;
    assert_true(py_stream_send(stream(), bytes, 10, false));
    assert_true(had_gil_before && had_gil);
    is_slow = true;
    assert_true(py_stream_send(stream(), bytes, 10, false));
    assert_true(had_gil_before && !had_gil);
    is_slow = false;
    assert_true(py_stream_send(stream(), bytes, sizeof(bytes), false));
    assert_true(!had_gil_before && !had_gil);
    assert_true(PyGILState_Check());
    assert_null(request.send_wait);
    assert_false(request.response.is_in_use);
}

static void test_nothing_is_sent_for_nothing(void **state)
{
    (void)state;
    assert_true(py_stream_send(stream(), bytes, 0, false));
    assert_int_equal(sends, 0);
    assert_true(was_silent);
    py_stream_send(stream(), bytes, 0, true); /* the head */
    assert_int_equal(sends, 1);
    is_whole = true;
    py_stream_send(stream(), bytes, 0, false); /* the end */
    assert_int_equal(sends, 2);
    py_stream_send(stream(), bytes, 1, false);
    assert_false(was_silent);
}

static void test_what_nobody_wants_is_not_sent(void **state)
{
    (void)state;
    is_unwanted = true;
    assert_false(py_stream_send(stream(), bytes, 1, true));
    assert_int_equal(sends, 0);
    is_unwanted = false;
    request.response.is_ended = true;
    assert_false(py_stream_send(stream(), bytes, 1, true));
}

static atomic_bool is_entered;

/* Another thread of the application reads, until the connection is shut down. */
static void *read_until_shut(void *unused)
{
    (void)unused;
    char byte;
    PyGILState_STATE gil = PyGILState_Ensure();
    py_stream_enter(stream());
    atomic_store(&is_entered, true);
    Py_BEGIN_ALLOW_THREADS;
    while (read(fds[0], &byte, 1) > 0)
        continue;
    Py_END_ALLOW_THREADS;
    py_stream_leave(stream());
    PyGILState_Release(gil);
    return NULL;
}

static void test_a_request_ends_only_once_no_other_thread_uses_it(void **state)
{
    (void)state;
    pthread_t other;
    atomic_store(&is_entered, false);
    assert_int_equal(pthread_create(&other, NULL, read_until_shut, NULL), 0);
    Py_BEGIN_ALLOW_THREADS;
    while (!atomic_load(&is_entered))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    Py_END_ALLOW_THREADS;
    py_stream_detach(slot);
    assert_false(stream()->is_busy);
    assert_null(stream()->request);
    assert_true(request.must_close); /* nobody knows what was read */
    assert_true(PyGILState_Check());
    Py_BEGIN_ALLOW_THREADS;
    pthread_join(other, NULL);
    Py_END_ALLOW_THREADS;
}

static void *hold_response(void *unused)
{
    (void)unused;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    PyGILState_STATE gil = PyGILState_Ensure(); /* to be had while the other one waits */
    response_leave(&request.response);
    PyGILState_Release(gil);
    return NULL;
}

static void test_a_thread_that_sends_for_wsgi_errors_is_waited_for_without_the_gil(void **state)
{
    (void)state;
    pthread_t other;
    assert_true(response_enter(&request.response));
    assert_int_equal(pthread_create(&other, NULL, hold_response, NULL), 0);
    py_stream_send(stream(), bytes, 1, false);
    assert_int_equal(sends, 1);
    assert_true(PyGILState_Check());
    pthread_join(other, NULL);
}

static void test_what_is_kept_of_a_line_goes_with_the_request(void **state)
{
    (void)state;
    PyObject *line = PyUnicode_FromString("not yet a line");
    Py_INCREF(line);
    stream()->line = line;
    py_stream_detach(slot);
    assert_null(stream()->line);
    assert_int_equal(Py_REFCNT(line), 1);
    Py_DECREF(line);
}

static void attach_once(bool is_kept)
{
    PyObject *kept = is_kept ? slot : NULL;
    Py_XINCREF(kept);
    py_stream_detach(slot);
    assert_int_equal(py_stream_attach(&slot, &type, &request), 0);
    Py_XDECREF(kept);
}

static void test_ten_thousand_requests_leave_nothing_behind(void **state)
{
    (void)state;
    ASSERT_NO_GROWTH(attach_once(time % 2 == 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_object_that_nobody_else_has_is_used_again),
        TEST(test_an_object_that_somebody_keeps_is_left_to_him_without_a_request),
        TEST(test_without_memory_there_is_no_object),
        TEST(test_an_ended_request_is_said_to_have_ended),
        TEST(test_only_one_thread_may_be_in_a_stream),
        TEST(test_a_response_is_over_once_it_has_ended_or_nobody_is_there),
        TEST(test_the_gil_is_released_only_to_wait_or_for_a_large_piece),
        TEST(test_nothing_is_sent_for_nothing),
        TEST(test_what_nobody_wants_is_not_sent),
        TEST(test_a_request_ends_only_once_no_other_thread_uses_it),
        TEST(test_a_thread_that_sends_for_wsgi_errors_is_waited_for_without_the_gil),
        TEST(test_what_is_kept_of_a_line_goes_with_the_request),
        TEST(test_ten_thousand_requests_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
