/* links: counters.c */
#include "unit.h"

#include "threads/counters.h"

static struct counters counters;
static struct counters_totals totals;

static int set_up(void **state)
{
    (void)state;
    memset(&counters, 0, sizeof(counters));
    memset(&totals, 0, sizeof(totals));
    return 0;
}

static void count(int status, uint64_t wait_us, uint64_t gil_us, uint64_t serve_us)
{
    struct request_times times = {.ready_us = 1000};
    times.taken_us = times.ready_us + wait_us;
    times.begun_us = times.taken_us + gil_us;
    times.ended_us = times.begun_us + serve_us;
    counters_count(&counters, status, &times);
}

static void test_each_status_is_counted_in_its_class(void **state)
{
    (void)state;
    static const int statuses[] = {200, 204, 302, 404, 400, 499, 503};
    for (size_t i = 0; i < COUNT(statuses); i++)
        count(statuses[i], 0, 0, 0);
    counters_sum(&counters, &totals);
    static const unsigned long long expected[COUNTERS_CLASSES] = {0, 2, 1, 3, 1};
    assert_memory_equal(totals.by_class, expected, sizeof(expected));
    assert_int_equal(totals.requests, COUNT(statuses));
}

static void test_a_request_without_a_status_is_counted_all_the_same(void **state)
{
    (void)state;
    count(0, 0, 0, 0);
    count(-1, 0, 0, 0);
    count(600, 0, 0, 0);
    counters_sum(&counters, &totals);
    assert_int_equal(totals.requests, 3);
    for (unsigned i = 0; i < COUNTERS_CLASSES; i++)
        assert_int_equal(totals.by_class[i], 0);
}

static void test_a_time_falls_into_the_first_bucket_that_takes_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNTERS_BOUNDS; i++) {
        count(200, counters_bounds_us[i], 0, 0);
        count(200, counters_bounds_us[i] + 1, 0, 0);
    }
    counters_sum(&counters, &totals);
    assert_int_equal(totals.wait.buckets[0], 1);
    for (unsigned i = 1; i < COUNTERS_BOUNDS; i++)
        assert_int_equal(totals.wait.buckets[i], 2);
    assert_int_equal(totals.wait.buckets[COUNTERS_BOUNDS], 1);
    assert_int_equal(totals.wait.count, 2 * COUNTERS_BOUNDS);
}

static void test_the_wait_is_a_part_of_the_duration_and_the_gil_one_of_the_wait(void **state)
{
    (void)state;
    count(200, 300, 40, 5);
    counters_sum(&counters, &totals);
    assert_int_equal(totals.wait.sum_us, 340);
    assert_int_equal(totals.duration.sum_us, 345);
    assert_int_equal(totals.gil_wait_us, 40);
}

static void test_threads_are_added_up(void **state)
{
    (void)state;
    count(200, 1, 2, 3);
    counters_add(&counters.slow, 2);
    counters_add(&counters.timeouts, 3);
    for (unsigned i = 0; i < 4; i++)
        counters_sum(&counters, &totals);
    assert_int_equal(totals.requests, 4);
    assert_int_equal(totals.duration.sum_us, 4 * 6);
    assert_int_equal(totals.slow, 8);
    assert_int_equal(totals.timeouts, 12);
}

static void test_a_clock_that_stands_still_makes_no_time_negative(void **state)
{
    (void)state;
    struct request_times times = {.ready_us = 9, .taken_us = 8, .begun_us = 7, .ended_us = 6};
    counters_count(&counters, 200, &times);
    counters_sum(&counters, &totals);
    assert_int_equal(totals.wait.sum_us + totals.duration.sum_us + totals.gil_wait_us, 0);
    assert_int_equal(totals.wait.buckets[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_status_is_counted_in_its_class, set_up),
        cmocka_unit_test_setup(test_a_request_without_a_status_is_counted_all_the_same, set_up),
        cmocka_unit_test_setup(test_a_time_falls_into_the_first_bucket_that_takes_it, set_up),
        cmocka_unit_test_setup(test_the_wait_is_a_part_of_the_duration_and_the_gil_one_of_the_wait,
                               set_up),
        cmocka_unit_test_setup(test_threads_are_added_up, set_up),
        cmocka_unit_test_setup(test_a_clock_that_stands_still_makes_no_time_negative, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
