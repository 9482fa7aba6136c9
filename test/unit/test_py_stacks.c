/* The stacks of all threads, read without the GIL; faulthandler is Python's own.
 *
 * links: py_stacks.c */
#include "python_fixture.h"

#include "log_fakes.h"

#include <signal.h>
#include <unistd.h>

#include "embed/py_stacks.h"
#include "embed/py_task.h"
#include "threads/activity.h"

static struct activity items[2];
static const struct activities activities = {.items = items, .count = 2};
static bool can_enter, is_serving;
static const char *asked;
static int fd = -1;

bool py_task_run(enum py_task task, const char *why, uint64_t timeout_ms)
{
    assert_int_equal(task, PY_TASK_STACKS);
    assert_true(timeout_ms > 0);
    asked = why;
    return can_enter;
}

bool activity_get(struct activity *activity, struct activity_report *report)
{
    report->thread = activity->thread;
    report->age_ms = 2500;
    strcpy(report->request, "GET /slow");
    return is_serving;
}

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
    can_enter = false;
    is_serving = true;
    asked = NULL;
    items[1].thread = pthread_self();
    fd = py_stacks_open();
    PyObject *numbers = Py_BuildValue("ii", PY_STACKS_SIGNAL, fd);
    python_set("numbers", numbers);
    Py_DECREF(numbers);
    python_run("import faulthandler\n"
               "faulthandler.register(numbers[0], file=numbers[1], all_threads=True)");
    return fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    py_stacks_close();
    python_run("faulthandler.unregister(numbers[0])");
    forget_log();
    return close(fd);
}

/* In the middle of a function of Python's, which holds the GIL. */
static PyObject *log_from_here(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    py_stacks_log(&activities, "SIGUSR2");
    Py_RETURN_NONE;
}

static PyMethodDef method = {"log_from_here", log_from_here, METH_NOARGS, NULL};

static void log_in_python(void)
{
    PyObject *function = PyCFunction_New(&method, NULL);
    python_set("log_from_here", function);
    Py_DECREF(function);
    python_run("def a_stuck_function(): log_from_here()\n"
               "a_stuck_function()");
}

static void assert_stacks(bool is_there, const char *text)
{
    if ((strstr(logged_text(), text) != NULL) != is_there)
        fail_msg("\"%s\" in the log: %s", text, logged_text());
}

static void test_python_writes_them_if_it_can_be_entered(void **state)
{
    (void)state;
    can_enter = true;
    log_in_python();
    assert_string_equal(asked, "SIGUSR2");
    assert_string_equal(logged_text(), "");
}

static void test_they_are_read_without_the_gil_if_it_cannot_be_had(void **state)
{
    (void)state;
    log_in_python();
    assert_stacks(true, "error stacks-from-outside: SIGUSR2: Python can't be entered");
    assert_stacks(true, "hread 0x");
    assert_stacks(true, "in a_stuck_function");
    assert_stacks(true, " serving GET /slow for 2.5 s\n");
}

static void test_a_thread_without_a_request_is_shown_without_one(void **state)
{
    (void)state;
    is_serving = false;
    log_in_python();
    assert_stacks(true, "in a_stuck_function");
    assert_stacks(false, "serving");
    forget_log();
    is_serving = true;
    items[1].thread = 0; /* another thread's */
    log_in_python();
    assert_stacks(false, "serving");
}

static void test_the_next_time_nothing_of_the_last_one_is_there(void **state)
{
    (void)state;
    log_in_python();
    forget_log();
    py_stacks_log_from_outside(&activities, "why");
    assert_null(asked == NULL ? "never asked" : NULL);
    assert_stacks(true, "why: Python can't be entered");
    assert_stacks(false, "in a_stuck_function");
}

static void test_without_the_file_or_the_handler_nothing_happens(void **state)
{
    (void)state;
    py_stacks_close();
    log_in_python();
    assert_string_equal(logged_text(), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_python_writes_them_if_it_can_be_entered),
        TEST(test_they_are_read_without_the_gil_if_it_cannot_be_had),
        TEST(test_a_thread_without_a_request_is_shown_without_one),
        TEST(test_the_next_time_nothing_of_the_last_one_is_there),
        TEST(test_without_the_file_or_the_handler_nothing_happens),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
