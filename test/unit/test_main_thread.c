/* The supervisor's hold on the main thread, which is the test's own here.
 *
 * links: main_thread.c */
#include <errno.h>
#include <signal.h>

#include "life_fakes.h"

#include "base/clock.h"
#include "life/main_thread.h"

enum { CLEANUP_TIMEOUT_MS = 2000 };

static struct main_thread thread;
static volatile sig_atomic_t interruptions;

static void on_interrupt(int number)
{
    (void)number;
    interruptions++;
}

static int set_up(void **state)
{
    (void)state;
    signal(PY_INTERRUPT_SIGNAL, on_interrupt);
    forget();
    interruptions = 0;
    main_thread_init(&thread, CLEANUP_TIMEOUT_MS);
    return 0;
}

/* now_ms in units of the step's age. */
static uint64_t at(uint64_t age_ms)
{
    return thread.work.since_ms + age_ms;
}

static void test_a_slow_import_is_reported_once_and_the_next_one_again(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        forget();
        main_thread_begin_step(&thread, STEP_IMPORT, "application shop:app");
        thread.work.since_ms += (uint64_t)i; /* the clock may not have moved on */
        main_thread_report_slow_import(&thread, NULL, at(29999));
        assert_string_equal(told, "");
        main_thread_report_slow_import(&thread, NULL, at(31000));
        main_thread_report_slow_import(&thread, NULL, at(90000));
        assert_string_equal(told, "log_warning: application shop:app has been running for 31 s: "
                                  "it hangs, or is slow|stacks: a slow import|");
    }
}

static void test_a_slow_cleanup_is_not_reported_as_an_import(void **state)
{
    (void)state;
    main_thread_begin_step(&thread, STEP_CLEANUP, "close");
    main_thread_report_slow_import(&thread, NULL, at(90000));
    assert_string_equal(told, "");
}

static void
test_a_cleanup_of_a_failed_attempt_is_interrupted_after_its_time_and_then_four_times_a_second(
    void **state)
{
    (void)state;
    main_thread_begin_step(&thread, STEP_CLEANUP, "close");
    main_thread_interrupt_slow_cleanup(&thread, at(CLEANUP_TIMEOUT_MS - 1));
    assert_int_equal(interruptions, 0);
    main_thread_interrupt_slow_cleanup(&thread, at(CLEANUP_TIMEOUT_MS));
    main_thread_interrupt_slow_cleanup(&thread, at(CLEANUP_TIMEOUT_MS + 249));
    assert_int_equal(interruptions, 1);
    main_thread_interrupt_slow_cleanup(&thread, at(CLEANUP_TIMEOUT_MS + 250));
    assert_int_equal(interruptions, 2);
}

static void test_while_serving_nothing_but_a_cleanup_is_interrupted(void **state)
{
    (void)state;
    for (enum main_step step = STEP_NONE; step <= STEP_EXIT; step++) {
        if (step == STEP_CLEANUP)
            continue;
        main_thread_begin_step(&thread, step, "it");
        main_thread_interrupt_slow_cleanup(&thread, at(90000));
        assert_int_equal(interruptions, 0);
    }
}

/* How often a step is interrupted by one look, so long before the deadline. */
static int interruptions_before_deadline(enum main_step step, uint64_t left_ms)
{
    main_thread_begin_step(&thread, step, "it");
    thread.interrupted_ms = 0;
    interruptions = 0;
    main_thread_hurry(&thread, clock_ms() + left_ms, clock_ms());
    return interruptions;
}

static void test_an_import_is_interrupted_at_once_a_cleanup_only_when_time_runs_out(void **state)
{
    (void)state;
    assert_int_equal(interruptions_before_deadline(STEP_IMPORT, CLEANUP_TIMEOUT_MS), 1);
    assert_int_equal(interruptions_before_deadline(STEP_CLEANUP, CLEANUP_TIMEOUT_MS), 0);
    assert_int_equal(interruptions_before_deadline(STEP_THREADS, CLEANUP_TIMEOUT_MS), 0);
    assert_int_equal(interruptions_before_deadline(STEP_CLEANUP, CLEANUP_TIMEOUT_MS / 4), 1);
    assert_int_equal(interruptions_before_deadline(STEP_THREADS, CLEANUP_TIMEOUT_MS / 4), 1);
}

static void
test_python_s_own_end_and_the_application_s_code_between_steps_are_never_interrupted(void **state)
{
    (void)state;
    assert_int_equal(interruptions_before_deadline(STEP_EXIT, 0), 0);
    assert_int_equal(interruptions_before_deadline(STEP_NONE, 0), 0);
}

static void test_if_an_import_goes_on_the_cleanups_run_on_another_thread_once(void **state)
{
    (void)state;
    interruptions_before_deadline(STEP_IMPORT, CLEANUP_TIMEOUT_MS);
    assert_string_equal(told, "");
    for (int i = 0; i < 3; i++)
        interruptions_before_deadline(STEP_IMPORT, CLEANUP_TIMEOUT_MS / 2);
    char expected[256];
    snprintf(expected, sizeof(expected),
             "log_warning: stopping: an import does not end: the cleanups run on another thread|"
             "task %d|",
             PY_TASK_CLEANUPS);
    assert_string_equal(told, expected);
}

static void test_what_keeps_the_process_from_exiting_is_named(void **state)
{
    (void)state;
    char text[64];
    main_thread_describe(&thread, text, sizeof(text));
    assert_string_equal(text, "a thread that does not release the GIL");
    main_thread_begin_step(&thread, STEP_CLEANUP, "shop.db:close");
    main_thread_describe(&thread, text, sizeof(text));
    assert_string_equal(text, "the cleanup shop.db:close");
    main_thread_begin_step(&thread, STEP_EXIT, "an atexit function");
    main_thread_describe(&thread, text, sizeof(text));
    assert_string_equal(text, "an atexit function");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_a_slow_import_is_reported_once_and_the_next_one_again),
        TEST(test_a_slow_cleanup_is_not_reported_as_an_import),
        TEST(
            test_a_cleanup_of_a_failed_attempt_is_interrupted_after_its_time_and_then_four_times_a_second),
        TEST(test_while_serving_nothing_but_a_cleanup_is_interrupted),
        TEST(test_an_import_is_interrupted_at_once_a_cleanup_only_when_time_runs_out),
        TEST(test_python_s_own_end_and_the_application_s_code_between_steps_are_never_interrupted),
        TEST(test_if_an_import_goes_on_the_cleanups_run_on_another_thread_once),
        TEST(test_what_keeps_the_process_from_exiting_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
