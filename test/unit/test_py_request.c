/* What the thread that serves knows of its request.
 *
 * links: py_request.c */
#include "python_fixture.h"

#include "embed/py_request.h"

static struct python_thread thread;
static struct request *const served = (struct request *)&thread; /* nobody looks into it */

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
    memset(&thread, 0, sizeof(thread));
    py_request_set_thread(&thread);
    python_run("made = []\n"
               "def make(environ):\n"
               "    made.append(environ)\n"
               "    return ['request of', environ]\n"
               "def fail(environ): raise KeyError(environ)\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    Py_CLEAR(thread.request);
    Py_CLEAR(thread.hold);
    py_request_set_thread(NULL);
    return 0;
}

static void begin(void)
{
    thread.served = served;
    thread.borrowed_environ = Py_True;
}

static void test_a_request_is_made_once(void **state)
{
    (void)state;
    begin();
    PyObject *first = py_request_current(python_get("make"));
    PyObject *second = py_request_current(python_get("make"));
    assert_ptr_equal(first, second);
    assert_int_equal(Py_REFCNT(first), 3); /* the thread has it too */
    assert_python("made", "[True]");
    thread.borrowed_environ = NULL; /* in its cleanups it is the same */
    PyObject *third = py_request_current(python_get("fail"));
    assert_ptr_equal(first, third);
    Py_DECREF(first);
    Py_DECREF(second);
    Py_DECREF(third);
}

static void test_outside_of_a_request_there_is_none(void **state)
{
    (void)state;
    PyObject *none = py_request_current(python_get("fail"));
    assert_ptr_equal(none, Py_None);
    Py_DECREF(none);
    py_request_set_thread(NULL);
    none = py_request_current(python_get("fail"));
    assert_ptr_equal(none, Py_None);
    Py_DECREF(none);
    assert_null(py_request_hold());
    assert_null(py_request_served());
    py_request_keep(Py_None);
}

static void test_one_that_cannot_be_made_raises_and_is_tried_again(void **state)
{
    (void)state;
    begin();
    assert_null(py_request_current(python_get("fail")));
    assert_raised("KeyError", "True");
    assert_null(thread.request);
    PyObject *request = py_request_current(python_get("make"));
    assert_non_null(request);
    Py_DECREF(request);
}

static void test_a_request_keeps_the_first_generation_it_gets(void **state)
{
    (void)state;
    PyObject *one = python_eval("['one']"), *two = python_eval("['two']");
    py_request_keep(one); /* no request yet */
    assert_null(py_request_hold());
    begin();
    py_request_keep(one);
    py_request_keep(two);
    assert_ptr_equal(py_request_hold(), one);
    assert_int_equal(Py_REFCNT(one), 2);
    assert_int_equal(Py_REFCNT(two), 1);
    Py_DECREF(one);
    Py_DECREF(two);
}

static void *look(void *seen)
{
    *(void **)seen = py_request_thread();
    return NULL;
}

static void test_each_thread_has_its_own(void **state)
{
    (void)state;
    pthread_t other;
    void *seen = &thread;
    begin();
    assert_ptr_equal(py_request_served(), served);
    assert_ptr_equal(py_request_thread(), &thread);
    assert_int_equal(pthread_create(&other, NULL, look, &seen), 0);
    pthread_join(other, NULL);
    assert_null(seen);
}

static void ask_once(void)
{
    begin();
    PyObject *request = py_request_current(python_get("make"));
    Py_XDECREF(request);
    Py_CLEAR(thread.request);
    if (py_request_current(python_get("fail")) == NULL)
        PyErr_Clear();
    py_request_keep(Py_True);
    py_request_keep(Py_True);
    Py_CLEAR(thread.hold);
    python_run("made.clear()");
}

static void test_ten_thousand_requests_leave_nothing_behind(void **state)
{
    (void)state;
    ASSERT_NO_GROWTH(ask_once());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_is_made_once),
        TEST(test_outside_of_a_request_there_is_none),
        TEST(test_one_that_cannot_be_made_raises_and_is_tried_again),
        TEST(test_a_request_keeps_the_first_generation_it_gets),
        TEST(test_each_thread_has_its_own),
        TEST(test_ten_thousand_requests_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
