/* links: request.c request_body.c spool.c descriptors.c arena.c reply.c response.c
 * fork.c log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c
 */
#include "unit.h"

#include <errno.h>

#include "http/request.h"

#include <sys/socket.h>
#include <unistd.h>

/* A transport whose body comes in pieces of some size, and ends in some way. */
static struct {
    uint64_t body_bytes; /* byte i of it is body_byte(i) */
    uint64_t taken_bytes;
    size_t piece_bytes;
    enum body_state ending; /* BODY_END, BODY_CUT, or BODY_WAIT: nothing more for now */
    int error;              /* with BODY_CUT */
    unsigned long calls;
    bool has_waited; /* it was called with a deadline */
} fake;

static uint8_t body_byte(uint64_t i)
{
    return (uint8_t)(i * 7 + i / 256);
}

static enum body_state fake_next_body(struct request *request, uint64_t deadline_ms,
                                      const uint8_t **content, size_t *content_bytes)
{
    static uint8_t piece[1 << 20];
    (void)request;
    fake.calls++;
    fake.has_waited = fake.has_waited || deadline_ms > 0;
    uint64_t left = fake.body_bytes - fake.taken_bytes;
    if (left == 0) {
        errno = fake.error;
        return fake.ending;
    }
    size_t n = left < fake.piece_bytes ? (size_t)left : fake.piece_bytes;
    for (size_t i = 0; i < n; i++)
        piece[i] = body_byte(fake.taken_bytes + i);
    *content = piece;
    *content_bytes = n;
    return BODY_CONTENT;
}

static void fake_take_body(struct request *request, size_t bytes)
{
    (void)request;
    assert_true(bytes <= fake.piece_bytes);
    fake.taken_bytes += bytes;
    assert_true(fake.taken_bytes <= fake.body_bytes);
}

static const struct transport_ops fake_transport = {
    .name = "fake", .next_body = fake_next_body, .take_body = fake_take_body};

static int set_up(void **state)
{
    memset(&fake, 0, sizeof(fake));
    *state = request_new();
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    request_free(*state);
    return 0;
}

static void give_body(struct request *request, uint64_t body_bytes, size_t piece_bytes,
                      enum body_state ending)
{
    fake.body_bytes = body_bytes;
    fake.piece_bytes = piece_bytes;
    fake.ending = ending;
    fake.error = ECONNRESET;
    request->ops = &fake_transport;
    request->io_timeout_ms = 1000;
}

static void add(struct request *request, const char *name, const char *value)
{
    assert_int_equal(request_add_param(request, name, strlen(name), value, strlen(value)), 0);
}

static void assert_value(const struct request *request, const char *name, const char *expected)
{
    const char *value = request_value(request, name);
    if (value == NULL)
        fail_msg("%s is not there", name);
    assert_string_equal(value, expected);
    assert_int_equal(request_find(request, name)->value_bytes, strlen(expected));
    assert_int_equal(request_find(request, name)->name_bytes, strlen(name));
}

static void test_a_new_request_is_empty(void **state)
{
    struct request *request = *state;
    assert_int_equal(request->param_count, 0);
    assert_null(request_find(request, "REQUEST_METHOD"));
    assert_null(request_value(request, ""));
    assert_int_equal(request->content_length, -1);
    assert_int_equal(request->fd, -1);
    assert_int_equal(request->response.content_length, -1);
    request_free(NULL);
}

static void test_parameters_are_found_by_their_whole_name(void **state)
{
    struct request *request = *state;
    add(request, "SCRIPT_NAME", "/app");
    add(request, "EMPTY", "");
    add(request, "", "without a name");
    assert_value(request, "SCRIPT_NAME", "/app");
    assert_value(request, "EMPTY", "");
    assert_value(request, "", "without a name");
    assert_null(request_find(request, "SCRIPT_NAM"));
    assert_null(request_find(request, "SCRIPT_NAMES"));
    assert_null(request_find(request, "script_name"));
}

static void test_its_name_for_messages_is_one_line_without_the_query(void **state)
{
    char text[REQUEST_TEXT_BYTES], cut[8];
    struct request *request = *state;
    request_describe(request, text, sizeof(text));
    assert_string_equal(text, "- -");
    add(request, "REQUEST_METHOD", "GE\nT");
    add(request, "REQUEST_URI", "/a\t\x1b\r?secret");
    request_describe(request, text, sizeof(text));
    assert_string_equal(text, "GE\\x0aT /a\\x09\\x1b\\x0d");
    request_describe(request, cut, sizeof(cut));
    assert_string_equal(cut, "GE\\x0aT");
}

static void test_names_need_no_end(void **state)
{
    struct request *request = *state;
    assert_int_equal(request_add_param(request, "ONE=1", 3, "1", 1), 0);
    assert_int_equal(request_add_param(request, "ONEMORE", 3, "2", 1), 0);
    assert_int_equal(request->param_count, 1);
    assert_string_equal(request_value(request, "ONE"), "2");
}

static void test_parameters_of_the_same_name_are_merged(void **state)
{
    static const struct {
        const char *name, *values[3], *merged;
    } rows[] = {
        {"HTTP_COOKIE", {"a=1", "b=2"}, "a=1; b=2"},
        {"HTTP_COOKIE", {"a=1", "b=2", "c"}, "a=1; b=2; c"},
        {"HTTP_COOKIE", {"", "b=2"}, "; b=2"},
        {"HTTP_COOKIE2", {"a", "b"}, "a, b"},
        {"HTTP_COOKI", {"a", "b"}, "a, b"},
        {"HTTP_ACCEPT", {"text/html", "*/*", "x"}, "text/html, */*, x"},
        {"HTTP_X_EMPTY", {"", "", ""}, ", , "},
        {"HTTP_X", {"a", "", "b"}, "a, , b"},
        {"HTTP_", {"a", "b"}, "a, b"},
        {"HTTP_HOST", {"a", "b"}, "b"},
        {"HTTP_HOST", {"a", "b", ""}, ""},
        {"HTTP_HOSTS", {"a", "b"}, "a, b"},
        {"HTTPS", {"on", "off"}, "off"},
        {"HTTP", {"a", "b"}, "b"},
        {"XHTTP_COOKIE", {"a", "b"}, "b"},
        {"SCRIPT_NAME", {"/app/x", "/app"}, "/app"},
        {"CONTENT_LENGTH", {"5", "6", "7"}, "7"},
    };
    struct request *request = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        request_reset(request);
        add(request, "FIRST", "1");
        for (size_t j = 0; j < COUNT(rows[i].values) && rows[i].values[j] != NULL; j++) {
            add(request, rows[i].name, rows[i].values[j]);
            add(request, "BETWEEN", "2");
        }
        assert_value(request, rows[i].name, rows[i].merged);
        assert_int_equal(request->param_count, 3);
    }
}

static void test_the_same_header_many_times(void **state)
{
    struct request *request = *state;
    enum { TIMES = 100000 };
    struct bytes expected = {0};
    for (int i = 0; i < TIMES; i++) {
        char *value = arena_alloc(&request->arena, 8);
        assert_non_null(value);
        snprintf(value, 8, "%d", i);
        add(request, "HTTP_X", value);
        put_text(&expected, i > 0 ? ", " : "");
        put_text(&expected, value);
    }
    put_bytes(&expected, "", 1);
    assert_int_equal(request->param_count, 1);
    assert_value(request, "HTTP_X", (const char *)expected.data);
    clear_bytes(&expected);
}

static void test_the_repetitions_of_one_header_do_not_touch_another(void **state)
{
    struct request *request = *state;
    for (int i = 0; i < 3; i++) {
        add(request, "HTTP_A", "a");
        add(request, "HTTP_COOKIE", "c");
        add(request, "HTTP_B", "");
    }
    assert_value(request, "HTTP_A", "a, a, a");
    assert_value(request, "HTTP_COOKIE", "c; c; c");
    assert_value(request, "HTTP_B", ", , ");
    assert_int_equal(request_set_param(request, "HTTP_A", "set"), 0);
    assert_value(request, "HTTP_A", "set");
}

static void test_a_value_that_is_merged_keeps_to_its_own_room(void **state)
{
    struct request *request = *state;
    static const char *const letters = "cccccccccccccccccccccccccccccccccccccccccccccccc";
    for (size_t i = 0; i < strlen(letters); i++) {
        request_reset(request);
        add(request, "HTTP_X", "aaa");
        add(request, "HTTP_X", "bb");
        char *behind = arena_alloc(&request->arena, 16);
        assert_non_null(behind);
        memset(behind, 'x', 16);
        add(request, "HTTP_X", letters + i);
        assert_memory_equal(behind, "xxxxxxxxxxxxxxxx", 16);
        char expected[80];
        snprintf(expected, sizeof(expected), "aaa, bb, %s", letters + i);
        assert_value(request, "HTTP_X", expected);
    }
}

static void test_thousands_of_parameters(void **state)
{
    struct request *request = *state;
    enum { MANY = 8192 };
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            char *name = arena_alloc(&request->arena, 32);
            assert_non_null(name);
            snprintf(name, 32, "HTTP_X_%d", i);
            add(request, name, name + 7);
        }
        assert_int_equal(request->param_count, MANY);
        for (int i = 0; i < MANY; i++) {
            char name[32];
            snprintf(name, sizeof(name), "HTTP_X_%d", i);
            assert_value(request, name, name + 7);
            assert_string_equal(request->params[i].name, name); /* in their order */
        }
        assert_null(request_find(request, "HTTP_X_8192"));
        request_reset(request);
        assert_null(request_find(request, "HTTP_X_1"));
        assert_int_equal(request->param_count, 0);
    }
}

static void test_the_number_of_parameters_has_a_limit(void **state)
{
    struct request *request = *state;
    static char names[9000][8];
    size_t added = 0;
    int result = 0;
    while (added < COUNT(names) && result == 0) {
        snprintf(names[added], sizeof(names[added]), "N%zu", added);
        result = request_add_param(request, names[added], strlen(names[added]), "", 0);
        added += result == 0;
    }
    assert_in_range(added, 8192, COUNT(names) - 1);
    assert_int_equal(errno, E2BIG);
    assert_int_equal(request->param_count, added);
    add(request, "N0", "still"); /* what is there can be merged */
    assert_value(request, "N0", "still");
    request_reset(request);
    add(request, "N0", "again");
}

static void test_setting_a_parameter_replaces_what_there_was(void **state)
{
    struct request *request = *state;
    assert_int_equal(request_set_param(request, "HTTP_X", "new"), 0);
    assert_value(request, "HTTP_X", "new");
    assert_int_equal(request_set_param(request, "HTTP_X", "newer"), 0);
    assert_value(request, "HTTP_X", "newer");
    assert_int_equal(request->param_count, 1);
}

static void test_a_dropped_parameter_is_not_found_until_it_is_set(void **state)
{
    struct request *request = *state;
    add(request, "HTTP_PROXY", "http://evil/");
    request->params[0].is_dropped = true;
    assert_null(request_find(request, "HTTP_PROXY"));
    assert_null(request_value(request, "HTTP_PROXY"));
    assert_int_equal(request_set_param(request, "HTTP_PROXY", "mine"), 0);
    assert_value(request, "HTTP_PROXY", "mine");
    assert_int_equal(request->param_count, 1);
}

static void test_reset_makes_a_request_new(void **state)
{
    struct request *request = *state;
    for (int round = 0; round < 50; round++) {
        give_body(request, 10, 3, BODY_CUT);
        fake.taken_bytes = 0;
        add(request, "HTTP_COOKIE", "a");
        add(request, "HTTP_COOKIE", "b");
        assert_value(request, "HTTP_COOKIE", "a; b");
        request->content_length = 20;
        request->body_limit = 100;
        request->is_keep_wanted = true;
        request->fd = 5;
        uint8_t body[20];
        assert_int_equal(request_read_body(request, body, sizeof(body)), -1);
        assert_null(response_set_status(&request->response, "404 No", 6));
        request_reset(request);
        assert_int_equal(request->param_count, 0);
        assert_null(request_find(request, "HTTP_COOKIE"));
        assert_int_equal(request->content_length, -1);
        assert_int_equal(request->body_limit, 0);
        assert_int_equal(request->body_bytes, 0);
        assert_int_equal(request->body_failure, BODY_FINE);
        assert_false(request->is_body_ended);
        assert_false(request->must_close);
        assert_false(request->is_keep_wanted);
        assert_int_equal(request->fd, -1);
        assert_int_equal(request->response.status, 0);
        assert_int_equal(request->response.head_bytes, 0);
        assert_int_equal(request->response.content_length, -1);
        assert_null(request->ops);
    }
}

/* Reads the whole body, n bytes at a time, and looks at each. The last result that was not n. */
static long read_all(struct request *request, size_t n, uint64_t *total)
{
    uint8_t *buffer = malloc(n);
    assert_non_null(buffer);
    *total = 0;
    long got;
    while ((got = request_read_body(request, buffer, n)) > 0) {
        for (long i = 0; i < got; i++)
            assert_int_equal(buffer[i], body_byte(*total + (uint64_t)i));
        *total += (uint64_t)got;
    }
    free(buffer);
    return got;
}

static void test_a_body_is_read_whole_whatever_its_pieces(void **state)
{
    struct request *request = *state;
    static const size_t sizes[] = {1, 2, 3, 7, 64, 999, 1000, 1001, 5000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t j = 0; j < COUNT(sizes); j++) {
            for (int is_known = 0; is_known < 2; is_known++) {
                request_reset(request);
                memset(&fake, 0, sizeof(fake));
                give_body(request, 1000, sizes[i], BODY_END);
                request->content_length = is_known ? 1000 : -1;
                uint64_t total;
                assert_int_equal(read_all(request, sizes[j], &total), 0);
                assert_int_equal(total, 1000);
                assert_int_equal(request->body_bytes, 1000);
                assert_int_equal(request->body_failure, BODY_FINE);
                assert_false(request->must_close);
                uint8_t byte;
                assert_int_equal(request_read_body(request, &byte, 1), 0); /* for ever */
            }
        }
    }
}

static void test_a_read_waits_for_all_that_it_was_asked_for(void **state)
{
    struct request *request = *state;
    give_body(request, 10, 3, BODY_END);
    uint8_t buffer[8];
    assert_int_equal(request_read_body(request, buffer, 8), 8);
    assert_int_equal(request_read_body(request, buffer, 8), 2);
    assert_int_equal(request_read_body(request, buffer, 8), 0);
}

static void test_reading_nothing_touches_nothing(void **state)
{
    struct request *request = *state;
    give_body(request, 10, 3, BODY_END);
    assert_int_equal(request_read_body(request, NULL, 0), 0);
    assert_int_equal(fake.calls, 0);
}

static void test_no_more_than_content_length_is_shown(void **state)
{
    struct request *request = *state;
    give_body(request, 1000, 64, BODY_END);
    request->content_length = 100;
    uint64_t total;
    assert_int_equal(read_all(request, 33, &total), 0);
    assert_int_equal(total, 100);
    assert_int_equal(fake.taken_bytes, 100);
    /* the rest of the stream goes with the request */
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(fake.taken_bytes, 1000);
}

static void test_a_body_of_length_0_is_not_waited_for(void **state)
{
    struct request *request = *state;
    give_body(request, 0, 1, BODY_WAIT);
    request->content_length = 0;
    uint8_t byte;
    assert_int_equal(request_read_body(request, &byte, 1), 0);
    assert_true(request_is_body_at_hand(request, 1));
    assert_int_equal(fake.calls, 0);
}

static void test_a_body_that_ends_before_content_length_was_cut(void **state)
{
    struct request *request = *state;
    give_body(request, 99, 10, BODY_END);
    request->content_length = 100;
    uint64_t total;
    assert_int_equal(read_all(request, 9, &total), -1);
    assert_int_equal(total, 99);
    assert_int_equal(request->body_failure, BODY_WAS_CUT);
    assert_int_equal(request->body_errno, ECONNABORTED);
    assert_false(request->must_close); /* the stream itself came to its end */
    uint8_t byte;
    assert_int_equal(request_read_body(request, &byte, 1), -1); /* for ever */
}

static void test_a_peer_that_hangs_up_cuts_the_body(void **state)
{
    struct request *request = *state;
    for (int is_known = 0; is_known < 2; is_known++) {
        request_reset(request);
        memset(&fake, 0, sizeof(fake));
        give_body(request, 50, 10, BODY_CUT);
        fake.error = ETIMEDOUT;
        request->content_length = is_known ? 100 : -1;
        uint64_t total;
        assert_int_equal(read_all(request, 25, &total), -1);
        assert_int_equal(total, 50);
        assert_int_equal(request->body_failure, BODY_WAS_CUT);
        assert_int_equal(request->body_errno, ETIMEDOUT);
        assert_true(request->must_close);
    }
}

/* How long the fake waits: as if the reader had waited for a whole period by now. */
static void test_a_reader_does_not_wait_for_a_trickle(void **state)
{
    struct request *request = *state;
    uint8_t bytes[1000];
    request->min_rate = 1000;
    give_body(request, 20000, 1000, BODY_END);
    request->io_timeout_ms = 1000000;
    request->content_length = 30000;
    for (int i = 0; i < 9; i++)
        assert_int_equal(request_read_body(request, bytes, 1000), 1000);
    request->read_waited_ms = REQUEST_RATE_MS;
    assert_int_equal(request_read_body(request, bytes, 1000), 1000); /* that is enough */
    assert_true(request->read_waited_ms < REQUEST_RATE_MS);          /* in the next period */
    for (int i = 0; i < 8; i++)
        assert_int_equal(request_read_body(request, bytes, 1000), 1000);
    request->read_waited_ms = REQUEST_RATE_MS;
    assert_int_equal(request_read_body(request, bytes, 1000), -1);
    assert_int_equal(request->body_failure, BODY_WAS_CUT);
    assert_int_equal(request->body_errno, ETIMEDOUT);
    assert_true(request->must_close);
}

static void test_a_trickle_that_is_whole_is_read(void **state)
{
    struct request *request = *state;
    uint8_t bytes[3];
    for (int is_known = 0; is_known < 2; is_known++) {
        request_reset(request);
        memset(&fake, 0, sizeof(fake));
        request->min_rate = 1000;
        give_body(request, is_known ? 3 : 0, 3, BODY_END);
        request->content_length = is_known ? 3 : -1;
        request->read_waited_ms = REQUEST_RATE_MS;
        assert_int_equal(request_read_body(request, bytes, 3), is_known ? 3 : 0);
    }
}

static void test_a_read_that_is_cut_short_is_no_short_read(void **state)
{
    struct request *request = *state;
    give_body(request, 5, 5, BODY_CUT);
    uint8_t buffer[10];
    assert_int_equal(request_read_body(request, buffer, sizeof(buffer)), -1);
}

static void test_a_body_beyond_the_limit(void **state)
{
    struct request *request = *state;
    static const struct {
        uint64_t body_bytes, limit;
        long result;
    } rows[] = {{100, 0, 0}, {100, 100, 0}, {100, 99, -1}, {100, 1, -1}, {100, UINT64_MAX, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        request_reset(request);
        memset(&fake, 0, sizeof(fake));
        give_body(request, rows[i].body_bytes, 7, BODY_END);
        request->body_limit = rows[i].limit;
        uint64_t total;
        assert_int_equal(read_all(request, 7, &total), rows[i].result);
        assert_true(rows[i].limit == 0 || total <= rows[i].limit);
        assert_int_equal(request->body_failure, rows[i].result < 0 ? BODY_TOO_LARGE : BODY_FINE);
        assert_int_equal(request->body_errno, rows[i].result < 0 ? EFBIG : 0);
        assert_int_equal(request_drain_body(request), DRAIN_DONE);
        assert_int_equal(fake.taken_bytes, rows[i].body_bytes);
    }
}

static void test_looking_at_the_body_does_not_use_it_up(void **state)
{
    struct request *request = *state;
    give_body(request, 10, 6, BODY_END);
    request->content_length = 10;
    const uint8_t *content;
    for (int i = 0; i < 3; i++)
        assert_int_equal(request_peek_body(request, &content), 6);
    request_skip_body(request, 2);
    assert_int_equal(request_peek_body(request, &content), 6);
    assert_int_equal(content[0], body_byte(2));
    request_skip_body(request, 6);
    assert_int_equal(request_peek_body(request, &content), 2);
    request_skip_body(request, 2);
    assert_int_equal(request_peek_body(request, &content), 0);
    assert_int_equal(request->body_bytes, 10);
}

static void test_what_is_at_hand_is_told_without_waiting(void **state)
{
    struct request *request = *state;
    static const struct {
        int64_t content_length;
        uint64_t here;
        enum body_state ending;
        size_t n;
        bool is_at_hand;
    } rows[] = {
        {100, 10, BODY_WAIT, 0, true},   {100, 10, BODY_WAIT, 10, true},
        {100, 10, BODY_WAIT, 11, false}, {100, 0, BODY_WAIT, 1, false},
        {10, 10, BODY_WAIT, 1000, true}, {-1, 10, BODY_WAIT, 10, true},
        {-1, 10, BODY_WAIT, 11, false},  {-1, 0, BODY_END, 1, true},
        {-1, 0, BODY_CUT, 1, true},      {100, 0, BODY_CUT, 1, true},
        {0, 0, BODY_WAIT, 1, true},      {-1, 0, BODY_WAIT, 1, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        request_reset(request);
        memset(&fake, 0, sizeof(fake));
        give_body(request, rows[i].here, 1 << 10, rows[i].ending);
        request->content_length = rows[i].content_length;
        if (request_is_body_at_hand(request, rows[i].n) != rows[i].is_at_hand)
            fail_msg("row %zu: expected %d", i, rows[i].is_at_hand);
        assert_false(fake.has_waited);
        assert_int_equal(fake.taken_bytes, 0);
    }
}

static void test_a_body_beyond_the_limit_is_at_hand(void **state)
{
    struct request *request = *state;
    give_body(request, 10, 10, BODY_WAIT);
    request->body_limit = 5;
    assert_true(request_is_body_at_hand(request, 100)); /* a read fails at once */
    uint8_t byte;
    assert_int_equal(request_read_body(request, &byte, 1), -1);
}

static void test_draining_reads_the_body_to_its_end(void **state)
{
    struct request *request = *state;
    static const uint64_t sizes[] = {0, 1, 100000, 5 * REQUEST_DRAIN_PIECE_BYTES};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (int read_first = 0; read_first < 2; read_first++) {
            request_reset(request);
            memset(&fake, 0, sizeof(fake));
            give_body(request, sizes[i], 65536, BODY_END);
            uint8_t buffer[10];
            if (read_first)
                request_read_body(request, buffer, sizeof(buffer));
            assert_int_equal(request_drain_body(request), DRAIN_DONE);
            assert_int_equal(fake.taken_bytes, sizes[i]);
        }
    }
}

static void test_draining_goes_on_for_as_long_as_the_peer_sends(void **state)
{
    struct request *request = *state;
    enum { PIECES = 300 };
    for (uint64_t i = 1; i <= PIECES; i++) {
        give_body(request, i << 20, 1 << 20, BODY_WAIT);
        request->peer_deadline_ms = 1; /* as if it had passed: what comes now sets another */
        assert_int_equal(request_drain_body(request), DRAIN_WAIT);
        assert_true(request->peer_deadline_ms > 1);
    }
    give_body(request, PIECES << 20, 1 << 20, BODY_END);
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(fake.taken_bytes, (uint64_t)PIECES << 20);
}

/* Others wait meanwhile: what is left in the socket brings the thread back. */
static void test_draining_pauses_where_the_peer_sends_without_a_pause(void **state)
{
    struct request *request = *state;
    enum { ALL_BYTES = 20 << 20 };
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    request->fd = ends[0];
    give_body(request, ALL_BYTES, 1 << 16, BODY_END);
    for (uint64_t taken = REQUEST_DRAIN_PIECE_BYTES; taken <= ALL_BYTES;
         taken += REQUEST_DRAIN_PIECE_BYTES) {
        assert_int_equal(request_drain_body(request), DRAIN_WAIT);
        assert_int_equal(fake.taken_bytes, taken);
    }
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    close(ends[0]);
    close(ends[1]);
}

static void test_draining_gives_up_on_a_trickle(void **state)
{
    struct request *request = *state;
    enum { MIN_RATE = 100, ENOUGH_BYTES = MIN_RATE * REQUEST_RATE_MS / 1000 };
    for (int is_enough = 1; is_enough >= 0; is_enough--) {
        request->min_rate = MIN_RATE;
        give_body(request, 10, 1, BODY_WAIT);
        fake.taken_bytes = 0;
        assert_int_equal(request_drain_body(request), DRAIN_WAIT);
        assert_true(request->rate_end_ms > 0);
        request->rate_end_ms = 1; /* as if that time were over */
        give_body(request, 10 + ENOUGH_BYTES - !is_enough, 1, BODY_WAIT);
        assert_int_equal(request_drain_body(request), is_enough ? DRAIN_WAIT : DRAIN_FAILED);
        request_reset(request);
        request->ops = &fake_transport;
        request->io_timeout_ms = 1000;
    }
}

/* The poller looks at the deadline when nothing has come for a moment, which may be any. */
static void test_who_has_sent_enough_may_pause_at_the_end_of_the_period(void **state)
{
    struct request *request = *state;
    enum { MIN_RATE = 100, ENOUGH_BYTES = MIN_RATE * REQUEST_RATE_MS / 1000 };
    request->min_rate = MIN_RATE;
    give_body(request, 10, 1, BODY_WAIT);
    request->io_timeout_ms = 1000000;
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_int_equal(request->peer_deadline_ms, request->rate_end_ms);
    fake.body_bytes = 10 + ENOUGH_BYTES - 1;
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_int_equal(request->peer_deadline_ms, request->rate_end_ms);
    fake.body_bytes = 10 + ENOUGH_BYTES;
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_int_equal(request->peer_deadline_ms, request->rate_end_ms + REQUEST_RATE_MS);
}

/* Of a front that has the head and sends no more of the body, but waits for the end. */
static void test_draining_waits_less_for_a_response_whose_end_is_withheld(void **state)
{
    struct request *request = *state;
    give_body(request, 10, 1, BODY_WAIT);
    request->io_timeout_ms = 1000000;
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    uint64_t deadline_ms = request->peer_deadline_ms;
    request->response.is_end_withheld = true;
    request->peer_deadline_ms = 0;
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_in_range(request->peer_deadline_ms, 1, deadline_ms - 900000);
}

static void test_draining_drops_what_is_there_and_does_not_wait(void **state)
{
    struct request *request = *state;
    give_body(request, 100, 30, BODY_WAIT);
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_int_equal(fake.taken_bytes, 100);
    fake.body_bytes += 50; /* more has come, and the end */
    fake.ending = BODY_END;
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(fake.taken_bytes, 150);
    assert_false(fake.has_waited);
    unsigned long calls = fake.calls;
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(fake.calls, calls); /* an end that was seen is not asked for again */
}

static void test_draining_has_one_deadline_while_nothing_comes(void **state)
{
    struct request *request = *state;
    give_body(request, 10, 1, BODY_WAIT);
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_true(request->peer_deadline_ms > 0);
    request->peer_deadline_ms += 1000000; /* a new one would be another */
    uint64_t deadline_ms = request->peer_deadline_ms;
    assert_int_equal(request_drain_body(request), DRAIN_WAIT);
    assert_int_equal(request->peer_deadline_ms, deadline_ms);
    request->peer_deadline_ms = 1; /* as if it had passed long ago */
    assert_int_equal(request_drain_body(request), DRAIN_FAILED);
    fake.ending = BODY_END;
    assert_int_equal(request_drain_body(request), DRAIN_FAILED);
}

static void test_an_end_that_is_there_at_the_deadline_counts(void **state)
{
    struct request *request = *state;
    give_body(request, 100, 10, BODY_END);
    request->peer_deadline_ms = 1;
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(fake.taken_bytes, 100);
}

static void test_a_body_that_was_read_to_its_end_needs_no_draining(void **state)
{
    struct request *request = *state;
    give_body(request, 100, 30, BODY_END);
    uint64_t total;
    assert_int_equal(read_all(request, 100, &total), 0);
    unsigned long calls = fake.calls;
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(fake.calls, calls);
}

static void test_draining_what_was_cut_fails(void **state)
{
    struct request *request = *state;
    give_body(request, 100, 10, BODY_CUT);
    assert_int_equal(request_drain_body(request), DRAIN_FAILED);
}

static void test_draining_after_a_read_that_was_cut(void **state)
{
    struct request *request = *state;
    give_body(request, 100, 10, BODY_CUT);
    uint64_t total;
    assert_int_equal(read_all(request, 10, &total), -1);
    unsigned long calls = fake.calls;
    assert_int_equal(request_drain_body(request), DRAIN_FAILED);
    assert_true(request->must_close);
    assert_int_equal(fake.calls, calls); /* the peer is not waited for again */
}

enum { HOSTILE_NAMES = 1612 };

static char hostile_names[HOSTILE_NAMES][24];

/* Names of headers that all fall into one bucket, for who knows the keys. */
static void find_hostile_names(void)
{
    unsigned number = 0;
    for (size_t i = 0; i < HOSTILE_NAMES; number++) {
        int n = snprintf(hostile_names[i], sizeof(hostile_names[i]), "HTTP_X_%u", number);
        if (request_hash(hostile_names[i], (size_t)n) % REQUEST_BUCKETS == 0)
            i++;
    }
}

/* How many parameters are looked at to find each of them once. */
static unsigned long count_steps(const struct request *request)
{
    unsigned long steps = 0;
    for (size_t i = 0; i < REQUEST_BUCKETS; i++) {
        unsigned long length = 0;
        for (uint32_t j = request->buckets[i]; j != 0; j = request->params[j - 1].next)
            length++;
        steps += length * (length + 1) / 2;
    }
    return steps;
}

static unsigned long add_hostile_names(struct request *request)
{
    request_reset(request);
    for (size_t i = 0; i < HOSTILE_NAMES; i++)
        assert_int_equal(
            request_add_param(request, hostile_names[i], strlen(hostile_names[i]), "x", 1), 0);
    assert_int_equal(request->param_count, HOSTILE_NAMES);
    return count_steps(request);
}

static void test_names_chosen_for_one_bucket_are_spread_once_the_hash_has_random_keys(void **state)
{
    struct request *request = *state;
    uint64_t keys[REQUEST_HASH_KEYS];
    memcpy(keys, request_hash_keys, sizeof(keys));
    find_hostile_names();
    assert_int_equal(add_hostile_names(request), HOSTILE_NAMES * (HOSTILE_NAMES + 1) / 2);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(request_seed_hash(), 0);
        assert_memory_not_equal(keys, request_hash_keys, sizeof(keys));
        /* Chance makes it 5.9 for each name; at all 20 times it is less than 7 but for once in
         * ages. */
        assert_true(add_hostile_names(request) < 7 * HOSTILE_NAMES);
    }
    memcpy(request_hash_keys, keys, sizeof(keys));
}

/* Whatever is different in a name, its hash is, at one place or another of the longest ones too. */
static void test_every_byte_of_a_name_is_in_its_hash(void **state)
{
    (void)state;
    char name[300];
    for (size_t n = 1; n <= sizeof(name); n++) {
        memset(name, 'A', n);
        uint32_t hash = request_hash(name, n);
        assert_int_not_equal(hash, request_hash(name, n - 1));
        for (size_t i = 0; i < n; i++) {
            name[i] = 'B';
            assert_int_not_equal(hash, request_hash(name, n));
            name[i] = 'A';
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_request_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parameters_are_found_by_their_whole_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_names_chosen_for_one_bucket_are_spread_once_the_hash_has_random_keys, set_up,
            tear_down),
        cmocka_unit_test(test_every_byte_of_a_name_is_in_its_hash),
        cmocka_unit_test_setup_teardown(test_its_name_for_messages_is_one_line_without_the_query,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_need_no_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parameters_of_the_same_name_are_merged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_same_header_many_times, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_repetitions_of_one_header_do_not_touch_another,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_value_that_is_merged_keeps_to_its_own_room, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_thousands_of_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_number_of_parameters_has_a_limit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_setting_a_parameter_replaces_what_there_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_dropped_parameter_is_not_found_until_it_is_set,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reset_makes_a_request_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_is_read_whole_whatever_its_pieces, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_read_waits_for_all_that_it_was_asked_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reading_nothing_touches_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_more_than_content_length_is_shown, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_of_length_0_is_not_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_that_ends_before_content_length_was_cut, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_peer_that_hangs_up_cuts_the_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reader_does_not_wait_for_a_trickle, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_trickle_that_is_whole_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_read_that_is_cut_short_is_no_short_read, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_beyond_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_looking_at_the_body_does_not_use_it_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_at_hand_is_told_without_waiting, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_beyond_the_limit_is_at_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining_reads_the_body_to_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining_goes_on_for_as_long_as_the_peer_sends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_draining_pauses_where_the_peer_sends_without_a_pause,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining_gives_up_on_a_trickle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_has_sent_enough_may_pause_at_the_end_of_the_period,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_draining_waits_less_for_a_response_whose_end_is_withheld, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining_drops_what_is_there_and_does_not_wait, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_that_is_there_at_the_deadline_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_draining_has_one_deadline_while_nothing_comes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_that_was_read_to_its_end_needs_no_draining,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining_what_was_cut_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining_after_a_read_that_was_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
