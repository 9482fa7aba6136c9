/* links: turn_policy.c turn.c */
#include "unit.h"

#include "threads/turn_policy.h"

static struct turn_policy pace;
static struct turn_policy_runner runner;

static int set_up(void **state)
{
    (void)state;
    turn_policy_init(&pace);
    runner = (struct turn_policy_runner){.pace = &pace, .number = 1};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    turn_policy_destroy(&pace);
    return 0;
}

/* As if the application had taken that long, so many times. */
static void serve(unsigned times, uint64_t took_us)
{
    for (unsigned i = 0; i < times; i++) {
        turn_policy_take(&runner);
        turn_policy_await_gil(&runner);
        assert_true(turn_policy_begin_application(&runner));
        runner.application_began_us -= took_us;
        turn_policy_end_application(&runner);
    }
}

static bool is_slow(void)
{
    serve(1, 0);
    return runner.is_slow;
}

static void test_the_turn_is_kept_while_applications_are_fast(void **state)
{
    (void)state;
    serve(100, 1);
    assert_false(runner.is_slow);
    assert_true(runner.has_turn);
    assert_true(turn_reclaim(&pace.turn, 1));
}

static void test_the_turn_is_passed_once_applications_are_slow(void **state)
{
    (void)state;
    serve(100, 10 * TURN_POLICY_SLOW_US);
    assert_true(runner.is_slow);
    assert_false(runner.has_turn);
    assert_false(turn_reclaim(&pace.turn, 1));
}

static void test_one_slow_request_among_many_is_not_enough_however_slow(void **state)
{
    (void)state;
    serve(100, 1);
    serve(1, 60000000);
    assert_false(is_slow());
}

static void test_slow_applications_are_fast_again_after_some_requests(void **state)
{
    (void)state;
    serve(100, 10 * TURN_POLICY_SLOW_US);
    assert_true(is_slow());
    serve(3 * TURN_POLICY_WEIGHT, 1);
    assert_false(is_slow());
}

static void test_a_request_is_withdrawn_only_while_its_thread_waits_for_the_gil(void **state)
{
    (void)state;
    assert_false(turn_policy_withdraw(&runner));
    turn_policy_take(&runner);
    turn_policy_await_gil(&runner);
    assert_true(turn_policy_withdraw(&runner));
    assert_false(turn_policy_withdraw(&runner));
    assert_false(turn_policy_begin_application(&runner));
    turn_policy_await_gil(&runner);
    assert_true(turn_policy_begin_application(&runner));
    assert_false(turn_policy_withdraw(&runner));
}

static void test_who_has_passed_the_turn_gives_nothing_away(void **state)
{
    (void)state;
    turn_policy_take(&runner);
    turn_policy_pass(&runner);
    struct turn_policy_runner other = {.pace = &pace, .number = 2};
    turn_policy_take(&other);
    turn_policy_offer(&runner);
    turn_policy_pass(&runner);
    turn_policy_await_gil(&runner);
    assert_true(turn_reclaim(&pace.turn, 2));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_turn_is_kept_while_applications_are_fast),
        TEST(test_the_turn_is_passed_once_applications_are_slow),
        TEST(test_one_slow_request_among_many_is_not_enough_however_slow),
        TEST(test_slow_applications_are_fast_again_after_some_requests),
        TEST(test_a_request_is_withdrawn_only_while_its_thread_waits_for_the_gil),
        TEST(test_who_has_passed_the_turn_gives_nothing_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
