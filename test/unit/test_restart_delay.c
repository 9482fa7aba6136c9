/* links: restart_delay.c */
#include "unit.h"

#include "manager/restart_delay.h"

static void test_workers_that_die_young_are_started_after_a_delay_that_doubles(void **state)
{
    struct restart_delay delay = {0};
    uint64_t now_ms = 5000;
    (void)state;
    for (uint64_t expected_ms = 100; expected_ms < 30000; expected_ms *= 2) {
        assert_int_equal(restart_delay_died(&delay, now_ms, now_ms + 9999), expected_ms);
        assert_int_equal(delay.until_ms, now_ms + 9999 + expected_ms);
        now_ms = delay.until_ms;
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(restart_delay_died(&delay, now_ms, now_ms), 30000);
}

static void test_one_that_has_lived_for_ten_seconds_is_replaced_at_once(void **state)
{
    struct restart_delay delay = {0};
    (void)state;
    restart_delay_died(&delay, 0, 1);
    restart_delay_died(&delay, 101, 102);
    assert_int_equal(restart_delay_died(&delay, 1000, 11000), 0);
    assert_int_equal(delay.until_ms, 11000);
    /* and the delays begin anew */
    assert_int_equal(restart_delay_died(&delay, 11000, 11001), 100);
}

static void test_a_replacement_that_fails_is_tried_again_after_a_second_and_then_twice_that(
    void **state)
{
    struct restart_delay delay = {0};
    (void)state;
    for (uint64_t expected_ms = 1000; expected_ms < 60000; expected_ms *= 2) {
        restart_delay_not_replaced(&delay, 7);
        assert_int_equal(delay.until_ms, 7 + expected_ms);
    }
    restart_delay_not_replaced(&delay, 7);
    assert_int_equal(delay.until_ms, 7 + 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_that_die_young_are_started_after_a_delay_that_doubles),
        cmocka_unit_test(test_one_that_has_lived_for_ten_seconds_is_replaced_at_once),
        cmocka_unit_test(
            test_a_replacement_that_fails_is_tried_again_after_a_second_and_then_twice_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
