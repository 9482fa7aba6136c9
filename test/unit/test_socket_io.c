/* links: socket_io.c input.c */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/input.h"
#include "net/socket_io.h"

enum { OURS, THEIRS, LARGE_BYTES = 3 << 20 };

/* A small send buffer, so that large sends come in parts. */
static int set_up(void **state)
{
    static int fds[2];
    *state = fds;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return -1;
    int bytes = 4096;
    signal(SIGPIPE, SIG_DFL); /* which would end the program */
    return setsockopt(fds[OURS], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static int tear_down(void **state)
{
    int *fds = *state;
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return 0;
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 31 + i / 256 * 7);
}

static uint8_t *make_bytes(size_t n)
{
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(i);
    return bytes;
}

/* Reads to the end, in odd pieces. NULL if every byte was right, and there. */
static void *read_all(void *argument)
{
    static char wrong_bytes[] = "wrong bytes", wrong_count[] = "too few or too many bytes";
    const int *fds = argument;
    uint8_t piece[7777];
    size_t total = 0, step = 0;
    ssize_t n;
    while ((n = read(fds[THEIRS], piece, 1 + step++ * 997 % sizeof(piece))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != byte_at(total + (size_t)i))
                return wrong_bytes;
        total += (size_t)n;
    }
    return total == LARGE_BYTES ? NULL : wrong_count;
}

static void assert_read(const int *fds, const char *expected)
{
    char got[256];
    ssize_t n = recv(fds[THEIRS], got, sizeof(got) - 1, MSG_DONTWAIT);
    got[n > 0 ? n : 0] = '\0';
    assert_string_equal(got, expected);
}

static struct iovec text_piece(const char *text)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
}

static void test_all_pieces_are_sent_in_their_order(void **state)
{
    int *fds = *state;
    struct iovec pieces[] = {text_piece("one "), text_piece(""), text_piece("two"),
                             text_piece(" three"), text_piece("")};
    assert_int_equal(socket_send(fds[OURS], pieces, COUNT(pieces), 1000, NULL, NULL), 0);
    assert_read(fds, "one two three");
}

static void test_nothing_is_sent_for_nothing(void **state)
{
    int *fds = *state;
    assert_int_equal(socket_send(fds[OURS], NULL, 0, 1000, NULL, NULL), 0);
    struct iovec pieces[] = {text_piece(""), text_piece("")};
    assert_int_equal(socket_send(fds[OURS], pieces, COUNT(pieces), 1000, NULL, NULL), 0);
    assert_int_equal(recv(fds[THEIRS], &(char){0}, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static void assert_large_send(int *fds, const size_t *sizes, size_t size_count)
{
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_all, fds), 0);
    size_t sent = 0, step = 0;
    while (sent < LARGE_BYTES) {
        struct iovec pieces[60];
        size_t count = 0;
        for (; count < COUNT(pieces) && sent < LARGE_BYTES; count++) {
            size_t n = sizes[step++ % size_count];
            n = n < LARGE_BYTES - sent ? n : LARGE_BYTES - sent;
            pieces[count] = (struct iovec){.iov_base = bytes + sent, .iov_len = n};
            sent += n;
        }
        assert_int_equal(socket_send(fds[OURS], pieces, count, 60000, NULL, NULL), 0);
    }
    shutdown(fds[OURS], SHUT_WR);
    void *wrong = NULL;
    pthread_join(reader, &wrong);
    free(bytes);
    if (wrong != NULL)
        fail_msg("%s", (const char *)wrong);
}

static void test_a_send_larger_than_the_socket_takes_at_once(void **state)
{
    static const size_t sizes[] = {LARGE_BYTES};
    assert_large_send(*state, sizes, COUNT(sizes));
}

static void test_many_odd_pieces_sent_in_parts(void **state)
{
    static const size_t sizes[] = {1, 0, 8, 65528, 8, 3000, 0, 0, 17, 4096, 100000};
    assert_large_send(*state, sizes, COUNT(sizes));
}

static void test_a_descriptor_that_does_not_block_is_the_same(void **state)
{
    int *fds = *state;
    close(fds[OURS]);
    close(fds[THEIRS]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct iovec piece = text_piece("text");
    assert_int_equal(socket_send(fds[OURS], &piece, 1, 0, NULL, NULL), 0);
    assert_read(fds, "text");
}

static void test_a_peer_that_takes_nothing(void **state)
{
    int *fds = *state;
    static const uint64_t timeouts[] = {0, 30};
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
        assert_int_equal(socket_send(fds[OURS], &piece, 1, timeouts[i], NULL, NULL), -1);
        assert_int_equal(errno, ETIMEDOUT);
    }
    free(bytes);
}

enum { TRICKLES = 2000 };

/* A byte now and then, and in the end it goes. */
static void *trickle(void *argument)
{
    int *fds = argument;
    for (unsigned i = 0; i < TRICKLES && read(fds[THEIRS], &(char){0}, 1) == 1; i++)
        usleep(1000);
    shutdown(fds[THEIRS], SHUT_RDWR);
    return NULL;
}

static void test_a_peer_that_takes_less_than_the_least_rate_is_given_up(void **state)
{
    int *fds = *state;
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, trickle, fds), 0);
    struct socket_pace pace = {
        .timeout_ms = 600000, .min_rate = 1000000, .waited_ms = SOCKET_RATE_MS - 20};
    struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(socket_send_paced(fds[OURS], &piece, 1, &pace, NULL, NULL), -1);
    assert_int_equal(errno, ETIMEDOUT); /* and not that it has gone */
    shutdown(fds[OURS], SHUT_RDWR);
    pthread_join(reader, NULL);
    free(bytes);
}

static bool has_received(const void *owner)
{
    const struct input *input = owner;
    return input_available(input) > 0;
}

static void test_a_peer_that_says_that_it_wants_no_more_is_not_waited_for(void **state)
{
    int *fds = *state;
    static uint8_t memory[64];
    struct input input = {.data = memory, .capacity = sizeof(memory)};
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    struct socket_pace pace = {.timeout_ms = 600000, .is_unwanted = has_received, .owner = &input};
    struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(write(fds[THEIRS], "no", 2), 2);
    assert_int_equal(socket_send_paced(fds[OURS], &piece, 1, &pace, NULL, &input), -1);
    assert_int_equal(errno, ECONNRESET);
    free(bytes);
}

static void test_one_that_takes_enough_before_there_is_room_for_more_is_not(void **state)
{
    enum { TAKEN_BYTES = 64 << 10 };
    int *fds = *state;
    static uint8_t taken[TAKEN_BYTES];
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    struct socket_pace pace = {.timeout_ms = 1};
    struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(socket_send_paced(fds[OURS], &piece, 1, &pace, NULL, NULL), -1);
    uint64_t before = socket_queued(fds[OURS]);
    assert_true(before > 0);
    assert_int_equal(recv(fds[THEIRS], taken, TAKEN_BYTES, MSG_WAITALL), TAKEN_BYTES);
    assert_true(socket_taken(0, before, socket_queued(fds[OURS])) > 0);
    assert_int_equal(socket_taken(5, before, before + 100), 5);
    free(bytes);
}

/* So one that takes 47 of 48 KiB seems to take nothing. */
static void test_the_kernel_does_not_tell_how_much_of_a_piece_was_taken(void **state)
{
    int *fds = *state;
    uint8_t taken[1000];
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    struct socket_pace pace = {.timeout_ms = 1};
    struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(socket_send_paced(fds[OURS], &piece, 1, &pace, NULL, NULL), -1);
    uint64_t before = socket_queued(fds[OURS]);
    assert_int_equal(recv(fds[THEIRS], taken, sizeof(taken), MSG_WAITALL), sizeof(taken));
    assert_int_equal(socket_queued(fds[OURS]), before);
    free(bytes);
}

static void test_a_peer_is_too_slow_once_that_can_be_told(void **state)
{
    (void)state;
    static const struct {
        uint64_t taken, min_rate, waited_ms;
        enum socket_speed speed;
    } rows[] = {
        {10000, 1000, 10000, SOCKET_FAST_ENOUGH},
        {0, 0, 10000, SOCKET_FAST_ENOUGH},
        {9999, 1000, 10000, SOCKET_UNSURE},
        {0, 1000, 10000, SOCKET_UNSURE},
        {0, 1000, 65536, SOCKET_UNSURE},
        {0, 1000, 65537, SOCKET_TOO_SLOW},
        {48 << 10, 1000, 100000, SOCKET_UNSURE},
        {48 << 10, 1000, 120000, SOCKET_TOO_SLOW},
        {SOCKET_STEP_BYTES, 1 << 20, 10000, SOCKET_TOO_SLOW},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (socket_judge(rows[i].taken, rows[i].min_rate, rows[i].waited_ms) != rows[i].speed)
            fail_msg("row %zu", i);
}

struct counted_wait {
    struct socket_wait wait;
    int count;
};

static void count_wait(struct socket_wait *wait)
{
    ((struct counted_wait *)(void *)wait)->count++;
}

static void test_what_is_done_before_a_wait_is_not_done_without_one(void **state)
{
    int *fds = *state;
    struct counted_wait waits = {.wait.before = count_wait};
    struct iovec piece = text_piece("text");
    assert_int_equal(socket_send(fds[OURS], &piece, 1, 0, &waits.wait, NULL), 0);
    assert_int_equal(waits.count, 0);
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    piece = (struct iovec){.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(socket_send(fds[OURS], &piece, 1, 0, &waits.wait, NULL), -1);
    assert_int_equal(waits.count, 1);
    free(bytes);
}

static void assert_gone(int *fds)
{
    for (int i = 0; i < 2; i++) {
        struct iovec piece = text_piece("for nobody");
        assert_int_equal(socket_send(fds[OURS], &piece, 1, 1000, NULL, NULL), -1);
        assert_true(errno == EPIPE || errno == ECONNRESET);
    }
}

static void test_a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
    int *fds = *state;
    close(fds[THEIRS]);
    fds[THEIRS] = -1;
    assert_gone(fds);
}

static void test_a_peer_that_reads_no_more(void **state)
{
    int *fds = *state;
    shutdown(fds[THEIRS], SHUT_RD);
    assert_gone(fds);
}

static void *close_later(void *argument)
{
    int *fds = argument;
    usleep(20000);
    shutdown(fds[THEIRS], SHUT_RDWR);
    return NULL;
}

static void test_a_peer_that_goes_while_it_is_waited_for(void **state)
{
    int *fds = *state;
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    pthread_t closer;
    assert_int_equal(pthread_create(&closer, NULL, close_later, fds), 0);
    struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(socket_send(fds[OURS], &piece, 1, 60000, NULL, NULL), -1);
    assert_true(errno == EPIPE || errno == ECONNRESET);
    pthread_join(closer, NULL);
    free(bytes);
}

static void ignore(int number)
{
    (void)number;
}

static void *signal_and_read(void *argument)
{
    const int *fds = ((int **)argument)[0];
    const pthread_t *sender = ((pthread_t **)argument)[1];
    for (int i = 0; i < 20; i++) {
        usleep(1000);
        pthread_kill(*sender, SIGUSR1);
    }
    return read_all((void *)(uintptr_t)fds);
}

static void test_signals_cut_nothing_short(void **state)
{
    int *fds = *state;
    struct sigaction action = {.sa_handler = ignore}; /* without SA_RESTART */
    sigaction(SIGUSR1, &action, NULL);
    uint8_t *bytes = make_bytes(LARGE_BYTES);
    pthread_t self = pthread_self(), reader;
    void *arguments[] = {fds, &self};
    assert_int_equal(pthread_create(&reader, NULL, signal_and_read, arguments), 0);
    struct iovec piece = {.iov_base = bytes, .iov_len = LARGE_BYTES};
    assert_int_equal(socket_send(fds[OURS], &piece, 1, 60000, NULL, NULL), 0);
    shutdown(fds[OURS], SHUT_WR);
    void *wrong = NULL;
    pthread_join(reader, &wrong);
    assert_null(wrong);
    free(bytes);
}

struct talker {
    int *fds;
    size_t bytes; /* that it sends before it reads */
};

static void *talk_then_read(void *argument)
{
    struct talker *talker = argument;
    uint8_t *bytes = make_bytes(talker->bytes);
    ssize_t sent = send(talker->fds[THEIRS], bytes, talker->bytes, MSG_NOSIGNAL);
    free(bytes);
    return sent == (ssize_t)talker->bytes ? read_all(talker->fds) : NULL;
}

/* The peer sends that much first. What socket_send returns for a large piece; input is the
 * caller's to clear. */
static int send_to_talker(int *fds, size_t bytes, uint64_t timeout_ms, struct input *input)
{
    *input = (struct input){.data = malloc(4096), .capacity = 4096, .is_owned = true};
    assert_non_null(input->data);
    struct talker talker = {.fds = fds, .bytes = bytes};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, talk_then_read, &talker), 0);
    uint8_t *sent = make_bytes(LARGE_BYTES);
    struct iovec piece = {.iov_base = sent, .iov_len = LARGE_BYTES};
    int result = socket_send(fds[OURS], &piece, 1, timeout_ms, NULL, input);
    int error = errno;
    shutdown(fds[OURS], SHUT_RDWR);
    void *wrong = NULL;
    pthread_join(thread, &wrong);
    free(sent);
    if (wrong != NULL)
        fail_msg("%s", (const char *)wrong);
    errno = error;
    return result;
}

static void test_a_peer_that_sends_before_it_reads(void **state)
{
    int *fds = *state, left;
    struct input input;
    assert_int_equal(send_to_talker(fds, 700000, 60000, &input), 0);
    /* The peer reads on as soon as it has sent all, the last of which need not be taken for that.
     */
    assert_int_equal(ioctl(fds[OURS], FIONREAD, &left), 0);
    assert_true(left < 300000);
    assert_int_equal(input_available(&input) + (size_t)left, 700000);
    for (size_t i = 0; i < input_available(&input); i++)
        if (input.data[input.begin + i] != byte_at(i))
            fail_msg("byte %zu is wrong", i);
    input_clear(&input);
}

static void test_no_more_is_kept_than_the_limit(void **state)
{
    struct input input;
    assert_int_equal(send_to_talker(*state, 3 * SOCKET_KEPT_BYTES, 1000, &input), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(input_available(&input), SOCKET_KEPT_BYTES);
    input_clear(&input);
}

static void test_a_descriptor_that_is_none(void **state)
{
    (void)state;
    struct iovec piece = text_piece("x");
    assert_int_equal(socket_send(-1, &piece, 1, 1000, NULL, NULL), -1);
    assert_int_equal(errno, EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_pieces_are_sent_in_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_sent_for_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_send_larger_than_the_socket_takes_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_many_odd_pieces_sent_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_descriptor_that_does_not_block_is_the_same, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_done_before_a_wait_is_not_done_without_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_takes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_takes_less_than_the_least_rate_is_given_up,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_peer_that_says_that_it_wants_no_more_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_one_that_takes_enough_before_there_is_room_for_more_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_kernel_does_not_tell_how_much_of_a_piece_was_taken,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_is_too_slow_once_that_can_be_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_is_gone_is_an_error_and_no_signal, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_reads_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_goes_while_it_is_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_signals_cut_nothing_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_sends_before_it_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_more_is_kept_than_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_descriptor_that_is_none, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
