/* links: turn.c */
#include "unit.h"

#include <pthread.h>
#include <unistd.h>

#include "threads/turn.h"

enum { THREADS = 4, ROUNDS = 300 };

static struct turn turn;

static int set_up(void **state)
{
    (void)state;
    memset(&turn, 1, sizeof(turn));
    turn_init(&turn);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    turn_destroy(&turn);
    return 0;
}

static void *take_as_two(void *argument)
{
    turn_take(&turn, 2);
    return argument;
}

static void wait_until_it_sleeps(void)
{
    while (!atomic_load(&turn.is_asleep))
        usleep(100);
}

static void test_a_turn_is_taken_offered_and_reclaimed(void **state)
{
    (void)state;
    turn_take(&turn, 1);
    assert_true(turn_reclaim(&turn, 1)); /* it was not offered */
    turn_offer(&turn, 1);
    turn_offer(&turn, 1);
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
    turn_offer(&turn, 2);
    turn_pass(&turn, 2);
    assert_false(turn_reclaim(&turn, 2));
    assert_true(atomic_load(&turn.state) == before);
}

static void test_the_first_who_waits_gets_what_is_passed(void **state)
{
    (void)state;
    pthread_t two;
    turn_take(&turn, 1);
    assert_int_equal(pthread_create(&two, NULL, take_as_two, NULL), 0);
    wait_until_it_sleeps();
    turn_pass(&turn, 1);
    pthread_join(two, NULL);
    assert_true(turn_reclaim(&turn, 2));
}

static void test_the_first_who_waits_gets_what_stays_offered(void **state)
{
    (void)state;
    for (int is_asleep = 0; is_asleep < 2; is_asleep++) {
        pthread_t two;
        turn_take(&turn, 1);
        if (!is_asleep)
            turn_offer(&turn, 1);
        assert_int_equal(pthread_create(&two, NULL, take_as_two, NULL), 0);
        if (is_asleep) {
            wait_until_it_sleeps();
            turn_offer(&turn, 1);
        }
        pthread_join(two, NULL);
        assert_false(turn_reclaim(&turn, 1));
        turn_pass(&turn, 1); /* is no longer its to give */
        assert_true(turn_reclaim(&turn, 2));
        turn_pass(&turn, 2);
    }
}

static void test_it_is_still_found_offered_after_many_short_requests(void **state)
{
    (void)state;
    pthread_t two;
    turn_take(&turn, 1);
    turn_offer(&turn, 1);
    assert_true(turn_reclaim(&turn, 1));
    assert_int_equal(pthread_create(&two, NULL, take_as_two, NULL), 0);
    for (unsigned request = 0; request < 10 * TURN_CALM_LOOKS; request++) {
        turn_offer(&turn, 1);
        if (!turn_reclaim(&turn, 1))
            break; /* a busy machine */
        usleep(TURN_TICK_MS * 1000 / 5);
    }
    turn_offer(&turn, 1);
    pthread_join(two, NULL);
    assert_false(turn_reclaim(&turn, 1));
    turn_pass(&turn, 2);
}

static unsigned count_calm_looks(void)
{
    pthread_mutex_lock(&turn.mutex);
    unsigned looks = turn.calm_looks;
    pthread_mutex_unlock(&turn.mutex);
    return looks;
}

static bool has_count_fallen;

/* Until one who waits has looked so often. false: the machine was busy, and the turn is lost. */
static bool serve_short_requests(unsigned looks)
{
    unsigned before = count_calm_looks(), now = before;
    while (now < before + looks) {
        turn_offer(&turn, 1);
        if (!turn_reclaim(&turn, 1))
            return false;
        usleep(TURN_TICK_MS * 1000 / 5);
        now = count_calm_looks();
        has_count_fallen |= now < before;
    }
    return true;
}

static bool has_counted_over_a_rest(void)
{
    if (!serve_short_requests(3))
        return false;
    wait_until_it_sleeps();
    return serve_short_requests(3);
}

static void test_looks_in_vain_are_counted_until_a_request_is_long(void **state)
{
    (void)state;
    bool has_counted = has_count_fallen = false;
    for (unsigned attempt = 0; attempt < 10 && !has_counted; attempt++) {
        pthread_t two;
        turn_take(&turn, 1);
        assert_int_equal(pthread_create(&two, NULL, take_as_two, NULL), 0);
        wait_until_it_sleeps();
        has_counted = has_counted_over_a_rest();
        turn_offer(&turn, 1);
        pthread_join(two, NULL);
        assert_false(has_count_fallen);
        assert_int_equal(count_calm_looks(), 0);
        turn_pass(&turn, 2);
    }
    assert_true(has_counted);
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
            turn_offer(&turn, number);
        else
            turn_pass(&turn, number);
        if (round % 64 == number)
            usleep(3 * TURN_TICK_MS * 1000); /* long enough to lose it */
    }
    turn_pass(&turn, number);
    return NULL;
}

static void test_one_thread_at_a_time_has_it_and_each_gets_it(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    entered = entries = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give_up, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(entries, THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_turn_is_taken_offered_and_reclaimed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_only_its_owner_can_give_it_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_first_who_waits_gets_what_is_passed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_first_who_waits_gets_what_stays_offered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_still_found_offered_after_many_short_requests,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_looks_in_vain_are_counted_until_a_request_is_long,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_thread_at_a_time_has_it_and_each_gets_it, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
