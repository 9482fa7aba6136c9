/* links: event.c */
#include "unit.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"

enum { FOR_EVER_MS = 3600000, THREADS = 8 };

static int set_up(void **state)
{
    static struct event event;
    memset(&event, 1, sizeof(event));
    event_init(&event);
    *state = &event;
    return 0;
}

static void test_an_event_has_not_happened_until_it_is_set(void **state)
{
    struct event *event = *state;
    assert_false(event_is_set(event));
    assert_false(event_wait(event, 0));
    assert_false(event_wait(event, 20));
    event_set(event);
    assert_true(event_is_set(event));
    assert_true(event_wait(event, 0));
    assert_true(event_wait(event, FOR_EVER_MS));
    event_set(event);
    assert_true(event_is_set(event));
}

static void test_it_writes_to_a_descriptor_for_those_who_wait_in_poll(void **state)
{
    struct event *event = *state;
    int ends[2];
    char bytes[2];
    assert_int_equal(pipe(ends), 0);
    event_set_descriptor(event, ends[1]);
    event_set(event);
    assert_int_equal(read(ends[0], bytes, sizeof(bytes)), 1);
    assert_true(event_is_set(event));
    close(ends[0]);
    close(ends[1]);
}

static void *wait_for(void *event)
{
    return event_wait(event, FOR_EVER_MS) ? event : NULL;
}

static void test_all_who_wait_are_woken(void **state)
{
    struct event *event = *state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for, event), 0);
    usleep(10000);
    event_set(event);
    for (int i = 0; i < THREADS; i++) {
        void *woken = NULL;
        pthread_join(threads[i], &woken);
        assert_ptr_equal(woken, event);
    }
}

static void test_a_deadline_lies_that_far_ahead(void **state)
{
    (void)state;
    static const uint64_t timeouts[] = {0, 1, 999, 1000, 1001, 60000, 4294967296};
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        struct timespec now, at;
        clock_gettime(CLOCK_MONOTONIC, &now);
        at = clock_deadline(timeouts[i]);
        assert_in_range(at.tv_nsec, 0, 999999999);
        int64_t ahead_ns =
            (int64_t)(at.tv_sec - now.tv_sec) * 1000000000 + at.tv_nsec - now.tv_nsec;
        assert_true(ahead_ns >= (int64_t)timeouts[i] * 1000000);
    }
}

static void test_the_clock_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = clock_ms();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = clock_ms();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_event_has_not_happened_until_it_is_set, set_up),
        cmocka_unit_test_setup(test_it_writes_to_a_descriptor_for_those_who_wait_in_poll, set_up),
        cmocka_unit_test_setup(test_all_who_wait_are_woken, set_up),
        cmocka_unit_test(test_a_deadline_lies_that_far_ahead),
        cmocka_unit_test(test_the_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
