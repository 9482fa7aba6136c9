/* The poller, with sockets of the test's own; connections and listeners are as simple as can be.
 *
 * links: descriptor_file.c poller.c poller_accept.c poller_queue.c poller_handover.c
 * idle_connections.c hold.c address.c spool.c */
#include "poller_fixture.h"

#include <fcntl.h>

static void release(struct request *released)
{
    assert_ptr_equal(released, &request);
    is_request_released = true;
}

static struct connection *accept_queued(unsigned i)
{
    struct connection *connection = accept_peer(i);
    static const struct transport_ops ops = {.release = release};
    request.ops = &ops;
    connection->request = &request;
    poller_queue(&poller, connection);
    return connection;
}

static bool is_shut(const struct connection *connection)
{
    char byte;
    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void test_connections_come_in_the_order_in_which_they_were_made(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        connect_peer(i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(peer_of(poller_next(&poller)), i);
    assert_int_equal(poller_connection_count(&poller), 4);
}

static void test_a_listener_whose_file_is_lost_is_named_once(void **state)
{
    (void)state;
    assert_null(poller_find_lost_file(&poller));
    losses = 1;
    assert_string_equal(poller_find_lost_file(&poller), listener.name);
    assert_null(poller_find_lost_file(&poller));
}

/* The folder of its file may be one that hangs, of NFS, say. */
static void test_nobody_waits_while_a_listener_s_file_is_looked_for(void **state)
{
    (void)state;
    is_mutex_free = false;
    assert_null(poller_find_lost_file(&poller));
    assert_true(is_mutex_free);
}

/* What is open is the same file as at the start, and no other one with its number. */
static void test_descriptors_that_others_have_closed_are_missed(void **state)
{
    (void)state;
    assert_false(poller_has_lost_descriptors(&poller));
    int saved = dup(listener.fd), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, listener.fd);
    assert_true(poller_has_lost_descriptors(&poller));
    dup2(saved, listener.fd);
    assert_false(poller_has_lost_descriptors(&poller));
    close(saved);
    saved = dup(poller.epoll_fd);
    dup2(null, poller.epoll_fd);
    assert_true(poller_has_lost_descriptors(&poller));
    dup2(saved, poller.epoll_fd);
    close(saved);
    close(null);
    assert_false(poller_has_lost_descriptors(&poller));
}

static void test_a_watched_one_comes_again_when_its_peer_sends_and_not_before(void **state)
{
    (void)state;
    struct connection *kept = accept_kept(0);
    assert_null(look());
    assert_int_equal(send(peers[0], "a", 1, 0), 1);
    assert_ptr_equal(poller_next(&poller), kept);
    assert_null(look()); /* it is its worker's */
}

static void test_the_queue_is_first_come_first_served_and_before_what_is_new(void **state)
{
    (void)state;
    struct connection *first = accept_peer(0), *second = accept_peer(1);
    poller_queue(&poller, first);
    poller_queue(&poller, second);
    connect_peer(2);
    assert_ptr_equal(poller_next(&poller), first);
    assert_ptr_equal(poller_next(&poller), second);
    assert_int_equal(peer_of(poller_next(&poller)), 2);
    assert_false(poller_has_ready(&poller));
}

static void test_the_watch_leaves_the_queue_to_the_workers(void **state)
{
    (void)state;
    struct connection *queued = accept_queued(0);
    connect_peer(1);
    assert_int_equal(peer_of(find()), 1);
    assert_null(look());
    assert_ptr_equal(poller_next(&poller), queued);
}

static void test_a_watch_that_is_recalled_takes_nothing_more(void **state)
{
    (void)state;
    connect_peer(0);
    poller_recall(&poller);
    assert_true(poller_is_recalled(&poller));
    assert_null(look());
    poller_end_recall(&poller);
    assert_false(poller_is_recalled(&poller));
    assert_int_equal(peer_of(poller_next(&poller)), 0);
}

static void test_only_the_first_of_the_queue_can_be_overdue_if_it_has_a_request(void **state)
{
    (void)state;
    struct connection *first = accept_queued(0), *second = accept_queued(1);
    assert_null(poller_take_overdue(&poller, first->queued_us - 1));
    assert_ptr_equal(poller_take_overdue(&poller, first->queued_us), first);
    second->request = NULL;
    assert_null(poller_take_overdue(&poller, clock_us() + 1));
    assert_ptr_equal(poller_next(&poller), second);
    assert_null(poller_take_overdue(&poller, UINT64_MAX - 1));
}

static void test_parked_ones_come_back_in_the_order_of_their_ends(void **state)
{
    (void)state;
    static const uint64_t ends_ms[] = {200, 300, 100};
    struct connection *parked[3];
    for (unsigned i = 0; i < 3; i++) {
        parked[i] = accept_peer(i);
        parked[i]->park_end_ms = ends_ms[i];
        poller_park(&poller, parked[i]);
    }
    poller_tend(&poller, 99);
    assert_false(poller_has_ready(&poller));
    poller_tend(&poller, 200);
    assert_ptr_equal(poller_next(&poller), parked[2]);
    assert_ptr_equal(poller_next(&poller), parked[0]);
    assert_null(look());
    poller_unpark(&poller);
    assert_ptr_equal(poller_next(&poller), parked[1]);
}

static void test_at_the_limit_the_longest_idle_one_makes_room(void **state)
{
    (void)state;
    struct connection *kept[4];
    for (unsigned i = 0; i < 4; i++) {
        kept[i] = accept_kept(i);
        atomic_store(&kept[i]->idle_ms, clock_ms() - LONG_AGO_MS + i);
    }
    atomic_store(&kept[0]->idle_ms, clock_ms());
    connect_peer(4);
    assert_ptr_equal(find(), kept[1]); /* its worker finds that it has ended */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(is_shut(kept[i]), i == 1);
    poller_close(&poller, kept[1]);
    assert_int_equal(peer_of(poller_next(&poller)), 4);
    assert_int_equal(lines, 0);
}

static void test_while_few_descriptors_are_free_the_longest_idle_ones_are_closed(void **state)
{
    (void)state;
    struct connection *kept[4];
    for (unsigned i = 0; i < 4; i++) {
        kept[i] = accept_kept(i);
        atomic_store(&kept[i]->idle_ms, clock_ms() - LONG_AGO_MS + i);
    }
    poller.descriptor_limit = 64;
    lowest_free = 61;
    poller_tend(&poller, clock_ms());
    for (unsigned i = 0; i < 4; i++)
        assert_false(is_shut(kept[i]));
    lowest_free = 62;
    poller_tend(&poller, clock_ms());
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(is_shut(kept[i]), i < 2);
    lowest_free = 0;
}

static void test_where_none_has_been_idle_for_long_new_ones_wait(void **state)
{
    (void)state;
    struct connection *kept[4];
    for (unsigned i = 0; i < 4; i++)
        kept[i] = accept_kept(i);
    connect_peer(4);
    assert_null(look());
    for (unsigned i = 0; i < 4; i++)
        assert_false(is_shut(kept[i]));
    assert_int_equal(lines, 0); /* one soon will have been */
    atomic_store(&kept[2]->idle_ms, clock_ms() - LONG_AGO_MS);
    poller_tend(&poller, clock_ms());
    assert_ptr_equal(find(), kept[2]);
    assert_true(is_shut(kept[2]));
}

static void test_where_none_is_idle_new_ones_wait_and_the_log_says_so_once(void **state)
{
    (void)state;
    struct connection *busy[4];
    for (unsigned i = 0; i < 4; i++)
        busy[i] = accept_peer(i);
    connect_peer(4);
    for (unsigned i = 0; i < 3; i++) {
        assert_null(look());
        poller_tend(&poller, clock_ms());
    }
    assert_int_equal(lines, 1);
    assert_non_null(strstr(logged, "as many as [limits] connections allows"));
    poller_close(&poller, busy[3]);
    assert_int_equal(peer_of(poller_next(&poller)), 4);
}

static void test_a_peer_that_is_not_allowed_is_closed_and_told_of_with_all_others(void **state)
{
    (void)state;
    listener.is_tcp = true; /* allow has no address, this peer none that it could have */
    was_gathered = false;
    connect_peer(0);
    assert_null(find());
    errno = 0;
    assert_true(recv(peers[0], &(char){0}, 1, 0) <= 0 && errno != EAGAIN);
    assert_int_equal(poller_connection_count(&poller), 0);
    assert_non_null(strstr(logged, "its address is not in [server] allow"));
    assert_true(was_gathered);
}

static void test_a_silent_one_is_ended_at_its_deadline_and_a_busy_one_is_not(void **state)
{
    (void)state;
    struct connection *silent = accept_peer(0), *busy = accept_peer(1);
    take_byte(silent);
    poller_watch(&poller, silent, 1000);
    atomic_store(&busy->deadline_ms, 1000);
    poller_tend(&poller, 999);
    assert_false(is_shut(silent));
    poller_tend(&poller, 1000);
    assert_true(is_shut(silent));
    assert_true(atomic_load(&silent->is_expired));
    assert_false(atomic_load(&busy->is_expired));
}

static struct connection *accept_paused(unsigned i, uint64_t end_ms)
{
    struct connection *connection = accept_peer(i);
    take_byte(connection);
    connection->request = &request;
    pause_end_ms = end_ms;
    assert_int_equal(poller_watch(&poller, connection, clock_ms() + LONG_AGO_MS), 0);
    return connection;
}

/* NULL: in two seconds nothing came. */
static struct connection *await(void)
{
    struct connection *connection = NULL;
    for (unsigned i = 0; i < 200 && connection == NULL; i++)
        connection = poller_lead(&poller, 10);
    return connection;
}

static void test_a_connection_is_taken_up_once_its_peer_has_paused(void **state)
{
    (void)state;
    uint64_t end_ms = clock_ms() + 20;
    struct connection *second = accept_paused(1, end_ms + 1), *first = accept_paused(0, end_ms);
    assert_ptr_equal(await(), first);
    assert_true(clock_ms() >= end_ms);
    assert_int_equal(send(peers[0], "a", 1, 0), 1); /* it is its worker's */
    assert_ptr_equal(await(), second);
    close(peers[1]);
    peers[1] = -1;
    assert_null(find());
    pause_end_ms = 0;
    assert_int_equal(poller_watch(&poller, second, 0), 0);
    assert_ptr_equal(await(), second); /* which has hung up */
    assert_int_equal(poller_watch(&poller, first, 0), 0);
    assert_ptr_equal(await(), first);
    assert_null(find());
}

static void test_one_whose_peer_goes_on_is_taken_up_only_once(void **state)
{
    (void)state;
    struct connection *connection = accept_paused(0, clock_ms() - 1);
    assert_int_equal(send(peers[0], "a", 1, 0), 1);
    assert_ptr_equal(find(), connection);
    assert_null(find());
    pause_end_ms = clock_ms() + LONG_AGO_MS;
    assert_int_equal(poller_watch(&poller, connection, 0), 0);
    assert_ptr_equal(find(), connection);
    assert_null(find());
}

static void test_one_that_pauses_while_handing_over_is_taken_up_once_that_is_given_up(void **state)
{
    (void)state;
    struct connection *connection = accept_paused(0, clock_ms() - 1);
    poller_begin_handover(&poller);
    assert_null(find());
    poller_give_up_handover(&poller);
    assert_ptr_equal(find(), connection);
}

static void test_while_handing_over_nothing_new_is_begun_and_given_up_all_comes_again(void **state)
{
    (void)state;
    struct connection *kept = accept_kept(0), *queued = accept_queued(1);
    poller_begin_handover(&poller);
    assert_int_equal(send(peers[0], "a", 1, 0), 1);
    connect_peer(2);
    for (unsigned i = 0; i < 4; i++)
        assert_null(look());
    assert_int_equal(poller_busy_count(&poller), 0);
    struct handover handover = {0};
    assert_int_equal(poller_hand_over(&poller, &handover), 0);
    assert_int_equal(handover.connection_count, 2);
    free(handover.connections);
    free(handover.listeners);
    poller_give_up_handover(&poller);
    assert_ptr_equal(poller_next(&poller), queued);
    assert_ptr_equal(poller_next(&poller), kept);
}

static void test_one_that_cannot_be_handed_over_is_told_of(void **state)
{
    (void)state;
    struct connection *kept = accept_kept(0);
    accept_kept(1);
    poller_begin_handover(&poller);
    undescribed = kept->fd;
    struct handover handover = {0};
    assert_int_equal(poller_hand_over(&poller, &handover), 0);
    undescribed = 0;
    assert_int_equal(handover.connection_count, 1);
    assert_non_null(strstr(logged, "1 connection(s) can't be handed over"));
    free(handover.connections);
    free(handover.listeners);
    poller_give_up_handover(&poller);
}

static void test_those_that_another_process_has_are_gone_from_the_queue(void **state)
{
    (void)state;
    accept_queued(0);
    accept_kept(1);
    poller_begin_handover(&poller);
    struct handover handover;
    assert_int_equal(poller_pick_movable(&poller, 8, &handover), 2);
    poller_release_picked(&poller, &handover, true);
    free(handover.connections);
    poller_give_up_handover(&poller);
    assert_int_equal(poller_connection_count(&poller), 0);
    assert_null(find());
    assert_null(poller_take_overdue(&poller, UINT64_MAX - 1));
}

static void test_the_load_counts_what_is_open_idle_and_waits(void **state)
{
    (void)state;
    struct poller_load load;
    accept_kept(0);
    struct connection *first = accept_queued(1), *parked = accept_peer(2);
    accept_queued(3);
    first->queued_us -= 5000000;
    poller_park(&poller, parked);
    poller_get_load(&poller, &load);
    assert_int_equal(load.open, 4);
    assert_int_equal(load.idle, 1);
    assert_int_equal(load.max, 4);
    assert_int_equal(load.waiting, 2);
    assert_int_equal(load.parked, 1);
    assert_true(load.oldest_waiting_ms >= 5000);
}

static void test_workers_and_watch_end_when_it_quits(void **state)
{
    (void)state;
    connect_peer(0);
    poller_quit(&poller);
    assert_null(poller_next(&poller));
    assert_null(poller_lead(&poller, -1));
    assert_true(poller_is_recalled(&poller));
}

static void test_a_worker_that_ends_takes_what_has_queued_up_unless_others_serve_it(void **state)
{
    (void)state;
    for (int is_held = 0; is_held <= 1; is_held++) {
        poller.is_managed = true;
        connect_peer(0);
        if (is_held)
            poller_hold(&poller);
        int copy = dup(listener.fd);
        poller_stop_accepting(&poller);
        assert_int_equal(poller.connection_count, is_held ? 0 : 1);
        int fd = accept4(copy, NULL, NULL, SOCK_NONBLOCK);
        assert_int_equal(fd >= 0, is_held);
        if (fd >= 0)
            close(fd);
        close(copy);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connections_come_in_the_order_in_which_they_were_made),
        TEST(test_a_listener_whose_file_is_lost_is_named_once),
        TEST(test_nobody_waits_while_a_listener_s_file_is_looked_for),
        TEST(test_descriptors_that_others_have_closed_are_missed),
        TEST(test_a_watched_one_comes_again_when_its_peer_sends_and_not_before),
        TEST(test_the_queue_is_first_come_first_served_and_before_what_is_new),
        TEST(test_the_watch_leaves_the_queue_to_the_workers),
        TEST(test_a_watch_that_is_recalled_takes_nothing_more),
        TEST(test_only_the_first_of_the_queue_can_be_overdue_if_it_has_a_request),
        TEST(test_parked_ones_come_back_in_the_order_of_their_ends),
        TEST(test_at_the_limit_the_longest_idle_one_makes_room),
        TEST(test_while_few_descriptors_are_free_the_longest_idle_ones_are_closed),
        TEST(test_where_none_has_been_idle_for_long_new_ones_wait),
        TEST(test_where_none_is_idle_new_ones_wait_and_the_log_says_so_once),
        TEST(test_a_peer_that_is_not_allowed_is_closed_and_told_of_with_all_others),
        TEST(test_a_silent_one_is_ended_at_its_deadline_and_a_busy_one_is_not),
        TEST(test_a_connection_is_taken_up_once_its_peer_has_paused),
        TEST(test_one_whose_peer_goes_on_is_taken_up_only_once),
        TEST(test_one_that_pauses_while_handing_over_is_taken_up_once_that_is_given_up),
        TEST(test_while_handing_over_nothing_new_is_begun_and_given_up_all_comes_again),
        TEST(test_one_that_cannot_be_handed_over_is_told_of),
        TEST(test_those_that_another_process_has_are_gone_from_the_queue),
        TEST(test_the_load_counts_what_is_open_idle_and_waits),
        TEST(test_a_worker_that_ends_takes_what_has_queued_up_unless_others_serve_it),
        TEST(test_workers_and_watch_end_when_it_quits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
