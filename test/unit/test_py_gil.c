/* The main thread's GIL.
 *
 * links: py_gil.c */
#include "python_fixture.h"

#include "embed/py_gil.h"

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

static void test_it_is_held_exactly_between_take_and_release(void **state)
{
    (void)state;
    PyThreadState *own = PyThreadState_Get();
    for (int i = 0; i < 1000; i++) {
        py_gil_release();
        assert_false(PyGILState_Check());
        py_gil_take();
        assert_true(PyGILState_Check());
        assert_ptr_equal(PyThreadState_Get(), own);
    }
}

static void *count_in_python(void *unused)
{
    (void)unused;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *result = python_try("counts.append(1)");
    Py_XDECREF(result);
    PyGILState_Release(gil);
    return NULL;
}

static void test_other_threads_have_it_in_between(void **state)
{
    (void)state;
    pthread_t other;
    python_run("counts = []");
    assert_int_equal(pthread_create(&other, NULL, count_in_python, NULL), 0);
    py_gil_release();
    pthread_join(other, NULL);
    py_gil_take();
    assert_python("counts", "[1]");
}

static void test_an_exception_that_is_set_survives(void **state)
{
    (void)state;
    PyErr_SetString(PyExc_KeyError, "mine");
    py_gil_release();
    py_gil_take();
    assert_raised("KeyError", "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_held_exactly_between_take_and_release),
        cmocka_unit_test(test_other_threads_have_it_in_between),
        cmocka_unit_test(test_an_exception_that_is_set_survives),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
