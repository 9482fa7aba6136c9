/* Which messages are written, and which are only counted; the time is the test's.
 *
 * links: log_gather.c */
#include "unit.h"

#include "base/log_gather.h"

enum { SECOND_MS = 1000 };

static uint64_t now_ms = 1;
static struct log_gathered over;

/* Another test's second is over. */
static int set_up(void **state)
{
    (void)state;
    now_ms += 10 * SECOND_MS;
    while (log_gather_take(now_ms, true, &over))
        continue;
    return 0;
}

static unsigned written_of(const char *event, unsigned count)
{
    unsigned written = 0;
    for (unsigned i = 0; i < count; i++) {
        written += log_gather_admit(event, LOG_LEVEL_WARNING, now_ms, &over);
        assert_null(over.event);
    }
    return written;
}

static void test_the_first_ones_in_a_second_are_written(void **state)
{
    (void)state;
    assert_int_equal(written_of("a", 5), 5);
    assert_int_equal(written_of("b", LOG_GATHER_FIRST), LOG_GATHER_FIRST);
    assert_false(log_gather_take(now_ms, true, &over));
}

static void test_the_others_are_counted_for_each_event_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(written_of("a", 1000), LOG_GATHER_FIRST);
    assert_int_equal(written_of("b", LOG_GATHER_FIRST + 10), LOG_GATHER_FIRST);
    now_ms += SECOND_MS;
    unsigned long long a = 0, b = 0;
    while (log_gather_take(now_ms, false, &over))
        *(strcmp(over.event, "a") == 0 ? &a : &b) += over.count;
    assert_int_equal(a, 1000 - LOG_GATHER_FIRST);
    assert_int_equal(b, 10);
}

static void test_they_are_told_before_the_next_message_in_another_second(void **state)
{
    (void)state;
    written_of("a", LOG_GATHER_FIRST + 1);
    now_ms += SECOND_MS;
    assert_true(log_gather_admit("a", LOG_LEVEL_WARNING, now_ms, &over));
    assert_string_equal(over.event, "a");
    assert_int_equal(over.level, LOG_LEVEL_WARNING);
    assert_int_equal(over.count, 1);
    assert_int_equal(written_of("a", 1000), LOG_GATHER_FIRST - 1);
}

static void test_without_another_message_they_are_told_once_the_second_is_over(void **state)
{
    (void)state;
    written_of("a", LOG_GATHER_FIRST + 80);
    assert_false(log_gather_take(now_ms + SECOND_MS - 1, false, &over));
    assert_true(log_gather_take(now_ms + SECOND_MS, false, &over));
    assert_int_equal(over.count, 80);
    assert_false(log_gather_take(now_ms + SECOND_MS, false, &over));
}

static void test_at_the_end_they_are_told_at_once(void **state)
{
    (void)state;
    written_of("a", LOG_GATHER_FIRST + 2);
    assert_true(log_gather_take(now_ms, true, &over));
    assert_int_equal(over.count, 2);
}

static void test_more_events_than_there_is_room_for_are_all_written(void **state)
{
    (void)state;
    static char names[100][8];
    for (unsigned i = 0; i < 100; i++)
        snprintf(names[i], sizeof(names[i]), "many-%u", i);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(written_of(names[i], LOG_GATHER_FIRST), LOG_GATHER_FIRST);
    assert_int_equal(written_of(names[99], LOG_GATHER_FIRST), LOG_GATHER_FIRST);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_the_first_ones_in_a_second_are_written),
        TEST(test_the_others_are_counted_for_each_event_of_its_own),
        TEST(test_they_are_told_before_the_next_message_in_another_second),
        TEST(test_without_another_message_they_are_told_once_the_second_is_over),
        TEST(test_at_the_end_they_are_told_at_once),
        TEST(test_more_events_than_there_is_room_for_are_all_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
