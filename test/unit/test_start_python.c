/* Python's start and end around a command: the order of the steps, each of which only writes down
 * its name.
 *
 * links: start_python.c */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "config/config_error.h"
#include "embed/py_gil.h"
#include "embed/py_task.h"
#include "interpreter/py_home.h"
#include "interpreter/py_signals.h"
#include "start/start_error.h"
#include "start/start_python.h"

#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* most fakes use none of theirs */

static struct config config;
static bool is_home_wrong, is_start_wrong, is_ended, are_tasks_closed;
static uint64_t left_ms, tasks_ms; /* for the end; for tasks */
static char told[256];
static jmp_buf exited; /* by _exit() */

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
}

/* Fakes */

int py_home_check(const struct config *c, struct config_error *error)
{
    strcpy(error->message, "home");
    return is_home_wrong ? -1 : 0;
}

int py_interpreter_start(const struct config *c, const struct py_options *options,
                         struct config_error *error)
{
    strcpy(error->message, "interpreter");
    tell("start");
    return is_start_wrong ? -1 : 0;
}

bool py_interpreter_end(uint64_t timeout_ms, bool is_stuck, bool is_afresh)
{
    left_ms = timeout_ms;
    tell(is_stuck ? "end-stuck" : is_afresh ? "end-afresh" : "end");
    return is_ended;
}

void py_gil_release(void)
{
    tell("release-gil");
}

void py_gil_take(void)
{
    tell("take-gil");
}

bool py_task_close(uint64_t timeout_ms)
{
    tasks_ms = timeout_ms;
    tell("close-tasks");
    return are_tasks_closed;
}

void log_error(const char *event, const char *format, ...)
{
    tell(event);
}

void py_signals_close(void)
{
    tell("close-signals");
}

void py_interpreter_stop(void)
{
    tell("stop");
}

int start_error(const struct config_error *error, enum exit_code code)
{
    tell(error->message);
    return code;
}

int start_error_setting(const struct config_error *error, enum exit_code code)
{
    return start_error(error, code);
}

bool log_flush(void)
{
    tell("flush");
    return true;
}

void _exit(int code)
{
    longjmp(exited, code + 100);
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    is_home_wrong = is_start_wrong = false;
    is_ended = are_tasks_closed = true;
    told[0] = '\0';
    return 0;
}

static const struct py_options options;

static void
test_a_wrong_home_is_a_mistake_of_the_configuration_found_before_python_aborts(void **state)
{
    (void)state;
    is_home_wrong = true;
    assert_int_equal(start_python(&config, &options), EXIT_CONFIG);
    assert_string_equal(told, "home ");
}

static void test_python_that_does_not_start_is_no_mistake_of_the_configuration(void **state)
{
    (void)state;
    is_start_wrong = true;
    assert_int_equal(start_python(&config, &options), EXIT_RUN_TIME);
    is_start_wrong = false;
    assert_int_equal(start_python(&config, &options), 0);
}

/* A task of the supervisor may wait for the GIL. */
static void test_tasks_are_waited_for_without_the_gil_before_python_is_finalized(void **state)
{
    (void)state;
    assert_true(start_python_finalize(UINT64_MAX, false, false));
    assert_string_equal(told, "end release-gil close-tasks take-gil close-signals stop ");
}

static void test_python_is_not_finalized_under_a_thread_that_goes_on(void **state)
{
    (void)state;
    is_ended = false;
    assert_false(start_python_finalize(UINT64_MAX, true, false));
    assert_string_equal(told, "end-stuck release-gil close-tasks take-gil ");
    is_ended = true;
    are_tasks_closed = false;
    assert_false(start_python_finalize(UINT64_MAX, false, false));
    assert_string_equal(told, "end-stuck release-gil close-tasks take-gil "
                              "end release-gil close-tasks take-gil stop-tasks-busy ");
}

static void test_a_task_has_all_the_time_that_is_left_and_half_a_second_at_least(void **state)
{
    (void)state;
    assert_true(start_python_finalize(UINT64_MAX, false, false));
    assert_true(tasks_ms > UINT64_MAX / 2);
    assert_true(start_python_finalize(0, false, false));
    assert_int_equal(tasks_ms, 500);
}

static void test_before_a_retry_python_is_left_as_it_is(void **state)
{
    (void)state;
    assert_false(start_python_finalize(UINT64_MAX, false, true));
    assert_string_equal(told, "end-afresh release-gil close-tasks take-gil ");
}

static void test_no_time_is_left_once_the_deadline_has_passed(void **state)
{
    (void)state;
    start_python_finalize(1, false, false);
    assert_int_equal(left_ms, 0);
    start_python_finalize(clock_ms() + 1000000, false, false);
    assert_in_range(left_ms, 1, 1000000);
}

/* The code with which it returns; 100 more if it exits. */
static int finish(int code)
{
    told[0] = '\0';
    int result = setjmp(exited);
    return result != 0 ? result : start_python_finish(&config, code);
}

static void test_a_command_keeps_its_code_where_python_can_not_be_finalized(void **state)
{
    (void)state;
    assert_int_equal(finish(EXIT_APPLICATION), EXIT_APPLICATION);
    are_tasks_closed = false;
    assert_int_equal(finish(EXIT_APPLICATION), 100 + EXIT_APPLICATION);
    assert_int_equal(finish(EXIT_CLEAN), 100 + EXIT_RUN_TIME);
    assert_non_null(strstr(told, "flush"));
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_wrong_home_is_a_mistake_of_the_configuration_found_before_python_aborts),
        TEST(test_python_that_does_not_start_is_no_mistake_of_the_configuration),
        TEST(test_tasks_are_waited_for_without_the_gil_before_python_is_finalized),
        TEST(test_python_is_not_finalized_under_a_thread_that_goes_on),
        TEST(test_a_task_has_all_the_time_that_is_left_and_half_a_second_at_least),
        TEST(test_before_a_retry_python_is_left_as_it_is),
        TEST(test_no_time_is_left_once_the_deadline_has_passed),
        TEST(test_a_command_keeps_its_code_where_python_can_not_be_finalized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
