/* What one request may log; the log itself only counts and keeps what is said of it.
 *
 * links: request_log.c */
#include "unit.h"

#include "base/log.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_id.h"
#include "http/request_log.h"

static struct request *request;
static char told[512];
static unsigned tellings, dropped;
static bool was_gathered;

/* Fakes */

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(told, sizeof(told), format, arguments);
    va_end(arguments);
    assert_int_equal(level, LOG_LEVEL_WARNING);
    assert_string_equal(topic->request_id, "4711");
    was_gathered = topic->is_gathered;
    tellings++;
}

void log_access(const char *id, const struct log_access *access)
{
    (void)id, (void)access;
}

void log_count_dropped(void)
{
    dropped++;
}

const char *request_id(struct request *identified)
{
    (void)identified;
    return "4711";
}

void request_describe(const struct request *described, char *text, size_t text_bytes)
{
    (void)described;
    snprintf(text, text_bytes, "GET /path");
}

bool reply_is_bodyless(const struct request *replied)
{
    (void)replied;
    return false;
}

const struct param *request_find_hashed(const struct request *found, const char *name, size_t n,
                                        uint32_t hash)
{
    (void)found, (void)name, (void)n, (void)hash;
    return NULL;
}

uint64_t request_hash_keys[REQUEST_HASH_KEYS];

void *arena_alloc(struct arena *arena, size_t n)
{
    (void)arena, (void)n;
    return NULL;
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    request = calloc(1, sizeof(*request));
    told[0] = '\0';
    tellings = dropped = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(request);
    return 0;
}

static void test_up_to_the_limit_all_is_written_and_nothing_said(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 15; i++) {
        size_t n = 1 << 20;
        assert_true(request_log_admit(request, &n));
        assert_int_equal(n, 1 << 20);
    }
    request_log_end(request);
    assert_int_equal(tellings + dropped, 0);
}

static void test_the_message_that_passes_it_is_cut_there_and_told_of_once(void **state)
{
    (void)state;
    size_t n = REQUEST_LOG_BYTES + 5000;
    assert_true(request_log_admit(request, &n));
    assert_int_equal(n, REQUEST_LOG_BYTES);
    assert_int_equal(tellings, 1);
    for (n = 1; n < 1000; n++) {
        size_t more = n;
        assert_false(request_log_admit(request, &more));
    }
    assert_int_equal(tellings, 1);
    assert_int_equal(dropped, 1000);
}

static void test_its_end_counts_what_was_dropped(void **state)
{
    (void)state;
    size_t n = REQUEST_LOG_BYTES, more = 1000;
    request_log_admit(request, &n);
    request_log_admit(request, &more);
    request_log_end(request);
    assert_int_equal(tellings, 2);
    assert_string_equal(told, "GET /path: 1274 bytes that it logged beyond 16 MiB were dropped");
    request_log_end(request);
    assert_int_equal(tellings, 2);
}

/* Else 16 million empty ones would be 2 GB. */
static void test_empty_messages_count_by_their_names_and_times(void **state)
{
    (void)state;
    unsigned written = 0;
    size_t n = 0;
    while (request_log_admit(request, &n))
        written++;
    assert_true(written <= REQUEST_LOG_BYTES / REQUEST_LOG_LINE_BYTES);
    assert_true(written > REQUEST_LOG_BYTES / (2 * REQUEST_LOG_LINE_BYTES));
}

static size_t count_output(const char *text, size_t n)
{
    bool is_first;
    size_t kept = request_log_count_output(request, text, n, &is_first);
    if (kept < n)
        request_log_tell_full(request, is_first);
    return kept;
}

static void test_what_it_prints_has_the_same_bound(void **state)
{
    (void)state;
    static char page[1 << 20];
    size_t size = REQUEST_LOG_BYTES;
    memset(page, 'x', sizeof(page));
    assert_int_equal(count_output("", 0), 0);
    for (unsigned i = 0; i < 15; i++)
        assert_int_equal(count_output(page, sizeof(page)), sizeof(page));
    assert_int_equal(tellings + dropped, 0);
    assert_int_equal(count_output(page, sizeof(page)),
                     sizeof(page) - (size_t)16 * REQUEST_LOG_LINE_BYTES);
    assert_string_equal(told, "GET /path: it has logged 16 MiB, as much as a request may: what "
                              "follows is dropped");
    assert_int_equal(count_output(page, 1), 0);
    assert_false(request_log_admit(request, &size));
    assert_int_equal(tellings, 1);
    assert_int_equal(dropped, 3);
}

/* Each of them becomes a message of the log. */
static void test_lines_that_are_printed_count_by_their_number(void **state)
{
    (void)state;
    static char lines[1 << 20];
    memset(lines, '\n', sizeof(lines));
    assert_int_equal(count_output(lines, sizeof(lines)),
                     REQUEST_LOG_BYTES / (REQUEST_LOG_LINE_BYTES + 1));
    atomic_store(&request->logged_bytes, REQUEST_LOG_BYTES - 2 * REQUEST_LOG_LINE_BYTES - 2 - 6);
    assert_int_equal(count_output("1\n23456789\nx", 12), 2 + 6);
}

static void test_only_what_peers_cause_at_will_is_gathered(void **state)
{
    (void)state;
    request_log(request, "response-error", "500");
    assert_false(was_gathered);
    request_log_refusal(request, "request-body-cut", "400");
    assert_true(was_gathered);
    assert_string_equal(told, "GET /path: 400");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_up_to_the_limit_all_is_written_and_nothing_said),
        TEST(test_the_message_that_passes_it_is_cut_there_and_told_of_once),
        TEST(test_its_end_counts_what_was_dropped),
        TEST(test_empty_messages_count_by_their_names_and_times),
        TEST(test_what_it_prints_has_the_same_bound),
        TEST(test_lines_that_are_printed_count_by_their_number),
        TEST(test_only_what_peers_cause_at_will_is_gathered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
