/* The deadlines over two threads, with Python's part only written down.
 *
 * links: request_deadlines.c request_clock.c activity.c counters.c */
#include "unit.h"

#include <stdlib.h>

#include "base/log.h"
#include "embed/py_stacks.h"
#include "embed/py_task.h"
#include "http/request.h"
#include "life/request_deadlines.h"

enum { START = 100000 };

static struct config config;
static struct activities activities;
static struct request_deadlines deadlines;
static struct request request;
static char told[1024];
static unsigned tasks, raw_stacks;
static bool is_task_stuck, has_left;

void log_error(const char *event, const char *format, ...)
{
    (void)event;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(told, sizeof(told), format, arguments);
    va_end(arguments);
}

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    (void)level, (void)topic;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(told, sizeof(told), format, arguments);
    va_end(arguments);
}

void request_describe(const struct request *described, char *text, size_t text_bytes)
{
    (void)described;
    snprintf(text, text_bytes, "GET /slow");
}

bool request_has_peer_left(struct request *asked)
{
    assert_ptr_equal(asked, &request);
    return has_left;
}

void scoreboard_set(struct scoreboard_thread *thread, const char *text, uint64_t since_ms)
{
    (void)thread;
    (void)text;
    (void)since_ms;
}

void py_task_start(enum py_task task)
{
    assert_int_equal(task, PY_TASK_OVERDUE);
    tasks++;
}

bool py_task_is_under_way(enum py_task task)
{
    assert_int_equal(task, PY_TASK_OVERDUE);
    return tasks > 0 && is_task_stuck;
}

void py_stacks_log_from_outside(const struct activities *of, const char *why)
{
    (void)of;
    (void)why;
    raw_stacks++;
}

static int set_up(void **state)
{
    (void)state;
    config = (struct config){.request_time_ms = 1000};
    told[0] = '\0';
    tasks = raw_stacks = 0;
    is_task_stuck = has_left = false;
    assert_int_equal(activities_init(&activities, 2), 0);
    activities.count = 2;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(deadlines.entries);
    free(activities.items);
    return 0;
}

static void start(void)
{
    assert_int_equal(request_deadlines_init(&deadlines, &config, &activities), 0);
}

/* A thread begins a request at a time of the test's. */
static struct request_clock *begin(unsigned i, uint64_t now_ms)
{
    activity_begin(&activities.items[i], &request);
    request_clock_begin(&activities.items[i].work, now_ms);
    return &activities.items[i].work;
}

static void test_with_no_limit_nobody_is_looked_at(void **state)
{
    (void)state;
    config.request_time_ms = 0;
    start();
    request_clock_enter(begin(0, START));
    assert_false(request_deadlines_step(&deadlines, START + 3600000));
    assert_int_equal(request_deadlines_wait_ms(&deadlines, START, 500), 500);
    assert_int_equal(tasks, 0);
}

static void test_each_request_has_a_deadline_of_its_own(void **state)
{
    (void)state;
    start();
    struct request_clock *first = begin(0, START), *second = begin(1, START + 900);
    request_clock_enter(first);
    request_clock_enter(second);
    assert_int_equal(request_deadlines_wait_ms(&deadlines, START + 600, 500), 400);
    assert_false(request_deadlines_step(&deadlines, START + 999));
    assert_int_equal(tasks, 0);
    assert_false(request_deadlines_step(&deadlines, START + 1000));
    assert_int_equal(request_clock_wanted(first), REQUEST_CLOCK_TIMEOUT);
    assert_int_equal(request_clock_wanted(second), 0);
    assert_int_equal(tasks, 1);
    assert_int_equal(activities.items[0].counters->timeouts, 1);
    assert_int_equal(activities.items[1].counters->timeouts, 0);
    assert_int_equal(activities.items[0].counters->slow, 0);
}

static void test_what_could_not_be_raised_yet_is_tried_again_soon(void **state)
{
    (void)state;
    start();
    struct request_clock *work = begin(0, START);
    request_clock_enter(work);
    request_deadlines_step(&deadlines, START + 1000);
    assert_in_range(request_deadlines_wait_ms(&deadlines, START + 1001, 500), 1, 100);
    request_deadlines_step(&deadlines, START + 1050);
    assert_int_equal(tasks, 2);
    request_clock_set_done(work, REQUEST_CLOCK_TIMEOUT);
    request_deadlines_step(&deadlines, START + 1100);
    assert_int_equal(tasks, 2);
}

static void test_one_that_goes_on_retires_the_process_once_and_is_named(void **state)
{
    (void)state;
    start();
    request_clock_enter(begin(0, START));
    request_clock_enter(begin(1, START));
    assert_false(request_deadlines_step(&deadlines, START + 1000));
    assert_false(request_deadlines_step(&deadlines, START + 5999));
    assert_true(request_deadlines_step(&deadlines, START + 6000));
    assert_non_null(strstr(told, "GET /slow: did not end within 5 s"));
    assert_false(request_deadlines_step(&deadlines, START + 6500));
}

static void test_one_that_ends_in_time_retires_nothing(void **state)
{
    (void)state;
    start();
    request_clock_enter(begin(0, START));
    request_deadlines_step(&deadlines, START + 1000);
    activity_end_application(&activities.items[0]);
    assert_false(request_deadlines_step(&deadlines, START + 7000));
    activity_end(&activities.items[0]);
    request_clock_enter(begin(0, START + 7000));
    assert_false(request_deadlines_step(&deadlines, START + 7001));
    assert_string_equal(told, "");
}

static void test_an_task_is_not_waited_for_and_no_second_one_is_sent(void **state)
{
    (void)state;
    start();
    is_task_stuck = true;
    request_clock_enter(begin(0, START));
    request_deadlines_step(&deadlines, START + 1000);
    request_deadlines_step(&deadlines, START + 2999);
    assert_int_equal(raw_stacks, 0);
    request_deadlines_step(&deadlines, START + 3000);
    request_deadlines_step(&deadlines, START + 4000);
    assert_int_equal(tasks, 1);
    assert_int_equal(raw_stacks, 1);
}

static void test_a_wedged_gil_is_noticed_after_30_s_while_a_request_waits_for_it(void **state)
{
    (void)state;
    config.request_time_ms = 3600000;
    start();
    is_task_stuck = true;
    begin(0, START);
    assert_false(request_deadlines_step(&deadlines, START + 999));
    assert_int_equal(tasks, 0);
    assert_false(request_deadlines_step(&deadlines, START + 1000));
    assert_int_equal(tasks, 1);
    assert_false(request_deadlines_step(&deadlines, START + 30999));
    assert_true(request_deadlines_step(&deadlines, START + 31000));
    assert_non_null(strstr(told, "no thread could take the GIL for 30 s"));
    assert_false(request_deadlines_step(&deadlines, START + 32000));
}

static void test_a_gil_that_is_only_hard_to_get_is_not_wedged(void **state)
{
    (void)state;
    config.request_time_ms = 3600000;
    start();
    is_task_stuck = true;
    begin(0, START);
    request_deadlines_step(&deadlines, START + 1000);
    is_task_stuck = false; /* the task had its turn */
    request_deadlines_step(&deadlines, START + 20000);
    is_task_stuck = true;
    assert_false(request_deadlines_step(&deadlines, START + 40000));
}

static void test_without_request_time_a_wedged_gil_is_left_alone(void **state)
{
    (void)state;
    config.request_time_ms = 0;
    config.slow_request_ms = 1000;
    start();
    is_task_stuck = true;
    begin(0, START);
    request_deadlines_step(&deadlines, START + 1000);
    assert_false(request_deadlines_step(&deadlines, START + 100000));
}

static void test_slow_requests_are_counted_and_wanted_once(void **state)
{
    (void)state;
    config.request_time_ms = 0;
    config.slow_request_ms = 100;
    start();
    struct request_clock *work = begin(1, START);
    request_clock_enter(work);
    request_deadlines_step(&deadlines, START + 100);
    assert_int_equal(request_clock_wanted(work), REQUEST_CLOCK_SLOW);
    request_deadlines_step(&deadlines, START + 200);
    assert_int_equal(activities.items[1].counters->slow, 1);
    assert_false(request_deadlines_step(&deadlines, START + 100000));
}

static void test_clients_are_looked_at_only_if_that_is_wished(void **state)
{
    (void)state;
    has_left = true;
    start();
    struct request_clock *work = begin(0, START);
    request_clock_enter(work);
    request_deadlines_step(&deadlines, START + 1);
    assert_int_equal(request_clock_wanted(work), 0);
    free(deadlines.entries);
    config.client_gone = CLIENT_GONE_INTERRUPT;
    config.request_time_ms = 0;
    start();
    assert_in_range(request_deadlines_wait_ms(&deadlines, START, 500), 1, 499);
    request_deadlines_step(&deadlines, START + 2);
    assert_int_equal(request_clock_wanted(work), REQUEST_CLOCK_GONE);
    assert_false(request_deadlines_step(&deadlines, START + 100000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_with_no_limit_nobody_is_looked_at),
        TEST(test_each_request_has_a_deadline_of_its_own),
        TEST(test_what_could_not_be_raised_yet_is_tried_again_soon),
        TEST(test_one_that_goes_on_retires_the_process_once_and_is_named),
        TEST(test_one_that_ends_in_time_retires_nothing),
        TEST(test_an_task_is_not_waited_for_and_no_second_one_is_sent),
        TEST(test_a_wedged_gil_is_noticed_after_30_s_while_a_request_waits_for_it),
        TEST(test_a_gil_that_is_only_hard_to_get_is_not_wedged),
        TEST(test_without_request_time_a_wedged_gil_is_left_alone),
        TEST(test_slow_requests_are_counted_and_wanted_once),
        TEST(test_clients_are_looked_at_only_if_that_is_wished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
