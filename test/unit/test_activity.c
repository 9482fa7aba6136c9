/* Which request a thread serves, as others see it. The work and the board are real, the request's
 * text and peer are fakes.
 *
 * links: activity.c request_clock.c scoreboard.c descriptors.c counters.c */
#include "unit.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/request.h"
#include "threads/activity.h"

enum { THREADS = 4, ROUNDS = 20000 };

static struct activity activity;
static struct request request;
static bool has_left;
static unsigned looks; /* at the peer */

/* Fakes */

/* Of the request's id, which stands for its text as well. */
void request_describe(const struct request *described, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "GET /%s", described->id != NULL ? described->id : "");
}

bool request_has_peer_left(struct request *of)
{
    assert_ptr_equal(of, &request);
    looks++;
    return has_left;
}

static int set_up(void **state)
{
    (void)state;
    activity_init(&activity);
    request = (struct request){.id = "one"};
    has_left = false;
    looks = 0;
    return 0;
}

static unsigned long long serial(void)
{
    struct request_clock_view view;
    return request_clock_look(&activity.work, &view) ? view.serial : 0;
}

/* Tests */

static void test_a_thread_serves_nothing_before_and_after_its_request(void **state)
{
    (void)state;
    struct activity_report report;
    activity.thread = pthread_self();
    assert_false(activity_get(&activity, &report));
    activity_begin(&activity, &request);
    assert_true(activity_get(&activity, &report));
    assert_string_equal(report.request, "GET /one");
    assert_string_equal(report.request_id, "one");
    assert_true(pthread_equal(report.thread, pthread_self()));
    activity_end_application(&activity);
    assert_true(activity_get(&activity, &report)); /* its response is still being sent */
    activity_end(&activity);
    assert_false(activity_get(&activity, &report));
    activity_end(&activity); /* once more does nothing */
    assert_false(activity_get(&activity, &report));
}

static void test_its_age_is_since_it_began(void **state)
{
    (void)state;
    struct activity_report report;
    activity_begin(&activity, &request);
    activity.since_ms -= 5000;
    assert_true(activity_get(&activity, &report));
    assert_true(report.age_ms >= 5000);
    uint64_t now_ms = clock_ms();
    activity_begin(&activity, &request);
    assert_true(activity.since_ms >= now_ms);
}

static void test_a_request_without_an_id_has_none_and_a_long_one_is_cut(void **state)
{
    (void)state;
    struct activity_report report;
    static char longest[2000];
    memset(longest, 'x', sizeof(longest) - 1);
    request.id = NULL;
    activity_begin(&activity, &request);
    memset(&report, 'x', sizeof(report));
    assert_true(activity_get(&activity, &report));
    assert_string_equal(report.request_id, "");
    request.id = longest;
    assert_true(activity_get(&activity, &report));
    assert_int_equal(strlen(report.request), sizeof(report.request) - 1);
    assert_int_equal(strlen(report.request_id), sizeof(report.request_id) - 1);
}

static void test_each_request_is_a_new_piece_of_work_until_the_application_returns(void **state)
{
    (void)state;
    assert_int_equal(serial(), 0);
    activity_begin(&activity, &request);
    request_clock_enter(&activity.work);
    unsigned long long first = serial();
    assert_true(first > 0);
    activity_end_application(&activity);
    assert_int_equal(serial(), 0);
    activity_end(&activity);
    activity_begin(&activity, &request);
    request_clock_enter(&activity.work);
    assert_true(serial() > first);
}

static void test_whether_the_client_has_left_is_asked_of_the_same_work_alone(void **state)
{
    (void)state;
    activity_begin(&activity, &request);
    request_clock_enter(&activity.work);
    unsigned long long now = serial();
    assert_false(activity_has_client_left(&activity, now));
    has_left = true;
    assert_true(activity_has_client_left(&activity, now));
    assert_int_equal(looks, 2);
    assert_false(activity_has_client_left(&activity, now + 1));
    assert_false(activity_has_client_left(&activity, now - 1));
    activity_end_application(&activity);
    assert_false(activity_has_client_left(&activity, now));
    activity_end(&activity);
    assert_false(activity_has_client_left(&activity, now));
    request_clock_begin(&activity.work, clock_ms()); /* cleanups of a request: nobody to look at */
    request_clock_enter(&activity.work);
    assert_false(activity_has_client_left(&activity, serial()));
    assert_int_equal(looks, 2);
}

static void test_a_manager_sees_it_on_the_board(void **state)
{
    (void)state;
    struct scoreboard *board;
    struct scoreboard_entry entry;
    int fd = scoreboard_open(&board);
    assert_true(fd >= 0);
    atomic_store(&board->threads, 1);
    activity.board = &board->thread[0];
    assert_false(scoreboard_get(board, 0, &entry));
    activity_begin(&activity, &request);
    assert_true(scoreboard_get(board, 0, &entry));
    assert_string_equal(entry.text, "GET /one");
    assert_int_equal(entry.since_ms, activity.since_ms);
    activity_end_application(&activity);
    assert_true(scoreboard_get(board, 0, &entry));
    activity_end(&activity);
    assert_false(scoreboard_get(board, 0, &entry));
    scoreboard_unmap(board);
    close(fd);
}

static void test_all_threads_have_counters_and_so_has_the_watch(void **state)
{
    (void)state;
    struct activities activities;
    struct counters_totals totals = {.requests = 4711};
    struct request_times times = {.ready_us = 1, .begun_us = 2, .ended_us = 3};
    assert_int_equal(activities_init(&activities, THREADS), 0);
    activities.count = 2; /* as many as have started */
    activities_sum(&activities, &totals);
    assert_int_equal(totals.requests, 0);
    counters_count(activities.items[0].counters, 200, &times);
    counters_count(activities.items[1].counters, 503, &times);
    counters_count(activities.items[2].counters, 200, &times); /* is not one of them */
    counters_count(activities.spare, 200, &times);
    activities_sum(&activities, &totals);
    assert_int_equal(totals.requests, 3);
    assert_int_equal(totals.by_class[1], 2);
    assert_int_equal(totals.by_class[4], 1);
    for (int i = 0; i < THREADS; i++) {
        struct activity_report report;
        assert_false(activity_get(&activities.items[i], &report));
        assert_int_equal((uintptr_t)activities.items[i].counters % 64, 0);
    }
    free(activities.items);
}

static void test_more_threads_than_there_is_memory_for_fail(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* which abort instead */
#else
    enum { BYTES = 1 << 30 };
    struct activities activities;
    struct rlimit before;
    getrlimit(RLIMIT_AS, &before);
    setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = BYTES, .rlim_max = before.rlim_max});
    int result = activities_init(&activities, BYTES / sizeof(struct activity));
    setrlimit(RLIMIT_AS, &before);
    assert_int_equal(result, -1);
    assert_null(activities.items);
#endif
}

static struct activities shared;

static void *enter_and_leave(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        activities_enter(&shared);
        activities_leave(&shared);
    }
    return unused;
}

static void test_the_busiest_moment_is_remembered(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    shared = (struct activities){.count = 0};
    for (int i = 0; i < 3; i++)
        activities_enter(&shared);
    activities_leave(&shared);
    activities_enter(&shared);
    assert_int_equal(atomic_load(&shared.busy), 3);
    assert_int_equal(atomic_load(&shared.busiest), 3);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, enter_and_leave, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&shared.busy), 3);
    assert_in_range(atomic_load(&shared.busiest), 4, 3 + THREADS);
}

/* A request ends, and its memory is another's, while somebody describes it. */
static atomic_bool is_over;

static void *serve(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct request *own = calloc(1, sizeof(*own));
        own->id = i % 2 == 0 ? "even" : "odd";
        activity_begin(&activity, own);
        activity_end_application(&activity);
        activity_end(&activity);
        memset((void *)own, 0xee, sizeof(*own));
        free(own);
    }
    atomic_store(&is_over, true);
    return unused;
}

static void test_a_request_is_not_looked_at_once_it_has_ended(void **state)
{
    (void)state;
    pthread_t thread;
    atomic_store(&is_over, false);
    pthread_create(&thread, NULL, serve, NULL);
    while (!atomic_load(&is_over)) {
        struct activity_report report;
        if (activity_get(&activity, &report))
            assert_true(strcmp(report.request, "GET /even") == 0 ||
                        strcmp(report.request, "GET /odd") == 0);
    }
    pthread_join(thread, NULL);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_thread_serves_nothing_before_and_after_its_request),
        TEST(test_its_age_is_since_it_began),
        TEST(test_a_request_without_an_id_has_none_and_a_long_one_is_cut),
        TEST(test_each_request_is_a_new_piece_of_work_until_the_application_returns),
        TEST(test_whether_the_client_has_left_is_asked_of_the_same_work_alone),
        TEST(test_a_manager_sees_it_on_the_board),
        TEST(test_all_threads_have_counters_and_so_has_the_watch),
        TEST(test_more_threads_than_there_is_memory_for_fail),
        TEST(test_the_busiest_moment_is_remembered),
        TEST(test_a_request_is_not_looked_at_once_it_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
