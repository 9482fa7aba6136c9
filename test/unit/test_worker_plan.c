/* links: worker_plan.c restart_delay.c */
/* Which workers are started, replaced, retired and killed, and when. */
#include "unit.h"

#include "manager/worker_plan.h"

enum { END_MS = 10000, PID = 100 };

static struct worker_plan plan;
static uint64_t now_ms;

static int set_up(void **state)
{
    (void)state;
    now_ms = 1000000;
    worker_plan_init(&plan, 2, END_MS);
    return 0;
}

static struct worker_plan_action next(void)
{
    struct worker_plan_action action = worker_plan_next(&plan, now_ms);
    if (action.kind == ACTION_START)
        worker_plan_started(&plan, action.worker, PID + action.worker, now_ms);
    return action;
}

/* The slot that the action is about. */
static int expect(enum worker_plan_action_kind kind)
{
    struct worker_plan_action action = next();
    assert_int_equal(action.kind, kind);
    return action.worker;
}

static void report(int worker, bool is_loaded, bool is_settled, unsigned applications,
                   unsigned imports)
{
    worker_plan_report(&plan, worker,
                       &(struct worker_plan_report){.is_loaded = is_loaded,
                                                    .is_refused = applications > 0,
                                                    .is_settled = is_settled,
                                                    .failed_applications = applications,
                                                    .failed_imports = imports});
}

/* The successor, loaded, takes the place of the other one. */
static void expect_takeover(int before, int successor)
{
    struct worker_plan_action action = next();
    assert_int_equal(action.kind, ACTION_RETIRE);
    assert_int_equal(action.worker, before);
    assert_int_equal(action.heir, successor);
    assert_int_equal(expect(ACTION_ACCEPT), successor);
}

static void load(int worker)
{
    report(worker, true, true, 0, 0);
}

/* Of the two places; both serve. */
static int first, second;

static int set_up_both(void **state)
{
    set_up(state);
    first = expect(ACTION_START);
    assert_int_equal(expect(ACTION_ACCEPT), first);
    expect(ACTION_NONE);
    load(first);
    second = expect(ACTION_START);
    expect(ACTION_NONE);
    load(second);
    assert_int_equal(expect(ACTION_ACCEPT), second);
    expect(ACTION_NONE);
    return 0;
}

static void test_the_second_worker_waits_until_the_first_has_loaded(void **state)
{
    (void)state;
    assert_int_not_equal(first, second);
    assert_int_equal(worker_plan_count(&plan), 2);
    assert_int_equal(plan.workers[second].place, 1);
    assert_int_equal(plan.workers[first].place, 0);
}

static void test_what_cannot_be_loaded_is_tried_by_one_worker(void **state)
{
    (void)state;
    first = expect(ACTION_START);
    expect(ACTION_ACCEPT);
    report(first, false, false, 1, 0);
    now_ms += 100000;
    expect(ACTION_NONE);
    assert_int_equal(worker_plan_count(&plan), 1);
}

static void test_of_two_that_cannot_load_one_is_stopped(void **state)
{
    (void)state;
    worker_plan_resize(&plan, 3);
    load(expect(ACTION_START));
    expect(ACTION_ACCEPT);
    now_ms += RESTART_YOUNG_MS;
    worker_plan_exited(&plan, first, now_ms);
    first = expect(ACTION_START);
    worker_plan_exited(&plan, second, now_ms);
    second = expect(ACTION_START);
    report(first, false, false, 1, 0);
    expect(ACTION_NONE);
    report(second, false, false, 1, 0);
    int stopped = expect(ACTION_STOP);
    assert_true(stopped == first || stopped == second);
    expect(ACTION_NONE); /* the other one goes on */
    worker_plan_exited(&plan, stopped, now_ms);
    now_ms += RESTART_DELAY_MAX_MS;
    expect(ACTION_NONE); /* and nobody joins it */
}

static void test_a_worker_that_dies_old_is_replaced_at_once(void **state)
{
    (void)state;
    assert_int_equal(worker_plan_exited(&plan, first, now_ms += RESTART_YOUNG_MS), 0);
    expect(ACTION_START);
    expect(ACTION_NONE);
}

static void test_one_that_dies_young_is_replaced_after_a_delay_that_doubles(void **state)
{
    (void)state;
    uint64_t expected = RESTART_DELAY_MIN_MS;
    for (int i = 0; i < 12; i++) {
        assert_int_equal(worker_plan_exited(&plan, first, now_ms), expected);
        now_ms += expected - 1;
        expect(ACTION_NONE);
        assert_int_equal(worker_plan_timeout_ms(&plan, now_ms), 1);
        now_ms += 1;
        first = expect(ACTION_START);
        expected =
            2 * expected < RESTART_DELAY_MAX_MS ? 2 * expected : RESTART_DELAY_MAX_MS;
    }
    assert_int_equal(expected, RESTART_DELAY_MAX_MS);
    worker_plan_exited(&plan, first, now_ms += RESTART_YOUNG_MS);
    assert_int_equal(expect(ACTION_START), first); /* it had lived long */
    assert_int_equal(worker_plan_exited(&plan, first, now_ms), RESTART_DELAY_MIN_MS);
}

static void test_one_that_could_not_be_started_counts_as_dead_young(void **state)
{
    (void)state;
    struct worker_plan_action action = worker_plan_next(&plan, now_ms);
    assert_int_equal(action.kind, ACTION_START);
    assert_int_equal(worker_plan_exited(&plan, action.worker, now_ms), RESTART_DELAY_MIN_MS);
}

static void test_a_reload_replaces_one_after_the_other(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    assert_int_equal(plan.workers[third].place, 0);
    expect(ACTION_NONE);
    report(third, true, false, 0, 0);
    expect(ACTION_NONE); /* not everything has been tried */
    load(third);
    expect_takeover(first, third);
    expect(ACTION_NONE); /* until it has exited */
    worker_plan_exited(&plan, first, now_ms);
    int fourth = expect(ACTION_START);
    assert_int_equal(plan.workers[fourth].place, 1);
    load(fourth);
    expect_takeover(second, fourth);
    assert_int_equal(plan.roll, ROLL_RUNNING);
    worker_plan_exited(&plan, second, now_ms);
    expect(ACTION_ROLL_DONE);
    expect(ACTION_NONE);
    assert_int_equal(plan.served_generation, plan.generation);
}

static void expect_failed_roll(int successor)
{
    assert_int_equal(expect(ACTION_ROLL_FAILED), successor);
    assert_int_equal(plan.places[0].current, first);
    assert_int_equal(plan.places[1].current, second);
    assert_int_equal(plan.roll, ROLL_FAILED);
}

static void test_a_reload_that_cannot_load_leaves_the_old_ones(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    report(third, false, false, 1, 0);
    expect_failed_roll(third);
    assert_int_equal(expect(ACTION_STOP), third);
    worker_plan_exited(&plan, third, now_ms);
    now_ms += 1000000;
    expect(ACTION_NONE);
    assert_int_equal(worker_plan_exited(&plan, second, now_ms), 0);
    int fourth = expect(ACTION_START);
    assert_int_equal(plan.workers[fourth].generation, plan.served_generation);
}

static void test_a_reload_whose_worker_dies_leaves_the_old_ones(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    assert_true(worker_plan_exited(&plan, third, now_ms) == UINT64_MAX);
    expect_failed_roll(third);
    expect(ACTION_NONE);
}

static void test_an_application_that_was_broken_before_does_not_fail_a_reload(void **state)
{
    (void)state;
    report(first, true, true, 1, 1);
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    report(third, true, true, 1, 2);
    expect_takeover(first, third);
}

static void test_a_second_reload_lets_the_loading_worker_go_on_and_replaces_it_again(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    worker_plan_roll(&plan, now_ms);
    expect(ACTION_NONE);
    load(third);
    expect_takeover(first, third);
    worker_plan_exited(&plan, first, now_ms += WORKER_PLAN_SUPERSEDED_MS);
    int fourth = expect(ACTION_START);
    assert_int_equal(plan.workers[fourth].place, 0);
    assert_int_equal(plan.workers[fourth].generation, plan.generation);
}

static void test_a_second_reload_does_not_wait_for_ever_for_the_first(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    worker_plan_roll(&plan, now_ms);
    now_ms += WORKER_PLAN_SUPERSEDED_MS;
    assert_int_equal(expect(ACTION_KILL), third);
    worker_plan_exited(&plan, third, now_ms);
    int fourth = expect(ACTION_START); /* and the roll has not failed */
    assert_int_equal(plan.workers[fourth].generation, plan.generation);
    assert_int_equal(plan.roll, ROLL_RUNNING);
}

static void test_a_reload_mends_what_never_loaded(void **state)
{
    (void)state;
    first = expect(ACTION_START);
    expect(ACTION_ACCEPT);
    report(first, false, false, 1, 0);
    worker_plan_roll(&plan, now_ms);
    second = expect(ACTION_START);
    expect(ACTION_NONE);
    report(second, false, false, 1, 0); /* no better, but of the new configuration */
    struct worker_plan_action action = next();
    assert_int_equal(action.kind, ACTION_RETIRE);
    assert_int_equal(action.worker, first);
    assert_int_equal(action.heir, second);
}

static void test_a_worker_at_its_limit_serves_until_its_successor_has_loaded(void **state)
{
    (void)state;
    worker_plan_ask(&plan, first, REPLACE_LIMIT);
    worker_plan_ask(&plan, second, REPLACE_LIMIT);
    int third = expect(ACTION_START);
    expect(ACTION_NONE);
    load(third);
    expect_takeover(first, third);
    expect(ACTION_NONE); /* never two at once */
    worker_plan_exited(&plan, first, now_ms);
    assert_int_equal(plan.workers[expect(ACTION_START)].place, 1);
}

static void test_a_limit_whose_successor_cannot_load_is_tried_again_later(void **state)
{
    (void)state;
    worker_plan_ask(&plan, first, REPLACE_LIMIT);
    for (uint64_t delay_ms = REPLACEMENT_DELAY_MIN_MS; delay_ms < 16000; delay_ms *= 2) {
        int third = expect(ACTION_START);
        report(third, false, false, 1, 0);
        assert_int_equal(expect(ACTION_REPLACE_FAILED), third);
        assert_int_equal(expect(ACTION_STOP), third);
        worker_plan_exited(&plan, third, now_ms);
        now_ms += delay_ms - 1;
        expect(ACTION_NONE);
        now_ms += 1;
    }
    assert_int_equal(plan.workers[first].state, WORKER_SERVING);
}

static void test_healing_needs_a_successor_that_is_better(void **state)
{
    (void)state;
    report(first, true, true, 0, 1);
    worker_plan_ask(&plan, first, REPLACE_HEAL);
    struct worker_plan_action action = next();
    assert_int_equal(action.kind, ACTION_START);
    assert_int_equal(action.reason, REPLACE_HEAL);
    report(action.worker, true, true, 0, 1);
    assert_int_equal(expect(ACTION_REPLACE_FAILED), action.worker);
    expect(ACTION_STOP);
    worker_plan_exited(&plan, action.worker, now_ms);
    expect(ACTION_NONE); /* until it asks again */
    worker_plan_ask(&plan, first, REPLACE_HEAL);
    int fourth = expect(ACTION_START);
    load(fourth);
    expect_takeover(first, fourth);
}

static void test_a_successor_takes_the_place_of_one_that_dies(void **state)
{
    (void)state;
    worker_plan_ask(&plan, first, REPLACE_LIMIT);
    int third = expect(ACTION_START);
    assert_true(worker_plan_exited(&plan, first, now_ms) == UINT64_MAX);
    assert_int_equal(plan.places[0].current, third);
    expect(ACTION_NONE);
    load(third);
    assert_int_equal(expect(ACTION_ACCEPT), third);
    expect(ACTION_NONE);
}

static void test_what_several_miss_is_tried_for_one_first(void **state)
{
    (void)state;
    report(first, true, true, 0, 1);
    report(second, true, true, 0, 1);
    worker_plan_ask(&plan, second, REPLACE_HEAL);
    expect(ACTION_NONE);
    worker_plan_ask(&plan, first, REPLACE_HEAL);
    int third = expect(ACTION_START);
    load(third);
    expect_takeover(first, third);
    worker_plan_exited(&plan, first, now_ms);
    assert_int_equal(plan.workers[expect(ACTION_START)].place, 1);
}

static void test_an_import_that_is_not_required_and_fails_first_does_not_fail_a_reload(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    report(third, false, false, 0, 1);
    expect(ACTION_NONE);
    report(third, true, true, 0, 1);
    expect_takeover(first, third);
}

static void test_a_loading_worker_accepts_once_nobody_else_does(void **state)
{
    (void)state;
    worker_plan_ask(&plan, first, REPLACE_LIMIT);
    int third = expect(ACTION_START);
    worker_plan_exited(&plan, first, now_ms);
    worker_plan_exited(&plan, second, now_ms);
    assert_int_equal(expect(ACTION_ACCEPT), third);
    expect(ACTION_NONE);
}

static void test_who_does_not_end_in_time_is_killed_once(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    int third = expect(ACTION_START);
    load(third);
    expect_takeover(first, third);
    assert_int_equal(worker_plan_timeout_ms(&plan, now_ms), END_MS);
    now_ms += END_MS - 1;
    expect(ACTION_NONE);
    now_ms += 1;
    assert_int_equal(expect(ACTION_KILL), first);
    expect(ACTION_NONE);
}

static void test_a_stop_ends_all_and_starts_none(void **state)
{
    (void)state;
    worker_plan_roll(&plan, now_ms);
    expect(ACTION_START);
    worker_plan_stop(&plan, false);
    for (int i = 0; i < 3; i++)
        expect(ACTION_STOP);
    expect(ACTION_NONE);
    worker_plan_exited(&plan, first, now_ms += 100000);
    assert_int_equal(expect(ACTION_KILL), second);
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        if (plan.workers[i].state != WORKER_NONE)
            worker_plan_exited(&plan, i, now_ms);
    expect(ACTION_NONE);
    assert_int_equal(worker_plan_count(&plan), 0);
}

static void test_a_quick_stop_tells_also_those_that_drain(void **state)
{
    (void)state;
    worker_plan_stop(&plan, false);
    expect(ACTION_STOP);
    expect(ACTION_STOP);
    expect(ACTION_NONE);
    worker_plan_stop(&plan, true);
    expect(ACTION_STOP);
    expect(ACTION_STOP);
    expect(ACTION_NONE);
}

static void test_it_is_idle_once_each_worker_is(void **state)
{
    (void)state;
    plan.workers[first].is_idle = true;
    assert_false(worker_plan_is_idle(&plan));
    plan.workers[second].is_idle = true;
    assert_true(worker_plan_is_idle(&plan));
    plan.workers[first].is_idle = false;
    assert_false(worker_plan_is_idle(&plan));
}

static void test_it_is_not_idle_while_a_worker_starts_or_there_is_none(void **state)
{
    (void)state;
    plan.workers[first].is_idle = plan.workers[second].is_idle = true;
    worker_plan_roll(&plan, now_ms);
    expect(ACTION_START);
    assert_false(worker_plan_is_idle(&plan));
    worker_plan_init(&plan, 2, END_MS);
    assert_false(worker_plan_is_idle(&plan));
}

static void test_fewer_places_retire_the_last_ones(void **state)
{
    (void)state;
    worker_plan_resize(&plan, 1);
    struct worker_plan_action action = next();
    assert_int_equal(action.kind, ACTION_RETIRE);
    assert_int_equal(action.worker, second);
    assert_int_equal(action.heir, first);
    worker_plan_exited(&plan, second, now_ms);
    expect(ACTION_NONE);
}

static void test_workers_of_the_manager_before_keep_their_places(void **state)
{
    (void)state;
    static const struct worker_plan_report loaded = {.is_loaded = true, .is_settled = true};
    second = worker_plan_adopt(&plan, 77, 1, 5, now_ms, &loaded);
    assert_int_equal(plan.places[1].current, second);
    assert_int_equal(worker_plan_adopt(&plan, 78, 1, 5, now_ms, &loaded), WORKER_PLAN_NOBODY);
    assert_int_equal(worker_plan_adopt(&plan, 79, WORKER_PLAN_PLACES_MAX, 5, now_ms, &loaded),
                     WORKER_PLAN_NOBODY);
    first = expect(ACTION_START);
    assert_int_equal(plan.workers[first].place, 0);
    assert_int_equal(plan.workers[first].generation, 5);
    load(first);
    assert_int_equal(expect(ACTION_ACCEPT), first);
    expect(ACTION_NONE);
    worker_plan_roll(&plan, now_ms);
    expect(ACTION_START);
}

static void test_more_places_are_filled(void **state)
{
    (void)state;
    worker_plan_resize(&plan, 4);
    expect(ACTION_START);
    expect(ACTION_START);
    expect(ACTION_NONE);
}

/* Whatever workers do: at most one replacement is under way, no place has two who serve, and in the
 * end every place is served. */
static void test_any_order_of_events_ends_with_every_place_served(void **state)
{
    (void)state;
    uint32_t random = 7;
    for (int run = 0; run < 300; run++) {
        set_up(NULL);
        for (int step = 0; step < 200; step++) {
            int worker = (int)(next_random(&random) % 6);
            bool is_there = plan.workers[worker].state != WORKER_NONE;
            switch (next_random(&random) % 8) {
            case 0:
                if (is_there)
                    worker_plan_exited(&plan, worker, now_ms);
                break;
            case 1:
                if (is_there)
                    report(worker, false, false, 1, 0);
                break;
            case 2:
            case 3:
                if (is_there)
                    load(worker);
                break;
            case 4:
                if (is_there)
                    worker_plan_ask(&plan, worker,
                                    next_random(&random) % 2 ? REPLACE_LIMIT : REPLACE_HEAL);
                break;
            case 5:
                worker_plan_roll(&plan, now_ms);
                break;
            default:
                now_ms += next_random(&random) % 5000;
            }
            for (int i = 0; next().kind != ACTION_NONE; i++)
                assert_true(i < 50);
            assert_true(worker_plan_count(&plan) <= 12);
        }
        for (int step = 0; step < 200; step++) {
            now_ms += 31000;
            for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
                if (plan.workers[i].state == WORKER_STARTING)
                    load(i);
                else if (plan.workers[i].state > WORKER_SERVING)
                    worker_plan_exited(&plan, i, now_ms);
            while (next().kind != ACTION_NONE)
                continue;
        }
        for (int place = 0; place < 2; place++) {
            assert_int_not_equal(plan.places[place].current, WORKER_PLAN_NOBODY);
            assert_int_equal(plan.workers[plan.places[place].current].state, WORKER_SERVING);
        }
        assert_int_equal(worker_plan_count(&plan), 2);
    }
}

int main(void)
{
#define TEST(function)      cmocka_unit_test_setup(function, set_up)
#define TEST_BOTH(function) cmocka_unit_test_setup(function, set_up_both)
    const struct CMUnitTest tests[] = {
        TEST_BOTH(test_the_second_worker_waits_until_the_first_has_loaded),
        TEST(test_what_cannot_be_loaded_is_tried_by_one_worker),
        TEST_BOTH(test_of_two_that_cannot_load_one_is_stopped),
        TEST_BOTH(test_a_worker_that_dies_old_is_replaced_at_once),
        TEST_BOTH(test_one_that_dies_young_is_replaced_after_a_delay_that_doubles),
        TEST(test_one_that_could_not_be_started_counts_as_dead_young),
        TEST_BOTH(test_a_reload_replaces_one_after_the_other),
        TEST_BOTH(test_a_reload_that_cannot_load_leaves_the_old_ones),
        TEST_BOTH(test_a_reload_whose_worker_dies_leaves_the_old_ones),
        TEST_BOTH(test_an_application_that_was_broken_before_does_not_fail_a_reload),
        TEST_BOTH(test_a_second_reload_lets_the_loading_worker_go_on_and_replaces_it_again),
        TEST_BOTH(test_a_second_reload_does_not_wait_for_ever_for_the_first),
        TEST(test_a_reload_mends_what_never_loaded),
        TEST_BOTH(test_a_worker_at_its_limit_serves_until_its_successor_has_loaded),
        TEST_BOTH(test_a_limit_whose_successor_cannot_load_is_tried_again_later),
        TEST_BOTH(test_healing_needs_a_successor_that_is_better),
        TEST_BOTH(test_a_successor_takes_the_place_of_one_that_dies),
        TEST_BOTH(test_what_several_miss_is_tried_for_one_first),
        TEST_BOTH(test_an_import_that_is_not_required_and_fails_first_does_not_fail_a_reload),
        TEST_BOTH(test_a_loading_worker_accepts_once_nobody_else_does),
        TEST_BOTH(test_who_does_not_end_in_time_is_killed_once),
        TEST_BOTH(test_a_stop_ends_all_and_starts_none),
        TEST_BOTH(test_a_quick_stop_tells_also_those_that_drain),
        TEST_BOTH(test_it_is_idle_once_each_worker_is),
        TEST_BOTH(test_it_is_not_idle_while_a_worker_starts_or_there_is_none),
        TEST_BOTH(test_fewer_places_retire_the_last_ones),
        TEST(test_workers_of_the_manager_before_keep_their_places),
        TEST_BOTH(test_more_places_are_filled),
        TEST(test_any_order_of_events_ends_with_every_place_served),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
