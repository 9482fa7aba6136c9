/* Work that the supervisor has done with the GIL, by threads of their own; the test's thread holds
 * the GIL for as long as it likes.
 *
 * links: py_task.c py_support.c event.c reply.c error_page.c response.c request.c request_body.c
 * request_id.c request_log.c spool.c descriptors.c arena.c fork.c log_line.c */
#include "python_fixture.h"

#include "log_fakes.h"

#include <time.h>

#include "embed/py_interrupt.h"
#include "embed/py_support.h"
#include "embed/py_task.h"

enum { LONG_MS = 60000 };

static const struct activities *seen_activities;

void py_interrupt_run(const struct activities *activities)
{
    seen_activities = activities;
}

static int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_use_host("import sys\n"
                    "calls, reports = [], []\n"
                    "sys.unraisablehook = lambda report: reports.append(str(report.exc_value))\n"
                    "def set_stopping(): calls.append('stopping')\n"
                    "def run_cleanups(): calls.append('cleanups')\n"
                    "def log_stacks(why): calls.append('stacks: ' + why)\n");
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
    python_run("host.calls.clear(); host.reports.clear()");
    seen_activities = NULL;
    py_task_open();
    return 0;
}

static bool close_tasks(uint64_t timeout_ms)
{
    bool is_closed;
    Py_BEGIN_ALLOW_THREADS;
    is_closed = py_task_close(timeout_ms);
    Py_END_ALLOW_THREADS;
    return is_closed;
}

static int tear_down(void **state)
{
    (void)state;
    py_task_set_activities(NULL);
    return close_tasks(LONG_MS) ? 0 : -1;
}

static bool run(enum py_task task, const char *why)
{
    bool is_done;
    Py_BEGIN_ALLOW_THREADS;
    is_done = py_task_run(task, why, LONG_MS);
    Py_END_ALLOW_THREADS;
    return is_done;
}

static void wait_for_all(void)
{
    Py_BEGIN_ALLOW_THREADS;
    for (int task = 0; task < PY_TASKS; task++)
        while (py_task_is_under_way((enum py_task)task))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    Py_END_ALLOW_THREADS;
}

static void test_each_task_does_its_work_before_the_wait_for_it_ends(void **state)
{
    (void)state;
    assert_true(run(PY_TASK_STOPPING, NULL));
    assert_true(run(PY_TASK_CLEANUPS, NULL));
    assert_true(run(PY_TASK_STACKS, "SIGUSR2"));
    assert_true(run(PY_TASK_ANSWER, NULL));
    assert_python("host.calls", "['stopping', 'cleanups', 'stacks: SIGUSR2']");
}

static void test_overdue_requests_are_those_of_the_activities_that_were_named(void **state)
{
    (void)state;
    const struct activities *activities = (const struct activities *)&seen_activities;
    assert_true(run(PY_TASK_OVERDUE, NULL));
    assert_null(seen_activities); /* there are none yet */
    py_task_set_activities(activities);
    assert_true(run(PY_TASK_OVERDUE, NULL));
    assert_ptr_equal(seen_activities, activities);
}

static void test_a_task_that_is_started_is_under_way_until_it_has_had_the_gil(void **state)
{
    (void)state;
    py_task_start(PY_TASK_STOPPING); /* returns, although the GIL is ours */
    py_task_start(PY_TASK_STOPPING);
    assert_true(py_task_is_under_way(PY_TASK_STOPPING));
    assert_false(py_task_is_under_way(PY_TASK_ANSWER));
    assert_python("host.calls", "[]");
    wait_for_all();
    assert_false(py_task_is_under_way(PY_TASK_STOPPING));
    assert_python("host.calls", "['stopping', 'stopping']");
}

static void test_a_task_that_could_not_begin_in_time_never_does(void **state)
{
    (void)state;
    assert_false(py_task_run(PY_TASK_STACKS, "late", 20)); /* the GIL is ours */
    assert_true(py_task_is_under_way(PY_TASK_STACKS));
    wait_for_all();
    assert_python("host.calls", "[]");
    assert_true(run(PY_TASK_STACKS, "again"));
    assert_python("host.calls", "['stacks: again']");
}

static void test_a_task_that_has_begun_in_time_may_end_later(void **state)
{
    (void)state;
    bool has_begun;
    python_run("import time\n"
               "kept = host.log_stacks\n"
               "host.log_stacks = lambda why: (time.sleep(0.8), kept(why))");
    Py_BEGIN_ALLOW_THREADS;
    has_begun = py_task_run(PY_TASK_STACKS, "slow", 500);
    Py_END_ALLOW_THREADS;
    python_run("host.log_stacks = kept");
    assert_true(has_begun);
    assert_python("host.calls", "['stacks: slow']");
}

static void test_a_task_that_has_begun_and_does_not_end_has_failed(void **state)
{
    (void)state;
    bool is_done;
    python_run("import threading\n"
               "go = threading.Event()\n"
               "kept = host.log_stacks\n"
               "host.log_stacks = lambda why: (go.wait(30), kept(why))");
    Py_BEGIN_ALLOW_THREADS;
    is_done = py_task_run(PY_TASK_STACKS, "stuck", 20);
    Py_END_ALLOW_THREADS;
    python_run("host.log_stacks = kept\n"
               "go.set()");
    Py_BEGIN_ALLOW_THREADS;
    while (py_task_is_under_way(PY_TASK_STACKS))
        sched_yield();
    Py_END_ALLOW_THREADS;
    assert_false(is_done);
}

static void test_what_a_task_raises_is_reported_and_ends_nothing(void **state)
{
    (void)state;
    python_run("kept, host.run_cleanups = host.run_cleanups, lambda: 1 / 0");
    assert_true(run(PY_TASK_CLEANUPS, NULL));
    python_run("host.run_cleanups = kept");
    assert_python("host.reports", "['division by zero']");
    assert_true(run(PY_TASK_STOPPING, NULL));
    assert_python("host.calls", "['stopping']");
}

static void test_nothing_runs_after_the_end(void **state)
{
    (void)state;
    assert_true(close_tasks(0));
    py_task_start(PY_TASK_STOPPING);
    assert_false(py_task_is_under_way(PY_TASK_STOPPING));
    assert_false(run(PY_TASK_STOPPING, NULL));
    assert_python("host.calls", "[]");
}

static void test_the_end_waits_for_what_is_under_way(void **state)
{
    (void)state;
    py_task_start(PY_TASK_STOPPING);
    assert_false(py_task_close(20)); /* the GIL is ours */
    assert_true(close_tasks(LONG_MS));
    assert_python("host.calls", "['stopping']");
}

static void test_the_thread_of_a_task_is_a_new_one_and_leaves_no_state_behind(void **state)
{
    (void)state;
    python_run("import _thread\n"
               "kept, host.set_stopping = host.set_stopping, "
               "lambda: host.calls.append(_thread.get_ident())");
    for (int i = 0; i < 100; i++)
        assert_true(run(PY_TASK_STOPPING, NULL));
    wait_for_all();
    python_run("host.set_stopping = kept");
    assert_python("_thread.get_ident() in host.calls", "False");
    int states = 0;
    PyThreadState *found = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    for (; found != NULL; found = PyThreadState_Next(found))
        states++;
    assert_int_equal(states, 1);
}

static void test_many_tasks_leave_nothing_behind(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_true(run(PY_TASK_STACKS, "why"));
    wait_for_all();
    python_run("host.calls.clear()");
    long before = python_blocks();
    for (int i = 0; i < 1000; i++) {
        assert_true(run(PY_TASK_STACKS, "why"));
        python_run("host.calls.clear()");
    }
    wait_for_all();
    assert_in_range(python_blocks() - before + 1000, 0, 1000 + PYTHON_GROWTH_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_task_does_its_work_before_the_wait_for_it_ends),
        TEST(test_overdue_requests_are_those_of_the_activities_that_were_named),
        TEST(test_a_task_that_is_started_is_under_way_until_it_has_had_the_gil),
        TEST(test_a_task_that_could_not_begin_in_time_never_does),
        TEST(test_a_task_that_has_begun_in_time_may_end_later),
        TEST(test_a_task_that_has_begun_and_does_not_end_has_failed),
        TEST(test_what_a_task_raises_is_reported_and_ends_nothing),
        TEST(test_nothing_runs_after_the_end),
        TEST(test_the_end_waits_for_what_is_under_way),
        TEST(test_the_thread_of_a_task_is_a_new_one_and_leaves_no_state_behind),
        TEST(test_many_tasks_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
