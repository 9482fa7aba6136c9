/* The deadlines over two threads, with Python's part only written down.
 *
 * links: request_deadlines.c work.c activity.c counters.c */
#include "unit.h"

#include <stdlib.h>

#include "base/log.h"
#include "embed/py_errand.h"
#include "embed/py_stacks.h"
#include "http/request.h"
#include "life/request_deadlines.h"

enum { START = 100000 };

static struct config config;
static struct activities activities;
static struct request_deadlines deadlines;
static struct request request;
static char told[1024];
static unsigned errands, raw_stacks;
static bool is_errand_stuck, has_left;

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

void board_set(struct board_thread *thread, const char *text, uint64_t since_ms)
{
    (void)thread;
    (void)text;
    (void)since_ms;
}

void py_errand_start(enum py_errand errand)
{
    assert_int_equal(errand, PY_ERRAND_OVERDUE);
    errands++;
}

bool py_errand_is_under_way(enum py_errand errand)
{
    assert_int_equal(errand, PY_ERRAND_OVERDUE);
    return errands > 0 && is_errand_stuck;
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
    errands = raw_stacks = 0;
    is_errand_stuck = has_left = false;
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
static struct work *begin(unsigned i, uint64_t now_ms)
{
    activity_begin(&activities.items[i], &request);
    work_begin(&activities.items[i].work, now_ms);
    return &activities.items[i].work;
}

static void test_with_no_limit_nobody_is_looked_at(void **state)
{
    (void)state;
    config.request_time_ms = 0;
    start();
    work_enter(begin(0, START));
    assert_false(request_deadlines_step(&deadlines, START + 3600000));
    assert_int_equal(request_deadlines_wait_ms(&deadlines, START, 500), 500);
    assert_int_equal(errands, 0);
}

static void test_each_request_has_a_deadline_of_its_own(void **state)
{
    (void)state;
    start();
    struct work *first = begin(0, START), *second = begin(1, START + 900);
    work_enter(first);
    work_enter(second);
    assert_int_equal(request_deadlines_wait_ms(&deadlines, START + 600, 500), 400);
    assert_false(request_deadlines_step(&deadlines, START + 999));
    assert_int_equal(errands, 0);
    assert_false(request_deadlines_step(&deadlines, START + 1000));
    assert_int_equal(work_wanted(first), WORK_TIMEOUT);
    assert_int_equal(work_wanted(second), 0);
    assert_int_equal(errands, 1);
    assert_int_equal(activities.items[0].counters->timeouts, 1);
    assert_int_equal(activities.items[1].counters->timeouts, 0);
    assert_int_equal(activities.items[0].counters->slow, 0);
}

static void test_what_could_not_be_raised_yet_is_tried_again_soon(void **state)
{
    (void)state;
    start();
    struct work *work = begin(0, START);
    work_enter(work);
    request_deadlines_step(&deadlines, START + 1000);
    assert_in_range(request_deadlines_wait_ms(&deadlines, START + 1001, 500), 1, 100);
    request_deadlines_step(&deadlines, START + 1050);
    assert_int_equal(errands, 2);
    work_set_done(work, WORK_TIMEOUT);
    request_deadlines_step(&deadlines, START + 1100);
    assert_int_equal(errands, 2);
}

static void test_one_that_goes_on_retires_the_process_once_and_is_named(void **state)
{
    (void)state;
    start();
    work_enter(begin(0, START));
    work_enter(begin(1, START));
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
    work_enter(begin(0, START));
    request_deadlines_step(&deadlines, START + 1000);
    activity_end_application(&activities.items[0]);
    assert_false(request_deadlines_step(&deadlines, START + 7000));
    activity_end(&activities.items[0]);
    work_enter(begin(0, START + 7000));
    assert_false(request_deadlines_step(&deadlines, START + 7001));
    assert_string_equal(told, "");
}

static void test_an_errand_is_not_waited_for_and_no_second_one_is_sent(void **state)
{
    (void)state;
    start();
    is_errand_stuck = true;
    work_enter(begin(0, START));
    request_deadlines_step(&deadlines, START + 1000);
    request_deadlines_step(&deadlines, START + 2999);
    assert_int_equal(raw_stacks, 0);
    request_deadlines_step(&deadlines, START + 3000);
    request_deadlines_step(&deadlines, START + 4000);
    assert_int_equal(errands, 1);
    assert_int_equal(raw_stacks, 1);
}

static void test_a_wedged_gil_is_noticed_after_30_s_while_a_request_waits_for_it(void **state)
{
    (void)state;
    config.request_time_ms = 3600000;
    start();
    is_errand_stuck = true;
    begin(0, START);
    assert_false(request_deadlines_step(&deadlines, START + 999));
    assert_int_equal(errands, 0);
    assert_false(request_deadlines_step(&deadlines, START + 1000));
    assert_int_equal(errands, 1);
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
    is_errand_stuck = true;
    begin(0, START);
    request_deadlines_step(&deadlines, START + 1000);
    is_errand_stuck = false; /* the errand had its turn */
    request_deadlines_step(&deadlines, START + 20000);
    is_errand_stuck = true;
    assert_false(request_deadlines_step(&deadlines, START + 40000));
}

static void test_without_request_time_a_wedged_gil_is_left_alone(void **state)
{
    (void)state;
    config.request_time_ms = 0;
    config.slow_request_ms = 1000;
    start();
    is_errand_stuck = true;
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
    struct work *work = begin(1, START);
    work_enter(work);
    request_deadlines_step(&deadlines, START + 100);
    assert_int_equal(work_wanted(work), WORK_SLOW);
    request_deadlines_step(&deadlines, START + 200);
    assert_int_equal(activities.items[1].counters->slow, 1);
    assert_false(request_deadlines_step(&deadlines, START + 100000));
}

static void test_clients_are_looked_at_only_if_that_is_wished(void **state)
{
    (void)state;
    has_left = true;
    start();
    struct work *work = begin(0, START);
    work_enter(work);
    request_deadlines_step(&deadlines, START + 1);
    assert_int_equal(work_wanted(work), 0);
    free(deadlines.entries);
    config.client_gone = CLIENT_GONE_INTERRUPT;
    config.request_time_ms = 0;
    start();
    assert_in_range(request_deadlines_wait_ms(&deadlines, START, 500), 1, 499);
    request_deadlines_step(&deadlines, START + 2);
    assert_int_equal(work_wanted(work), WORK_GONE);
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
        TEST(test_an_errand_is_not_waited_for_and_no_second_one_is_sent),
        TEST(test_a_wedged_gil_is_noticed_after_30_s_while_a_request_waits_for_it),
        TEST(test_a_gil_that_is_only_hard_to_get_is_not_wedged),
        TEST(test_without_request_time_a_wedged_gil_is_left_alone),
        TEST(test_slow_requests_are_counted_and_wanted_once),
        TEST(test_clients_are_looked_at_only_if_that_is_wished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
