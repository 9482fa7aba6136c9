/* A connection between its bytes and its requests. Its transports are the test's own: a head is a
 * line, which says how many bytes of body follow, as a digit at its end.
 *
 * links: connection.c hold.c input.c spool.c descriptors.c */
#include "unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection/connection.h"
#include "connection/sender.h"
#include "http/meta_variables.h"
#include "http/reply.h"

enum { BUFFER_BYTES = 256 };

static struct config config;
static struct gate_limits gate_limits;
static struct route_table routes;
static atomic_bool is_draining, is_handing_over;
static uint8_t buffer[BUFFER_BYTES];
static struct receiver receiver;
static struct connection *connection;
static bool was_broken_off;
static struct request request;
static int peer;
static size_t body_bytes; /* of the request */
static enum drain_state drain;
static bool is_head_refused, is_length_refused, is_streamed;
static uint64_t passed_bytes; /* what a taken over body had, as the transport was told */
static unsigned released, ends;

/* Fakes */

static enum head_state begin(struct receiver *by, struct connection *begun)
{
    (void)by;
    struct input *input = &begun->input;
    const uint8_t *bytes = input->data + input->begin,
                  *line_end = memchr(bytes, '\n', input_available(input));
    if (is_head_refused) {
        begun->refusal = "refused";
        return HEAD_REFUSED;
    }
    if (line_end == NULL)
        return HEAD_MORE;
    body_bytes = (size_t)(line_end[-1] - '0');
    memset(&request, 0, sizeof(request));
    request.role = ROLE_RESPONDER;
    request.ops = begun->ops;
    request.is_keep_wanted = true;
    request.response.is_ended = true;
    begun->request = &request;
    begun->head_bytes = (size_t)(line_end + 1 - bytes);
    input->begin += begun->head_bytes;
    return HEAD_WHOLE;
}

static bool is_body_here(struct request *asked)
{
    return input_available(asked->input) >= body_bytes;
}

static size_t put_place(const struct request *asked, uint8_t *out)
{
    (void)asked;
    memcpy(out, "|", 1);
    return 1;
}

static void pass_taken(struct request *asked, uint64_t bytes)
{
    (void)asked;
    passed_bytes = bytes;
}

static void release(struct request *asked)
{
    (void)asked;
    released++;
}

const struct transport_ops fastcgi_transport = {.name = "FastCGI",
                                                .begin = begin,
                                                .is_body_here = is_body_here,
                                                .put_place = put_place,
                                                .pass_taken = pass_taken,
                                                .release = release};
const struct transport_ops scgi_transport = {.name = "SCGI",
                                             .begin = begin,
                                             .is_body_here = is_body_here,
                                             .put_place = put_place,
                                             .pass_taken = pass_taken,
                                             .release = release};
const struct transport_ops http_transport = {.name = "HTTP",
                                             .begin = begin,
                                             .is_body_here = is_body_here,
                                             .put_place = put_place,
                                             .pass_taken = pass_taken,
                                             .release = release};

void receiver_give_request(struct receiver *to, struct request *given)
{
    (void)to;
    (void)given;
}

void meta_read_content_length(struct request *read, uint64_t limit)
{
    (void)limit;
    read->content_length = (int64_t)body_bytes;
}

int meta_drop_body(struct request *dropped, const struct path_routes *of)
{
    (void)dropped;
    (void)of;
    return 0;
}

bool meta_is_length_refused(const struct request *asked)
{
    (void)asked;
    return is_length_refused;
}

bool meta_is_streamed(struct request *asked, const struct path_routes *of)
{
    (void)asked;
    (void)of;
    return is_streamed;
}

/* Takes all but the last byte that came, which stands for part of a record. */
bool request_take_in_body(struct request *taken, struct spool_store *store, size_t memory_max)
{
    struct input *input = taken->input;
    size_t n = input_available(input), left = (size_t)taken->content_length - taken->taken_bytes;
    if (taken->intake == INTAKE_NONE)
        spool_begin(&taken->body, store, memory_max);
    taken->intake = INTAKE_BEGUN;
    if (n < left && n > 0)
        n--;
    assert_int_equal(spool_append(&taken->body, input->data + input->begin, n), 0);
    input->begin += n;
    taken->taken_bytes += n;
    if (input->is_at_eof && n < left)
        taken->body_failure = BODY_WAS_CUT;
    if (n == left || input->is_at_eof)
        taken->intake = INTAKE_DONE;
    return taken->intake == INTAKE_DONE;
}

bool meta_is_body_unlikely(const struct request *asked)
{
    (void)asked;
    return false;
}

bool sender_finish(struct request *finished)
{
    return spool_bytes(&finished->outbox.bytes) > 0;
}

void reply_break_off(struct request *broken)
{
    broken->must_close = true;
    was_broken_off = true;
}

int reply_send_end(struct request *ended)
{
    (void)ended;
    ends++;
    return 0;
}

enum drain_state request_drain_body(struct request *drained)
{
    if (drain == DRAIN_DONE)
        drained->input->begin += body_bytes;
    return drain;
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    int pair[2];
    memset(&config, 0, sizeof(config));
    config.protocol = PROTOCOL_AUTO;
    atomic_store(&is_draining, false);
    atomic_store(&is_handing_over, false);
    memset(buffer, 0xee, sizeof(buffer));
    receiver = (struct receiver){.config = &config,
                                 .gate_limits = &gate_limits,
                                 .routes = &routes,
                                 .buffer = buffer,
                                 .buffer_bytes = sizeof(buffer),
                                 .is_draining = &is_draining,
                                 .is_handing_over = &is_handing_over};
    drain = DRAIN_DONE;
    is_head_refused = is_length_refused = is_streamed = false;
    passed_bytes = 0;
    config.body_memory_bytes = 64;
    released = ends = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -1;
    peer = pair[0];
    connection = connection_new(pair[1]);
    return connection == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    connection_free(connection);
    spool_clear(&request.body);
    if (peer >= 0)
        close(peer);
    return 0;
}

static void send_text(const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), 0), (long)strlen(text));
}

static enum connection_step advance(void)
{
    return connection_advance(&receiver, connection);
}

static void assert_refused(const char *text, const char *reason)
{
    send_text(text);
    assert_int_equal(advance(), CONNECTION_CLOSE);
    assert_non_null(connection->refusal);
    assert_non_null(strstr(connection->refusal, reason));
}

static void test_the_first_byte_tells_the_protocol(void **state)
{
    (void)state;
    send_text("\001 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_ptr_equal(connection->ops, &fastcgi_transport);
}

static void test_a_digit_is_scgi(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_ptr_equal(connection->ops, &scgi_transport);
}

static void test_http_is_told_where_to_go(void **state)
{
    (void)state;
    assert_refused("GET / HTTP/1.1\r\n", "it sent HTTP");
}

static void test_tls_is_told_too(void **state)
{
    (void)state;
    assert_refused("\026\003\001", "it sent TLS");
}

static void test_with_one_protocol_alone_the_other_is_a_stranger(void **state)
{
    (void)state;
    config.protocol = PROTOCOL_SCGI;
    send_text("\001 a 0\n");
    /* Whatever it looks like, it goes to SCGI, which refuses it. */
    is_head_refused = true;
    assert_int_equal(advance(), CONNECTION_CLOSE);
    assert_ptr_equal(connection->ops, &scgi_transport);
}

static void test_half_a_head_leaves_the_threads_buffer_to_others(void **state)
{
    (void)state;
    send_text("1 hea");
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_true(connection_has_begun(connection));
    assert_true(connection->input.is_owned);
    memset(buffer, 0, sizeof(buffer)); /* by another connection */
    send_text("d 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(connection->head_bytes, strlen("1 head 0\n"));
}

static void test_a_head_byte_by_byte_is_the_same(void **state)
{
    (void)state;
    for (const char *byte = "1 head 2\nx"; *byte != '\0'; byte++) {
        send_text((char[]){*byte, '\0'});
        assert_int_equal(advance(), CONNECTION_WAIT);
    }
    send_text("y");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(request.taken_bytes, 2);
}

static void test_who_hangs_up_in_a_head_is_told_of_in_the_log(void **state)
{
    (void)state;
    send_text("1 hea");
    close(peer);
    peer = -1;
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_int_equal(advance(), CONNECTION_CLOSE);
    assert_non_null(strstr(connection->refusal, "hung up"));
}

static void test_who_hangs_up_between_requests_is_not(void **state)
{
    (void)state;
    close(peer);
    peer = -1;
    assert_int_equal(advance(), CONNECTION_CLOSE);
    assert_null(connection->refusal);
}

static void test_who_hangs_up_in_a_body_is_answered(void **state)
{
    (void)state;
    send_text("1 a 5\nxx");
    shutdown(peer, SHUT_WR);
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(request.body_failure, BODY_WAS_CUT);
}

static void test_a_body_that_is_whole_at_once_is_left_where_it_is(void **state)
{
    (void)state;
    send_text("1 a 5\nvwxyz");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(request.intake, INTAKE_NONE);
    assert_int_equal(input_available(&connection->input), 5);
}

static void test_what_an_application_reads_as_it_comes_is_ready_with_its_head(void **state)
{
    (void)state;
    is_streamed = true;
    config.min_rate_bytes = 1000; /* the thread that reads holds the peer to both */
    config.io_timeout_ms = 30000;
    send_text("1 a 5\nv");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(request.intake, INTAKE_NONE);
    assert_int_equal(request.min_rate, 1000);
    assert_int_equal(request.io_timeout_ms, 30000);
}

static void test_a_length_that_is_refused_is_refused_before_the_body_comes(void **state)
{
    (void)state;
    is_length_refused = true;
    send_text("1 a 5\n");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(request.intake, INTAKE_NONE);
}

/* 1,000 slow bodies hold no 1,000 buffers. */
static void test_a_body_that_is_waited_for_holds_no_more_than_what_came(void **state)
{
    (void)state;
    send_text("1 a 9\nabc");
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_int_equal(request.taken_bytes, 2);
    assert_true(connection->input.is_owned);
    assert_int_equal(connection->input.capacity, 1);
    memset(buffer, 0, sizeof(buffer));
    send_text("defghi");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_false(connection->input.is_owned);
    uint8_t body[9];
    assert_int_equal(spool_read(&request.body, body, 9), 9);
    assert_memory_equal(body, "abcdefghi", 9);
    spool_clear(&request.body);
}

/* Its head, what was taken in, where the stream is, and what has come since. */
static void test_a_body_that_is_half_taken_in_is_handed_over(void **state)
{
    (void)state;
    struct spool_store store = {.folder = "/tmp", .limit = 100};
    receiver.store = &store;
    for (unsigned in_memory = 0; in_memory < 64; in_memory += 63) {
        config.body_memory_bytes = in_memory;
        struct connection *next;
        struct handover_connection left;
        send_text("1 a 9\nabc");
        assert_int_equal(advance(), CONNECTION_WAIT);
        assert_int_equal(connection_describe(connection, &left), 0);
        assert_true(left.has_body);
        assert_int_equal(left.body.bytes, in_memory > 0 ? 2 : 0);
        assert_int_equal(left.input.bytes, strlen("1 a 9\n|c"));
        assert_memory_equal(left.input.data, "1 a 9\n|c", left.input.bytes);
        left.fd = dup(connection->fd);
        assert_int_equal(left.body_fd >= 0, in_memory == 0);
        if (left.body_fd >= 0)
            left.body_fd = dup(left.body_fd);
        next = connection_take_over(&left);
        free((void *)(uintptr_t)left.input.data);
        spool_clear(&request.body);
        /* Nobody has looked at it yet, and it is handed over once more. */
        assert_int_equal(connection_describe(next, &left), 0);
        assert_true(left.has_body && left.input.bytes == strlen("1 a 9\n|c"));
        free((void *)(uintptr_t)left.input.data);
        /* Instead of reading the "|" of its place, as a transport does: */
        memmove(next->input.data + 6, next->input.data + 7, 1);
        next->input.end--;
        send_text("defghi");
        assert_int_equal(connection_advance(&receiver, next), CONNECTION_WAIT);
        assert_int_equal(passed_bytes, 2);
        assert_int_equal(connection_advance(&receiver, next), CONNECTION_READY);
        uint8_t body[9];
        for (size_t got = 0; got < 9;)
            got += (size_t)spool_read(&request.body, body + got, 9 - got);
        assert_memory_equal(body, "abcdefghi", 9);
        spool_clear(&request.body);
        assert_int_equal(atomic_load(&store.used), 0);
        connection_free(next);
        connection->request = NULL;
        free(connection->head);
        connection->head = NULL;
        input_clear(&connection->input);
    }
    receiver.store = NULL;
}

static void test_after_a_response_the_connection_waits_for_the_next_request(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    atomic_store(&connection->deadline_ms, 7);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    assert_null(connection->request);
    assert_int_equal(connection->served, 1);
    assert_int_equal(atomic_load(&connection->deadline_ms), 0);
    assert_int_equal(released, 1);
    assert_false(connection_has_begun(connection));
    assert_false(connection->input.is_owned);
}

static void test_a_request_that_was_sent_ahead_is_ready_at_once(void **state)
{
    (void)state;
    send_text("1 a 2\nxy1 b 0\n1 c");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_READY);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    assert_int_equal(connection->served, 2);
    memset(buffer, 0, sizeof(buffer));
    assert_int_equal(input_available(&connection->input), 3);
    assert_memory_equal(connection->input.data + connection->input.begin, "1 c", 3);
}

static void test_while_handing_over_the_next_request_is_left_to_the_next_process(void **state)
{
    (void)state;
    send_text("1 a 0\n1 b 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    atomic_store(&is_handing_over, true);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    struct handover_connection left;
    assert_int_equal(connection_describe(connection, &left), 0);
    assert_int_equal(left.served, 1);
    assert_int_equal(left.input.bytes, 6);
    assert_memory_equal(left.input.data, "1 b 0\n", 6);
    free((void *)(uintptr_t)left.input.data);
}

static void test_while_draining_no_connection_is_kept(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    atomic_store(&is_draining, true);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_CLOSE);
}

static void test_while_draining_a_request_that_has_come_already_is_served(void **state)
{
    (void)state;
    send_text("1 a 0\n1 b 0\n"); /* received together */
    assert_int_equal(advance(), CONNECTION_READY);
    atomic_store(&is_draining, true);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_READY);
    send_text("1 c 0\n"); /* in the socket */
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_READY);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_CLOSE);
}

static void test_what_the_peer_or_the_response_does_not_keep_is_closed(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    request.is_keep_wanted = false;
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_CLOSE);
    assert_int_equal(ends, 1);
}

/* What is still to come, or has been sent of it, would be taken for the next response. */
static void test_after_a_response_that_was_cut_short_nothing_more_is_served(void **state)
{
    (void)state;
    send_text("1 a 0\n1 b 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    request.must_close = true;
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_CLOSE);
}

static void test_after_a_response_without_an_end_nothing_more_is_served(void **state)
{
    (void)state;
    send_text("1 a 0\n1 b 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    request.response.is_ended = false;
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_CLOSE);
}

/* The time that it took to read the response is not one in which it should have sent. */
static void test_the_time_for_the_rest_of_a_body_begins_when_the_response_has_left(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    drain = DRAIN_WAIT;
    request.peer_deadline_ms = request.rate_end_ms = 5;
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    assert_true(request.peer_deadline_ms == 0 && request.rate_end_ms == 0);
    request.peer_deadline_ms = request.rate_end_ms = 7; /* … and goes on with each piece */
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_true(request.peer_deadline_ms == 7 && request.rate_end_ms == 7);
}

static void test_a_connection_that_breaks_in_a_body_is_as_one_that_ends(void **state)
{
    static const struct linger reset = {.l_onoff = 1};
    int listener = socket(AF_INET, SOCK_STREAM, 0), broken = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    assert_int_equal(connect(broken, (struct sockaddr *)&address, bytes), 0);
    struct connection *over_tcp = connection_new(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    assert_int_equal(send(broken, "1 a 9\nabc", 9, 0), 9);
    assert_int_equal(connection_advance(&receiver, over_tcp), CONNECTION_WAIT);
    setsockopt(broken, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(broken);
    assert_int_equal(connection_advance(&receiver, over_tcp), CONNECTION_READY);
    assert_true(over_tcp->input.is_at_eof);
    connection_free(over_tcp);
    close(listener);
}

static void test_the_rest_of_a_body_is_waited_for_without_a_thread(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    drain = DRAIN_WAIT;
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    assert_true(connection->is_answered);
    assert_int_equal(released, 0);
    drain = DRAIN_DONE;
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_false(connection->is_answered);
    assert_int_equal(released, 1);
}

static void test_a_body_that_cannot_be_dropped_ends_the_connection(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    drain = DRAIN_FAILED;
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_CLOSE);
}

static void test_a_request_that_waits_is_handed_over_with_its_head_and_body(void **state)
{
    (void)state;
    send_text("1 a 3\nxyz");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(connection_keep_request(connection), CONNECTION_WAIT);
    memset(buffer, 0, sizeof(buffer));
    connection->park_end_ms = 9;
    connection->is_queued = true;
    assert_true(connection_can_move(connection));
    struct handover_connection left;
    assert_int_equal(connection_describe(connection, &left), 0);
    assert_int_equal(left.input.bytes, 9);
    assert_memory_equal(left.input.data, "1 a 3\nxyz", 9);
    left.fd = dup(connection->fd);
    struct connection *next = connection_take_over(&left);
    free((void *)(uintptr_t)left.input.data);
    assert_int_equal(next->park_end_ms, 9);
    assert_int_equal(connection_advance(&receiver, next), CONNECTION_READY);
    assert_int_equal(input_available(&next->input), 3);
    connection_free(next);
}

static void
test_a_response_that_waits_for_its_peer_keeps_what_came_of_the_next_request(void **state)
{
    (void)state;
    send_text("1 a 0\n1 b 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_int_equal(connection_leave_rest(connection), CONNECTION_REST_NONE);
    atomic_store(&request.outbox.is_used, true);
    spool_begin(&request.outbox.bytes, NULL, 10);
    assert_int_equal(spool_append(&request.outbox.bytes, "rest", 4), 0);
    assert_int_equal(connection_leave_rest(connection), CONNECTION_REST_WAITS);
    memset(buffer, 0, sizeof(buffer)); /* by another connection */
    atomic_store(&connection->hold.state, HOLD_FREE);
    atomic_store(&connection->is_lingering, true);
    assert_false(connection_can_move(connection));
    atomic_store(&connection->hold.state, HOLD_OWNED);
    connection->is_queued = true;
    assert_false(connection_can_move(connection));
    connection->is_queued = false;
    spool_clear(&request.outbox.bytes);
    assert_int_equal(advance(), CONNECTION_READY); /* the next one */
    assert_false(connection->is_sending);
    assert_int_equal(connection->served, 1);
}

static void test_a_response_that_did_not_leave_ends_the_connection(void **state)
{
    (void)state;
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    atomic_store(&request.outbox.is_used, true);
    request.outbox.error = EPIPE;
    was_broken_off = false;
    assert_int_equal(connection_leave_rest(connection), CONNECTION_REST_SENT);
    assert_int_equal(advance(), CONNECTION_CLOSE);
    assert_true(request.response.is_peer_gone && was_broken_off);
}

static void test_all_has_been_read_only_if_a_receive_had_room_for_more(void **state)
{
    (void)state;
    char whole[BUFFER_BYTES + 1];
    send_text("1 a 0\n");
    assert_int_equal(advance(), CONNECTION_READY);
    assert_true(connection->is_emptied);
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    memset(whole, 'x', sizeof(whole));
    whole[sizeof(whole) - 2] = '\n';
    whole[sizeof(whole) - 3] = '0';
    memcpy(whole, "1 ", 2);
    assert_int_equal(send(peer, whole, sizeof(whole), 0), (long)sizeof(whole));
    assert_int_equal(advance(), CONNECTION_READY);
    assert_false(connection->is_emptied); /* a byte is left */
    assert_int_equal(connection_finish_request(&receiver, connection), CONNECTION_WAIT);
    assert_int_equal(advance(), CONNECTION_WAIT);
    assert_true(connection->is_emptied);
}

static void test_only_what_nobody_serves_can_move(void **state)
{
    (void)state;
    assert_false(connection_can_move(connection)); /* a worker has it */
    atomic_store(&connection->hold.state, HOLD_FREE);
    assert_true(connection_can_move(connection));
    atomic_store(&connection->is_lingering, true); /* its response has left, its body not come */
    assert_false(connection_can_move(connection));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_byte_tells_the_protocol),
        TEST(test_a_digit_is_scgi),
        TEST(test_http_is_told_where_to_go),
        TEST(test_tls_is_told_too),
        TEST(test_with_one_protocol_alone_the_other_is_a_stranger),
        TEST(test_half_a_head_leaves_the_threads_buffer_to_others),
        TEST(test_a_head_byte_by_byte_is_the_same),
        TEST(test_who_hangs_up_in_a_head_is_told_of_in_the_log),
        TEST(test_who_hangs_up_between_requests_is_not),
        TEST(test_who_hangs_up_in_a_body_is_answered),
        TEST(test_a_body_that_is_whole_at_once_is_left_where_it_is),
        TEST(test_what_an_application_reads_as_it_comes_is_ready_with_its_head),
        TEST(test_a_length_that_is_refused_is_refused_before_the_body_comes),
        TEST(test_a_body_that_is_waited_for_holds_no_more_than_what_came),
        TEST(test_a_body_that_is_half_taken_in_is_handed_over),
        TEST(test_after_a_response_the_connection_waits_for_the_next_request),
        TEST(test_a_request_that_was_sent_ahead_is_ready_at_once),
        TEST(test_while_handing_over_the_next_request_is_left_to_the_next_process),
        TEST(test_while_draining_no_connection_is_kept),
        TEST(test_while_draining_a_request_that_has_come_already_is_served),
        TEST(test_what_the_peer_or_the_response_does_not_keep_is_closed),
        TEST(test_after_a_response_that_was_cut_short_nothing_more_is_served),
        TEST(test_after_a_response_without_an_end_nothing_more_is_served),
        TEST(test_the_time_for_the_rest_of_a_body_begins_when_the_response_has_left),
        TEST(test_a_connection_that_breaks_in_a_body_is_as_one_that_ends),
        TEST(test_the_rest_of_a_body_is_waited_for_without_a_thread),
        TEST(test_a_body_that_cannot_be_dropped_ends_the_connection),
        TEST(test_a_request_that_waits_is_handed_over_with_its_head_and_body),
        TEST(test_a_response_that_waits_for_its_peer_keeps_what_came_of_the_next_request),
        TEST(test_a_response_that_did_not_leave_ends_the_connection),
        TEST(test_all_has_been_read_only_if_a_receive_had_room_for_more),
        TEST(test_only_what_nobody_serves_can_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
