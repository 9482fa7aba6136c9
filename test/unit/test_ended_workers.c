/* links: ended_workers.c counters.c */
#include "unit.h"

#include "status/ended_workers.h"

static struct counters_totals ended;
static unsigned long long ended_log_dropped;

static struct process_figures process;

static void see(long pid, unsigned long long requests)
{
    process = (struct process_figures){
        .pid = pid, .totals.requests = requests, .totals.by_class[1] = requests, .log_dropped = 1};
    ended_workers_see(&process, false);
}

static unsigned long long end_round(void)
{
    ended_workers_end_round(&ended, &ended_log_dropped);
    assert_int_equal(ended.by_class[1], ended.requests);
    return ended.requests;
}

static void test_what_workers_have_counted_stays_when_they_end(void **state)
{
    (void)state;
    see(1, 10);
    see(2, 5);
    assert_int_equal(end_round(), 0);
    see(1, 12);
    assert_int_equal(end_round(), 5);
    assert_int_equal(ended_log_dropped, 1);
    see(3, 1);
    assert_int_equal(end_round(), 17);
    see(3, 2);
    assert_int_equal(end_round(), 17);
    end_round();
    assert_int_equal(end_round(), 19);
    assert_int_equal(ended_log_dropped, 3);
}

static void test_what_a_worker_counted_since_it_was_seen_last_is_not_lost(void **state)
{
    (void)state;
    unsigned long long before = end_round();
    see(5, 10);
    end_round();
    ended_workers_end(5, &(struct counters_totals){.requests = 14, .by_class[1] = 14});
    assert_int_equal(end_round(), before + 14);
    /* Which nobody saw. */
    ended_workers_end(6, &(struct counters_totals){.requests = 3, .by_class[1] = 3});
    assert_int_equal(end_round(), before + 17);
    see(7, 2);
    end_round();
    ended_workers_end(7, NULL);
    assert_int_equal(end_round(), before + 19);
    assert_int_equal(end_round(), before + 19);
}

static void test_a_worker_that_is_silent_for_a_while_has_what_it_told_before(void **state)
{
    (void)state;
    unsigned long long before = end_round();
    see(7, 30);
    end_round();
    process = (struct process_figures){.pid = 7};
    ended_workers_see(&process, true);
    assert_int_equal(process.totals.requests, 30);
    assert_int_equal(process.log_dropped, 1);
    assert_int_equal(end_round(), before);
    see(7, 31);
    assert_int_equal(end_round(), before);
    assert_int_equal(end_round(), before + 31);
}

static void test_a_process_that_gets_an_ended_one_s_number_is_another(void **state)
{
    (void)state;
    unsigned long long before = end_round();
    see(8, 100);
    end_round();
    see(8, 1);
    assert_int_equal(end_round(), before + 100);
    assert_int_equal(end_round(), before + 101);
}

static void test_more_workers_than_there_is_room_for_do_no_harm(void **state)
{
    (void)state;
    unsigned long long before = end_round();
    for (long pid = 100; pid < 3000; pid++)
        see(pid, 1);
    end_round();
    assert_int_equal(end_round(), before + 1024);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_workers_have_counted_stays_when_they_end),
        cmocka_unit_test(test_what_a_worker_counted_since_it_was_seen_last_is_not_lost),
        cmocka_unit_test(test_a_worker_that_is_silent_for_a_while_has_what_it_told_before),
        cmocka_unit_test(test_a_process_that_gets_an_ended_one_s_number_is_another),
        cmocka_unit_test(test_more_workers_than_there_is_room_for_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
