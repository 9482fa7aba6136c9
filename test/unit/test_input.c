/* links: input.c */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/input.h"

enum { OURS, THEIRS };

static int set_up(void **state)
{
    static int fds[2];
    *state = fds;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
}

static int tear_down(void **state)
{
    int *fds = *state;
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return 0;
}

static void send_text(const int *fds, const char *text)
{
    assert_int_equal(send(fds[THEIRS], text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hang_up(int *fds)
{
    close(fds[THEIRS]);
    fds[THEIRS] = -1;
}

/* Lent; of exactly that capacity. */
static struct input lend(size_t capacity)
{
    uint8_t *data = malloc(capacity);
    assert_non_null(data);
    return (struct input){.data = data, .capacity = capacity};
}

static void assert_holds(const struct input *input, const char *expected)
{
    assert_int_equal(input_available(input), strlen(expected));
    assert_memory_equal(input->data + input->begin, expected, strlen(expected));
}

static void test_what_is_there_is_received_without_waiting(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    assert_int_equal(input_receive(&input, fds[OURS]), -1);
    assert_int_equal(errno, EAGAIN);
    assert_false(input.is_at_eof);
    send_text(fds, "one");
    assert_int_equal(input_receive(&input, fds[OURS]), 3);
    send_text(fds, "two");
    assert_int_equal(input_receive(&input, fds[OURS]), 3);
    assert_holds(&input, "onetwo");
    assert_int_equal(input_receive(&input, fds[OURS]), -1);
    assert_int_equal(errno, EAGAIN);
    free(input.data);
}

static void test_the_peer_s_end(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    send_text(fds, "last");
    hang_up(fds);
    assert_int_equal(input_receive(&input, fds[OURS]), 4);
    assert_false(input.is_at_eof);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(input_receive(&input, fds[OURS]), 0);
        assert_true(input.is_at_eof);
    }
    assert_holds(&input, "last");
    assert_int_equal(input_receive_until(&input, fds[OURS], clock_ms() + 60000), 0);
    free(input.data);
}

static void test_a_full_buffer_says_so_and_is_no_end(void **state)
{
    int *fds = *state;
    struct input input = lend(4);
    send_text(fds, "abcdef");
    assert_int_equal(input_receive(&input, fds[OURS]), 4);
    assert_int_equal(input_receive(&input, fds[OURS]), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_false(input.is_at_eof);
    assert_int_equal(input_receive_until(&input, fds[OURS], clock_ms() + 60000), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_holds(&input, "abcd");
    free(input.data);
}

static void test_room_in_front_is_used_when_there_is_none_behind(void **state)
{
    int *fds = *state;
    struct input input = lend(4);
    send_text(fds, "abcdefghi");
    assert_int_equal(input_receive(&input, fds[OURS]), 4);
    input.begin = 3;
    assert_int_equal(input_receive(&input, fds[OURS]), 3);
    assert_holds(&input, "defg");
    input.begin = 4; /* all used up: it starts again */
    assert_int_equal(input_receive(&input, fds[OURS]), 2);
    assert_int_equal(input.begin, 0);
    assert_holds(&input, "hi");
    free(input.data);
}

static void test_an_input_without_a_buffer_is_full(void **state)
{
    int *fds = *state;
    struct input input = {0};
    send_text(fds, "a");
    assert_int_equal(input_receive(&input, fds[OURS]), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_int_equal(input_available(&input), 0);
}

static void test_a_stream_in_pieces_of_any_size_through_a_small_buffer(void **state)
{
    int *fds = *state;
    struct input input = lend(7);
    uint32_t seed = 3;
    uint8_t sent = 0, received = 0;
    for (int round = 0; round < 2000; round++) {
        uint8_t piece[9];
        size_t n = next_random(&seed) % 10;
        for (size_t i = 0; i < n; i++)
            piece[i] = sent++;
        assert_int_equal(send(fds[THEIRS], piece, n, MSG_NOSIGNAL), n);
        while (received != sent) {
            long got = input_receive(&input, fds[OURS]);
            assert_true(got > 0 || errno == EAGAIN || errno == ENOBUFS);
            size_t take = 1 + next_random(&seed) % input_available(&input);
            for (size_t i = 0; i < take; i++)
                assert_int_equal(input.data[input.begin++], received++);
        }
    }
    free(input.data);
}

static void test_waiting_ends_at_the_deadline(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    assert_int_equal(input_receive_until(&input, fds[OURS], clock_ms() + 30), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(input_receive_until(&input, fds[OURS], 1), -1); /* long ago */
    assert_int_equal(errno, ETIMEDOUT);
    assert_false(input.is_at_eof);
    free(input.data);
}

static void test_what_is_there_is_received_after_the_deadline_too(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    send_text(fds, "here");
    assert_int_equal(input_receive_until(&input, fds[OURS], 1), 4);
    free(input.data);
}

static void test_without_a_deadline_nothing_is_waited_for(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    assert_int_equal(input_receive_until(&input, fds[OURS], 0), -1);
    assert_int_equal(errno, EAGAIN);
    free(input.data);
}

static void *send_later(void *argument)
{
    const int *fds = argument;
    usleep(20000);
    send(fds[THEIRS], "later", 5, MSG_NOSIGNAL);
    return NULL;
}

static void *hang_up_later(void *argument)
{
    int *fds = argument;
    usleep(20000);
    shutdown(fds[THEIRS], SHUT_WR);
    return NULL;
}

static long receive_while(int *fds, struct input *input, void *(*other)(void *))
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other, fds), 0);
    long n = input_receive_until(input, fds[OURS], clock_ms() + 60000);
    pthread_join(thread, NULL);
    return n;
}

static void test_waiting_ends_with_the_first_bytes(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    assert_int_equal(receive_while(fds, &input, send_later), 5);
    assert_holds(&input, "later");
    free(input.data);
}

static void test_waiting_ends_when_the_peer_hangs_up(void **state)
{
    int *fds = *state;
    struct input input = lend(64);
    assert_int_equal(receive_while(fds, &input, hang_up_later), 0);
    assert_true(input.is_at_eof);
    free(input.data);
}

static void test_a_descriptor_that_is_none(void **state)
{
    (void)state;
    struct input input = lend(64);
    assert_int_equal(input_receive(&input, -1), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(input_receive_until(&input, -1, clock_ms() + 60000), -1);
    assert_int_equal(errno, EBADF);
    free(input.data);
}

static void test_compacting(void **state)
{
    (void)state;
    struct input input = lend(8);
    memcpy(input.data, "abcdefgh", 8);
    input.begin = 2;
    input.end = 8;
    input_compact(&input);
    assert_int_equal(input.begin, 0);
    assert_int_equal(input.end, 6);
    assert_holds(&input, "cdefgh");
    input_compact(&input);
    assert_holds(&input, "cdefgh");
    input.begin = input.end;
    input_compact(&input);
    assert_int_equal(input.begin, 0);
    assert_int_equal(input.end, 0);
    free(input.data);
}

static void test_a_lent_buffer_becomes_its_own(void **state)
{
    (void)state;
    struct input input = lend(16);
    uint8_t *lent = input.data;
    memcpy(input.data, "abcdef", 6);
    input.begin = 2;
    input.end = 6;
    assert_int_equal(input_own(&input, 10), 0);
    assert_true(input.is_owned);
    assert_ptr_not_equal(input.data, lent);
    assert_int_equal(input.capacity, 10);
    assert_holds(&input, "cdef");
    memset(lent, 'x', 16); /* somebody else's by now */
    free(lent);
    assert_holds(&input, "cdef");
    input_clear(&input);
    assert_null(input.data);
    assert_false(input.is_owned);
}

static void test_an_own_buffer_grows_and_never_shrinks(void **state)
{
    (void)state;
    struct input input = lend(16);
    uint8_t *lent = input.data;
    memcpy(input.data, "abcdef", 6);
    input.end = 6;
    assert_int_equal(input_own(&input, 1), 0); /* what is there stays */
    free(lent);
    assert_int_equal(input.capacity, 6);
    assert_int_equal(input_own(&input, 1000), 0);
    assert_int_equal(input.capacity, 1000);
    assert_int_equal(input_own(&input, 10), 0);
    assert_int_equal(input.capacity, 1000);
    assert_holds(&input, "abcdef");
    memset(input.data, 'y', 1000);
    input_clear(&input);
}

static void test_an_empty_input_gets_a_buffer_of_its_own(void **state)
{
    (void)state;
    struct input input = {0};
    assert_int_equal(input_own(&input, 10), 0); /* memcpy(…, NULL, 0) is undefined */
    assert_int_equal(input.end, 0);
    assert_true(input.capacity >= 10);
    input_clear(&input);
}

static void test_a_lent_buffer_is_not_freed(void **state)
{
    (void)state;
    uint8_t bytes[4] = {0};
    struct input input = {.data = bytes, .capacity = sizeof(bytes), .end = 2};
    input_clear(&input);
    assert_null(input.data);
    assert_int_equal(input_available(&input), 0);
    input_clear(&input); /* again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_input_gets_a_buffer_of_its_own),
        cmocka_unit_test_setup_teardown(test_what_is_there_is_received_without_waiting, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_peer_s_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_buffer_says_so_and_is_no_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_room_in_front_is_used_when_there_is_none_behind,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_input_without_a_buffer_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stream_in_pieces_of_any_size_through_a_small_buffer,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waiting_ends_at_the_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_there_is_received_after_the_deadline_too,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_a_deadline_nothing_is_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_waiting_ends_with_the_first_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waiting_ends_when_the_peer_hangs_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_descriptor_that_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_compacting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lent_buffer_becomes_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_own_buffer_grows_and_never_shrinks, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_lent_buffer_is_not_freed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
