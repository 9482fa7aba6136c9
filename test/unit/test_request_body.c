/* Taking a body in before a thread is given to its request.
 *
 * links: request.c request_body.c spool.c descriptors.c arena.c reply.c response.c
 * fork.c log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/request.h"
#include "protocol/record.h"

/* A transport that has so much of a body, and then that state. */
static uint64_t there, taken;
static size_t piece_bytes;
static enum body_state ending;
static struct spool_store store;

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 7 + i / 256);
}

static enum body_state next_body(struct request *request, uint64_t deadline_ms,
                                 const uint8_t **content, size_t *n)
{
    static uint8_t piece[1 << 16];
    (void)request;
    (void)deadline_ms;
    if (taken == there) {
        errno = ECONNRESET;
        return ending;
    }
    *n = there - taken < piece_bytes ? (size_t)(there - taken) : piece_bytes;
    for (size_t i = 0; i < *n; i++)
        piece[i] = byte_at(taken + i);
    *content = piece;
    return BODY_CONTENT;
}

static void take_body(struct request *request, size_t n)
{
    (void)request;
    taken += n;
}

static const struct transport_ops transport = {
    .name = "fake", .next_body = next_body, .take_body = take_body};

static int set_up(void **state)
{
    struct request *request = request_new();
    *state = request;
    request->ops = &transport;
    request->io_timeout_ms = 60000;
    there = taken = 0;
    piece_bytes = 1000;
    ending = BODY_WAIT;
    store = (struct spool_store){.folder = "/tmp", .limit = 1 << 20};
    return 0;
}

static int tear_down(void **state)
{
    request_free(*state);
    spool_store_clear(&store);
    return atomic_load(&store.used) != 0; /* whatever happened, the space is given back */
}

static bool take_in(struct request *request)
{
    return request_take_in_body(request, &store, 4000);
}

static void assert_reads(struct request *request, uint64_t n)
{
    uint8_t buffer[700];
    uint64_t total = 0;
    for (long got; (got = request_read_body(request, buffer, sizeof(buffer))) != 0;) {
        assert_true(got > 0);
        for (long i = 0; i < got; i++)
            assert_int_equal(buffer[i], byte_at(total + (uint64_t)i));
        total += (uint64_t)got;
    }
    assert_int_equal(total, n);
    assert_int_equal(request->body_failure, BODY_FINE);
}

static void test_a_body_is_done_when_as_much_as_announced_has_come(void **state)
{
    static const uint64_t sizes[] = {1, 999, 1000, 3999, 4000, 4001, 50000};
    struct request *request = *state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        taken = 0;
        request->ops = &transport;
        request->content_length = (int64_t)sizes[i];
        for (there = 0; there < sizes[i]; there += (sizes[i] + 4) / 5) {
            assert_false(take_in(request));
            assert_int_equal(request->intake, INTAKE_BEGUN);
            assert_true(request->peer_deadline_ms > 0);
        }
        there = sizes[i] + 3; /* of which no more is taken */
        assert_true(take_in(request));
        assert_int_equal(request->intake, INTAKE_DONE);
        assert_int_equal(taken, sizes[i]);
        assert_reads(request, sizes[i]);
        request_reset(request);
    }
}

static void test_a_line_is_found_in_what_was_taken_in(void **state)
{
    struct request *request = *state;
    request->content_length = (int64_t)(there = 9000);
    assert_true(take_in(request));
    const uint8_t *content;
    for (uint64_t total = 0; total < 9000;) {
        long got = request_peek_body(request, &content);
        assert_true(got > 0);
        assert_int_equal(content[0], byte_at(total));
        assert_int_equal(content[got - 1], byte_at(total + (uint64_t)got - 1));
        request_skip_body(request, (size_t)got);
        total += (uint64_t)got;
    }
    assert_int_equal(request_peek_body(request, &content), 0);
}

static void test_a_body_without_a_length_has_one_once_its_end_has_come(void **state)
{
    struct request *request = *state;
    there = 5000;
    assert_false(take_in(request));
    ending = BODY_END;
    assert_true(take_in(request));
    assert_int_equal(request->content_length, 5000);
    assert_int_equal(request->body_failure, BODY_FINE);
    assert_reads(request, 5000);
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
}

static void test_no_body_at_all_gets_no_length(void **state)
{
    struct request *request = *state;
    ending = BODY_END;
    assert_true(take_in(request));
    assert_int_equal(request->content_length, -1);
    assert_int_equal(request->body_failure, BODY_FINE);
}

static void test_a_body_that_ends_too_early_was_cut(void **state)
{
    struct request *request = *state;
    for (ending = BODY_END; ending <= BODY_CUT; ending++) {
        request->ops = &transport;
        taken = 0;
        there = 5000;
        request->content_length = 5001;
        assert_true(take_in(request));
        assert_int_equal(request->body_failure, BODY_WAS_CUT);
        assert_true(request->must_close);
        assert_int_equal(atomic_load(&store.used), 0);
        request_reset(request);
    }
}

static void test_a_body_without_a_length_that_is_cut_is_not_whole(void **state)
{
    struct request *request = *state;
    there = 10;
    ending = BODY_CUT;
    assert_true(take_in(request));
    assert_int_equal(request->body_failure, BODY_WAS_CUT);
}

static void test_after_an_abort_the_next_request_can_follow(void **state)
{
    struct request *request = *state;
    there = 3000;
    ending = BODY_CUT;
    request->content_length = 5000;
    request->is_aborted = true;
    assert_true(take_in(request));
    assert_int_equal(request->body_failure, BODY_WAS_CUT);
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_false(request->must_close);
}

static void test_nor_does_an_abort_close_what_an_application_reads_or_leaves(void **state)
{
    struct request *request = *state;
    uint8_t buffer[4000];
    ending = BODY_CUT;
    request->is_aborted = true;
    there = 3000;
    assert_int_equal(request_read_body(request, buffer, sizeof(buffer)), -1);
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_false(request->must_close);
    request_reset(request);
    request->ops = &transport;
    request->is_aborted = true;
    request->role = ROLE_FILTER; /* whose file does not follow, either */
    taken = 0;
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
}

static void test_an_unlikely_body_that_does_not_begin_is_taken_to_be_empty(void **state)
{
    struct request *request = *state;
    request->doubt_end_ms = clock_ms() + 60000;
    assert_false(take_in(request));
    assert_int_equal(request_pause_end(request), request->doubt_end_ms);
    request->doubt_end_ms = 1; /* long ago */
    assert_true(take_in(request));
    assert_int_equal(request->content_length, -1);
    assert_int_equal(request->body_failure, BODY_FINE);
    there = 2000; /* it comes later, and can be read all the same */
    ending = BODY_END;
    assert_reads(request, 2000);
}

static void test_an_unlikely_body_that_has_begun_is_waited_for(void **state)
{
    struct request *request = *state;
    request->doubt_end_ms = 1;
    there = 10;
    assert_false(take_in(request));
    assert_int_equal(request_pause_end(request), 0);
    ending = BODY_END;
    assert_true(take_in(request));
    assert_int_equal(request->content_length, 10);
}

static void test_a_body_without_a_length_is_refused_beyond_the_limit(void **state)
{
    struct request *request = *state;
    request->body_limit = 4999;
    there = 5000;
    assert_true(take_in(request));
    assert_int_equal(request->body_failure, BODY_TOO_LARGE);
    assert_false(request->must_close); /* the rest is dropped */
}

static void test_where_the_files_have_no_room_it_is_refused(void **state)
{
    struct request *request = *state;
    store.limit = 2000;
    request->content_length = (int64_t)(there = 6001);
    assert_true(take_in(request));
    assert_int_equal(request->body_failure, BODY_HAS_NO_ROOM);
    assert_int_equal(request->body_errno, ENOSPC);
    assert_int_equal(atomic_load(&store.used), 0);
    assert_false(request->must_close);
}

static void test_what_comes_without_a_pause_stays_in_memory(void **state)
{
    struct request *request = *state;
    request->content_length = 60000;
    for (there = 10000; there < 60000; there += 10000) {
        assert_false(take_in(request));
        assert_false(spool_is_in_file(&request->body));
        assert_true(request_pause_end(request) > request->came_ms);
    }
    assert_true(take_in(request));
    assert_int_equal(request_pause_end(request), 0);
    assert_int_equal(atomic_load(&store.used), 0);
    assert_reads(request, 60000);
}

static void test_when_the_peer_pauses_it_goes_to_a_file(void **state)
{
    struct request *request = *state;
    request->content_length = 60000;
    there = 3999;
    assert_false(take_in(request));
    assert_int_equal(request_pause_end(request), 0);
    there = 10000;
    assert_false(take_in(request));
    request->came_ms = 1; /* as if it were long ago */
    assert_false(take_in(request));
    assert_true(spool_is_in_file(&request->body));
    assert_int_equal(request_pause_end(request), 0);
    assert_int_equal(atomic_load(&store.used), 6000);
    there = 60000;
    assert_true(take_in(request));
    assert_reads(request, 60000);
}

static void test_if_the_file_fails_then_it_is_refused(void **state)
{
    struct request *request = *state;
    request->content_length = 60000;
    there = 10000;
    assert_false(take_in(request));
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(dup2(fd, request->body.fd), request->body.fd);
    request->came_ms = 1;
    assert_true(take_in(request));
    assert_int_equal(request->body_failure, BODY_HAS_NO_ROOM);
    assert_int_equal(request->body_errno, EBADF);
    assert_int_equal(atomic_load(&store.used), 0);
    close(fd);
}

static void test_a_peer_below_the_least_rate_is_not_waited_for(void **state)
{
    struct request *request = *state;
    enum { MIN_RATE = 100, ENOUGH = MIN_RATE * REQUEST_RATE_MS / 1000 };
    for (int is_enough = 1; is_enough >= 0; is_enough--) {
        request->ops = &transport;
        request->min_rate = MIN_RATE;
        request->content_length = 1 << 20;
        taken = 0;
        there = 10;
        assert_false(take_in(request));
        assert_true(request->rate_end_ms > 0 && request->peer_deadline_ms <= request->rate_end_ms);
        request->rate_end_ms = 1; /* as if that time were over */
        there = 10 + ENOUGH - !is_enough;
        assert_int_equal(take_in(request), !is_enough);
        assert_int_equal(request->body_failure, is_enough ? BODY_FINE : BODY_WAS_CUT);
        if (!is_enough)
            assert_int_equal(request->body_errno, ETIMEDOUT);
        request_reset(request);
    }
}

/* Others wait meanwhile: what is left in the socket brings the thread back. */
static void test_a_peer_that_sends_without_a_pause_does_not_keep_the_thread(void **state)
{
    struct request *request = *state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    request->fd = ends[0];
    piece_bytes = 1 << 16;
    request->content_length = (int64_t)(there = 3 * REQUEST_TAKEN_PIECE_BYTES);
    assert_false(take_in(request));
    assert_int_equal(taken, REQUEST_TAKEN_PIECE_BYTES);
    assert_false(take_in(request));
    assert_int_equal(taken, 2 * REQUEST_TAKEN_PIECE_BYTES);
    assert_int_equal(read(ends[0], &(char){0}, 1), 1);
    assert_true(take_in(request));
    close(ends[0]);
    close(ends[1]);
}

static void test_what_was_not_read_is_dropped_with_the_rest(void **state)
{
    struct request *request = *state;
    request->content_length = 9000;
    there = 9010;
    assert_true(take_in(request));
    ending = BODY_END;
    assert_int_equal(request_drain_body(request), DRAIN_DONE);
    assert_int_equal(taken, 9010);
    assert_int_equal(atomic_load(&store.used), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_body_is_done_when_as_much_as_announced_has_come),
        TEST(test_a_line_is_found_in_what_was_taken_in),
        TEST(test_a_body_without_a_length_has_one_once_its_end_has_come),
        TEST(test_no_body_at_all_gets_no_length),
        TEST(test_a_body_that_ends_too_early_was_cut),
        TEST(test_a_body_without_a_length_that_is_cut_is_not_whole),
        TEST(test_after_an_abort_the_next_request_can_follow),
        TEST(test_nor_does_an_abort_close_what_an_application_reads_or_leaves),
        TEST(test_an_unlikely_body_that_does_not_begin_is_taken_to_be_empty),
        TEST(test_an_unlikely_body_that_has_begun_is_waited_for),
        TEST(test_a_body_without_a_length_is_refused_beyond_the_limit),
        TEST(test_where_the_files_have_no_room_it_is_refused),
        TEST(test_what_comes_without_a_pause_stays_in_memory),
        TEST(test_when_the_peer_pauses_it_goes_to_a_file),
        TEST(test_if_the_file_fails_then_it_is_refused),
        TEST(test_a_peer_below_the_least_rate_is_not_waited_for),
        TEST(test_a_peer_that_sends_without_a_pause_does_not_keep_the_thread),
        TEST(test_what_was_not_read_is_dropped_with_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
