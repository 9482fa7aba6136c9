/* links: process_notify.c */
/* What a process tells the service manager, or its own, and when Python is asked. */
#include "sd_notify_fakes.h"

#include "base/log_line.h"
#include "embed/py_task.h"
#include "life/process_notify.h"
#include "life/reexec.h"
#include "status/collector.h"

static struct handover *fake_predecessor;
static struct program_figures start;
static bool has_start, is_task_under_way;
static struct config config = {.threads = 4, .drain_timeout_ms = 5000, .cleanup_timeout_ms = 2000};
static struct manager_link fake_link;
static struct process_notify service;

const struct handover *reexec_predecessor(void)
{
    return fake_predecessor;
}

void log_line_split_time(const struct timespec *time, struct tm *fields)
{
    (void)time;
    *fields = (struct tm){.tm_hour = 13, .tm_min = 4, .tm_sec = 5};
}

bool collector_get_start(struct program_figures *out)
{
    *out = start;
    return has_start;
}

void py_task_start(enum py_task task)
{
    assert_int_equal(task, PY_TASK_ANSWER);
    tell("ask|");
}

bool py_task_is_under_way(enum py_task task)
{
    (void)task;
    return is_task_under_way;
}

void manager_link_tell_start(struct manager_link *link, const struct worker_start *message)
{
    (void)link;
    tell("worker %s|", message->text);
}

void manager_link_tell_alive(struct manager_link *link)
{
    (void)link;
    tell("worker lives|");
}

static int set_up(void **state)
{
    (void)state;
    told[0] = '\0';
    fake_predecessor = NULL;
    has_start = is_task_under_way = false;
    watchdog_ms = 0;
    fake_link = (struct manager_link){.is_managed = false};
    start = (struct program_figures){.name = "shop:app", .state = PROGRAM_LOADING, .attempts = 1};
    process_notify_init(&service, &config, &fake_link);
    return 0;
}

/* The attempt fails; the next one comes 4 s after 1000. */
static void fail_attempt(unsigned attempts)
{
    has_start = true;
    start.state = PROGRAM_FAILED;
    start.attempts = attempts;
    start.next_attempt_ms = 5000;
}

static void test_each_step_of_the_start_is_told_once(void **state)
{
    (void)state;
    has_start = true;
    process_notify_tell(&service, false, 1000);
    process_notify_tell(&service, false, 1500);
    expect_told("starting shop:app: loading, attempt 1 0|");
    fail_attempt(1);
    process_notify_tell(&service, false, 1000);
    process_notify_tell(&service, false, 1500);
    expect_told(
        "starting shop:app: attempt 1 failed, the next one comes in 4.0 s (13:04:05) 94000|");
    fail_attempt(2);
    process_notify_tell(&service, false, 1000);
    expect_told(
        "starting shop:app: attempt 2 failed, the next one comes in 4.0 s (13:04:05) 94000|");
    process_notify_tell(&service, true, 1000);
    process_notify_tell(&service, true, 1500);
    expect_told("ready serving shop:app with 4 threads|");
}

static void test_a_long_attempt_gets_twice_its_time(void **state)
{
    (void)state;
    fail_attempt(1);
    start.tried_ms = 200000;
    assert_int_equal(process_notify_extend_ms(&start, 1000), 404000);
    start.next_attempt_ms = 0;
    assert_int_equal(process_notify_extend_ms(&start, 1000), 0);
}

static void test_a_fresh_interpreter_does_not_repeat_what_its_predecessor_told(void **state)
{
    static struct handover predecessor = {.is_start_again = true};
    (void)state;
    fake_predecessor = &predecessor;
    fail_attempt(1);
    process_notify_tell(&service, false, 1000);
    expect_told("");
    fail_attempt(2);
    process_notify_tell(&service, false, 1000);
    expect_told(
        "starting shop:app: attempt 2 failed, the next one comes in 4.0 s (13:04:05) 94000|");
}

static void test_a_worker_tells_its_manager(void **state)
{
    (void)state;
    fake_link.is_managed = true;
    fail_attempt(1);
    process_notify_tell(&service, false, 1000);
    expect_told("worker shop:app: attempt 1 failed, the next one comes in 4.0 s (13:04:05)|");
    process_notify_tell(&service, true, 1000);
    process_notify_tell_reopened(&service);
    process_notify_tell_drain(&service, "SIGTERM", false);
    expect_told("");
}

static void test_a_reopened_log_is_a_reload_once_it_serves(void **state)
{
    (void)state;
    process_notify_tell_reopened(&service);
    expect_told("");
    process_notify_tell(&service, true, 1000);
    told[0] = '\0';
    process_notify_tell_reopened(&service);
    expect_told("reloading opening the log again|ready serving shop:app with 4 threads|");
}

static void test_the_end_is_one_unless_a_fresh_program_goes_on(void **state)
{
    (void)state;
    process_notify_tell_drain(&service, "SIGTERM", false);
    expect_told("stopping: SIGTERM 12000|");
    process_notify_tell_drain(&service, "[limits] requests", true);
    expect_told("reloading [limits] requests|");
}

static void test_the_watchdog_is_fed_when_python_has_answered(void **state)
{
    (void)state;
    process_notify_watch(&service, 1000);
    expect_told("");
    watchdog_ms = 4000;
    process_notify_watch(&service, 1000);
    expect_told("ask|");
    is_task_under_way = true;
    process_notify_watch(&service, 9000);
    expect_told("");
    is_task_under_way = false;
    process_notify_watch(&service, 9100);
    expect_told("alive|ask|");
    process_notify_watch(&service, 9200);
    expect_told("alive|");
    process_notify_watch(&service, 10099);
    expect_told("");
    fake_link.is_managed = true;
    process_notify_watch(&service, 10100);
    process_notify_watch(&service, 10200);
    expect_told("ask|worker lives|");
}

static void test_ticks_are_short_enough_for_the_watchdog(void **state)
{
    (void)state;
    assert_int_equal(process_notify_wait_ms(500), 500);
    watchdog_ms = 2000;
    assert_int_equal(process_notify_wait_ms(500), 250);
    watchdog_ms = 60000;
    assert_int_equal(process_notify_wait_ms(500), 500);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup(function, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_each_step_of_the_start_is_told_once),
        TEST(test_a_long_attempt_gets_twice_its_time),
        TEST(test_a_fresh_interpreter_does_not_repeat_what_its_predecessor_told),
        TEST(test_a_worker_tells_its_manager),
        TEST(test_a_reopened_log_is_a_reload_once_it_serves),
        TEST(test_the_end_is_one_unless_a_fresh_program_goes_on),
        TEST(test_the_watchdog_is_fed_when_python_has_answered),
        TEST(test_ticks_are_short_enough_for_the_watchdog),
    };

    return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
