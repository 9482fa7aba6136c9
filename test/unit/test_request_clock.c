/* links: request_clock.c */
#include "unit.h"

#include "threads/request_clock.h"

static const struct request_clock_limits both = {.slow_ms = 500, .timeout_ms = 1000};

static struct request_clock_view view_of(unsigned long long serial, uint64_t since_ms)
{
    return (struct request_clock_view){
        .serial = serial, .since_ms = since_ms, .phase = REQUEST_CLOCK_RUNS};
}

static void test_each_thing_is_due_once_at_its_time(void **state)
{
    (void)state;
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view view = view_of(1, 10000);
    assert_int_equal(request_clock_step(&entry, &both, &view, 10499), 0);
    assert_int_equal(request_clock_step(&entry, &both, &view, 10500), REQUEST_CLOCK_SLOW);
    assert_int_equal(request_clock_step(&entry, &both, &view, 10999), 0);
    assert_int_equal(request_clock_step(&entry, &both, &view, 11000), REQUEST_CLOCK_TIMEOUT);
    assert_int_equal(request_clock_step(&entry, &both, &view, 11000 + REQUEST_CLOCK_GRACE_MS - 1),
                     0);
    assert_int_equal(request_clock_step(&entry, &both, &view, 11000 + REQUEST_CLOCK_GRACE_MS),
                     REQUEST_CLOCK_RETIRE);
    assert_int_equal(request_clock_step(&entry, &both, &view, 99000), 0);
}

static void test_who_looks_late_still_leaves_the_request_its_grace(void **state)
{
    (void)state;
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view view = view_of(1, 10000);
    assert_int_equal(request_clock_step(&entry, &both, &view, 50000),
                     REQUEST_CLOCK_SLOW | REQUEST_CLOCK_TIMEOUT);
    assert_int_equal(request_clock_step(&entry, &both, &view, 50000 + REQUEST_CLOCK_GRACE_MS - 1),
                     0);
    assert_int_equal(request_clock_step(&entry, &both, &view, 50000 + REQUEST_CLOCK_GRACE_MS),
                     REQUEST_CLOCK_RETIRE);
}

static void test_the_next_request_of_a_thread_starts_from_the_beginning(void **state)
{
    (void)state;
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view first = view_of(1, 10000), second = view_of(2, 11000);
    request_clock_step(&entry, &both, &first, 11000);
    assert_int_equal(request_clock_step(&entry, &both, &second, 11499), 0);
    assert_int_equal(request_clock_step(&entry, &both, &second, 11999), REQUEST_CLOCK_SLOW);
    assert_int_equal(
        request_clock_step(&entry, &both, &second, 11000 + REQUEST_CLOCK_GRACE_MS + 999),
        REQUEST_CLOCK_TIMEOUT);
}

static void test_what_is_0_is_never_due(void **state)
{
    (void)state;
    static const struct request_clock_limits neither = {.slow_ms = 0};
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view view = view_of(1, 0);
    assert_int_equal(request_clock_step(&entry, &neither, &view, UINT64_MAX / 2), 0);
    assert_int_equal(request_clock_wait_ms(&entry, &neither, &view, 5, 700), 700);
}

static void test_a_client_that_has_left_is_told_once_and_never_retires_the_process(void **state)
{
    (void)state;
    static const struct request_clock_limits neither = {.slow_ms = 0};
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view view = view_of(1, 10000);
    assert_int_equal(request_clock_step(&entry, &neither, &view, 10001), 0);
    view.is_client_gone = true;
    assert_int_equal(request_clock_step(&entry, &neither, &view, 10002), REQUEST_CLOCK_GONE);
    assert_int_equal(
        request_clock_step(&entry, &neither, &view, 10002 + 100 * REQUEST_CLOCK_GRACE_MS), 0);
}

static void test_a_clock_that_was_read_before_the_request_began_is_no_age(void **state)
{
    (void)state;
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view view = view_of(1, 10000);
    assert_int_equal(request_clock_step(&entry, &both, &view, 9999), 0);
}

static void test_the_wait_lasts_until_the_next_thing_is_due(void **state)
{
    (void)state;
    struct request_clock_entry entry = {.serial = 0};
    struct request_clock_view view = view_of(1, 10000);
    assert_int_equal(request_clock_wait_ms(&entry, &both, &view, 10100, 900), 400);
    assert_int_equal(request_clock_wait_ms(&entry, &both, &view, 10100, 300), 300);
    request_clock_step(&entry, &both, &view, 10500);
    assert_int_equal(request_clock_wait_ms(&entry, &both, &view, 10500, 900), 500);
    assert_int_equal(request_clock_wait_ms(&entry, &both, &view, 12000, 900), 0);
    request_clock_step(&entry, &both, &view, 11000);
    assert_int_equal(request_clock_wait_ms(&entry, &both, &view, 11000, 60000),
                     REQUEST_CLOCK_GRACE_MS);
    request_clock_step(&entry, &both, &view, 11000 + REQUEST_CLOCK_GRACE_MS);
    assert_int_equal(request_clock_wait_ms(&entry, &both, &view, 99000, 900), 900);
}

static void test_only_a_thread_that_works_is_seen(void **state)
{
    (void)state;
    struct request_clock work = {.phase = REQUEST_CLOCK_IDLE};
    struct request_clock_view view;
    assert_false(request_clock_look(&work, &view));
    request_clock_begin(&work, 77);
    assert_true(request_clock_look(&work, &view));
    assert_int_equal(view.serial, 1);
    assert_int_equal(view.since_ms, 77);
    assert_int_equal(view.phase, REQUEST_CLOCK_GIL);
    request_clock_enter(&work);
    assert_true(request_clock_look(&work, &view));
    assert_int_equal(view.phase, REQUEST_CLOCK_RUNS);
    request_clock_leave(&work);
    assert_false(request_clock_look(&work, &view));
    request_clock_begin(&work, 78);
    assert_true(request_clock_look(&work, &view));
    assert_int_equal(view.serial, 2);
}

static void test_what_is_wanted_for_one_request_is_not_wanted_for_the_next(void **state)
{
    (void)state;
    struct request_clock work = {.phase = REQUEST_CLOCK_IDLE};
    request_clock_begin(&work, 1);
    request_clock_want(&work, 1, REQUEST_CLOCK_SLOW);
    request_clock_want(&work, 1, REQUEST_CLOCK_TIMEOUT);
    assert_int_equal(request_clock_wanted(&work), REQUEST_CLOCK_SLOW | REQUEST_CLOCK_TIMEOUT);
    request_clock_set_done(&work, REQUEST_CLOCK_SLOW);
    assert_int_equal(request_clock_wanted(&work), REQUEST_CLOCK_TIMEOUT);
    request_clock_begin(&work, 2);
    assert_int_equal(request_clock_wanted(&work), 0);
    request_clock_want(&work, 1, REQUEST_CLOCK_GONE); /* decided before it saw the second */
    assert_int_equal(request_clock_wanted(&work), 0);
    request_clock_want(&work, 2, REQUEST_CLOCK_GONE);
    assert_int_equal(request_clock_wanted(&work), REQUEST_CLOCK_GONE);
    request_clock_set_done(&work, REQUEST_CLOCK_GONE);
    assert_int_equal(request_clock_wanted(&work), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_thing_is_due_once_at_its_time),
        cmocka_unit_test(test_who_looks_late_still_leaves_the_request_its_grace),
        cmocka_unit_test(test_the_next_request_of_a_thread_starts_from_the_beginning),
        cmocka_unit_test(test_what_is_0_is_never_due),
        cmocka_unit_test(test_a_client_that_has_left_is_told_once_and_never_retires_the_process),
        cmocka_unit_test(test_a_clock_that_was_read_before_the_request_began_is_no_age),
        cmocka_unit_test(test_the_wait_lasts_until_the_next_thing_is_due),
        cmocka_unit_test(test_only_a_thread_that_works_is_seen),
        cmocka_unit_test(test_what_is_wanted_for_one_request_is_not_wanted_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
