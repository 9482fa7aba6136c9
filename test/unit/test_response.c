/* links: reply.c response.c request.c request_body.c spool.c descriptors.c arena.c
 * log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c log_standard.c
 * log_syslog.c own_file.c
 */
#include "unit.h"

#include "base/fork.h"
#include "http/reply.h"
#include "http/request.h"

/* The module's only word to fork.c. */
static bool is_child;

bool fork_is_child(void)
{
    return is_child;
}

/* A transport that keeps what it is given to send. */
static struct {
    struct bytes sent;
    size_t calls, ends;
    size_t fail_at; /* that call fails, and those behind it; 0: none */

    size_t body_pieces; /* of the request, of a byte each, that nobody has read */
    size_t late_pieces; /* those of them that have not come yet */
    bool is_body_cut;   /* instead of an end */

    struct bytes errors; /* for the web server's log */
} fake;

static int fake_send(struct request *request, const struct iovec *pieces, size_t count,
                     bool is_last)
{
    (void)request;
    assert_in_range(count, 0, RESPONSE_PIECES);
    assert_int_equal(fake.ends, 0); /* nothing behind the end */
    fake.calls++;
    if (fake.fail_at > 0 && fake.calls >= fake.fail_at)
        return -1;
    for (size_t i = 0; i < count; i++) {
        assert_true(pieces[i].iov_len > 0);
        put_bytes(&fake.sent, pieces[i].iov_base, pieces[i].iov_len);
    }
    fake.ends += is_last;
    return 0;
}

static enum body_state fake_next_body(struct request *request, uint64_t deadline_ms,
                                      const uint8_t **content, size_t *content_bytes)
{
    (void)request;
    assert_int_equal(fake.ends, 0);
    assert_int_equal(deadline_ms, 0); /* a response's end waits for nobody */
    if (fake.body_pieces <= fake.late_pieces && fake.late_pieces > 0)
        return BODY_WAIT;
    if (fake.body_pieces == 0)
        return fake.is_body_cut ? BODY_CUT : BODY_END;
    *content = (const uint8_t *)"x";
    *content_bytes = 1;
    return BODY_CONTENT;
}

static void fake_take_body(struct request *request, size_t bytes)
{
    (void)request;
    assert_in_range(bytes, 1, fake.body_pieces);
    fake.body_pieces -= bytes;
}

static int fake_send_error(struct request *request, const char *text, size_t text_bytes)
{
    (void)request;
    assert_int_equal(fake.ends, 0);
    if (fake.fail_at > 0)
        return -1;
    put_bytes(&fake.errors, text, text_bytes);
    return 0;
}

static const struct transport_ops fake_transport = {.name = "fake",
                                                    .send = fake_send,
                                                    .send_error = fake_send_error,
                                                    .next_body = fake_next_body,
                                                    .take_body = fake_take_body};

static void start_again(struct request *request)
{
    request_reset(request);
    request->ops = &fake_transport;
    request->io_timeout_ms = 1000;
    clear_bytes(&fake.sent);
    clear_bytes(&fake.errors);
    memset(&fake, 0, sizeof(fake));
    is_child = false;
}

static int set_up(void **state)
{
    struct request *request = request_new();
    if (request == NULL)
        return -1;
    start_again(request);
    *state = request;
    return 0;
}

static int tear_down(void **state)
{
    request_free(*state);
    clear_bytes(&fake.sent);
    clear_bytes(&fake.errors);
    return 0;
}

/* Both are strings, as PyUnicode and the host's own pages give them: with a NUL behind. */
static const char *set_status(struct request *request, const char *status, size_t n)
{
    uint8_t *copy = exact_copy(status, n + 1);
    const char *reason = response_set_status(&request->response, (char *)copy, n);
    exact_free(copy);
    return reason;
}

static const char *add_header(struct request *request, const char *name, const char *value)
{
    uint8_t *name_copy = exact_copy(name, strlen(name) + 1);
    uint8_t *value_copy = exact_copy(value, strlen(value) + 1);
    const char *reason = response_add_header(&request->response, (char *)name_copy, strlen(name),
                                             (char *)value_copy, strlen(value));
    exact_free(name_copy);
    exact_free(value_copy);
    return reason;
}

/* A head of status 200, unless another is named, and no more than the header. */
static void start_head(struct request *request, const char *status, const char *length)
{
    assert_null(set_status(request, status, strlen(status)));
    if (length != NULL)
        assert_null(add_header(request, "Content-Length", length));
}

static int send_text(struct request *request, const char *text, bool is_last)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    return reply_send(request, &piece, 1, is_last);
}

static void assert_sent(const char *expected)
{
    put_bytes(&fake.sent, "", 1);
    fake.sent.n--;
    assert_string_equal((const char *)fake.sent.data, expected);
}

static void test_statuses(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *status;
        size_t n;
        int code; /* 0: refused */
    } rows[] = {
        {"200 OK", 6, 200},
        {"200 ", 4, 200},
        {"404 Not Found", 13, 404},
        {"599 caf\xe9", 8, 599},
        {"999 Beyond", 10, 999},
        {"", 0, 0},
        {"2", 1, 0},
        {"200", 3, 0},
        {"2000", 4, 0},
        {"2000 OK", 7, 0},
        {"20 OK", 5, 0},
        {"200OK", 5, 0},
        {"200\tOK", 6, 0},
        {" 200 OK", 7, 0},
        {"+20 OK", 6, 0},
        {"abc OK", 6, 0},
        {"OK 200", 6, 0},
        {"-200 OK", 7, 0},
        {"100 Continue", 12, 0},
        {"101 Switching Protocols", 23, 0},
        {"199 x", 5, 0},
        {"000 x", 5, 0},
        {"200 O\nK", 7, 0},
        {"200 OK\r\n", 8, 0},
        {"200 OK\r\nX: y", 12, 0},
        {"200 O\0K", 7, 0},
        {"200\0OK", 6, 0},
        {"200 O\tK", 7, 0},
        {"200 O\x7fK", 7, 0},
        {"200 O\x1bK", 7, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        start_again(request);
        const char *reason = set_status(request, rows[i].status, rows[i].n);
        if ((reason == NULL) != (rows[i].code != 0))
            fail_msg("\"%s\": %s", rows[i].status, reason != NULL ? reason : "passes");
        assert_int_equal(request->response.status, rows[i].code);
        if (reason != NULL)
            assert_int_equal(request->response.head_bytes, 0);
    }
}

static void test_a_status_starts_the_head_again(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "5");
    assert_null(add_header(request, "X-A", "b"));
    start_head(request, "500 Oops", "0");
    assert_int_equal(request->response.status, 500);
    assert_int_equal(request->response.content_length, 0);
    assert_null(memmem(request->response.head, request->response.head_bytes, "X-A", 3));
    assert_int_equal(send_text(request, "", true), 0);
    assert_sent("Status: 500 Oops\r\nContent-Length: 0\r\n\r\n");
}

static void test_location_comes_before_the_status(void **state)
{
    struct request *request = *state;
    start_head(request, "303 See Other", "0");
    assert_null(add_header(request, "LOCATION", "/x"));
    assert_null(add_header(request, "Locations", "y"));
    assert_int_equal(send_text(request, "", true), 0);
    assert_sent(
        "LOCATION: /x\r\nStatus: 303 See Other\r\nContent-Length: 0\r\nLocations: y\r\n\r\n");
}

static void test_a_status_that_is_refused_leaves_the_head(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "5");
    assert_non_null(set_status(request, "no", 2));
    assert_int_equal(request->response.status, 200);
    assert_int_equal(request->response.content_length, 5);
}

static void test_headers(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *name, *value;
        bool is_fine;
    } rows[] = {
        {"Content-Type", "text/html; charset=utf-8", true},
        {"X", "", true},
        {"X-Tab", "a\tb", true},
        {"X-Latin-1", "caf\xe9", true},
        {"!#$%&'*+-.^_`|~09azAZ", "any token", true},
        {"X-Status", "200", true},
        {"Te-Deum", "x", true},
        {"Set-Cookie", "a=b; Path=/", true},
        {"Location", "/x", true},
        {"Trailing", " spaces ", true},
        {"", "x", false},
        {"A B", "x", false},
        {"A ", "x", false},
        {" A", "x", false},
        {"A:", "x", false},
        {"A\t", "x", false},
        {"A\n", "x", false},
        {"A\r\nB", "x", false},
        {"caf\xe9", "x", false},
        {"(A)", "x", false},
        {"A/B", "x", false},
        {"A@B", "x", false},
        {"\"A\"", "x", false},
        {"A{", "x", false},
        {"X", "a\nb", false},
        {"X", "a\r\n b", false},
        {"X", "a\r\nSet-Cookie: x", false},
        {"X", "a\r", false},
        {"X", "\x01", false},
        {"X", "\x1f", false},
        {"X", "\x7f", false},
        {"X", "\x0b", false},
        {"Status", "200 OK", false},
        {"status", "404 Not Found", false},
        {"Connection", "close", false},
        {"KEEP-ALIVE", "1", false},
        {"Proxy-Authenticate", "x", false},
        {"proxy-authorization", "x", false},
        {"TE", "x", false},
        {"Trailer", "x", false},
        {"Trailers", "x", false},
        {"Transfer-Encoding", "chunked", false},
        {"Upgrade", "h2c", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        start_again(request);
        start_head(request, "200 OK", NULL);
        size_t head_bytes = request->response.head_bytes;
        const char *reason = add_header(request, rows[i].name, rows[i].value);
        if ((reason == NULL) != rows[i].is_fine)
            fail_msg("\"%s: %s\": %s", rows[i].name, rows[i].value,
                     reason != NULL ? reason : "passes");
        if (reason != NULL)
            assert_int_equal(request->response.head_bytes, head_bytes);
    }
}

static void test_nul_is_a_control_character(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    struct response *response = &request->response;
    assert_non_null(response_add_header(response, "X\0Y", 3, "v", 1));
    assert_non_null(response_add_header(response, "\0", 1, "v", 1));
    assert_non_null(response_add_header(response, "X", 1, "v\0w", 3));
    assert_non_null(response_add_header(response, "X", 1, "\0", 1));
}

static void test_content_lengths(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *value;
        int64_t length; /* -1: refused */
    } rows[] = {
        {"0", 0},
        {"1", 1},
        {"007", 7},
        {"20971520", 20971520},
        {"999999999999999999", 999999999999999999},
        {"1000000000000000000", -1},
        {"9223372036854775808", -1},
        {"", -1},
        {" ", -1},
        {" 1", -1},
        {"1 ", -1},
        {"-1", -1},
        {"+1", -1},
        {"1.0", -1},
        {"1e3", -1},
        {"0x10", -1},
        {"1, 1", -1},
        {"abc", -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        start_again(request);
        start_head(request, "200 OK", NULL);
        const char *reason = add_header(request, "cOnTeNt-LeNgTh", rows[i].value);
        if ((reason == NULL) != (rows[i].length >= 0))
            fail_msg("\"%s\": %s", rows[i].value, reason != NULL ? reason : "passes");
        assert_int_equal(request->response.content_length, rows[i].length);
    }
}

static void test_content_length_comes_once(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "5");
    assert_non_null(add_header(request, "Content-Length", "5"));
    assert_non_null(add_header(request, "content-length", "6"));
    assert_int_equal(request->response.content_length, 5);
}

static void test_a_head_grows_as_it_must(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    struct bytes expected = {0};
    put_text(&expected, "Status: 200 OK\r\n");
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "X-%d", i);
        assert_null(add_header(request, name, "a value of some length"));
        put_text(&expected, name);
        put_text(&expected, ": a value of some length\r\n");
    }
    char large[5001];
    memset(large, 'x', 5000);
    large[5000] = '\0';
    assert_null(add_header(request, "X-Large", large));
    assert_non_null(memmem(request->response.head, request->response.head_bytes, "X-1999: ", 8));
    put_text(&expected, "X-Large: ");
    put_text(&expected, large);
    put_text(&expected, "\r\n\r\n");
    assert_int_equal(send_text(request, "", true), 0);
    assert_bytes_equal(&fake.sent, &expected);
    clear_bytes(&expected);
}

static void test_the_head_goes_with_the_first_piece_of_the_body(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    assert_null(add_header(request, "Content-Type", "text/plain"));
    assert_int_equal(fake.calls, 0);
    assert_false(request->response.is_head_sent);
    assert_int_equal(send_text(request, "one", false), 0);
    assert_int_equal(fake.calls, 1);
    assert_true(request->response.is_head_sent);
    assert_sent("Status: 200 OK\r\nContent-Type: text/plain\r\n\r\none");
    assert_int_equal(send_text(request, "two", false), 0);
    assert_false(request->response.is_ended);
    assert_int_equal(reply_send(request, NULL, 0, true), 0);
    assert_true(request->response.is_ended);
    assert_sent("Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nonetwo");
    assert_int_equal(fake.ends, 1);
    assert_int_equal(request->response.body_bytes, 6);
    assert_false(request->must_close);
}

static void test_an_empty_body(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    assert_int_equal(reply_send(request, NULL, 0, true), 0);
    assert_sent("Status: 200 OK\r\n\r\n");
    assert_int_equal(fake.calls, 1);
    assert_int_equal(fake.ends, 1);
}

static void test_nothing_is_sent_for_nothing(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    assert_int_equal(send_text(request, "x", false), 0);
    assert_int_equal(send_text(request, "", false), 0);
    assert_int_equal(reply_send(request, NULL, 0, false), 0);
    assert_int_equal(fake.calls, 1);
}

static void test_many_pieces(void **state)
{
    struct request *request = *state;
    static const size_t counts[] = {1, 63, 64, 65, 66, 128, 129, 500};
    for (size_t i = 0; i < COUNT(counts); i++) {
        start_again(request);
        start_head(request, "200 OK", NULL);
        struct iovec pieces[500];
        struct bytes expected = {0};
        static char letters[500];
        put_text(&expected, "Status: 200 OK\r\n\r\n");
        for (size_t j = 0; j < counts[i]; j++) {
            letters[j] = (char)('a' + j % 26);
            pieces[j] = (struct iovec){.iov_base = letters + j, .iov_len = j % 10 != 0};
            put_bytes(&expected, letters + j, j % 10 != 0);
        }
        assert_int_equal(reply_send(request, pieces, counts[i], true), 0);
        assert_bytes_equal(&fake.sent, &expected);
        assert_int_equal(fake.ends, 1);
        clear_bytes(&expected);
    }
}

/* Content-Length declared, pieces of the body, and what comes of them. */
static void test_content_length_is_accounted_for(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *length, *pieces[3], *body;
        uint64_t body_bytes, excess_bytes;
        bool is_short;
    } rows[] = {
        {NULL, {"abc", "def", ""}, "abcdef", 6, 0, false},
        {"6", {"abc", "def", ""}, "abcdef", 6, 0, false},
        {"6", {"abc", "", "def"}, "abcdef", 6, 0, false},
        {"5", {"abc", "def", ""}, "abcde", 5, 1, false},
        {"3", {"abc", "def", "ghi"}, "abc", 3, 6, false},
        {"1", {"abc", "def", "ghi"}, "a", 1, 8, false},
        {"0", {"abc", "def", ""}, "", 0, 6, false},
        {"0", {"", "", ""}, "", 0, 0, false},
        {"7", {"abc", "def", ""}, "abcdef", 6, 0, true},
        {"1", {"", "", ""}, "", 0, 0, true},
        {"999999999999999999", {"abc", "", ""}, "abc", 3, 0, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int in_one_call = 0; in_one_call < 2; in_one_call++) {
            start_again(request);
            start_head(request, "200 OK", rows[i].length);
            struct iovec pieces[3];
            for (size_t j = 0; j < 3; j++)
                pieces[j] = (struct iovec){.iov_base = (void *)(uintptr_t)rows[i].pieces[j],
                                           .iov_len = strlen(rows[i].pieces[j])};
            if (in_one_call)
                assert_int_equal(reply_send(request, pieces, 3, true), 0);
            else
                for (size_t j = 0; j < 3; j++)
                    assert_int_equal(reply_send(request, pieces + j, 1, j == 2), 0);
            struct response *response = &request->response;
            assert_int_equal(response->body_bytes, rows[i].body_bytes);
            assert_int_equal(response->excess_bytes, rows[i].excess_bytes);
            assert_true(response->is_ended);
            assert_int_equal(request->must_close, rows[i].is_short);
            assert_int_equal(reply_is_short(request), rows[i].is_short);
            assert_int_equal(fake.ends, !rows[i].is_short); /* visibly broken off */
            put_bytes(&fake.sent, "", 1);
            assert_string_equal(strstr((char *)fake.sent.data, "\r\n\r\n") + 4, rows[i].body);
        }
    }
}

static void test_excess_on_both_sides_of_a_full_batch(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "100");
    struct iovec pieces[150];
    for (size_t i = 0; i < COUNT(pieces); i++)
        pieces[i] = (struct iovec){.iov_base = (void *)(uintptr_t) "x", .iov_len = 1};
    assert_int_equal(reply_send(request, pieces, COUNT(pieces), true), 0);
    assert_int_equal(request->response.body_bytes, 100);
    assert_int_equal(request->response.excess_bytes, 50);
    assert_int_equal(fake.ends, 1);
    assert_false(request->must_close);
}

static void test_responses_without_a_body(void **state)
{
    struct request *request = *state;
    static const struct {
        bool is_head;
        const char *status, *length, *head;
    } rows[] = {
        {true, "200 OK", "100", "Status: 200 OK\r\nContent-Length: 100\r\n\r\n"},
        {true, "200 OK", NULL, "Status: 200 OK\r\n\r\n"},
        {true, "404 No", "3", "Status: 404 No\r\nContent-Length: 3\r\n\r\n"},
        {false, "204 No Content", NULL, "Status: 204 No Content\r\n\r\n"},
        {false, "304 Not Modified", NULL, "Status: 304 Not Modified\r\n\r\n"},
        {false, "304 Not Modified", "100",
         "Status: 304 Not Modified\r\nContent-Length: 100\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int has_body = 0; has_body < 2; has_body++) {
            start_again(request);
            request->is_head = rows[i].is_head;
            start_head(request, rows[i].status, rows[i].length);
            if (has_body) {
                assert_int_equal(send_text(request, "a ", false), 0);
                assert_int_equal(send_text(request, "b", false), 0);
            }
            assert_int_equal(reply_send(request, NULL, 0, true), 0);
            assert_sent(rows[i].head);
            assert_int_equal(fake.ends, 1);
            assert_false(request->must_close);
        }
    }
}

static void test_statuses_that_have_a_body(void **state)
{
    struct request *request = *state;
    static const char *const statuses[] = {"200 OK", "205 Reset", "404 No", "303 See Other"};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        start_again(request);
        start_head(request, statuses[i], NULL);
        assert_int_equal(send_text(request, "body", true), 0);
        assert_memory_equal(fake.sent.data + fake.sent.n - 8, "\r\n\r\nbody", 8);
    }
}

static void test_the_end_goes_with_the_last_piece_if_the_body_is_there(void **state)
{
    struct request *request = *state;
    for (int is_body_cut = 0; is_body_cut < 2; is_body_cut++) {
        start_again(request);
        request->is_keep_wanted = true;
        start_head(request, "200 OK", "3");
        fake.body_pieces = 10;
        fake.is_body_cut = is_body_cut; /* then nothing more is to come either */
        assert_int_equal(send_text(request, "ab", false), 0);
        assert_int_equal(fake.body_pieces, 10); /* the application may still read it */
        assert_int_equal(send_text(request, "c", true), 0);
        assert_int_equal(fake.body_pieces, 0);
        assert_int_equal(fake.calls, 2);
        assert_int_equal(fake.ends, 1);
        assert_false(request->must_close);
        assert_int_equal(reply_send_end(request), 0);
        assert_int_equal(fake.ends, 1);
    }
}

static void test_on_a_kept_connection_a_short_answer_waits_for_the_body(void **state)
{
    struct request *request = *state;
    request->is_keep_wanted = true;
    start_head(request, "200 OK", "3");
    fake.body_pieces = 10;
    fake.late_pieces = 4;
    struct iovec pieces[] = {{.iov_base = (void *)(uintptr_t) "a", .iov_len = 1},
                             {.iov_base = (void *)(uintptr_t) "bc", .iov_len = 2}};
    assert_int_equal(reply_send(request, pieces, 2, true), 0);
    assert_int_equal(fake.calls, 0);
    assert_int_equal(fake.body_pieces, 4);
    assert_true(request->response.is_ended);
    assert_int_equal(reply_send_end(request), 0);
    assert_int_equal(fake.ends, 1);
    assert_int_equal(reply_send_end(request), 0);
    assert_int_equal(fake.calls, 1);
    assert_sent("Status: 200 OK\r\nContent-Length: 3\r\n\r\nabc");
}

/* Of a long answer, and of one whose head has left already, only the end. */
static void test_on_a_kept_connection_the_end_waits_for_the_body(void **state)
{
    struct request *request = *state;
    static char text[100000];
    memset(text, 'x', sizeof(text) - 1);
    for (int is_long = 0; is_long < 2; is_long++) {
        start_again(request);
        request->is_keep_wanted = true;
        start_head(request, "200 OK", NULL);
        fake.body_pieces = fake.late_pieces = 4;
        assert_int_equal(is_long ? 0 : send_text(request, "abc", false), 0);
        assert_int_equal(send_text(request, is_long ? text : "def", true), 0);
        size_t sent = fake.sent.n;
        assert_in_range(sent, is_long ? sizeof(text) : 20, sizeof(text) + 20);
        assert_int_equal(fake.ends, 0);
        assert_int_equal(reply_send_end(request), 0);
        assert_int_equal(fake.ends, 1);
        assert_int_equal(fake.sent.n, sent);
    }
}

static void test_on_a_connection_that_closes_the_end_does_not_wait(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "3");
    fake.body_pieces = fake.late_pieces = 4;
    assert_int_equal(send_text(request, "abc", true), 0);
    assert_int_equal(fake.calls, 1);
    assert_int_equal(fake.ends, 1);
    assert_int_equal(reply_send_end(request), 0);
    assert_int_equal(fake.ends, 1);
}

static void test_what_was_broken_off_gets_no_end_later(void **state)
{
    struct request *request = *state;
    request->is_keep_wanted = true;
    start_head(request, "200 OK", "4");
    fake.body_pieces = fake.late_pieces = 1;
    assert_int_equal(send_text(request, "abc", true), 0);
    assert_true(request->must_close);
    assert_int_equal(reply_send_end(request), 0);
    assert_int_equal(fake.calls, 1);
    assert_int_equal(fake.ends, 0);
}

static void test_a_peer_that_is_gone_gets_no_end(void **state)
{
    struct request *request = *state;
    for (size_t fail_at = 1; fail_at <= 2; fail_at++) {
        start_again(request);
        request->is_keep_wanted = true;
        start_head(request, "200 OK", NULL);
        fake.fail_at = fail_at;
        fake.body_pieces = fake.late_pieces = 1;
        assert_int_equal(send_text(request, "abc", false), fail_at == 1 ? -1 : 0);
        assert_int_equal(send_text(request, "", true), fail_at == 1 ? -1 : 0);
        assert_int_equal(reply_send_end(request), -1);
        assert_true(request->response.is_peer_gone);
        assert_true(request->must_close);
        assert_int_equal(fake.calls, fail_at); /* it is not tried again */
    }
}

static void test_a_peer_that_is_gone(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "6");
    fake.fail_at = 2;
    assert_int_equal(send_text(request, "abc", false), 0);
    assert_false(request->response.is_peer_gone);
    assert_int_equal(send_text(request, "def", false), -1);
    assert_true(request->response.is_peer_gone);
    assert_true(request->must_close);
    assert_int_equal(fake.calls, 2);
    assert_int_equal(send_text(request, "ghi", false), -1);
    assert_int_equal(reply_send(request, NULL, 0, true), -1);
    assert_int_equal(fake.calls, 2); /* it is not tried again */
    assert_true(request->response.is_ended);
}

static void test_a_peer_that_is_gone_in_the_middle_of_many_pieces(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    fake.fail_at = 2;
    struct iovec pieces[300];
    for (size_t i = 0; i < COUNT(pieces); i++)
        pieces[i] = (struct iovec){.iov_base = (void *)(uintptr_t) "x", .iov_len = 1};
    assert_int_equal(reply_send(request, pieces, COUNT(pieces), true), -1);
    assert_int_equal(fake.calls, 2);
}

static void test_a_forked_child_sends_nothing(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    is_child = true;
    assert_int_equal(send_text(request, "from the child", true), -1);
    assert_int_equal(reply_send_page(request, "500 Oops", "from the child"), -1);
    assert_int_equal(fake.calls, 0);
    assert_true(request->response.is_peer_gone);
}

static void test_errors_for_the_web_server_s_log(void **state)
{
    struct request *request = *state;
    reply_send_error(request, "before\n", 7);
    start_head(request, "200 OK", NULL);
    assert_int_equal(fake.errors.n, 0); /* nginx would take it for the head */
    assert_int_equal(send_text(request, "body", false), 0);
    assert_int_equal(fake.errors.n, 7);
    reply_send_error(request, "between\n", 8);
    assert_int_equal(reply_send(request, NULL, 0, true), 0);
    reply_send_error(request, "after\n", 6); /* the front may use the connection again */
    assert_int_equal(fake.errors.n, 15);
    assert_memory_equal(fake.errors.data, "before\nbetween\n", 15);
}

static void test_errors_for_the_web_server_s_log_are_escaped(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    assert_int_equal(send_text(request, "body", false), 0);
    reply_send_error(request, "a\x1b[2J\nb\n", 8);
    assert_int_equal(fake.errors.n, 13);
    assert_memory_equal(fake.errors.data, "a\\x1b[2J\n  b\n", 13);
}

static void test_errors_before_a_whole_response_come_between_its_head_and_its_end(void **state)
{
    struct request *request = *state;
    reply_send_error(request, "before", 6);
    reply_send_error(request, "many", 4);
    assert_int_equal(reply_send_page(request, "500 Oops", "a page"), 0);
    assert_int_equal(fake.errors.n, 12);
    assert_memory_equal(fake.errors.data, "before\nmany\n", 12);
    assert_int_equal(fake.ends, 1);
    assert_int_equal(fake.calls, 2);
}

static void test_errors_before_a_response_that_is_only_a_head(void **state)
{
    struct request *request = *state;
    reply_send_error(request, "before", 6);
    start_head(request, "204 No Content", NULL);
    assert_int_equal(reply_send(request, NULL, 0, false), 0);
    assert_memory_equal(fake.errors.data, "before\n", 7);
    assert_int_equal(fake.ends, 1);
}

static void test_an_error_that_can_t_be_sent(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    assert_int_equal(send_text(request, "body", false), 0);
    fake.fail_at = fake.calls + 1;
    reply_send_error(request, "x", 1);
    assert_true(request->response.is_peer_gone);
    assert_true(request->must_close);
    fake.fail_at = 0;
    reply_send_error(request, "y", 1);
    request->response.is_peer_gone = false;
    is_child = true;
    reply_send_error(request, "z", 1);
    assert_int_equal(fake.errors.n, 0);
}

static void test_a_page_of_the_host(void **state)
{
    struct request *request = *state;
    assert_int_equal(reply_send_page(request, "404 Not Found", "Nothing is here.\n"), 0);
    assert_sent("Status: 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 17\r\n\r\nNothing is here.\n");
    assert_int_equal(fake.ends, 1);
    assert_int_equal(request->response.status, 404);
}

static void test_a_page_of_the_host_replaces_a_head_that_was_not_sent(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "5");
    assert_null(add_header(request, "Set-Cookie", "a=b"));
    assert_int_equal(reply_send_page(request, "503 Service Unavailable", "Later.\n"), 0);
    assert_sent("Status: 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 7\r\nRetry-After: 1\r\n\r\nLater.\n");
}

/* Also without is_last: when nothing more can be sent, the peer need not wait for the application.
 */
static void test_a_whole_response_ends_by_itself(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *status, *length, *pieces[3];
        bool is_head;
        int ended_by; /* the piece that does it; 3: none */
        uint64_t excess_bytes;
    } rows[] = {
        {"200 OK", NULL, {"a", "b", "c"}, false, 3, 0},
        {"200 OK", "3", {"a", "b", "c"}, false, 2, 0},
        {"200 OK", "2", {"a", "b", "c"}, false, 1, 1},
        {"200 OK", "2", {"a", "bbb", "c"}, false, 1, 3},
        {"200 OK", "0", {"", "b", ""}, false, 0, 1},
        {"200 OK", NULL, {"", "b", "c"}, true, 0, 0},
        {"200 OK", "9", {"a", "b", "c"}, true, 0, 0},
        {"204 No Content", NULL, {"a", "b", "c"}, false, 0, 0},
        {"304 Not Modified", "9", {"", "", "c"}, false, 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        start_again(request);
        request->is_head = rows[i].is_head;
        assert_false(reply_is_whole(request));
        start_head(request, rows[i].status, rows[i].length);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(send_text(request, rows[i].pieces[j], false), 0);
            assert_int_equal(fake.ends, j >= rows[i].ended_by);
            assert_int_equal(request->response.is_ended, j >= rows[i].ended_by);
            assert_int_equal(reply_is_whole(request), j >= rows[i].ended_by);
        }
        size_t calls = fake.calls;
        assert_int_equal(reply_send(request, NULL, 0, true), 0);
        assert_int_equal(fake.calls, calls + (rows[i].ended_by == 3));
        assert_int_equal(fake.ends, 1);
        assert_int_equal(request->response.excess_bytes, rows[i].excess_bytes);
        assert_false(request->must_close);
    }
}

/* The rest of the request's body may still be read: the end waits until it has been dropped. */
static void test_the_end_of_a_whole_response_takes_no_byte_of_the_body(void **state)
{
    struct request *request = *state;
    for (size_t body_pieces = 0; body_pieces < 3; body_pieces++) {
        start_again(request);
        struct input input = {0};
        request->input = &input;
        request->is_keep_wanted = true;
        fake.body_pieces = body_pieces;
        start_head(request, "200 OK", "1");
        assert_int_equal(send_text(request, "a", false), 0);
        assert_true(request->response.is_ended);
        assert_int_equal(fake.body_pieces, body_pieces);
        assert_int_equal(request->response.is_end_withheld, body_pieces > 0);
        assert_int_equal(fake.ends, body_pieces == 0);
        assert_int_equal(request_drain_body(request), DRAIN_DONE);
        assert_int_equal(reply_send_end(request), 0);
        assert_int_equal(fake.ends, 1);
    }
}

static void test_what_another_thread_sends_is_not_cut_in_two(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", NULL);
    assert_int_equal(send_text(request, "body", false), 0);
    assert_true(response_enter(&request->response));
    assert_false(response_enter(&request->response));
    reply_send_error(request, "text", 4);
    assert_int_equal(fake.errors.n, 0);
    response_leave(&request->response);
    reply_send_error(request, "text", 4);
    assert_int_equal(fake.errors.n, 5);
    assert_true(response_enter(&request->response));
}

/* Of an aborted request only the end is due, however short the body is and if there is no head. */
static void test_an_aborted_request_gets_its_end(void **state)
{
    struct request *request = *state;
    start_head(request, "200 OK", "10");
    assert_int_equal(send_text(request, "a", false), 0);
    request->response.is_abandoned = true;
    assert_true(response_is_over(&request->response));
    assert_int_equal(reply_send(request, NULL, 0, true), 0);
    assert_int_equal(fake.ends, 1);
    assert_false(request->must_close);
    start_again(request);
    request->response.is_abandoned = true;
    assert_int_equal(reply_send(request, NULL, 0, true), 0);
    assert_int_equal(fake.ends, 1);
    assert_int_equal(fake.sent.n, 0);
}

static void test_clearing(void **state)
{
    (void)state;
    struct response response = {.content_length = -1};
    response_clear(&response);
    assert_null(response_set_status(&response, "200 OK", 6));
    response_clear(&response);
    assert_null(response.head);
    assert_int_equal(response.head_bytes, 0);
    assert_int_equal(response.content_length, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_statuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_status_starts_the_head_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_location_comes_before_the_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_status_that_is_refused_leaves_the_head, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nul_is_a_control_character, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_content_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_content_length_comes_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_head_grows_as_it_must, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_head_goes_with_the_first_piece_of_the_body, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_empty_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_sent_for_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_content_length_is_accounted_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_excess_on_both_sides_of_a_full_batch, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_responses_without_a_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_statuses_that_have_a_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_is_gone_in_the_middle_of_many_pieces,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_forked_child_sends_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_page_of_the_host, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_page_of_the_host_replaces_a_head_that_was_not_sent,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_goes_with_the_last_piece_if_the_body_is_there,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_on_a_kept_connection_a_short_answer_waits_for_the_body,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_on_a_kept_connection_the_end_waits_for_the_body,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_on_a_connection_that_closes_the_end_does_not_wait,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_broken_off_gets_no_end_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_is_gone_gets_no_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors_for_the_web_server_s_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors_for_the_web_server_s_log_are_escaped, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_errors_before_a_response_that_is_only_a_head, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_errors_before_a_whole_response_come_between_its_head_and_its_end, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_an_error_that_can_t_be_sent, set_up, tear_down),
        cmocka_unit_test(test_clearing),
        cmocka_unit_test_setup_teardown(test_a_whole_response_ends_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_of_a_whole_response_takes_no_byte_of_the_body,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_another_thread_sends_is_not_cut_in_two, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_aborted_request_gets_its_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
