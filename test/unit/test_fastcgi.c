/* FastCGI on a connection: from its bytes to requests and their bodies, and from responses to
 * records. The gate, the records and libfcgi are the real ones.
 *
 * links: fastcgi.c gate.c record.c libfcgi_os.c receiver.c request.c request_body.c spool.c
 * descriptors.c arena.c reply.c response.c fork.c log_line.c input.c socket_io.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "connection/connection.h"
#include "connection/sender.h"
#include "protocol/libfcgi_os.h"
#include "protocol/record.h"

enum { ID = 7, OTHER = 8, HEAD_BYTES = 4000 };

static struct config config = {.request_head_bytes = HEAD_BYTES};
static const struct gate_limits limits = {.head_bytes = HEAD_BYTES,
                                          .max_connections = 10,
                                          .roles = 1u << ROLE_RESPONDER | 1u << ROLE_AUTHORIZER |
                                                   1u << ROLE_FILTER};
static struct receiver receiver;
static struct connection connection;
static int peer;
static struct bytes head, sent;
static bool is_peer_gone;

/* Fakes */

int sender_send(struct request *request, struct iovec *pieces, size_t count)
{
    (void)request;
    for (size_t i = 0; !is_peer_gone && i < count; i++)
        put_bytes(&sent, pieces[i].iov_base, pieces[i].iov_len);
    errno = EPIPE;
    return is_peer_gone ? -1 : 0;
}

static int open_connection(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -1;
    peer = pair[0];
    memset(&connection, 0, sizeof(connection));
    connection.fd = pair[1];
    fcntl(connection.fd, F_SETFL, O_NONBLOCK);
    connection.input.data = receiver.buffer;
    connection.input.capacity = receiver.buffer_bytes;
    return 0;
}

static void close_connection(void)
{
    if (connection.request != NULL) {
        fastcgi_transport.release(connection.request);
        receiver_give_request(&receiver, connection.request);
    }
    close(connection.fd);
    close(peer);
}

static int set_up_library(void **state)
{
    (void)state;
    return libfcgi_os_init();
}

static int set_up(void **state)
{
    (void)state;
    receiver = (struct receiver){.config = &config, .gate_limits = &limits};
    is_peer_gone = false;
    return receiver_init(&receiver) < 0 ? -1 : open_connection();
}

static int tear_down(void **state)
{
    (void)state;
    close_connection();
    receiver_clear(&receiver);
    clear_bytes(&head);
    clear_bytes(&sent);
    return 0;
}

/* What the peer sends arrives. */
static void come(const void *bytes, size_t n)
{
    assert_int_equal(send(peer, bytes, n, 0), n);
    assert_int_equal(input_receive(&connection.input, connection.fd), n);
}

static enum head_state begin(void)
{
    enum head_state state = fastcgi_transport.begin(&receiver, &connection);
    if (connection.request != NULL) {
        connection.request->connection = &connection;
        connection.request->input = &connection.input;
        connection.request->fd = connection.fd;
        connection.request->io_timeout_ms = 20000;
    }
    return state;
}

static void put_head(int role, int flags)
{
    struct bytes parameters = {0};
    put_pair(&parameters, "REQUEST_METHOD", "POST");
    put_pair(&parameters, "CONTENT_LENGTH", "5");
    put_pair(&parameters, "EMPTY", "");
    put_pair(&parameters, "EQUALS", "a=b=c");
    put_begin(&head, ID, role, flags);
    put_record(&head, RECORD_PARAMS, ID, parameters.data, parameters.n, 3);
    put_record(&head, RECORD_PARAMS, ID, "", 0, 0);
    clear_bytes(&parameters);
}

static struct request *take_head(int role)
{
    put_head(role, 1);
    come(head.data, head.n);
    assert_int_equal(begin(), HEAD_WHOLE);
    connection.request->content_length = 5;
    return connection.request;
}

static void come_record(int type, int id, const char *content, size_t padding)
{
    struct bytes bytes = {0};
    put_record(&bytes, type, id, content, strlen(content), padding);
    come(bytes.data, bytes.n);
    clear_bytes(&bytes);
}

/* "hello.": what has come of the body and can be read, '.' at its end, '?' if more is to come, '!'
 * if it is cut. */
static const char *read_body(struct request *request)
{
    static char text[256];
    size_t used = 0;
    for (;;) {
        const uint8_t *content;
        size_t n;
        enum body_state state = fastcgi_transport.next_body(request, 0, &content, &n);
        if (state != BODY_CONTENT) {
            text[used++] = state == BODY_END ? '.' : state == BODY_WAIT ? '?' : '!';
            text[used] = '\0';
            return text;
        }
        assert_true(n > 0 && used + n < sizeof(text) - 1);
        memcpy(text + used, content, n);
        used += n;
        fastcgi_transport.take_body(request, n);
    }
}

/* Heads */

static void assert_value(const char *name, const char *expected)
{
    const char *value = request_value(connection.request, name);
    if (expected == NULL)
        assert_null(value);
    else
        assert_string_equal(value, expected);
}

static void test_a_head_is_a_request_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    put_head(ROLE_RESPONDER, 1);
    for (size_t i = 0; i < head.n; i++) {
        come(head.data + i, 1);
        assert_int_equal(begin(), i + 1 < head.n ? HEAD_MORE : HEAD_WHOLE);
    }
    assert_ptr_equal(connection.request->ops, &fastcgi_transport);
    assert_int_equal(connection.request->role, ROLE_RESPONDER);
    assert_true(connection.request->is_keep_wanted);
    assert_int_equal(connection.head_bytes, head.n);
    assert_int_equal(input_available(&connection.input), 0);
    memset(receiver.buffer, 0xee, receiver.buffer_bytes); /* the buffer is others' by now */
    assert_value("REQUEST_METHOD", "POST");
    assert_value("EMPTY", "");
    assert_value("EQUALS", "a=b=c");
    assert_value("FCGI_ROLE", NULL);
}

static void test_a_peer_that_keeps_no_connection_says_so(void **state)
{
    (void)state;
    put_head(ROLE_RESPONDER, 0);
    come(head.data, head.n);
    assert_int_equal(begin(), HEAD_WHOLE);
    assert_false(connection.request->is_keep_wanted);
}

static void test_the_other_roles_are_named_and_an_authorizer_has_no_body(void **state)
{
    (void)state;
    struct request *request = take_head(ROLE_AUTHORIZER);
    assert_value("FCGI_ROLE", "AUTHORIZER");
    assert_value("CONTENT_LENGTH", "0");
    assert_string_equal(read_body(request), ".");
    close_connection();
    assert_int_equal(open_connection(), 0);
    clear_bytes(&head);
    take_head(ROLE_FILTER);
    assert_value("FCGI_ROLE", "FILTER");
    assert_value("CONTENT_LENGTH", "5");
}

static void test_padding_of_the_first_record_is_skipped(void **state)
{
    (void)state;
    for (size_t padding = 1; padding <= 255; padding += 127) {
        static const uint8_t responder[8] = {0, ROLE_RESPONDER, 1};
        clear_bytes(&head);
        put_record(&head, RECORD_BEGIN_REQUEST, ID, responder, 8, padding);
        put_record(&head, RECORD_PARAMS, ID, "\1\1Nv", 4, 0);
        put_record(&head, RECORD_PARAMS, ID, "", 0, 0);
        come(head.data, head.n);
        assert_int_equal(begin(), HEAD_WHOLE);
        assert_value("N", "v");
        assert_int_equal(connection.head_bytes, head.n - padding);
        close_connection();
        assert_int_equal(open_connection(), 0);
    }
}

static void test_what_is_no_head_is_refused_with_a_reason(void **state)
{
    (void)state;
    come("\2\1\0\7\0\10\0", 8); /* another version */
    assert_int_equal(begin(), HEAD_REFUSED);
    assert_non_null(connection.refusal);
    assert_null(connection.request);
}

static void test_a_question_before_the_head_is_answered_and_taken_out(void **state)
{
    (void)state;
    uint8_t answer[512];
    put_record(&head, RECORD_GET_VALUES, 0, "\016\0FCGI_MAX_CONNS", 16, 0);
    put_head(ROLE_RESPONDER, 1);
    come(head.data, head.n);
    assert_int_equal(begin(), HEAD_WHOLE);
    ssize_t n = recv(peer, answer, sizeof(answer), MSG_DONTWAIT);
    assert_true(n >= RECORD_HEADER_BYTES);
    assert_int_equal(answer[1], RECORD_GET_VALUES_RESULT);
    assert_non_null(memmem(answer, (size_t)n, "FCGI_MAX_CONNS10", 16));
    assert_value("REQUEST_METHOD", "POST");
}

static void test_a_peer_that_takes_no_answer_is_not_waited_for(void **state)
{
    (void)state;
    static char fill[1 << 16];
    for (size_t n = sizeof(fill); n > 0; n /= 2)
        while (send(connection.fd, fill, n, MSG_DONTWAIT) > 0)
            continue;
    put_record(&head, RECORD_GET_VALUES, 0, "\016\0FCGI_MAX_CONNS", 16, 0);
    enum head_state step = HEAD_MORE;
    while (step == HEAD_MORE) { /* until its enlarged buffer is full, too */
        connection.input.begin = connection.input.end = 0;
        come(head.data, head.n);
        step = begin();
    }
    assert_int_equal(step, HEAD_REFUSED);
    assert_null(connection.request);
}

static void test_records_of_other_requests_in_a_head_are_taken_out_up_to_a_number(void **state)
{
    (void)state;
    enum { CUTS = 256 };
    for (int count = CUTS; count <= CUTS + 1; count++) {
        enum head_state step = HEAD_MORE;
        clear_bytes(&head);
        put_begin(&head, ID, ROLE_RESPONDER, 1);
        come(head.data, head.n);
        for (int i = 0; i < count && step == HEAD_MORE; i++) {
            come_record(RECORD_ABORT_REQUEST, OTHER, "", 0);
            step = begin();
        }
        assert_int_equal(step, count == CUTS ? HEAD_MORE : HEAD_REFUSED);
        if (step == HEAD_MORE) {
            come_record(RECORD_PARAMS, ID, "\1\1Nv", 0);
            come_record(RECORD_PARAMS, ID, "", 0);
            assert_int_equal(begin(), HEAD_WHOLE);
            assert_value("N", "v");
            assert_int_equal(connection.cuts, 0); /* the next head's are counted anew */
        } else
            assert_non_null(strstr(connection.refusal, "too many records"));
        close_connection();
        assert_int_equal(open_connection(), 0);
    }
}

/* Bodies */

static void test_a_body_comes_in_records_of_any_size_with_padding(void **state)
{
    (void)state;
    struct request *request = take_head(ROLE_RESPONDER);
    assert_false(fastcgi_transport.is_body_here(request));
    assert_string_equal(read_body(request), "?");
    come_record(RECORD_STDIN, ID, "he", 5);
    assert_false(fastcgi_transport.is_body_here(request));
    assert_string_equal(read_body(request), "he?");
    come_record(RECORD_STDIN, OTHER, "other", 0);
    come_record(RECORD_STDIN, ID, "l", 255);
    come_record(RECORD_STDIN, ID, "lo", 0);
    come_record(RECORD_STDIN, ID, "", 1);
    come("next", 4);
    assert_string_equal(read_body(request), "llo.");
    assert_string_equal(read_body(request), ".");
    assert_int_equal(input_available(&connection.input), 4);
}

static void test_a_body_is_here_when_as_much_as_announced_is(void **state)
{
    (void)state;
    struct request *request = take_head(ROLE_RESPONDER);
    come_record(RECORD_STDIN, ID, "hell", 7);
    assert_false(fastcgi_transport.is_body_here(request));
    come_record(RECORD_STDIN, ID, "o", 0);
    assert_true(fastcgi_transport.is_body_here(request));
    assert_string_equal(read_body(request), "hello?");
}

static void test_a_body_is_cut_by_an_abort_by_rubbish_and_by_the_connection_s_end(void **state)
{
    (void)state;
    static const struct {
        int type, error;
    } cases[] = {{RECORD_ABORT_REQUEST, ECONNABORTED}, {RECORD_PARAMS, EPROTO}, {0, ECONNRESET}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        clear_bytes(&head);
        struct request *request = take_head(ROLE_RESPONDER);
        come_record(RECORD_STDIN, ID, "he", 0);
        if (cases[i].type != 0)
            come_record(cases[i].type, ID, "", 0);
        else
            shutdown(peer, SHUT_WR);
        errno = 0;
        assert_string_equal(read_body(request), "he!");
        assert_int_equal(errno, cases[i].error);
        close_connection();
        assert_int_equal(open_connection(), 0);
    }
}

static void test_a_filter_s_data_follow_its_body(void **state)
{
    (void)state;
    struct request *request = take_head(ROLE_FILTER);
    come_record(RECORD_STDIN, ID, "hello", 0);
    come_record(RECORD_STDIN, ID, "", 0);
    come_record(RECORD_DATA, ID, "the file", 2);
    come_record(RECORD_DATA, ID, "", 0);
    assert_string_equal(read_body(request), "hello.");
    fastcgi_transport.begin_data(request);
    assert_string_equal(read_body(request), "the file.");
}

static void test_a_question_in_a_body_is_answered_unless_a_response_is_being_sent(void **state)
{
    (void)state;
    char answer[512];
    struct request *request = take_head(ROLE_RESPONDER);
    come_record(RECORD_GET_VALUES, 0, "", 0);
    assert_string_equal(read_body(request), "?");
    assert_true(recv(peer, answer, sizeof(answer), MSG_DONTWAIT) > 0);
    assert_false(atomic_load(&request->response.is_sending));
    atomic_store(&request->response.is_sending, true);
    come_record(RECORD_GET_VALUES, 0, "", 0);
    assert_string_equal(read_body(request), "?");
    assert_int_equal(recv(peer, answer, sizeof(answer), MSG_DONTWAIT), -1);
    assert_true(atomic_load(&request->response.is_sending)); /* whose it is */
    atomic_store(&request->response.is_sending, false);
    atomic_store(&request->outbox.is_used, true);
    come_record(RECORD_GET_VALUES, 0, "", 0);
    assert_string_equal(read_body(request), "?");
    assert_int_equal(recv(peer, answer, sizeof(answer), MSG_DONTWAIT), -1);
}

static void test_an_abort_is_found_wherever_it_lies_and_nothing_is_consumed(void **state)
{
    (void)state;
    struct request *request = take_head(ROLE_RESPONDER);
    assert_false(fastcgi_transport.is_abandoned(request));
    come_record(RECORD_STDIN, ID, "he", 3);
    assert_false(fastcgi_transport.is_abandoned(request));
    come_record(RECORD_ABORT_REQUEST, OTHER, "", 0);
    assert_false(fastcgi_transport.is_abandoned(request));
    come_record(RECORD_ABORT_REQUEST, ID, "", 0);
    assert_true(fastcgi_transport.is_abandoned(request));
    assert_true(input_enter(&connection.input)); /* a thread reads the body */
    assert_false(fastcgi_transport.is_abandoned(request));
    input_leave(&connection.input);
    assert_string_equal(read_body(request), "he!");
}

static void test_an_abort_behind_the_body_is_found_in_the_socket_too(void **state)
{
    (void)state;
    struct bytes abort = {0};
    struct request *request = take_head(ROLE_RESPONDER);
    come_record(RECORD_STDIN, ID, "", 0);
    assert_string_equal(read_body(request), ".");
    put_record(&abort, RECORD_ABORT_REQUEST, OTHER, "", 0, 0);
    assert_int_equal(send(peer, abort.data, abort.n, 0), abort.n);
    assert_false(fastcgi_transport.is_abandoned(request));
    assert_int_equal(recv(connection.fd, abort.data, abort.n, 0), abort.n);
    clear_bytes(&abort);
    put_record(&abort, RECORD_ABORT_REQUEST, ID, "", 0, 0);
    assert_false(fastcgi_transport.is_abandoned(request));
    assert_int_equal(send(peer, abort.data, abort.n - 1, 0), abort.n - 1);
    assert_false(fastcgi_transport.is_abandoned(request));
    assert_int_equal(send(peer, abort.data + abort.n - 1, 1, 0), 1);
    assert_true(fastcgi_transport.is_abandoned(request));
    clear_bytes(&abort);
}

/* The place of a body, wherever it is: another connection that gets the head, the place and the
 * rest reads on as this one would. */
static void test_a_body_goes_on_in_another_process_from_every_byte(void **state)
{
    (void)state;
    struct bytes body = {0};
    put_record(&body, RECORD_STDIN, ID, "hel", 3, 250);
    put_record(&body, RECORD_STDIN, OTHER, "other", 5, 2);
    put_record(&body, RECORD_STDIN, ID, "lo", 2, 1);
    put_record(&body, RECORD_STDIN, ID, "", 0, 4);
    for (size_t cut = 0; cut <= body.n; cut++) {
        char first[16], whole[32];
        uint8_t place[TRANSPORT_PLACE_BYTES];
        clear_bytes(&head);
        struct request *request = take_head(ROLE_RESPONDER);
        if (cut > 0)
            come(body.data, cut);
        snprintf(first, sizeof(first), "%s", read_body(request));
        size_t place_bytes = fastcgi_transport.put_place(request, place);
        assert_true(place_bytes <= sizeof(place));
        struct bytes rest = {0};
        put_bytes(&rest, place, place_bytes);
        put_bytes(&rest, connection.input.data + connection.input.begin,
                  input_available(&connection.input));
        put_bytes(&rest, body.data + cut, body.n - cut);
        close_connection();
        assert_int_equal(open_connection(), 0);
        clear_bytes(&head);
        request = take_head(ROLE_RESPONDER);
        if (rest.n > 0)
            come(rest.data, rest.n);
        snprintf(whole, sizeof(whole), "%.*s%s", (int)strlen(first) - 1, first, read_body(request));
        if (strcmp(whole, "hello.") != 0)
            fail_msg("cut at %zu: %s", cut, whole);
        close_connection();
        assert_int_equal(open_connection(), 0);
        clear_bytes(&rest);
    }
    clear_bytes(&body);
}

static void
test_what_is_skipped_of_the_largest_record_fits_into_one_at_the_next_process(void **state)
{
    (void)state;
    static const uint8_t header[8] = {1, RECORD_STDIN, 0, OTHER, 0xff, 0xff, 0xff, 0};
    uint8_t place[TRANSPORT_PLACE_BYTES];
    struct request *request = take_head(ROLE_RESPONDER);
    come(header, sizeof(header));
    assert_string_equal(read_body(request), "?");
    assert_int_equal(fastcgi_transport.put_place(request, place), 8);
    assert_int_not_equal(place[2] << 8 | place[3], ID);
    assert_int_equal((place[4] << 8 | place[5]) + place[6], 0xffff + 0xff);
}

/* Responses */

/* The content of all records of a type, whose ids and sizes are checked; ends: how many are empty.
 */
static struct bytes content_of(int type, size_t *ends)
{
    struct bytes content = {0};
    *ends = 0;
    for (size_t at = 0; at < sent.n;) {
        const uint8_t *record = sent.data + at;
        size_t n = (size_t)record[4] << 8 | record[5];
        assert_true(at + 8 + n + record[6] <= sent.n);
        assert_int_equal(record[0], 1);
        assert_int_equal(record[2] << 8 | record[3], ID);
        if (record[1] == type)
            put_bytes(&content, record + 8, n);
        *ends += record[1] == type && n == 0;
        at += 8 + n + record[6];
    }
    return content;
}

static void test_a_response_is_records_in_which_nothing_is_lost_or_moved(void **state)
{
    (void)state;
    static uint8_t large[24 * 65535]; /* with many pieces: more than one call sends */
    static const size_t sizes[] = {0, 1, 65535, 65536, 131070, sizeof(large)};
    uint32_t random = 1;
    struct request *request = take_head(ROLE_RESPONDER);
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)next_random(&random);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t count = 1; count <= RESPONSE_PIECES; count += 16) {
            struct iovec pieces[RESPONSE_PIECES];
            size_t part = sizes[i] / count, ends;
            for (size_t j = 0; j < count; j++)
                pieces[j] = (struct iovec){large + j * part,
                                           j + 1 < count ? part : sizes[i] - part * (count - 1)};
            clear_bytes(&sent);
            assert_int_equal(fastcgi_transport.send(request, pieces, count, true), 0);
            struct bytes got = content_of(RECORD_STDOUT, &ends);
            assert_int_equal(got.n, sizes[i]);
            assert_int_equal(ends, 1);
            if (got.n > 0)
                assert_memory_equal(got.data, large, got.n);
            clear_bytes(&got);
            struct bytes end = content_of(RECORD_END_REQUEST, &ends);
            assert_int_equal(end.n, 8);
            assert_int_equal(end.data[4], 0);
            clear_bytes(&end);
        }
    }
}

static void test_before_the_last_piece_there_is_no_end(void **state)
{
    (void)state;
    size_t ends;
    struct request *request = take_head(ROLE_RESPONDER);
    static char text[] = "abc";
    struct iovec pieces[] = {{text, 2}, {text, 0}, {text + 2, 1}};
    assert_int_equal(fastcgi_transport.send(request, pieces, COUNT(pieces), false), 0);
    struct bytes got = content_of(RECORD_STDOUT, &ends);
    assert_int_equal(ends, 0);
    assert_int_equal(sent.n, 8 + 3); /* one record */
    assert_memory_equal(got.data, "abc", 3);
    clear_bytes(&got);
}

static void test_errors_have_a_stream_of_their_own_which_ends_if_it_was_begun(void **state)
{
    (void)state;
    size_t ends;
    struct request *request = take_head(ROLE_RESPONDER);
    assert_int_equal(fastcgi_transport.send(request, NULL, 0, true), 0);
    struct bytes none = content_of(RECORD_STDERR, &ends);
    assert_int_equal(none.n + ends, 0);
    assert_int_equal(fastcgi_transport.send_error(request, "no\n", 3), 0);
    assert_int_equal(fastcgi_transport.send(request, NULL, 0, true), 0);
    struct bytes got = content_of(RECORD_STDERR, &ends);
    assert_int_equal(got.n, 3);
    assert_int_equal(ends, 1);
    clear_bytes(&got);
    clear_bytes(&none);
}

static void test_a_peer_that_has_gone_fails_the_send(void **state)
{
    (void)state;
    struct request *request = take_head(ROLE_RESPONDER);
    static uint8_t large[30 * 65535]; /* more records than one call sends */
    struct iovec piece = {large, sizeof(large)};
    is_peer_gone = true;
    assert_int_equal(fastcgi_transport.send(request, &piece, 1, false), -1);
    assert_int_equal(fastcgi_transport.send(request, NULL, 0, true), -1);
    assert_int_equal(fastcgi_transport.send_error(request, "no", 2), -1);
    assert_int_equal(errno, EPIPE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_head_is_a_request_as_soon_as_it_is_whole),
        TEST(test_a_peer_that_keeps_no_connection_says_so),
        TEST(test_the_other_roles_are_named_and_an_authorizer_has_no_body),
        TEST(test_padding_of_the_first_record_is_skipped),
        TEST(test_what_is_no_head_is_refused_with_a_reason),
        TEST(test_a_question_before_the_head_is_answered_and_taken_out),
        TEST(test_a_peer_that_takes_no_answer_is_not_waited_for),
        TEST(test_records_of_other_requests_in_a_head_are_taken_out_up_to_a_number),
        TEST(test_a_body_comes_in_records_of_any_size_with_padding),
        TEST(test_a_body_is_here_when_as_much_as_announced_is),
        TEST(test_a_body_is_cut_by_an_abort_by_rubbish_and_by_the_connection_s_end),
        TEST(test_a_filter_s_data_follow_its_body),
        TEST(test_a_question_in_a_body_is_answered_unless_a_response_is_being_sent),
        TEST(test_an_abort_is_found_wherever_it_lies_and_nothing_is_consumed),
        TEST(test_an_abort_behind_the_body_is_found_in_the_socket_too),
        TEST(test_a_body_goes_on_in_another_process_from_every_byte),
        TEST(test_what_is_skipped_of_the_largest_record_fits_into_one_at_the_next_process),
        TEST(test_a_response_is_records_in_which_nothing_is_lost_or_moved),
        TEST(test_before_the_last_piece_there_is_no_end),
        TEST(test_errors_have_a_stream_of_their_own_which_ends_if_it_was_begun),
        TEST(test_a_peer_that_has_gone_fails_the_send),
    };
    return cmocka_run_group_tests(tests, set_up_library, NULL);
}
