/* links: hold.c */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <unistd.h>

#include "connection/hold.h"

enum { ROUNDS = 500, BURST = 3, PAUSE_US = 20 };

static struct hold hold;

static int set_up(void **state)
{
    (void)state;
    memset(&hold, 0, sizeof(hold));
    return 0;
}

static void test_a_new_one_is_owned(void **state)
{
    (void)state;
    assert_false(hold_is_free(&hold));
    assert_false(hold_seize(&hold));
    assert_true(hold_give(&hold));
    assert_true(hold_is_free(&hold));
}

static void test_of_two_events_the_first_gives_it_and_the_second_is_its_owners(void **state)
{
    (void)state;
    assert_true(hold_give(&hold));
    assert_true(hold_take(&hold));
    assert_false(hold_take(&hold));
    assert_false(hold_take(&hold));
    assert_false(hold_give(&hold));
    assert_false(hold_give(&hold)); /* nor a second time */
    hold_look(&hold);
    assert_true(hold_give(&hold));
}

static void test_one_that_is_seized_is_owned(void **state)
{
    (void)state;
    assert_true(hold_give(&hold));
    assert_true(hold_seize(&hold));
    assert_false(hold_seize(&hold));
    assert_false(hold_take(&hold));
    assert_false(hold_seize(&hold));
    assert_false(hold_give(&hold));
}

static void test_it_can_be_left_whatever_has_come(void **state)
{
    (void)state;
    hold_leave(&hold);
    assert_true(hold_is_free(&hold));
    assert_true(hold_take(&hold));
    assert_false(hold_take(&hold));
    hold_leave(&hold);
    assert_true(hold_is_free(&hold));
}

static void test_one_that_is_gone_stays_so(void **state)
{
    (void)state;
    hold_bury(&hold);
    assert_false(hold_take(&hold));
    assert_false(hold_seize(&hold));
    assert_false(hold_give(&hold));
    hold_look(&hold);
    hold_leave(&hold);
    assert_false(hold_is_free(&hold));
    assert_false(hold_take(&hold));
}

/* What a peer sends, and the events of it */

static atomic_uint sent, handled, owners, most_owners;
static sem_t events, calls;  /* for the leader, for a worker */
static unsigned read_so_far; /* by the owner alone */
static atomic_bool is_over;

/* By the owner. */
static void serve(void)
{
    do {
        if (atomic_fetch_add(&owners, 1) > 0)
            atomic_store(&most_owners, 2);
        hold_look(&hold);
        read_so_far = atomic_load(&sent);
        if (read_so_far % 4 == 0)
            sched_yield();
        atomic_fetch_sub(&owners, 1);
    } while (!hold_give(&hold));
}

static void *run_worker(void *argument)
{
    while (sem_wait(&calls) == 0 && !atomic_load(&is_over))
        serve();
    return argument;
}

/* As epoll does, it has one event for all that was sent since the last one. */
static void *run_leader(void *argument)
{
    while (sem_wait(&events) == 0 && !atomic_load(&is_over)) {
        unsigned now = atomic_load(&sent);
        if (now != atomic_load(&handled) && hold_take(&hold))
            sem_post(&calls);
        atomic_store(&handled, now);
    }
    return argument;
}

/* Ends them, too. */
static void join(pthread_t *threads, size_t n)
{
    atomic_store(&is_over, true);
    sem_post(&events);
    for (size_t i = 1; i < n; i++)
        sem_post(&calls);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    sem_destroy(&events);
    sem_destroy(&calls);
}

static void test_with_threads_nothing_that_came_is_forgotten_and_none_has_two_owners(void **state)
{
    (void)state;
    pthread_t threads[3];
    unsigned forgotten = 0;
    hold_leave(&hold);
    assert_int_equal(sem_init(&events, 0, 0) | sem_init(&calls, 0, 0), 0);
    for (unsigned i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i == 0 ? run_leader : run_worker, NULL),
                         0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned j = 0; j < BURST; j++) {
            atomic_fetch_add(&sent, 1);
            sem_post(&events);
            if ((i + j) % 2 == 0)
                sched_yield();
        }
        while (atomic_load(&handled) != atomic_load(&sent) || !hold_is_free(&hold))
            usleep(PAUSE_US);
        forgotten += read_so_far != atomic_load(&sent);
    }
    join(threads, COUNT(threads));
    assert_int_equal(forgotten, 0);
    assert_int_equal(atomic_load(&most_owners), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_new_one_is_owned, set_up),
        cmocka_unit_test_setup(test_of_two_events_the_first_gives_it_and_the_second_is_its_owners,
                               set_up),
        cmocka_unit_test_setup(test_one_that_is_seized_is_owned, set_up),
        cmocka_unit_test_setup(test_it_can_be_left_whatever_has_come, set_up),
        cmocka_unit_test_setup(test_one_that_is_gone_stays_so, set_up),
        cmocka_unit_test_setup(
            test_with_threads_nothing_that_came_is_forgotten_and_none_has_two_owners, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
