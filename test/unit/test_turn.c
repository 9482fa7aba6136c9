/* links: turn.c */
#include "unit.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "threads/turn.h"

enum { THREADS = 4, ROUNDS = 300 };

static struct turn turn;
static atomic_uint recalls;

static void recall(void *argument)
{
    assert_ptr_equal(argument, &recalls);
    atomic_fetch_add(&recalls, 1);
}

static int set_up(void **state)
{
    (void)state;
    memset(&turn, 1, sizeof(turn));
    turn_init(&turn);
    turn.recall = recall;
    turn.recall_argument = &recalls;
    atomic_store(&recalls, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    turn_destroy(&turn);
    return 0;
}

static pthread_t start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

static void *take_as_two(void *argument)
{
    turn_take(&turn, 2);
    return argument;
}

static void *watch_once(void *has_turn)
{
    *(bool *)has_turn = turn_watch(&turn, 0);
    return NULL;
}

static void *watch_until_the_end(void *argument)
{
    while (!turn_is_over(&turn))
        if (turn_watch(&turn, 0))
            turn_pass(&turn, TURN_WATCH);
    return argument;
}

static void wait_for_follower(void)
{
    unsigned followers = 0;
    while (followers == 0) {
        usleep(100);
        pthread_mutex_lock(&turn.mutex);
        followers = turn.followers;
        pthread_mutex_unlock(&turn.mutex);
    }
}

static void wait_until_the_watch_sleeps(void)
{
    while (!atomic_load(&turn.is_watch_asleep))
        usleep(100);
}

static void test_a_turn_is_taken_offered_and_reclaimed(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    assert_true(turn_reclaim(&turn, 1)); /* it was not offered */
    turn_offer(&turn, 1, TURN_TO_WATCH);
    turn_offer(&turn, 1, TURN_TO_ANY);
    assert_true(turn_reclaim(&turn, 1));
    turn_pass(&turn, 1);
    assert_false(turn_reclaim(&turn, 1));
    turn_take(&turn, 1);
    assert_true(turn_reclaim(&turn, 1));
}

static void test_only_its_owner_can_give_it_away(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    unsigned long long before = atomic_load(&turn.state);
    turn_offer(&turn, 2, TURN_TO_ANY);
    turn_pass(&turn, 2);
    assert_false(turn_reclaim(&turn, 2));
    assert_true(atomic_load(&turn.state) == before);
}

static void test_a_follower_gets_what_is_passed(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    pthread_t two = start(take_as_two, NULL);
    wait_for_follower();
    turn_pass(&turn, 1);
    pthread_join(two, NULL);
    assert_true(turn_reclaim(&turn, 2));
}

/* Whether the watch has to be woken for it or not. */
static void test_a_follower_gets_what_stays_offered(void **state)
{
    (void)state;
    pthread_t watch = start(watch_until_the_end, NULL);
    for (int is_asleep = 0; is_asleep < 2; is_asleep++) {
        turn_take(&turn, 1);
        if (!is_asleep)
            turn_offer(&turn, 1, TURN_TO_ANY);
        pthread_t two = start(take_as_two, NULL);
        if (is_asleep) {
            wait_until_the_watch_sleeps();
            turn_offer(&turn, 1, TURN_TO_ANY);
        }
        pthread_join(two, NULL);
        assert_false(turn_reclaim(&turn, 1));
        turn_pass(&turn, 1); /* is no longer its to give */
        assert_true(turn_reclaim(&turn, 2));
        turn_pass(&turn, 2);
    }
    turn_end(&turn);
    pthread_join(watch, NULL);
}

static void test_an_offer_that_is_reclaimed_in_time_promotes_nobody(void **state)
{
    (void)state;
    bool has_lost = true;
    for (unsigned attempt = 0; attempt < 10 && has_lost; attempt++) { /* a busy machine */
        pthread_t watch = start(watch_until_the_end, NULL);
        turn_take(&turn, 1);
        pthread_t two = start(take_as_two, NULL);
        wait_for_follower();
        has_lost = false;
        for (unsigned request = 0; request < 200 && !has_lost; request++) {
            turn_offer(&turn, 1, TURN_TO_WATCH);
            turn_offer(&turn, 1, TURN_TO_ANY);
            has_lost = !turn_reclaim(&turn, 1);
            usleep(TURN_TICK_MS * 1000 / 10);
        }
        turn_pass(&turn, 1);
        pthread_join(two, NULL);
        turn_pass(&turn, 2);
        turn_end(&turn);
        pthread_join(watch, NULL);
        turn.is_over = false;
    }
    assert_false(has_lost);
}

static void test_the_watch_leads_where_every_thread_is_busy(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    turn_pass(&turn, 1);
    assert_true(turn_watch(&turn, 0));
    assert_false(turn_reclaim(&turn, 1));
    turn_pass(&turn, TURN_WATCH);
    turn_take(&turn, 1);
    turn_offer(&turn, 1, TURN_TO_ANY);
    assert_true(turn_watch(&turn, 0));
    assert_false(turn_reclaim(&turn, 1));
}

static void test_who_waits_for_the_gil_loses_the_turn_to_the_watch_and_to_no_follower(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    pthread_t two = start(take_as_two, NULL);
    wait_for_follower();
    turn_offer(&turn, 1, TURN_TO_WATCH);
    assert_true(turn_watch(&turn, 0));
    assert_true(turn_reclaim(&turn, TURN_WATCH));
    assert_int_equal(atomic_load(&recalls), 0);
    turn_offer(&turn, 1, TURN_TO_ANY); /* it has the GIL now: others may serve again */
    assert_int_equal(atomic_load(&recalls), 1);
    turn_pass(&turn, 1);
    assert_int_equal(atomic_load(&recalls), 2);
    turn_pass(&turn, TURN_WATCH);
    pthread_join(two, NULL);
    assert_true(turn_reclaim(&turn, 2));
}

static void test_a_follower_recalls_the_watch(void **state)
{
    (void)state;
    assert_true(turn_watch(&turn, 0));
    pthread_t two = start(take_as_two, NULL);
    while (atomic_load(&recalls) == 0)
        usleep(100);
    turn_pass(&turn, TURN_WATCH);
    pthread_join(two, NULL);
    assert_true(turn_reclaim(&turn, 2));
}

static void test_the_watch_sleeps_while_a_leader_waits_and_wakes_for_what_is_passed(void **state)
{
    (void)state;
    bool has_turn = false;
    turn_take(&turn, 1);
    pthread_t watch = start(watch_once, &has_turn);
    wait_until_the_watch_sleeps();
    turn_pass(&turn, 1);
    pthread_join(watch, NULL);
    assert_true(has_turn);
}

static void test_the_watch_comes_back_when_its_time_is_over(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    assert_false(turn_watch(&turn, 3 * TURN_TICK_MS));
    assert_true(turn_reclaim(&turn, 1));
}

static void test_the_watch_ends_whatever_it_is_doing(void **state)
{
    (void)state;
    bool has_turn = true;
    turn_take(&turn, 1);
    pthread_t watch = start(watch_once, &has_turn);
    wait_until_the_watch_sleeps();
    turn_end(&turn);
    pthread_join(watch, NULL);
    assert_false(has_turn);
    assert_true(turn_is_over(&turn));
    assert_false(turn_watch(&turn, 0));
}

static unsigned entered, entries;

/* Gives the turn up in every way; entered and entries are guarded by nothing else. */
static void *take_and_give_up(void *argument)
{
    unsigned number = (unsigned)(uintptr_t)argument;
    bool may_have_it = false;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (!may_have_it || !turn_reclaim(&turn, number))
            turn_take(&turn, number);
        if (entered++ != 0)
            return argument;
        entries++;
        entered--;
        may_have_it = round % 8 != 7;
        if (may_have_it)
            turn_offer(&turn, number, TURN_TO_ANY);
        else
            turn_pass(&turn, number);
        if (round % 64 == number)
            usleep(3 * TURN_TICK_MS * 1000); /* long enough to lose it */
    }
    turn_pass(&turn, number);
    return NULL;
}

static void *lead_and_pass(void *argument)
{
    while (!turn_is_over(&turn)) {
        if (!turn_watch(&turn, 0))
            continue;
        if (entered++ != 0)
            return argument;
        entered--;
        turn_pass(&turn, TURN_WATCH);
    }
    return NULL;
}

static void test_one_thread_at_a_time_has_it_and_each_gets_it(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    void *wrong = NULL;
    entered = entries = 0;
    pthread_t watch = start(lead_and_pass, &entered);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = start(take_and_give_up, (void *)(i + 1));
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    turn_end(&turn);
    pthread_join(watch, &wrong);
    assert_null(wrong);
    assert_int_equal(entries, THREADS * ROUNDS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_turn_is_taken_offered_and_reclaimed),
        TEST(test_only_its_owner_can_give_it_away),
        TEST(test_a_follower_gets_what_is_passed),
        TEST(test_a_follower_gets_what_stays_offered),
        TEST(test_an_offer_that_is_reclaimed_in_time_promotes_nobody),
        TEST(test_the_watch_leads_where_every_thread_is_busy),
        TEST(test_who_waits_for_the_gil_loses_the_turn_to_the_watch_and_to_no_follower),
        TEST(test_a_follower_recalls_the_watch),
        TEST(test_the_watch_sleeps_while_a_leader_waits_and_wakes_for_what_is_passed),
        TEST(test_the_watch_comes_back_when_its_time_is_over),
        TEST(test_the_watch_ends_whatever_it_is_doing),
        TEST(test_one_thread_at_a_time_has_it_and_each_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
