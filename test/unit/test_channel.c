/* links: channel.c descriptors.c */
/* Messages with descriptors between two processes. */
#include "unit.h"

#include "base/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ends[2];
static struct channel_message message;

static int set_up(void **state)
{
    (void)state;
    return channel_open(ends);
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return 0;
}

static void test_messages_arrive_whole_and_apart(void **state)
{
    (void)state;
    assert_int_equal(channel_send(ends[0], 7, "first", 5, NULL, 0), 0);
    assert_int_equal(channel_send(ends[0], 8, NULL, 0, NULL, 0), 0);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, 7);
    assert_int_equal(message.bytes, 5);
    assert_memory_equal(message.data, "first", 5);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, 8);
    assert_int_equal(message.bytes, 0);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_EMPTY);
}

static void test_descriptors_come_with_a_message_and_close_on_exec(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(channel_send(ends[0], 1, NULL, 0, pipe_fds, 2), 0);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_MESSAGE);
    assert_int_equal(message.fd_count, 2);
    assert_int_equal(fcntl(message.fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(message.fds[1], "x", 1), 1);
    char byte = 0;
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    int copies[] = {message.fds[0], message.fds[1]};
    message.fds[0] = -1; /* taken */
    channel_close_descriptors(&message);
    assert_int_equal(fcntl(copies[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(copies[1], F_GETFD), -1);
    close(copies[0]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_as_many_descriptors_as_a_message_may_have(void **state)
{
    (void)state;
    int fds[CHANNEL_FDS_MAX + 1];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = ends[0];
    assert_int_equal(channel_send(ends[0], 1, NULL, 0, fds, CHANNEL_FDS_MAX), 0);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_MESSAGE);
    assert_int_equal(message.fd_count, CHANNEL_FDS_MAX);
    channel_close_descriptors(&message);
    assert_int_equal(channel_send(ends[0], 1, NULL, 0, fds, CHANNEL_FDS_MAX + 1), -1);
    assert_int_equal(errno, EMSGSIZE);
}

static void test_what_is_too_long_or_no_message_is_passed_over(void **state)
{
    (void)state;
    static char rubbish[CHANNEL_BYTES_MAX + 100];
    assert_true(send(ends[0], rubbish, sizeof(rubbish), 0) > 0);
    assert_true(send(ends[0], rubbish, 2, 0) > 0);
    assert_int_equal(channel_send(ends[0], 9, NULL, 0, NULL, 0), 0);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, 9);
}

/* A message without a byte looks like the end of the stream, but may bring descriptors. */
static void test_an_empty_message_ends_the_channel_and_its_descriptor_is_closed(void **state)
{
    (void)state;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr item;
    } control = {.item = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct msghdr header = {.msg_control = &control, .msg_controllen = sizeof(control)};
    int pipe_fds[2];
    char byte;
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
    memcpy(CMSG_DATA(&control.item), &pipe_fds[1], sizeof(int));
    assert_int_equal(sendmsg(ends[0], &header, 0), 0);
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_CLOSED);
    assert_int_equal(message.fd_count, 0);
    close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 0); /* nobody has the other end any more */
    close(pipe_fds[0]);
}

static void test_a_peer_that_does_not_read_is_not_waited_for(void **state)
{
    (void)state;
    static char data[8192];
    int result = 0;
    for (int i = 0; i < 10000 && result == 0; i++)
        result = channel_send(ends[0], 1, data, sizeof(data), NULL, 0);
    assert_int_equal(result, -1);
    assert_int_equal(errno, EAGAIN);
}

static void test_a_peer_that_is_gone_is_noticed_on_both_sides(void **state)
{
    (void)state;
    close(ends[1]);
    ends[1] = -1;
    assert_int_equal(channel_receive(ends[0], &message), CHANNEL_CLOSED);
    assert_int_equal(channel_send(ends[0], 1, NULL, 0, NULL, 0), -1);
    assert_int_equal(errno, EPIPE);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_messages_arrive_whole_and_apart),
        TEST(test_descriptors_come_with_a_message_and_close_on_exec),
        TEST(test_as_many_descriptors_as_a_message_may_have),
        TEST(test_what_is_too_long_or_no_message_is_passed_over),
        TEST(test_an_empty_message_ends_the_channel_and_its_descriptor_is_closed),
        TEST(test_a_peer_that_does_not_read_is_not_waited_for),
        TEST(test_a_peer_that_is_gone_is_noticed_on_both_sides),
    };

    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
