/* The poller's two queues: of requests that wait for a thread, and for the application.
 *
 * links: poller_queue.c */
#include "unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "connection/poller.h"
#include "connection/poller_internal.h"

static struct poller poller;
static struct connection a, b, c, d;
static struct request request;

static int set_up(void **state)
{
    (void)state;
    memset(&poller, 0, sizeof(poller));
    pthread_mutex_init(&poller.mutex, NULL);
    poller.ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct connection *const all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < COUNT(all); i++) {
        memset(all[i], 0, sizeof(*all[i]));
        all[i]->request = &request;
    }
    return poller.ready_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    pthread_mutex_destroy(&poller.mutex);
    return close(poller.ready_fd);
}

static eventfd_t wakes(void)
{
    eventfd_t count = 0;
    eventfd_read(poller.ready_fd, &count);
    return count;
}

static struct connection *take(void)
{
    return poller_take_ready(&poller, UINT64_MAX);
}

static void park(struct connection *connection, uint64_t end_ms)
{
    connection->park_end_ms = end_ms;
    poller_park(&poller, connection);
}

static void test_requests_get_threads_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    poller_queue(&poller, &a);
    poller_queue(&poller, &b);
    assert_int_equal(poller_count_queue(&poller.ready), 2);
    assert_true(a.is_queued && b.is_queued);
    assert_ptr_equal(take(), &a);
    assert_false(a.is_queued);
    poller_queue(&poller, &c);
    assert_ptr_equal(take(), &b);
    assert_true(poller_has_ready(&poller));
    assert_ptr_equal(take(), &c);
    assert_false(poller_has_ready(&poller));
    assert_null(take());
    poller_queue(&poller, &a); /* the emptied queue can be used again */
    assert_ptr_equal(take(), &a);
}

static void test_who_waits_in_epoll_is_woken_once_until_the_queue_is_empty(void **state)
{
    (void)state;
    poller_queue(&poller, &a);
    poller_queue(&poller, &b);
    assert_int_equal(wakes(), 1);
    take();
    poller_queue(&poller, &c);
    assert_int_equal(wakes(), 0);
    take();
    take();
    poller_queue(&poller, &d);
    assert_int_equal(wakes(), 1);
}

static void test_parked_requests_wait_until_their_own_end(void **state)
{
    (void)state;
    park(&b, 200);
    park(&c, 300);
    park(&a, 100); /* released too early before, it comes back with its old end */
    park(&d, 250);
    assert_int_equal(poller_count_queue(&poller.parked), 4);
    poller_release_parked(&poller, 99);
    assert_null(take());
    poller_release_parked(&poller, 250);
    assert_ptr_equal(take(), &a);
    assert_ptr_equal(take(), &b);
    assert_ptr_equal(take(), &d);
    assert_null(take());
    poller_unpark(&poller);
    assert_ptr_equal(take(), &c);
    assert_int_equal(poller_count_queue(&poller.parked), 0);
}

static void test_only_a_request_that_came_before_the_given_time_is_overdue(void **state)
{
    (void)state;
    poller_queue(&poller, &a);
    assert_null(poller_take_overdue(&poller, a.queued_us - 1));
    assert_ptr_equal(poller_take_overdue(&poller, a.queued_us), &a);
    b.request = NULL; /* bytes that a predecessor left, and no request yet */
    poller_queue(&poller, &b);
    assert_null(poller_take_overdue(&poller, b.queued_us));
    assert_ptr_equal(take(), &b);
}

/* The others are left to the next process. */
static void test_during_a_handover_only_responses_that_were_sent_are_taken(void **state)
{
    (void)state;
    poller_queue(&poller, &a);
    poller_queue(&poller, &b);
    poller_queue(&poller, &c);
    b.is_sending = c.is_sending = true;
    atomic_store(&poller.is_handing_over, true);
    assert_null(poller_take_overdue(&poller, UINT64_MAX - 1));
    assert_ptr_equal(take(), &b);
    assert_ptr_equal(take(), &c);
    assert_null(take());
    poller_queue(&poller, &d); /* behind what is left, though the last one was taken */
    atomic_store(&poller.is_handing_over, false);
    assert_ptr_equal(take(), &a);
    assert_ptr_equal(take(), &d);
    assert_null(take());
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_get_threads_in_the_order_in_which_they_came),
        TEST(test_who_waits_in_epoll_is_woken_once_until_the_queue_is_empty),
        TEST(test_parked_requests_wait_until_their_own_end),
        TEST(test_only_a_request_that_came_before_the_given_time_is_overdue),
        TEST(test_during_a_handover_only_responses_that_were_sent_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
