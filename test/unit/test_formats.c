/* The formats, with strings from outside that try to get out of them.
 *
 * links: format_plain.c format_prometheus.c format_json.c json.c sums.c text.c counters.c */
#include "unit.h"

#include <math.h>

#include "status/formats.h"

const char *const figures_reasons[FIGURES_REASONS] = {"requests", "lifetime", "memory", "idle",
                                                      "reload",   "crash",    "timeout"};

static const char hostile[] = "a\"b\\c\nfcgihost_up 7\n<script>\x1b[2J\x7f\xff\xc2\x9b}";

static struct figures figures;
static struct process_figures *processes[2];
static struct listener_figures listener;
static struct text text;

static int set_up(void **state)
{
    (void)state;
    figures = (struct figures){.version = "1",
                               .python = "3",
                               .state = "serving",
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
        processes[i] = process;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(processes[0]);
    free(processes[1]);
    text_clear(&text);
    return 0;
}

static const char *written(void (*format)(struct text *, const struct figures *))
{
    text_clear(&text);
    format(&text, &figures);
    text_put_bytes(&text, "", 1);
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
    void (*const formats[])(struct text *, const struct figures *) = {format_plain,
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
    assert_int_equal(count_of(got, "\"pid\":"), 2);
}

static void test_the_up_metric_says_whether_requests_are_served(void **state)
{
    (void)state;
    assert_non_null(strstr(written(format_prometheus), "\nfcgihost_up 1\n"));
    figures.state = "draining";
    assert_non_null(strstr(written(format_prometheus), "\nfcgihost_up 0\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_no_string_begins_a_line_of_its_own_or_moves_a_terminal),
        TEST(test_a_label_is_escaped_and_a_sample_comes_once),
        TEST(test_processes_are_summed_up_and_histograms_are_cumulative),
        TEST(test_the_up_metric_says_whether_requests_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
