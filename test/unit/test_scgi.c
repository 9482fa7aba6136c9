/* SCGI on a connection: from its bytes to a request and its body, and what a response's end does.
 *
 * links: scgi.c scgi_head.c receiver.c request.c request_body.c spool.c descriptors.c arena.c
 * reply.c response.c fork.c log_line.c input.c */
#include "unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "connection/connection.h"
#include "connection/sender.h"

enum { HEAD_BYTES = 500 };

static struct config config = {.request_head_bytes = HEAD_BYTES};
static const struct gate_limits limits = {.head_bytes = HEAD_BYTES};
static struct receiver receiver;
static struct connection connection;
static int peer;
static struct bytes sent;
static unsigned shuts;
static bool is_peer_gone;
static char text[] = "ab";

/* Fakes */

int sender_send(struct request *request, struct iovec *pieces, size_t count)
{
    (void)request;
    for (size_t i = 0; !is_peer_gone && i < count; i++)
        put_bytes(&sent, pieces[i].iov_base, pieces[i].iov_len);
    errno = EPIPE;
    return is_peer_gone ? -1 : 0;
}

void sender_shut(struct request *request)
{
    (void)request;
    shuts++;
}

static int set_up(void **state)
{
    (void)state;
    int pair[2];
    receiver = (struct receiver){.config = &config, .gate_limits = &limits};
    if (receiver_init(&receiver) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -1;
    peer = pair[0];
    memset(&connection, 0, sizeof(connection));
    connection.fd = pair[1];
    connection.input.data = receiver.buffer;
    connection.input.capacity = receiver.buffer_bytes;
    shuts = 0;
    is_peer_gone = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (connection.request != NULL)
        receiver_give_request(&receiver, connection.request);
    receiver_clear(&receiver);
    clear_bytes(&sent);
    close(connection.fd);
    return close(peer);
}

/* What the peer sends arrives. */
static void come(const void *bytes, size_t n)
{
    assert_int_equal(send(peer, bytes, n, 0), n);
    assert_int_equal(input_receive(&connection.input, connection.fd), n);
}

static enum head_state begin(void)
{
    enum head_state state = scgi_transport.begin(&receiver, &connection);
    if (connection.request != NULL) {
        connection.request->connection = &connection;
        connection.request->input = &connection.input;
        connection.request->fd = connection.fd;
    }
    return state;
}

#define HEAD(length)                                                                               \
    "CONTENT_LENGTH\0" length "\0SCGI\0"                                                           \
    "1\0REQUEST_METHOD\0POST\0HTTP_COOKIE\0a\0HTTP_COOKIE\0b\0EMPTY\0"

/* The head as a netstring; pairs: a literal, whose last NUL is the compiler's. */
static void put_head(struct bytes *bytes, const char *pairs, size_t n)
{
    char length[24];
    snprintf(length, sizeof(length), "%zu:", n);
    put_text(bytes, length);
    put_bytes(bytes, pairs, n);
    put_text(bytes, ",");
}

static void take_head(const char *pairs, size_t n)
{
    struct bytes head = {0};
    put_head(&head, pairs, n);
    come(head.data, head.n);
    clear_bytes(&head);
    assert_int_equal(begin(), HEAD_WHOLE);
}

#define TAKE(pairs) take_head(pairs, sizeof(pairs))

/* Tests */

static void test_a_head_is_a_request_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    struct bytes head = {0};
    put_head(&head, HEAD("5"), sizeof(HEAD("5")));
    for (size_t i = 0; i < head.n; i++) {
        come(head.data + i, 1);
        assert_int_equal(begin(), i + 1 < head.n ? HEAD_MORE : HEAD_WHOLE);
    }
    const struct request *request = connection.request;
    assert_ptr_equal(request->ops, &scgi_transport);
    assert_string_equal(request_value(request, "CONTENT_LENGTH"), "5");
    assert_string_equal(request_value(request, "REQUEST_METHOD"), "POST");
    assert_string_equal(request_value(request, "HTTP_COOKIE"), "a; b");
    assert_string_equal(request_value(request, "EMPTY"), "");
    assert_null(request_value(request, "SCGI")); /* is the protocol's own */
    assert_int_equal(connection.head_bytes, head.n);
    assert_int_equal(input_available(&connection.input), 0);
    memset(receiver.buffer, 0xee, receiver.buffer_bytes); /* the buffer is others' by now */
    assert_string_equal(request_value(request, "REQUEST_METHOD"), "POST");
    clear_bytes(&head);
}

static void test_what_is_no_head_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const wrong[] = {"x", "99999:", "4:abcd,", "4:a\0b\0;"};
    static const size_t sizes[] = {1, 6, 7, 7};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        connection.input.begin = connection.input.end = 0;
        connection.refusal = NULL;
        come(wrong[i], sizes[i]);
        assert_int_equal(begin(), HEAD_REFUSED);
        assert_non_null(connection.refusal);
        assert_null(connection.request);
    }
}

static void test_the_body_is_as_long_as_it_says_and_what_follows_is_left(void **state)
{
    (void)state;
    const uint8_t *content;
    size_t n;
    TAKE(HEAD("5"));
    struct request *request = connection.request;
    assert_false(scgi_transport.is_body_here(request));
    assert_int_equal(scgi_transport.next_body(request, 0, &content, &n), BODY_WAIT);
    come("hel", 3);
    assert_false(scgi_transport.is_body_here(request));
    assert_int_equal(scgi_transport.next_body(request, 0, &content, &n), BODY_CONTENT);
    assert_int_equal(n, 3);
    assert_memory_equal(content, "hel", 3);
    scgi_transport.take_body(request, 1);
    come("lo and more", 11);
    assert_true(scgi_transport.is_body_here(request));
    assert_int_equal(scgi_transport.next_body(request, 0, &content, &n), BODY_CONTENT);
    assert_int_equal(n, 4);
    assert_memory_equal(content, "ello", 4);
    scgi_transport.take_body(request, 4);
    assert_int_equal(scgi_transport.next_body(request, 0, &content, &n), BODY_END);
    assert_int_equal(input_available(&connection.input), strlen(" and more"));
}

static void test_a_request_without_a_body_is_at_its_end(void **state)
{
    (void)state;
    const uint8_t *content;
    size_t n;
    TAKE(HEAD("0"));
    assert_true(scgi_transport.is_body_here(connection.request));
    assert_int_equal(scgi_transport.next_body(connection.request, 0, &content, &n), BODY_END);
}

static void test_a_peer_that_goes_cuts_the_body(void **state)
{
    (void)state;
    const uint8_t *content;
    size_t n;
    TAKE(HEAD("5"));
    come("he", 2);
    shutdown(peer, SHUT_WR);
    assert_int_equal(scgi_transport.next_body(connection.request, 0, &content, &n), BODY_CONTENT);
    scgi_transport.take_body(connection.request, n);
    errno = 0;
    assert_int_equal(scgi_transport.next_body(connection.request, clock_ms() + 20000, &content, &n),
                     BODY_CUT);
    assert_int_equal(errno, ECONNRESET);
}

static void test_one_that_sends_nothing_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    const uint8_t *content;
    size_t n;
    TAKE(HEAD("5"));
    assert_int_equal(scgi_transport.next_body(connection.request, clock_ms() + 20, &content, &n),
                     BODY_CUT);
    assert_int_equal(errno, ETIMEDOUT);
}

static void test_a_body_taken_over_goes_on_where_it_was(void **state)
{
    (void)state;
    const uint8_t *content;
    uint8_t place[TRANSPORT_PLACE_BYTES];
    size_t n;
    TAKE(HEAD("5"));
    struct request *request = connection.request;
    assert_int_equal(scgi_transport.put_place(request, place), 0);
    scgi_transport.pass_taken(request, 3);
    come("lo!", 3);
    assert_int_equal(scgi_transport.next_body(request, 0, &content, &n), BODY_CONTENT);
    assert_int_equal(n, 2);
    scgi_transport.pass_taken(request, 1000); /* of a predecessor that is mistaken */
    assert_int_equal(scgi_transport.next_body(request, 0, &content, &n), BODY_END);
}

static void test_a_response_leaves_as_it_is(void **state)
{
    (void)state;
    TAKE(HEAD("0"));
    struct iovec pieces[RESPONSE_PIECES];
    for (size_t i = 0; i < COUNT(pieces); i++)
        pieces[i] = (struct iovec){.iov_base = text, .iov_len = 1 + i % 2};
    assert_int_equal(scgi_transport.send(connection.request, pieces, COUNT(pieces), true), 0);
    assert_int_equal(sent.n, RESPONSE_PIECES + RESPONSE_PIECES / 2);
    assert_memory_equal(sent.data, "aabaab", 6);
    assert_int_equal(shuts, 0); /* the connection's end is the response's */
    assert_int_equal(scgi_transport.send_error(connection.request, "e", 1), 0);
    assert_int_equal(sent.n, RESPONSE_PIECES + RESPONSE_PIECES / 2);
}

static void test_a_response_that_ends_before_the_application_shuts_down_at_once(void **state)
{
    (void)state;
    TAKE(HEAD("0"));
    struct iovec piece = {.iov_base = text, .iov_len = 1};
    connection.request->response.is_early = true;
    assert_int_equal(scgi_transport.send(connection.request, &piece, 1, false), 0);
    assert_int_equal(shuts, 0);
    assert_int_equal(scgi_transport.send(connection.request, &piece, 1, true), 0);
    assert_int_equal(shuts, 1);
    is_peer_gone = true;
    assert_int_equal(scgi_transport.send(connection.request, &piece, 1, true), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(shuts, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_head_is_a_request_as_soon_as_it_is_whole),
        TEST(test_what_is_no_head_is_refused_with_a_reason),
        TEST(test_the_body_is_as_long_as_it_says_and_what_follows_is_left),
        TEST(test_a_request_without_a_body_is_at_its_end),
        TEST(test_a_peer_that_goes_cuts_the_body),
        TEST(test_one_that_sends_nothing_is_waited_for_until_the_deadline),
        TEST(test_a_body_taken_over_goes_on_where_it_was),
        TEST(test_a_response_leaves_as_it_is),
        TEST(test_a_response_that_ends_before_the_application_shuts_down_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
