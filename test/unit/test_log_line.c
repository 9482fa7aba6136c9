/* A log line's form, its time, and what of a text it lets through.
 *
 * links: log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c */
#include "log_fixture.h"

#include <regex.h>

static void test_form_of_a_line(void **state)
{
    char pattern[200];
    regex_t regex;

    (void)state;
    log_warning("test-message", "%s %d", "answer", 42);
    snprintf(pattern, sizeof(pattern),
             "^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}"
             "[+-][0-9][0-9]:[0-9][0-9] \\[%d\\] warning: answer 42\n$",
             (int)getpid());
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    assert_int_equal(regexec(&regex, read_file(path), 0, NULL, 0), 0);
    regfree(&regex);
}

static void test_times_keep_the_offset_that_the_log_was_opened_with(void **state)
{
    char expected[32];
    time_t now;
    struct tm local;

    (void)state;
    log_close();
    setenv("TZ", "XXX-05:45", 1);
    tzset();
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    now = time(NULL);
    localtime_r(&now, &local);
    setenv("TZ", "America/Chicago", 1); /* as Django does */
    tzset();
    log_info("test-message", "x");
    unsetenv("TZ");
    tzset();
    assert_memory_equal(read_file(path) + 23, "+05:45 ", 7);
    strftime(expected, sizeof(expected), "%Y-%m-%dT%H:", &local);
    if (local.tm_min != 59)
        assert_memory_equal(read_file(path), expected, strlen(expected));
}

static void test_dates_are_those_of_the_calendar(void **state)
{
    char text[LOG_TIME_BYTES], expected[40];

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    log_line_fix_offset();
    for (time_t time = -90000; time < (time_t)1 << 32; time += 86400 * 27 + 3601) {
        struct timespec moment = {.tv_sec = time, .tv_nsec = 7000000};
        struct tm fields;

        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007+00:00",
                 gmtime_r(&time, &fields));
        log_line_format_time(&moment, text);
        assert_string_equal(text, expected);
    }
    unsetenv("TZ");
    tzset();
}

static void test_control_characters_are_escaped(void **state)
{
    (void)state;
    assert_text("a\x1b[2J\r\x7f\0b", 9, "a\\x1b[2J\\x0d\\x7f\\x00b");
    assert_text("tab\there, caf\xc3\xa9 \xe2\x82\xac", 19, "tab\there, caf\xc3\xa9 \xe2\x82\xac");
    assert_text("\x01", 1, "\\x01");
    assert_text("\xc2\x9b"
                "2J\xc2",
                5,
                "\\xc2\\x9b"
                "2J\xc2");
    assert_text("\xc2\xa0", 2, "\xc2\xa0");
    assert_text("%s%n", 4, "%s%n");
}

static void test_line_breaks_are_indented_so_nothing_can_be_forged(void **state)
{
    (void)state;
    assert_text("one\ntwo\n\n  three", 16, "one\n  two\n  \n    three");
    assert_text("one\n2026-11-21T09:30:00.123+00:00 [1] error: forged", 51,
                "one\n  2026-11-21T09:30:00.123+00:00 [1] error: forged");
}

static void test_a_message_with_values_is_one_line_whatever_they_hold(void **state)
{
    struct log_topic about = {.event = "test-message", .request_id = "id\n1"};

    (void)state;
    log_info("test-message", "%s failed", "GET\n/a\tb\r\x1b\x7f\xc2\x85");
    assert_logged("GET\\x0a/a\\x09b\\x0d\\x1b\\x7f\\xc2\\x85 failed");
    assert_int_equal(truncate(path, 0), 0);
    log_about(LOG_LEVEL_INFO, &about, "%s: why", "P\n/");
    assert_logged("P\\x0a/: why (request id\\x0a1)");
}

static void test_an_access_line_is_one_line_whatever_the_request_holds(void **state)
{
    struct log_access access = {.method = "G\nET",
                                .path = "/a\nb",
                                .path_bytes = 4,
                                .query = "c\t=\n",
                                .query_bytes = 4,
                                .status = 200};

    (void)state;
    log_access("1", &access);
    assert_logged(
        "G\\x0aET /a\\x0ab?c\\x09=\\x0a 200 0 bytes 0.000 ms waited 0.000 ms (request 1)");
}

static void test_a_prefix_is_one_line_and_the_text_behind_it_is_laid_out(void **state)
{
    static const char text[] = "\nTraceback\n\tx\n";

    (void)state;
    log_text_after("GET /a\n\tb: failed", LOG_LEVEL_INFO, &topic, text, strlen(text));
    assert_logged("GET /a\\x0a\\x09b: failed\n  Traceback\n  \tx");
}

static void test_readers_that_know_unicode_find_no_more_lines_than_others(void **state)
{
    (void)state;
    assert_text("a\xe2\x80\xa8"
                "b\xe2\x80\xa9"
                "c\xe2\x80\xaa\xe2\x80",
                14,
                "a\\xe2\\x80\\xa8"
                "b\\xe2\\x80\\xa9"
                "c\xe2\x80\xaa\xe2\x80");
}

static void test_final_line_breaks_are_dropped(void **state)
{
    (void)state;
    assert_text("one\n\n", 5, "one");
    assert_text("\n", 1, "");
    assert_text("", 0, "");
    assert_text("\n\none", 5, "\n  \n  one");
}

static void test_messages_of_every_length_around_the_buffer(void **state)
{
    static char text[5000];
    char expected[6000];

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t length = 1900; length < 2100; length++) {
        snprintf(expected, sizeof(expected), "%.*s", (int)length, text);
        assert_text(text, length, expected);
    }
    assert_int_equal(truncate(path, 0), 0);
    log_info("test-message", "%.*s", 4900, text);
    snprintf(expected, sizeof(expected), "%.4900s", text);
    assert_logged(expected);
}

static void test_long_text_is_whole(void **state)
{
    enum { LINES = TEXT_SIZE / 8 };
    char *text = malloc(LINES);
    const char *got;

    (void)state;
    memset(text, '\n', LINES);
    text[LINES - 1] = 'x';
    log_text(LOG_LEVEL_ERROR, &topic, text, LINES);
    free(text);
    got = strchr(read_file(path), '\n');
    assert_int_equal(strlen(got), 3 * (LINES - 1) + strlen("x\n"));
    assert_string_equal(got + strlen(got) - 6, " \n  x\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_form_of_a_line),
        TEST(test_times_keep_the_offset_that_the_log_was_opened_with),
        TEST(test_dates_are_those_of_the_calendar),
        TEST(test_control_characters_are_escaped),
        TEST(test_line_breaks_are_indented_so_nothing_can_be_forged),
        TEST(test_a_message_with_values_is_one_line_whatever_they_hold),
        TEST(test_an_access_line_is_one_line_whatever_the_request_holds),
        TEST(test_a_prefix_is_one_line_and_the_text_behind_it_is_laid_out),
        TEST(test_readers_that_know_unicode_find_no_more_lines_than_others),
        TEST(test_final_line_breaks_are_dropped),
        TEST(test_messages_of_every_length_around_the_buffer),
        TEST(test_long_text_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
