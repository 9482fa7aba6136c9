/* The thread that sends what peers do not take at once, with peers that are pairs of sockets.
 *
 * links: sender.c spool.c descriptors.c socket_io.c input.c */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "connection/sender.h"
#include "http/transport.h"

enum { LARGE_BYTES = 8 << 20, STEP_MS = 5, STEPS = 2000 };

static struct sender sender;
static struct spool_store store;
static struct request *request;
static struct transport_ops transport;
static int peer;
static bool is_body_received;
static atomic_int given_back;
static uint8_t *large;

/* Fakes */

bool request_is_body_received(struct request *asked)
{
    (void)asked;
    return is_body_received;
}

static void give_back(void *owner, struct connection *connection)
{
    assert_ptr_equal(owner, &sender);
    assert_ptr_equal(connection, request->connection);
    atomic_fetch_add(&given_back, 1);
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || sender_init(&sender) < 0)
        return -1;
    store = (struct spool_store){.folder = "/tmp", .limit = 64 << 20};
    sender.store = &store;
    sender.memory_max = 1 << 20;
    sender.io_timeout_ms = 60000;
    sender.give_back = give_back;
    sender.owner = &sender;
    request = calloc(1, sizeof(*request));
    request->fd = pair[0];
    request->ops = &transport;
    transport = (struct transport_ops){.is_end_implied = false};
    request->io_timeout_ms = 60000;
    request->connection = (struct connection *)(void *)&peer;
    request->outbox.sender = &sender;
    peer = pair[1];
    is_body_received = true;
    atomic_store(&given_back, 0);
    large = malloc(LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        large[i] = (uint8_t)(i * 7 + i / 256);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sender_clear(&sender);
    spool_clear(&request->outbox.bytes);
    spool_store_clear(&store);
    close(request->fd);
    if (peer >= 0)
        close(peer);
    free(request);
    free(large);
    return atomic_load(&store.used) != 0;
}

static int send_bytes(const void *bytes, size_t n)
{
    struct iovec pieces[2] = {{.iov_base = (void *)(uintptr_t)bytes, .iov_len = n / 2},
                              {.iov_base = (char *)(uintptr_t)bytes + n / 2, .iov_len = n - n / 2}};
    return sender_send(request, pieces, 2);
}

static void expect(const uint8_t *bytes, size_t n)
{
    uint8_t buffer[1 << 16];
    for (size_t got = 0; got < n;) {
        struct pollfd pollfd = {.fd = peer, .events = POLLIN};
        assert_int_equal(poll(&pollfd, 1, STEP_MS * STEPS), 1);
        ssize_t now = read(peer, buffer, n - got < sizeof(buffer) ? n - got : sizeof(buffer));
        assert_true(now > 0);
        assert_memory_equal(buffer, bytes + got, (size_t)now);
        got += (size_t)now;
    }
}

static bool waits_until_given_back(void)
{
    for (int i = 0; i < STEPS && atomic_load(&given_back) == 0; i++)
        usleep(STEP_MS * 1000);
    return atomic_load(&given_back) == 1;
}

static void test_what_the_peer_takes_needs_no_sender(void **state)
{
    (void)state;
    assert_int_equal(send_bytes("hello", 5), 0);
    expect((const uint8_t *)"hello", 5);
    assert_false(sender_finish(request));
    assert_false(sender.has_thread);
}

static void test_a_peer_that_does_not_read_does_not_hold_the_caller(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(atomic_load(&store.used) > 0); /* beyond the memory, in a file */
    assert_true(sender_finish(request));
    assert_int_equal(atomic_load(&given_back), 0);
    expect(large, LARGE_BYTES);
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, 0);
    assert_int_equal(atomic_load(&store.used), 0);
}

/* The application may still read its body: the thread waits for the peer. */
static void test_a_peer_that_a_thread_waits_for_in_vain_is_an_error_of_the_response(void **state)
{
    (void)state;
    is_body_received = false;
    request->io_timeout_ms = 1;
    assert_int_equal(send_bytes(large, LARGE_BYTES), -1);
    assert_int_equal(request->outbox.error, ETIMEDOUT);
    assert_false(sender_finish(request));
}

static void test_what_is_sent_later_leaves_later(void **state)
{
    (void)state;
    for (size_t at = 0; at < LARGE_BYTES; at += LARGE_BYTES / 64)
        assert_int_equal(send_bytes(large + at, LARGE_BYTES / 64), 0);
    assert_int_equal(send_bytes("the end", 7), 0);
    expect(large, LARGE_BYTES);
    expect((const uint8_t *)"the end", 7);
    /* The application goes on, and its peer reads: nothing is kept back. */
    for (int i = 0; i < 10; i++) {
        assert_int_equal(send_bytes("event", 5), 0);
        expect((const uint8_t *)"event", 5);
    }
    assert_false(sender_finish(request));
}

static void test_a_peer_that_leaves_ends_the_response(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    close(peer);
    peer = -1;
    assert_true(waits_until_given_back());
    assert_int_not_equal(request->outbox.error, 0);
    assert_int_equal(send_bytes("x", 1), -1);
}

static bool is_aborted(const struct request *asked)
{
    (void)asked;
    return true;
}

static void test_a_response_that_its_peer_has_aborted_is_not_sent_to_its_end(void **state)
{
    (void)state;
    transport.is_abandoned = is_aborted;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, ECONNABORTED);
    transport.is_abandoned = NULL;
}

/* Its own end, which the peer awaits, would otherwise be that of a broken connection. */
static void test_while_the_application_goes_on_an_abort_is_for_it_to_find(void **state)
{
    (void)state;
    enum { NEVER_QUEUED = 1 };
    uint64_t queued = NEVER_QUEUED;
    transport.is_abandoned = is_aborted;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    pthread_mutex_lock(&sender.mutex);
    request->outbox.queued = NEVER_QUEUED; /* until the sender has looked */
    pthread_mutex_unlock(&sender.mutex);
    for (int i = 0; i < STEPS && queued == NEVER_QUEUED; i++) {
        usleep(STEP_MS * 1000);
        pthread_mutex_lock(&sender.mutex);
        queued = request->outbox.queued;
        pthread_mutex_unlock(&sender.mutex);
    }
    assert_int_not_equal(queued, NEVER_QUEUED);
    assert_int_equal(request->outbox.error, 0);
    transport.is_abandoned = NULL;
    assert_true(sender_finish(request));
    expect(large, LARGE_BYTES);
    assert_true(waits_until_given_back());
}

static uint64_t passed_bytes, marked_bytes;
static size_t cut_pieces;

static void mark_unsent(struct request *asked, size_t unsent_bytes)
{
    (void)asked;
    marked_bytes = unsent_bytes;
}

static void pass_unsent(struct request *asked, const uint8_t *bytes, size_t n)
{
    (void)asked;
    assert_memory_equal(bytes, large + LARGE_BYTES - marked_bytes + passed_bytes, n);
    passed_bytes += n;
}

static uint8_t *cut_unsent(struct request *asked, const struct iovec *pieces, size_t count,
                           size_t *n)
{
    (void)asked;
    (void)pieces;
    cut_pieces = count;
    *n = 7;
    return (uint8_t *)strdup("the end");
}

/* What is sent is the beginning, and then what the transport wants to be sent of the rest. */
static void test_a_response_that_is_cut_leaves_the_connection_as_it_was(void **state)
{
    (void)state;
    transport.is_abandoned = is_aborted;
    transport.mark_unsent = mark_unsent;
    transport.pass_unsent = pass_unsent;
    transport.cut_unsent = cut_unsent;
    passed_bytes = 0;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    size_t sent = LARGE_BYTES - marked_bytes;
    assert_true(sender_finish(request));
    for (int i = 0; i < STEPS && atomic_load(&store.used) > 0; i++)
        usleep(STEP_MS * 1000); /* until the rest has been dropped */
    expect(large, sent);
    expect((const uint8_t *)"the end", 7);
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, 0);
    assert_true(request->outbox.lost_bytes > 0);
    transport = (struct transport_ops){.name = NULL};
}

/* Reads until the text has come. */
static void expect_at_last(const char *text)
{
    static char buffer[1 << 16];
    size_t kept = 0, n = strlen(text);
    do {
        struct pollfd pollfd = {.fd = peer, .events = POLLIN};
        assert_int_equal(poll(&pollfd, 1, STEP_MS * STEPS), 1);
        memmove(buffer, buffer + kept - (kept < n ? kept : n), kept < n ? kept : n);
        kept = kept < n ? kept : n;
        ssize_t now = read(peer, buffer + kept, sizeof(buffer) - kept);
        assert_true(now > 0);
        kept += (size_t)now;
    } while (kept < n || memcmp(buffer + kept - n, text, n) != 0);
}

/* What was to follow is not sent either, but for what completes a record; then the end may be. */
static void test_a_caller_that_waits_for_space_learns_of_an_abort(void **state)
{
    (void)state;
    transport.is_abandoned = is_aborted;
    transport.cut_unsent = cut_unsent;
    store.limit = 1 << 20;
    sender.memory_max = 64 << 10;
    cut_pieces = 0;
    int sent = 0;
    for (size_t at = 0; at < LARGE_BYTES && sent == 0; at += LARGE_BYTES / 64)
        sent = send_bytes(large + at, LARGE_BYTES / 64);
    assert_int_equal(sent, -1);
    assert_int_equal(errno, ECONNABORTED);
    assert_int_equal(request->outbox.error, 0);
    assert_true(cut_pieces > 0);
    assert_int_equal(atomic_load(&store.used), 0);
    assert_int_equal(send_bytes("!", 1), 0);
    bool is_waiting = sender_finish(request);
    expect_at_last("the end!");
    assert_true(!is_waiting || waits_until_given_back());
    assert_int_equal(request->outbox.error, 0);
    transport = (struct transport_ops){.name = NULL};
}

static void test_a_peer_that_takes_nothing_in_time_is_given_up(void **state)
{
    (void)state;
    sender.io_timeout_ms = 1;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, ETIMEDOUT);
}

static bool has_ended(void)
{
    static uint8_t rest[1 << 16];
    ssize_t n;
    while ((n = recv(peer, rest, sizeof(rest), MSG_DONTWAIT)) > 0)
        continue;
    return n == 0;
}

/* The end of the connection would be that of the response: the worker resets it instead. */
static void test_where_the_end_is_the_connection_s_a_cut_response_gets_none(void **state)
{
    (void)state;
    for (int is_end_implied = 1; is_end_implied >= 0; is_end_implied--) {
        transport.is_end_implied = is_end_implied;
        sender.io_timeout_ms = 1;
        assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
        assert_true(sender_finish(request));
        assert_true(waits_until_given_back());
        assert_true(request->outbox.lost_bytes > 0);
        assert_int_equal(has_ended(), !is_end_implied);
        request->outbox = (struct outbox){.sender = &sender, .patience_ms = 0};
        atomic_store(&given_back, 0);
    }
}

static void test_a_peer_below_the_least_rate_is_given_up(void **state)
{
    (void)state;
    sender.min_rate = 100000;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    pthread_mutex_lock(&sender.mutex);
    /* As if that time were over. */
    request->outbox.rate_begin_ms = request->outbox.rate_end_ms = 1;
    pthread_mutex_unlock(&sender.mutex);
    assert_true(sender_finish(request));
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, ETIMEDOUT);
}

/* As if that time were over; waits until the sender has looked. The end of the next time, or 1 if
 * none has begun. */
static uint64_t end_rate_time(void)
{
    uint64_t end_ms = 1;
    pthread_mutex_lock(&sender.mutex);
    request->outbox.rate_begin_ms = clock_ms() - REQUEST_RATE_MS;
    request->outbox.rate_end_ms = 1;
    pthread_mutex_unlock(&sender.mutex);
    for (int i = 0; i < STEPS && end_ms == 1 && atomic_load(&given_back) == 0; i++) {
        usleep(STEP_MS * 1000);
        pthread_mutex_lock(&sender.mutex);
        end_ms = request->outbox.rate_end_ms;
        pthread_mutex_unlock(&sender.mutex);
    }
    return end_ms;
}

static void test_a_peer_that_has_taken_enough_must_do_so_again_in_the_next_time(void **state)
{
    (void)state;
    sender.min_rate = 100000;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    expect(large, LARGE_BYTES / 2);
    assert_true(end_rate_time() > 1);
    assert_int_equal(request->outbox.error, 0);
    end_rate_time();
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, ETIMEDOUT);
}

static void test_a_buffer_that_is_full_again_is_waited_for_again(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    setsockopt(request->fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)); /* the least there is */
    expect(large, LARGE_BYTES);
    assert_true(waits_until_given_back());
    assert_int_equal(request->outbox.error, 0);
}

/* epoll tells of a Unix socket only once three quarters of its buffer are free. */
static void test_one_that_takes_a_little_in_each_time_is_not_given_up(void **state)
{
    enum { DUE = 1 };
    uint64_t deadline_ms = DUE;

    (void)state;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    expect(large, 1 << 16);
    pthread_mutex_lock(&sender.mutex);
    request->outbox.deadline_ms = DUE; /* as if it had waited since */
    pthread_mutex_unlock(&sender.mutex);
    for (int i = 0; i < STEPS && deadline_ms == DUE && atomic_load(&given_back) == 0; i++) {
        usleep(STEP_MS * 1000);
        pthread_mutex_lock(&sender.mutex);
        deadline_ms = request->outbox.deadline_ms;
        pthread_mutex_unlock(&sender.mutex);
    }
    assert_true(deadline_ms > DUE);
    assert_int_equal(request->outbox.error, 0);
    expect(large + (1 << 16), LARGE_BYTES - (1 << 16));
    assert_true(waits_until_given_back());
}

static void test_without_a_least_rate_nobody_is_too_slow(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    assert_true(sender_finish(request));
    assert_true(end_rate_time() > 1);
    assert_int_equal(request->outbox.error, 0);
    expect(large, LARGE_BYTES);
    assert_true(waits_until_given_back());
}

static void test_the_end_that_the_connection_s_end_is_comes_after_what_waits(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(large, LARGE_BYTES), 0);
    sender_shut(request);
    expect(large, LARGE_BYTES);
    uint8_t byte;
    assert_int_equal(read(peer, &byte, 1), 0);
    assert_false(sender_finish(request));
}

static void *read_all(void *unused)
{
    (void)unused;
    usleep(20000);
    expect(large, LARGE_BYTES);
    return NULL;
}

static void test_without_space_the_caller_waits_for_the_peer(void **state)
{
    (void)state;
    pthread_t reader;
    store.limit = 1 << 20;
    assert_int_equal(pthread_create(&reader, NULL, read_all, NULL), 0);
    for (size_t at = 0; at < LARGE_BYTES; at += 1 << 16)
        assert_int_equal(send_bytes(large + at, 1 << 16), 0);
    pthread_join(reader, NULL);
    sender_finish(request);
}

static void test_a_peer_that_has_to_send_its_body_first_is_waited_for(void **state)
{
    (void)state;
    is_body_received = false;
    request->io_timeout_ms = 1;
    assert_int_equal(send_bytes(large, LARGE_BYTES), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_false(sender.has_thread);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_the_peer_takes_needs_no_sender),
        TEST(test_a_peer_that_does_not_read_does_not_hold_the_caller),
        TEST(test_a_peer_that_a_thread_waits_for_in_vain_is_an_error_of_the_response),
        TEST(test_what_is_sent_later_leaves_later),
        TEST(test_a_peer_that_leaves_ends_the_response),
        TEST(test_while_the_application_goes_on_an_abort_is_for_it_to_find),
        TEST(test_a_peer_that_takes_nothing_in_time_is_given_up),
        TEST(test_a_response_that_its_peer_has_aborted_is_not_sent_to_its_end),
        TEST(test_a_response_that_is_cut_leaves_the_connection_as_it_was),
        TEST(test_where_the_end_is_the_connection_s_a_cut_response_gets_none),
        TEST(test_a_peer_below_the_least_rate_is_given_up),
        TEST(test_a_peer_that_has_taken_enough_must_do_so_again_in_the_next_time),
        TEST(test_without_a_least_rate_nobody_is_too_slow),
        TEST(test_a_buffer_that_is_full_again_is_waited_for_again),
        TEST(test_one_that_takes_a_little_in_each_time_is_not_given_up),
        TEST(test_the_end_that_the_connection_s_end_is_comes_after_what_waits),
        TEST(test_without_space_the_caller_waits_for_the_peer),
        TEST(test_a_caller_that_waits_for_space_learns_of_an_abort),
        TEST(test_a_peer_that_has_to_send_its_body_first_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
