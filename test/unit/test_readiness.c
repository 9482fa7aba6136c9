/* links: readiness.c */
#include "unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "threads/readiness.h"

static void test_nothing_is_loaded_at_first_and_each_application_for_itself(void **state)
{
    (void)state;
    struct readiness readiness = {.wake_fd = -1};
    for (unsigned i = 0; i < 64; i++)
        assert_false(readiness_has(&readiness, i));
    readiness_add(&readiness, 63);
    readiness_add(&readiness, 0);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(readiness_has(&readiness, i), i == 0 || i == 63);
}

static void test_who_waits_is_woken_by_each_change(void **state)
{
    (void)state;
    struct readiness readiness = {.wake_fd = eventfd(0, EFD_NONBLOCK)};
    eventfd_t count;
    readiness_add(&readiness, 1);
    readiness_wake(&readiness);
    assert_int_equal(eventfd_read(readiness.wake_fd, &count), 0);
    assert_int_equal(count, 2);
    close(readiness.wake_fd);
}

static void test_the_seconds_to_the_next_attempt_are_rounded_up_and_at_least_one(void **state)
{
    (void)state;
    struct readiness readiness = {.wake_fd = -1};
    assert_int_equal(readiness_seconds_to_attempt(&readiness), 1); /* nobody waits */
    atomic_store(&readiness.next_attempt_ms, clock_ms() + 500);
    assert_int_equal(readiness_seconds_to_attempt(&readiness), 1);
    atomic_store(&readiness.next_attempt_ms, clock_ms() + 3600 * 1000 - 500);
    assert_int_equal(readiness_seconds_to_attempt(&readiness), 3600);
    atomic_store(&readiness.next_attempt_ms, 1);
    assert_int_equal(readiness_seconds_to_attempt(&readiness), 1); /* it is under way */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_loaded_at_first_and_each_application_for_itself),
        cmocka_unit_test(test_who_waits_is_woken_by_each_change),
        cmocka_unit_test(test_the_seconds_to_the_next_attempt_are_rounded_up_and_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
