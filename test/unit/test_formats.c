/* The formats, with strings from outside that try to get out of them.
 *
 * links: format_page.c format_plain.c format_prometheus.c format_json.c json.c figures_sum.c
 * strbuf.c counters.c
 */
#include "unit.h"

#include <math.h>

#include "status/formats.h"

const char *const figures_reasons[FIGURES_REASONS] = {"requests", "lifetime", "memory", "idle",
                                                      "reload",   "crash",    "timeout"};

static const char hostile[] = "a\"b\\c\nfcgihost_up 7\n<script>\x1b[2J\x7f\xff\xc2\x9b}&lt;";

static struct figures figures;
static struct process_figures *processes[2];
static struct listener_figures listener;
static struct strbuf text;

/* One of each kind, with what an application may call them. */
static void put_items(struct process_figures *process)
{
    process->items_told_ms = 1000;
    for (int kind = 0; kind < ITEM_KINDS; kind++) {
        struct item_figures *item = &process->items[process->item_count++];
        *item = (struct item_figures){.kind = (enum item_kind)kind,
                                      .pid = 4711,
                                      .seconds = 30,
                                      .size = 5,
                                      .in_use = 3,
                                      .idle = 2,
                                      .waiting = 1};
        snprintf(item->name, sizeof(item->name), "%s", hostile);
        snprintf(item->state, sizeof(item->state), "failed");
        snprintf(item->detail, sizeof(item->detail), "%s", hostile);
    }
}

static int set_up(void **state)
{
    (void)state;
    figures = (struct figures){.version = "1",
                               .python = "3",
                               .state = "serving",
                               .now_ms = 3500,
                               .listeners = &listener,
                               .listener_count = 1,
                               .processes = processes,
                               .process_count = 2};
    listener = (struct listener_figures){.queued = 3, .backlog = 9};
    snprintf(listener.address, sizeof(listener.address), "unix:/%s", hostile);
    for (int i = 0; i < 2; i++) {
        struct process_figures *process = calloc(1, sizeof(*process) + sizeof(process->threads[0]));
        process->pid = 10 + i;
        process->place = (unsigned)i + 1;
        snprintf(process->state, sizeof(process->state), "serving");
        process->totals.requests = process->totals.by_class[1] = 5;
        process->totals.wait.buckets[1] = 2;
        process->oldest_waiting_s = NAN;
        process->application_count = process->import_count = process->thread_count = 1;
        snprintf(process->applications[0].name, 256, "%s", hostile);
        snprintf(process->imports[0].name, 256, "%s", hostile); /* the same name */
        process->applications[0].state = PROGRAM_FAILED;
        snprintf(process->applications[0].last_error, 512, "ValueError: %s", hostile);
        process->applications[0].loaded_in_s = process->imports[0].loaded_in_s = NAN;
        process->threads[0].is_busy = true;
        snprintf(process->threads[0].request, 256, "GET /%s", hostile);
        process->generation = 1;
        put_items(process);
        processes[i] = process;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(processes[0]);
    free(processes[1]);
    strbuf_clear(&text);
    return 0;
}

static const char *written(void (*format)(struct strbuf *, const struct figures *))
{
    strbuf_clear(&text);
    format(&text, &figures);
    strbuf_put_bytes(&text, "", 1);
    assert_false(text.has_failed);
    return text.data;
}

static size_t count_of(const char *haystack, const char *needle)
{
    size_t count = 0;
    for (const char *p = haystack; (p = strstr(p, needle)) != NULL; p++)
        count++;
    return count;
}

static void test_no_string_begins_a_line_of_its_own_or_moves_a_terminal(void **state)
{
    (void)state;
    void (*const formats[])(struct strbuf *, const struct figures *) = {format_plain,
                                                                        format_prometheus};
    for (size_t i = 0; i < COUNT(formats); i++) {
        const char *got = written(formats[i]);
        assert_null(strstr(got, "\nfcgihost_up 7"));
        assert_null(strpbrk(got, "\x1b\x7f"));
        assert_null(strchr(got, '\xff'));
    }
}

static void test_a_label_is_escaped_and_a_sample_comes_once(void **state)
{
    (void)state;
    const char *got = written(format_prometheus);
    assert_int_equal(count_of(got, "fcgihost_startup_loaded{name=\"a\\\"b\\\\c\\nfcgihost_up 7"),
                     1);
    assert_non_null(strstr(got, "\nfcgihost_listen_queue{address=\"unix:/a\\\"b"));
}

static void test_processes_are_summed_up_and_histograms_are_cumulative(void **state)
{
    (void)state;
    const char *got = written(format_prometheus);
    assert_non_null(strstr(got, "\nfcgihost_requests_total{status=\"2xx\"} 10\n"));
    assert_non_null(strstr(got, "fcgihost_request_wait_seconds_bucket{le=\"0.0005\"} 0\n"));
    assert_non_null(strstr(got, "fcgihost_request_wait_seconds_bucket{le=\"0.001\"} 4\n"));
    assert_non_null(strstr(got, "fcgihost_request_wait_seconds_bucket{le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(got, "fcgihost_threads{state=\"busy\"} 0\n"));
    got = written(format_json);
    assert_non_null(strstr(got, "\"requests\":{\"total\":10,"));
    assert_int_equal(count_of(strstr(got, "\"processes\":["), "\"pid\":"), 2);
}

static void test_a_response_that_leaves_without_a_thread_is_still_in_flight(void **state)
{
    (void)state;
    processes[0]->threads_busy = 1;
    processes[1]->responses_sending = 3;
    assert_non_null(strstr(written(format_json), "\"in_flight\":4,\"sending\":3,"));
    assert_non_null(strstr(written(format_json), "\"threads\":{\"total\":2,\"busy\":1,"));
    assert_non_null(strstr(written(format_prometheus), "\nfcgihost_requests_in_flight 4\n"));
    assert_non_null(strstr(written(format_prometheus), "\nfcgihost_responses_sending 3\n"));
    assert_non_null(strstr(written(format_plain), " 4 in flight, "));
    assert_non_null(strstr(written(format_plain), " 3 of those in flight are being sent"));
}

static void test_the_up_metric_says_whether_requests_are_served(void **state)
{
    (void)state;
    assert_non_null(strstr(written(format_prometheus), "\nfcgihost_up 1\n"));
    figures.state = "draining";
    assert_non_null(strstr(written(format_prometheus), "\nfcgihost_up 0\n"));
}

static void test_what_python_told_is_listed_for_each_process_and_goes_on_ageing(void **state)
{
    (void)state;
    const char *got = written(format_json);
    assert_int_equal(count_of(got, "\"state\":\"failed\",\"last_error\":\"a"), 2);
    assert_int_equal(count_of(got, "\"retry_in_seconds\":27.5,\"age_seconds\":2.5"), 2);
    assert_int_equal(count_of(got, "\"size\":5,\"in_use\":3,\"idle\":2,\"waiting\":1,"
                                   "\"oldest_lease_seconds\":32.5"),
                     2);
    assert_int_equal(count_of(got, "\"holder_pid\":4711,\"holder_thread\":\"a"), 2);
    assert_int_equal(count_of(got, "\"held_seconds\":32.5"), 2);
    assert_non_null(strstr(got, "\"cleanups\":{\"registered\":10,"));
    assert_int_equal(count_of(got, "\"pid\":11"), 1 + ITEM_KINDS);
    assert_null(strchr(got, '<'));
    got = written(format_plain);
    assert_int_equal(
        count_of(got, ": 3 of 5 in use, 2 idle, 1 waiting, the oldest lease for 32.5 s"), 2);
    assert_int_equal(count_of(got, " for 32.5 s, 1 waiting"), 2);
    assert_null(strstr(written(format_prometheus), "4711"));
}

static void test_python_that_has_told_nothing_leaves_unknown_values(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        processes[i]->items_told_ms = processes[i]->item_count = 0;
    const char *got = written(format_json);
    assert_non_null(strstr(got, "\"resources\":[],\"pools\":[],\"locks\":[],\"cleanups\":{"
                                "\"registered\":null,\"scopes\":[],\"age_seconds\":null}"));
}

static void test_the_page_has_the_text_in_it_in_which_nothing_is_markup(void **state)
{
    (void)state;
    static const struct figures none;
    struct strbuf bare = {0};
    format_page(&bare, &none);
    size_t scripts = 0, tags = 0;
    for (size_t i = 0; i < bare.used; i++)
        tags += bare.data[i] == '<';
    strbuf_put_bytes(&bare, "", 1);
    scripts = count_of(bare.data, "<script>");
    const char *got = written(format_page);
    assert_int_equal(count_of(got, "<script>"), scripts); /* the page's own */
    assert_int_equal(count_of(got, "<"), tags);
    assert_null(strstr(got, "@STATUS@"));
    assert_non_null(strstr(got, "&#60;script&#62;"));
    assert_non_null(strstr(got, "a&#34;b"));
    assert_non_null(strstr(got, "}&#38;lt;"));
    assert_non_null(strstr(got, "</html>"));
    strbuf_clear(&bare);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_no_string_begins_a_line_of_its_own_or_moves_a_terminal),
        TEST(test_a_label_is_escaped_and_a_sample_comes_once),
        TEST(test_processes_are_summed_up_and_histograms_are_cumulative),
        TEST(test_what_python_told_is_listed_for_each_process_and_goes_on_ageing),
        TEST(test_python_that_has_told_nothing_leaves_unknown_values),
        TEST(test_a_response_that_leaves_without_a_thread_is_still_in_flight),
        TEST(test_the_page_has_the_text_in_it_in_which_nothing_is_markup),
        TEST(test_the_up_metric_says_whether_requests_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
