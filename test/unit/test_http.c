/* Plain HTTP on a status connection: a GET becomes a request, a CGI response an HTTP one.
 *
 * links: http.c http_head.c receiver.c request.c request_body.c spool.c descriptors.c arena.c
 * reply.c response.c fork.c log_line.c input.c socket_io.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection/connection.h"

enum { HEAD_BYTES = 500 };

static struct config config = {.request_head_bytes = HEAD_BYTES};
static const struct gate_limits limits = {.head_bytes = HEAD_BYTES};
static struct receiver receiver;
static struct connection connection;
static int peer;

static int set_up(void **state)
{
    (void)state;
    int pair[2];
    receiver = (struct receiver){.config = &config, .gate_limits = &limits, .speaks_http = true};
    if (receiver_init(&receiver) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -1;
    peer = pair[0];
    memset(&connection, 0, sizeof(connection));
    connection.fd = pair[1];
    fcntl(connection.fd, F_SETFL, O_NONBLOCK);
    connection.input.data = receiver.buffer;
    connection.input.capacity = receiver.buffer_bytes;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (connection.request != NULL)
        receiver_give_request(&receiver, connection.request);
    receiver_clear(&receiver);
    close(connection.fd);
    return close(peer);
}

static enum head_state begin_with(const char *text)
{
    size_t n = strlen(text);
    assert_int_equal(send(peer, text, n, 0), n);
    assert_int_equal(input_receive(&connection.input, connection.fd), n);
    enum head_state state = http_transport.begin(&receiver, &connection);
    if (connection.request != NULL) {
        connection.request->connection = &connection;
        connection.request->input = &connection.input;
        connection.request->fd = connection.fd;
        connection.request->io_timeout_ms = 20000;
    }
    return state;
}

static const char *answer(void)
{
    static char text[4096];
    ssize_t n = recv(peer, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void assert_value(const char *name, const char *expected)
{
    assert_string_equal(request_value(connection.request, name), expected);
}

/* Tests */

static void test_a_get_is_a_request_as_soon_as_its_head_is_whole(void **state)
{
    (void)state;
    static const char head[] = "GET /a%20b?format=json&x=? HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t i = 0; head[i] != '\0'; i++)
        assert_int_equal(begin_with((char[]){head[i], '\0'}),
                         head[i + 1] == '\0' ? HEAD_WHOLE : HEAD_MORE);
    assert_ptr_equal(connection.request->ops, &http_transport);
    memset(receiver.buffer, 0xee, receiver.buffer_bytes); /* the strings are the request's own */
    assert_value("REQUEST_METHOD", "GET");
    assert_value("REQUEST_URI", "/a%20b?format=json&x=?");
    assert_value("QUERY_STRING", "format=json&x=?");
    assert_null(request_value(connection.request, "HTTP_HOST"));
    assert_int_equal(connection.head_bytes, sizeof(head) - 1);
    assert_int_equal(input_available(&connection.input), 0);
    assert_false(connection.request->is_keep_wanted);
}

static void test_without_a_question_mark_there_is_an_empty_query(void **state)
{
    (void)state;
    assert_int_equal(begin_with("HEAD / HTTP/1.0\r\n\r\nbody"), HEAD_WHOLE);
    assert_value("REQUEST_METHOD", "HEAD");
    assert_value("QUERY_STRING", "");
    assert_int_equal(input_available(&connection.input), 4);
}

static void test_what_is_no_head_or_too_long_is_refused_with_a_reason(void **state)
{
    (void)state;
    static char longest[HEAD_BYTES + 10];
    memset(longest, 'x', sizeof(longest) - 1);
    memcpy(longest, "GET /", 5);
    const char *const wrong[] = {"GET\r\n", "GET / FTP/1.1\r\n\r\n", longest};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        connection.input.begin = connection.input.end = 0;
        connection.refusal = NULL;
        if (begin_with(wrong[i]) != HEAD_REFUSED)
            fail_msg("%s", wrong[i]);
        assert_non_null(connection.refusal);
        assert_null(connection.request);
    }
}

static void test_a_body_is_never_waited_for(void **state)
{
    (void)state;
    const uint8_t *content;
    size_t n;
    assert_int_equal(begin_with("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), HEAD_WHOLE);
    assert_true(http_transport.is_body_here(connection.request));
    assert_int_equal(http_transport.next_body(connection.request, 0, &content, &n), BODY_END);
    http_transport.take_body(connection.request, 0);
    assert_int_equal(http_transport.next_body(connection.request, 0, &content, &n), BODY_END);
}

static int send_piece(char *text, bool is_last)
{
    struct iovec piece = {.iov_base = text, .iov_len = strlen(text)};
    return http_transport.send(connection.request, &piece, 1, is_last);
}

static void test_a_cgi_head_becomes_one_of_http_and_the_connection_ends_with_it(void **state)
{
    (void)state;
    static char head[] = "Status: 200 OK\r\nA: b\r\n\r\n", one[] = "Status: x", two[] = "two",
                bare[] = "Status: 404 Not Found\r\n\r\n";
    assert_int_equal(begin_with("GET / HTTP/1.1\r\n\r\n"), HEAD_WHOLE);
    struct iovec pieces[] = {{head, sizeof(head) - 1}, {one, sizeof(one) - 1}};
    assert_int_equal(http_transport.send(connection.request, pieces, 2, false), 0);
    assert_string_equal(answer(), "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nStatus: x");
    assert_int_equal(send_piece(two, true), 0);
    assert_string_equal(answer(), "two");
    receiver_give_request(&receiver, connection.request);
    connection.request = NULL;
    assert_int_equal(begin_with("GET / HTTP/1.1\r\n\r\n"), HEAD_WHOLE); /* has a head of its own */
    assert_int_equal(send_piece(bare, true), 0);
    assert_string_equal(answer(), "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
}

static void test_as_many_pieces_as_a_response_may_have(void **state)
{
    (void)state;
    static char head[] = "Status: 200 OK\r\n\r\n", byte[] = "x";
    struct iovec pieces[RESPONSE_PIECES] = {{head, sizeof(head) - 1}};
    for (size_t i = 1; i < COUNT(pieces); i++)
        pieces[i] = (struct iovec){byte, 1};
    assert_int_equal(begin_with("GET / HTTP/1.1\r\n\r\n"), HEAD_WHOLE);
    assert_int_equal(http_transport.send(connection.request, pieces, COUNT(pieces), true), 0);
    assert_int_equal(strlen(strstr(answer(), "\r\n\r\n")), 4 + RESPONSE_PIECES - 1);
}

static void test_an_end_alone_sends_nothing_and_neither_does_an_error(void **state)
{
    (void)state;
    char byte;
    assert_int_equal(begin_with("GET / HTTP/1.1\r\n\r\n"), HEAD_WHOLE);
    assert_int_equal(http_transport.send(connection.request, NULL, 0, true), 0);
    assert_int_equal(http_transport.send_error(connection.request, "error", 5), 0);
    assert_int_equal(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
}

static void test_a_peer_that_has_gone_fails_the_send(void **state)
{
    (void)state;
    static char head[] = "Status: 200 OK\r\n\r\n";
    assert_int_equal(begin_with("GET / HTTP/1.1\r\n\r\n"), HEAD_WHOLE);
    shutdown(peer, SHUT_RDWR);
    assert_int_equal(send_piece(head, true), -1);
    assert_int_equal(errno, EPIPE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_get_is_a_request_as_soon_as_its_head_is_whole),
        TEST(test_without_a_question_mark_there_is_an_empty_query),
        TEST(test_what_is_no_head_or_too_long_is_refused_with_a_reason),
        TEST(test_a_body_is_never_waited_for),
        TEST(test_a_cgi_head_becomes_one_of_http_and_the_connection_ends_with_it),
        TEST(test_as_many_pieces_as_a_response_may_have),
        TEST(test_an_end_alone_sends_nothing_and_neither_does_an_error),
        TEST(test_a_peer_that_has_gone_fails_the_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
