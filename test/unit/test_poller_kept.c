/* Kept connections stay armed in epoll while they are served: what comes meanwhile is neither lost
 * nor given to a second worker.
 *
 * links: descriptor_file.c poller.c poller_accept.c poller_queue.c poller_handover.c
 * idle_connections.c hold.c address.c spool.c */
#include "poller_fixture.h"

static struct connection *kept;

static void send_to(unsigned i, const char *text)
{
    assert_int_equal(send(peers[i], text, strlen(text), 0), (long)strlen(text));
}

/* As a worker does that has read all there was. */
static int give_back(struct connection *connection)
{
    connection->is_emptied = true;
    return poller_watch(&poller, connection, 0);
}

/* A connection of peer 0 that is kept, and now owned, as a request has come. */
static void take_kept(void)
{
    kept = accept_kept(0);
    send_to(0, "a");
    assert_ptr_equal(poller_next(&poller), kept);
    take_byte(kept);
}

static int set_up_kept(void **state)
{
    if (set_up(state) < 0)
        return -1;
    take_kept();
    return 0;
}

static void test_a_kept_one_is_given_back_without_a_system_call(void **state)
{
    (void)state;
    assert_int_equal(give_back(kept), 0);
    send_to(0, "a");
    assert_ptr_equal(find(), kept);
    take_byte(kept);
    assert_int_equal(poller_control(&poller, EPOLL_CTL_DEL, kept->fd, 0, NULL), 0);
    assert_int_equal(give_back(kept), 0); /* EPOLL_CTL_MOD would have failed */
}

static void test_what_comes_while_a_worker_serves_is_left_to_that_worker(void **state)
{
    (void)state;
    send_to(0, "a");
    assert_null(find());
    assert_int_equal(give_back(kept), 1);
    take_byte(kept);
    assert_int_equal(give_back(kept), 0);
    assert_null(find());
    send_to(0, "a");
    assert_ptr_equal(find(), kept);
}

static void
test_what_comes_unseen_while_a_worker_serves_comes_once_that_has_given_it_back(void **state)
{
    (void)state;
    send_to(0, "a");
    assert_int_equal(give_back(kept), 0);
    assert_ptr_equal(find(), kept);
    assert_null(find());
}

static void test_a_hang_up_while_a_worker_serves_is_not_missed(void **state)
{
    (void)state;
    close(peers[0]);
    peers[0] = -1;
    assert_null(find());
    assert_int_equal(give_back(kept), 1);
}

/* One edge tells of both, and a receive that gets the request does not see the end. */
static void test_the_end_of_the_stream_that_came_with_a_request_is_reported_again(void **state)
{
    (void)state;
    assert_int_equal(give_back(kept), 0);
    send_to(0, "a");
    shutdown(peers[0], SHUT_WR);
    assert_ptr_equal(find(), kept);
    take_byte(kept);
    assert_int_equal(give_back(kept), 0);
    assert_ptr_equal(find(), kept);
}

static void test_the_end_that_came_while_a_worker_served_is_reported_again(void **state)
{
    (void)state;
    send_to(0, "a");
    shutdown(peers[0], SHUT_WR);
    assert_null(find());
    assert_int_equal(give_back(kept), 1);
    take_byte(kept);
    int given = give_back(kept);
    assert_true(given == 1 || find() == kept);
}

static void test_what_a_worker_did_not_read_comes_again(void **state)
{
    (void)state;
    assert_int_equal(give_back(kept), 0);
    send_to(0, "aa");
    assert_ptr_equal(find(), kept);
    take_byte(kept);
    kept->is_emptied = false;
    assert_int_equal(poller_watch(&poller, kept, 0), 0);
    assert_ptr_equal(find(), kept);
}

static void test_a_body_that_is_streamed_wakes_nobody_else(void **state)
{
    (void)state;
    poller_mute(&poller, kept);
    send_to(0, "a");
    assert_null(find());
    assert_int_equal(kept->hold.state, HOLD_OWNED);
    assert_int_equal(give_back(kept), 0);
    assert_ptr_equal(find(), kept);
}

static void test_one_that_waits_for_a_body_is_reported_once_as_a_new_one_is(void **state)
{
    (void)state;
    kept->request = &request;
    assert_int_equal(poller_watch(&poller, kept, clock_ms() + LONG_AGO_MS), 0);
    send_to(0, "a");
    assert_ptr_equal(find(), kept);
    send_to(0, "a");
    assert_null(find());
    assert_int_equal(kept->hold.state, HOLD_OWNED);
    kept->request = NULL;
}

static void test_what_comes_before_the_connection_is_free_is_left_to_its_worker(void **state)
{
    (void)state;
    struct connection *new_one = accept_peer(1); /* its byte is unread */
    assert_int_equal(poller_give(&poller, new_one, clock_ms() + LONG_AGO_MS), 0);
    assert_ptr_equal(find(), new_one);
    kept->is_emptied = false;
    send_to(0, "a");
    assert_int_equal(
        poller_control(&poller, EPOLL_CTL_MOD, kept->fd, (uint32_t)LASTING_EVENTS, kept), 0);
    assert_null(find()); /* armed, and reported, but not yet free */
    assert_int_equal(give_back(kept), 1);
}

/* Events of one epoll_wait: peer 1's, then peer 0's. */
static struct connection *leave_an_event(void)
{
    struct connection *other = accept_kept(1);
    send_to(1, "b");
    send_to(0, "a");
    assert_ptr_equal(look(), other);
    return other;
}

static void test_an_event_that_is_left_of_a_closed_one_is_stale(void **state)
{
    (void)state;
    leave_an_event();
    poller_close(&poller, kept);
    assert_ptr_equal(poller.buried, kept); /* as an event still points to it */
    poller_tend(&poller, clock_ms());
    assert_ptr_equal(poller.buried, kept);
    assert_null(look());
    poller_tend(&poller, clock_ms());
    assert_ptr_equal(poller.buried, kept);
    assert_null(look()); /* calls epoll_wait */
    poller_tend(&poller, clock_ms());
    assert_null(poller.buried);
}

static void test_those_closed_later_wait_for_their_own_events(void **state)
{
    (void)state;
    struct connection *other = accept_kept(1);
    poller_close(&poller, kept);
    assert_null(look());
    send_to(1, "b");
    assert_ptr_equal(look(), other);
    poller_close(&poller, other);
    assert_ptr_equal(poller.buried, other);
    assert_null(other->next); /* the first one has been freed */
}

static void test_a_closed_one_of_which_a_child_has_a_copy_is_not_reported(void **state)
{
    (void)state;
    struct epoll_event event;
    int copy = dup(kept->fd);
    assert_int_equal(give_back(kept), 0);
    send_to(0, "a");
    assert_ptr_equal(find(), kept);
    poller_close(&poller, kept);
    send_to(0, "a");
    assert_int_equal(epoll_wait(poller.epoll_fd, &event, 1, 0), 0);
    close(copy);
}

static void test_a_new_one_is_freed_at_once(void **state)
{
    (void)state;
    poller_close(&poller, accept_peer(1));
    assert_null(poller.buried);
}

static void test_while_handing_over_a_worker_leaves_what_has_come_to_the_next_process(void **state)
{
    (void)state;
    send_to(0, "a");
    assert_null(find());
    poller_begin_handover(&poller);
    assert_int_equal(give_back(kept), 0);
    assert_int_equal(poller_busy_count(&poller), 0);
    assert_null(find());
    poller_give_up_handover(&poller);
    assert_ptr_equal(find(), kept);
}

static void test_an_event_that_is_left_of_one_that_another_process_has_is_stale(void **state)
{
    (void)state;
    assert_int_equal(give_back(kept), 0);
    leave_an_event();
    poller_begin_handover(&poller);
    struct handover handover;
    assert_int_equal(poller_pick_movable(&poller, 8, &handover), 1);
    poller_release_picked(&poller, &handover, true);
    free(handover.connections);
    poller_give_up_handover(&poller);
    assert_null(find());
}

static void test_unread_bytes_that_were_not_noticed_are_looked_at_after_a_second(void **state)
{
    (void)state;
    send_to(0, "a");
    assert_null(find());
    hold_look(&kept->hold); /* as if the worker had seen to it */
    assert_int_equal(give_back(kept), 0);
    poller_tend(&poller, clock_ms());
    assert_false(poller_has_ready(&poller));
    atomic_store(&kept->idle_ms, clock_ms() - 1000);
    poller_tend(&poller, clock_ms());
    assert_ptr_equal(poller_next(&poller), kept);
    take_byte(kept);
    assert_int_equal(give_back(kept), 0);
    atomic_store(&kept->idle_ms, clock_ms() - 1000);
    poller_tend(&poller, clock_ms());
    assert_false(poller_has_ready(&poller));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_kept, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_kept_one_is_given_back_without_a_system_call),
        TEST(test_what_comes_while_a_worker_serves_is_left_to_that_worker),
        TEST(test_what_comes_unseen_while_a_worker_serves_comes_once_that_has_given_it_back),
        TEST(test_a_hang_up_while_a_worker_serves_is_not_missed),
        TEST(test_the_end_of_the_stream_that_came_with_a_request_is_reported_again),
        TEST(test_the_end_that_came_while_a_worker_served_is_reported_again),
        TEST(test_what_a_worker_did_not_read_comes_again),
        TEST(test_a_body_that_is_streamed_wakes_nobody_else),
        TEST(test_one_that_waits_for_a_body_is_reported_once_as_a_new_one_is),
        TEST(test_what_comes_before_the_connection_is_free_is_left_to_its_worker),
        TEST(test_an_event_that_is_left_of_a_closed_one_is_stale),
        TEST(test_those_closed_later_wait_for_their_own_events),
        TEST(test_a_closed_one_of_which_a_child_has_a_copy_is_not_reported),
        TEST(test_a_new_one_is_freed_at_once),
        TEST(test_while_handing_over_a_worker_leaves_what_has_come_to_the_next_process),
        TEST(test_an_event_that_is_left_of_one_that_another_process_has_is_stale),
        TEST(test_unread_bytes_that_were_not_noticed_are_looked_at_after_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
