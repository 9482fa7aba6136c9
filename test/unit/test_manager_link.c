/* A worker's end of the channel to its manager, and of those to other workers, with a poller that
 * only writes down what it is asked.
 *
 * links: manager_link.c scoreboard.c channel.c counters.c descriptors.c handover.c config_error.c
 */
#include "life_fakes.h"

#include <fcntl.h>

#include "life/manager_link.h"

static struct manager_link giver, heir;
static struct poller poller;
static struct handover predecessor;
static struct channel_message message;
static int manager_fd, between[2]; /* the manager's end; the ends between giver and heir */

/* Connections that the poller has to give, and the numbers of those that it has taken. */
static int movable[4], movable_count, taken[4], taken_count;

void poller_hold(struct poller *held)
{
    (void)held;
    tell("hold");
}

size_t poller_pick_movable(struct poller *picked, size_t max, struct handover *handover)
{
    (void)picked;
    *handover = (struct handover){0};
    assert_true(max < CHANNEL_FDS_MAX); /* the memory comes with them */
    handover->connections = calloc((size_t)movable_count + 1, sizeof(*handover->connections));
    for (int i = 0; i < movable_count; i++)
        handover->connections[handover->connection_count++] = (struct handover_connection){
            .fd = movable[i], .served = 5, .input = {(const uint8_t *)"head", 4}};
    return handover->connection_count;
}

void poller_release_picked(struct poller *picked, struct handover *handover, bool is_gone)
{
    (void)picked;
    tell("release %zu %s", handover->connection_count, is_gone ? "gone" : "kept");
    if (is_gone)
        movable_count = 0;
}

void poller_take_over(struct poller *taking, const struct handover *handover)
{
    (void)taking;
    for (size_t i = 0; i < handover->connection_count; i++) {
        const struct handover_connection *connection = &handover->connections[i];
        taken[taken_count++] = connection->fd;
        tell("take %d %.*s", (int)connection->served, (int)connection->input.bytes,
             (const char *)connection->input.data);
    }
}

static int set_up(void **state)
{
    static int ends[2];
    (void)state;
    if (channel_open(ends) < 0 || channel_open(between) < 0)
        return -1;
    forget();
    manager_fd = ends[0];
    movable_count = taken_count = 0;
    predecessor = (struct handover){
        .worker = {.is_set = true, .place = 1, .channel_fd = ends[1], .board_fd = -1}};
    fake_predecessor = &predecessor;
    manager_link_init(&giver);
    heir = (struct manager_link){.is_managed = true, .heir_fd = -1, .inherit_fd = between[1]};
    giver.heir_fd = between[0];
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(manager_fd);
    close(predecessor.worker.channel_fd);
    close(giver.heir_fd);
    close(heir.inherit_fd);
    for (int i = 0; i < taken_count; i++)
        close(taken[i]);
    return 0;
}

static void fill(int fd)
{
    static const uint8_t block[CHANNEL_BYTES_MAX];
    while (channel_send(fd, 99, block, sizeof(block), NULL, 0) == 0)
        continue;
    while (channel_send(fd, 99, NULL, 0, NULL, 0) == 0)
        continue;
}

static void drain(int fd)
{
    while (channel_receive(fd, &message) == CHANNEL_MESSAGE)
        continue;
}

static void test_without_a_manager_nothing_has_an_effect(void **state)
{
    (void)state;
    static struct manager_link alone;
    predecessor.worker.is_set = false; /* executed anew, but nobody's worker */
    manager_link_init(&alone);
    poller.is_managed = true;
    manager_link_prepare(&alone, &poller);
    assert_false(poller.is_managed);
    manager_link_report(&alone, &(struct worker_report){.is_loaded = 1});
    manager_link_ask(&alone, WISH_LIMIT, "why", (struct handover_bytes){NULL, 0});
    assert_int_equal(manager_link_receive(&alone), LINK_NOTHING);
    assert_false(manager_link_bequeath(&alone, &poller));
    manager_link_inherit(&alone, &poller);
    assert_string_equal(told, "");
    fake_predecessor = NULL;
    manager_link_init(&alone);
    assert_false(alone.is_managed);
}

static void test_a_worker_accepts_nothing_until_it_has_loaded_unless_it_was_told_to(void **state)
{
    (void)state;
    manager_link_prepare(&giver, &poller);
    assert_true(poller.is_managed);
    assert_string_equal(told, "hold|");
    forget();
    predecessor.worker.is_accepting = true;
    manager_link_init(&giver);
    manager_link_prepare(&giver, &poller);
    assert_string_equal(told, "");
}

static void test_the_same_report_is_sent_once(void **state)
{
    (void)state;
    struct worker_report report = {.is_settled = 1, .failed_imports = 3};
    manager_link_report(&giver, &report);
    manager_link_report(&giver, &report);
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, WORKER_REPORTS);
    assert_int_equal(message.bytes, sizeof(report));
    assert_memory_equal(message.data, &report, sizeof(report));
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_EMPTY);
    report.is_loaded = 1;
    manager_link_report(&giver, &report);
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
}

static uint32_t receive_idleness(void)
{
    uint32_t is_idle;
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, WORKER_IDLES);
    assert_int_equal(message.bytes, sizeof(is_idle));
    memcpy(&is_idle, message.data, sizeof(is_idle));
    return is_idle;
}

static void test_that_it_is_idle_is_told_when_it_changes_and_now_and_then(void **state)
{
    (void)state;
    manager_link_tell_idle(&giver, false);
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_EMPTY);
    manager_link_tell_idle(&giver, true);
    assert_int_equal(receive_idleness(), 1);
    manager_link_tell_idle(&giver, true);
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_EMPTY);
    for (int tick = 0; tick < 19; tick++)
        manager_link_tell_idle(&giver, true);
    assert_int_equal(receive_idleness(), 1);
    manager_link_tell_idle(&giver, false);
    assert_int_equal(receive_idleness(), 0);
    for (int tick = 0; tick < 40; tick++)
        manager_link_tell_idle(&giver, false);
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_EMPTY);
}

static void test_a_report_that_found_no_room_is_sent_again(void **state)
{
    (void)state;
    struct worker_report report = {.is_loaded = 1};
    fill(giver.worker.channel_fd);
    manager_link_report(&giver, &report);
    drain(manager_fd);
    manager_link_report(&giver, &report);
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, WORKER_REPORTS);
}

static void test_a_wish_comes_with_its_reason_and_what_a_fresh_start_has_to_know(void **state)
{
    (void)state;
    struct worker_request request;
    char long_reason[200];
    memset(long_reason, 'r', sizeof(long_reason));
    long_reason[sizeof(long_reason) - 1] = '\0';
    manager_link_ask(&giver, WISH_HEAL, long_reason,
                     (struct handover_bytes){(const uint8_t *)"startup", 7});
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, WORKER_ASKS);
    assert_int_equal(message.bytes, sizeof(request) + 7);
    memcpy(&request, message.data, sizeof(request));
    assert_int_equal(request.wish, WISH_HEAL);
    assert_int_equal(strlen(request.reason), sizeof(request.reason) - 1);
    assert_memory_equal(message.data + sizeof(request), "startup", 7);
}

static void test_what_is_too_long_for_a_message_is_left_out_and_the_wish_is_sent(void **state)
{
    (void)state;
    static uint8_t startup[CHANNEL_BYTES_MAX];
    manager_link_ask(&giver, WISH_HEAL, "why", (struct handover_bytes){startup, sizeof(startup)});
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.bytes, sizeof(struct worker_request));
    size_t fits = sizeof(startup) - sizeof(struct worker_request);
    manager_link_ask(&giver, WISH_HEAL, "why", (struct handover_bytes){startup, fits});
    assert_int_equal(channel_receive(manager_fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.bytes, CHANNEL_BYTES_MAX);
}

static void test_a_wish_that_can_t_be_told_is_in_the_log(void **state)
{
    (void)state;
    fill(giver.worker.channel_fd);
    assert_int_equal(manager_link_ask(&giver, WISH_LIMIT, "why", (struct handover_bytes){NULL, 0}),
                     -1);
    assert_string_equal(told,
                        "log_error: can't ask the manager: resource temporarily unavailable|");
}

static int ask(void)
{
    return manager_link_ask(&giver, WISH_LIMIT, "why", (struct handover_bytes){NULL, 0});
}

static void test_wishes_that_can_t_be_told_are_in_the_log_once_until_one_can(void **state)
{
    (void)state;
    static const char error[] =
        "log_error: can't ask the manager: resource temporarily unavailable|";
    fill(giver.worker.channel_fd);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(), -1);
    assert_string_equal(told, error);
    while (channel_receive(manager_fd, &message) == CHANNEL_MESSAGE)
        ;
    assert_int_equal(ask(), 0);
    forget();
    fill(giver.worker.channel_fd);
    assert_int_equal(ask(), -1);
    assert_string_equal(told, error);
}

static void test_the_manager_s_words_are_understood(void **state)
{
    (void)state;
    int before = count_open();
    assert_int_equal(manager_link_receive(&giver), LINK_NOTHING);
    channel_send(manager_fd, MANAGER_ACCEPT, NULL, 0, NULL, 0);
    channel_send(manager_fd, 77, NULL, 0, &manager_fd, 1);       /* unknown */
    channel_send(manager_fd, MANAGER_INHERIT, NULL, 0, NULL, 0); /* of nobody */
    channel_send(manager_fd, MANAGER_INHERIT, NULL, 0, between, 1);
    channel_send(manager_fd, MANAGER_INHERIT, NULL, 0, between, 2);
    assert_int_equal(manager_link_receive(&giver), LINK_ACCEPT);
    assert_true(giver.worker.is_accepting);
    assert_int_equal(manager_link_receive(&giver), LINK_NOTHING);
    assert_int_equal(manager_link_receive(&giver), LINK_NOTHING);
    assert_int_equal(giver.inherit_fd, -1);
    assert_int_equal(manager_link_receive(&giver), LINK_INHERIT);
    assert_int_equal(manager_link_receive(&giver), LINK_INHERIT);
    assert_int_equal(count_open(), before + 1); /* the last one that it inherits from */
    close(giver.inherit_fd);
    assert_int_equal(manager_link_receive(&giver), LINK_NOTHING);
}

static void test_who_is_retired_knows_its_heir_or_that_there_is_none(void **state)
{
    (void)state;
    giver.heir_fd = 999;
    channel_send(manager_fd, MANAGER_RETIRE, NULL, 0, NULL, 0);
    channel_send(manager_fd, MANAGER_RETIRE, NULL, 0, between, 1);
    assert_int_equal(manager_link_receive(&giver), LINK_RETIRE);
    assert_true(giver.is_retired);
    assert_int_equal(giver.heir_fd, -1);
    close(between[0]);
    assert_int_equal(manager_link_receive(&giver), LINK_RETIRE);
    assert_int_equal(channel_send(giver.heir_fd, 1, NULL, 0, NULL, 0), 0);
    assert_int_equal(channel_receive(between[1], &message), CHANNEL_MESSAGE);
}

static void test_that_the_manager_is_gone_is_said_once(void **state)
{
    (void)state;
    close(manager_fd);
    manager_fd = -1;
    assert_int_equal(manager_link_receive(&giver), LINK_GONE);
    assert_int_equal(manager_link_receive(&giver), LINK_NOTHING);
    assert_false(giver.is_retired);
}

static void test_connections_reach_the_heir_with_what_they_had_received(void **state)
{
    (void)state;
    int pipes[2][2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        movable[i] = pipes[i][1];
    }
    movable_count = 2;
    int before = count_open();
    assert_true(manager_link_bequeath(&giver, &poller));
    assert_int_equal(count_open(), before);
    manager_link_inherit(&heir, &poller);
    assert_string_equal(told, "release 2 gone|take 5 head|take 5 head|");
    assert_int_equal(count_open(), before + 2); /* the memory is closed again */
    for (int i = 0; i < 2; i++) {
        char byte = '\0';
        assert_int_equal(write(taken[i], &"ab"[i], 1), 1);
        assert_int_equal(read(pipes[i][0], &byte, 1), 1);
        assert_int_equal(byte, "ab"[i]);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    assert_int_equal(heir.inherit_fd, between[1]); /* more may come */
}

static void test_connections_wait_here_while_the_heir_s_channel_is_full(void **state)
{
    (void)state;
    movable[0] = manager_fd;
    movable_count = 1;
    fill(between[0]);
    assert_true(manager_link_bequeath(&giver, &poller));
    assert_string_equal(told, "release 1 kept|");
    assert_int_equal(giver.heir_fd, between[0]);
    drain(between[1]);
    assert_true(manager_link_bequeath(&giver, &poller));
    manager_link_inherit(&heir, &poller);
    assert_string_equal(told, "release 1 kept|release 1 gone|take 5 head|");
}

static void test_connections_stay_here_when_the_heir_is_gone(void **state)
{
    (void)state;
    movable[0] = manager_fd;
    movable_count = 1;
    close(heir.inherit_fd);
    heir.inherit_fd = -1;
    assert_false(manager_link_bequeath(&giver, &poller));
    assert_string_equal(told, "release 1 kept|");
    assert_int_equal(giver.heir_fd, -1);
    assert_int_equal(fcntl(between[0], F_GETFD), -1);
    assert_false(manager_link_bequeath(&giver, &poller));
}

static void test_the_channel_of_a_predecessor_that_has_exited_is_closed(void **state)
{
    (void)state;
    movable[0] = manager_fd;
    movable_count = 1;
    manager_link_bequeath(&giver, &poller);
    close(giver.heir_fd);
    giver.heir_fd = -1;
    manager_link_inherit(&heir, &poller);
    assert_int_equal(taken_count, 1);
    assert_int_equal(heir.inherit_fd, -1);
    assert_int_equal(fcntl(between[1], F_GETFD), -1);
}

static void test_what_can_t_be_read_is_closed_and_counted_in_the_log(void **state)
{
    (void)state;
    int before = count_open(), sent[3] = {manager_fd, manager_fd, manager_fd};
    channel_send(between[0], WORKER_BEQUEATHS, NULL, 0, sent, 3); /* no memory, but a socket */
    manager_link_inherit(&heir, &poller);
    assert_string_equal(told, "log_error: 2 connection(s) that another worker handed over are "
                              "closed: the message can't be read|");
    assert_int_equal(count_open(), before);
    channel_send(between[0], WORKER_BEQUEATHS, NULL, 0, NULL, 0);
    channel_send(between[0], 77, NULL, 0, sent, 3); /* unknown */
    manager_link_inherit(&heir, &poller);
    assert_int_equal(count_open(), before);
    assert_true(was_told("log_error: 0 connection(s)"));
    assert_int_equal(heir.inherit_fd, between[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_without_a_manager_nothing_has_an_effect),
        TEST(test_a_worker_accepts_nothing_until_it_has_loaded_unless_it_was_told_to),
        TEST(test_the_same_report_is_sent_once),
        TEST(test_that_it_is_idle_is_told_when_it_changes_and_now_and_then),
        TEST(test_a_report_that_found_no_room_is_sent_again),
        TEST(test_a_wish_comes_with_its_reason_and_what_a_fresh_start_has_to_know),
        TEST(test_what_is_too_long_for_a_message_is_left_out_and_the_wish_is_sent),
        TEST(test_a_wish_that_can_t_be_told_is_in_the_log),
        TEST(test_wishes_that_can_t_be_told_are_in_the_log_once_until_one_can),
        TEST(test_the_manager_s_words_are_understood),
        TEST(test_who_is_retired_knows_its_heir_or_that_there_is_none),
        TEST(test_that_the_manager_is_gone_is_said_once),
        TEST(test_connections_reach_the_heir_with_what_they_had_received),
        TEST(test_connections_wait_here_while_the_heir_s_channel_is_full),
        TEST(test_connections_stay_here_when_the_heir_is_gone),
        TEST(test_the_channel_of_a_predecessor_that_has_exited_is_closed),
        TEST(test_what_can_t_be_read_is_closed_and_counted_in_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
