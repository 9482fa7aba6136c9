/* links: pace.c turn.c */
#include "unit.h"

#include "threads/pace.h"

static struct pace pace;
static struct pace_runner runner;

static int set_up(void **state)
{
    (void)state;
    pace_init(&pace);
    runner = (struct pace_runner){.pace = &pace, .number = 1};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pace_destroy(&pace);
    return 0;
}

/* As if the application had taken that long, so many times. */
static void serve(unsigned times, uint64_t took_us)
{
    for (unsigned i = 0; i < times; i++) {
        pace_take_turn(&runner);
        pace_await_gil(&runner);
        assert_true(pace_begin_application(&runner));
        runner.application_began_us -= took_us;
        pace_end_application(&runner);
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
    serve(100, 10 * PACE_SLOW_US);
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
    serve(100, 10 * PACE_SLOW_US);
    assert_true(is_slow());
    serve(3 * PACE_WEIGHT, 1);
    assert_false(is_slow());
}

static void test_a_request_is_withdrawn_only_while_its_thread_waits_for_the_gil(void **state)
{
    (void)state;
    assert_false(pace_withdraw(&runner));
    pace_take_turn(&runner);
    pace_await_gil(&runner);
    assert_true(pace_withdraw(&runner));
    assert_false(pace_withdraw(&runner));
    assert_false(pace_begin_application(&runner));
    pace_await_gil(&runner);
    assert_true(pace_begin_application(&runner));
    assert_false(pace_withdraw(&runner));
}

static void test_who_has_passed_the_turn_gives_nothing_away(void **state)
{
    (void)state;
    pace_take_turn(&runner);
    pace_pass_turn(&runner);
    struct pace_runner other = {.pace = &pace, .number = 2};
    pace_take_turn(&other);
    pace_offer_turn(&runner);
    pace_pass_turn(&runner);
    pace_await_gil(&runner);
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
