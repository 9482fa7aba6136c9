/* links: manager_notify.c worker_plan.c restart_delay.c */
/* What the service manager hears of a manager, and which workers its watchdog ends. */
#include "sd_notify_fakes.h"

#include "manager/manager_notify.h"

static struct worker_plan plan;
static struct manager_notify notify;
static struct config config = {.processes = 2, .threads = 1};

static int set_up(void **state)
{
    (void)state;
    told[0] = '\0';
    watchdog_ms = 0;
    worker_plan_init(&plan, 2, 10000);
    notify = (struct manager_notify){.is_ready = false};
    return 0;
}

static void test_it_is_ready_once_a_worker_serves(void **state)
{
    (void)state;
    plan.workers[0].state = WORKER_STARTING;
    manager_notify_tell(&notify, &plan, &config, 1000);
    expect_told("");
    plan.workers[0].state = WORKER_SERVING;
    manager_notify_tell(&notify, &plan, &config, 1000);
    manager_notify_tell(&notify, &plan, &config, 1001);
    expect_told("ready serving shop:app with 2 processes of 1 thread|");
}

static void test_a_worker_that_starts_beside_others_is_not_told(void **state)
{
    static const struct worker_start start = {.extend_ms = 90000,
                                              .text = "shop:app: attempt 1 failed"};
    (void)state;
    manager_notify_tell_start(&notify, &plan, &start);
    expect_told("starting shop:app: attempt 1 failed 90000|");
    plan.workers[0].state = WORKER_SERVING;
    manager_notify_tell(&notify, &plan, &config, 1000);
    told[0] = '\0';
    manager_notify_tell_start(&notify, &plan, &start);
    expect_told("");
    plan.workers[0].state = WORKER_NONE; /* nobody serves any more */
    manager_notify_tell_start(&notify, &plan, &start);
    expect_told("starting shop:app: attempt 1 failed 90000|");
    plan.is_stopping = true;
    manager_notify_tell_start(&notify, &plan, &start);
    expect_told("");
}

static void test_the_end_of_a_reload_does_not_make_it_ready_that_never_served(void **state)
{
    (void)state;
    manager_notify_tell_reloaded(&notify, "the old ones stay");
    expect_told("");
    notify.is_ready = true;
    manager_notify_tell_reloaded(&notify, "the old ones stay");
    expect_told("ready the old ones stay|");
}

static void test_a_reload_and_the_end_are_told_with_their_reason_and_time(void **state)
{
    (void)state;
    manager_notify_tell_reload();
    expect_told("reloading replacing the workers, one by one|");
    manager_notify_tell_stop("SIGTERM", 7000);
    expect_told("stopping: SIGTERM 12000|");
}

static void test_the_watchdog_is_fed_four_times_in_its_time(void **state)
{
    (void)state;
    manager_notify_tell(&notify, &plan, &config, 1000);
    expect_told("");
    assert_int_equal(manager_notify_wait_ms(10000), 10000);
    watchdog_ms = 4000;
    assert_int_equal(manager_notify_wait_ms(10000), 1000);
    manager_notify_tell(&notify, &plan, &config, 10000);
    manager_notify_tell(&notify, &plan, &config, 10999);
    expect_told("alive|");
    manager_notify_tell(&notify, &plan, &config, 11000);
    expect_told("alive|");
}

static void test_a_worker_that_has_answered_and_is_silent_for_too_long_is_found_once(void **state)
{
    (void)state;
    watchdog_ms = 4000;
    for (int i = 0; i < 3; i++)
        plan.workers[i].state = WORKER_SERVING;
    manager_notify_hear(&notify, 1, 1000);
    manager_notify_hear(&notify, 2, 2000);
    assert_int_equal(manager_notify_find_silent(&notify, &plan, 4999), WORKER_PLAN_NOBODY);
    assert_int_equal(manager_notify_find_silent(&notify, &plan, 5000), 1);
    assert_int_equal(manager_notify_find_silent(&notify, &plan, 5000), WORKER_PLAN_NOBODY);
    plan.workers[2].state = WORKER_RETIRING; /* has a deadline of its own */
    assert_int_equal(manager_notify_find_silent(&notify, &plan, 9000), WORKER_PLAN_NOBODY);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup(function, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_ready_once_a_worker_serves),
        TEST(test_a_worker_that_starts_beside_others_is_not_told),
        TEST(test_the_end_of_a_reload_does_not_make_it_ready_that_never_served),
        TEST(test_a_reload_and_the_end_are_told_with_their_reason_and_time),
        TEST(test_the_watchdog_is_fed_four_times_in_its_time),
        TEST(test_a_worker_that_has_answered_and_is_silent_for_too_long_is_found_once),
    };

    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
