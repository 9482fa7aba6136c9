/* links: log_json.c log_line.c */
#include "unit.h"

#include <time.h>

#include "base/log_json.h"

static char text[4096];

/* What was written, behind its time. */
static const char *json_of(const struct log_topic *topic, const char *message, size_t n)
{
    struct log_origin origin = {.level = LOG_LEVEL_WARNING, .pid = 4711, .topic = *topic};
    struct log_line line = {.data = text, .room = sizeof(text) - 1}, measured = {.room = 0};
    uint8_t *copy = exact_copy(message, n);
    log_json_append(&line, &origin, (char *)copy, n);
    log_json_append(&measured, &origin, (char *)copy, n);
    exact_free(copy);
    assert_int_equal(measured.used, line.used);
    text[line.used] = '\0';
    assert_memory_equal(text, "{\"timestamp\":\"1970-01-01T00:00:00.000+00:00\",", 44);
    return text + 44;
}

static void assert_message(const char *message, size_t n, const char *expected)
{
    char all[1024];
    struct log_topic topic = {.event = "a-word", .thread = ""};
    snprintf(all, sizeof(all),
             "\"severity\":\"warning\",\"message\":\"%s\",\"pid\":4711,\"thread\":null,"
             "\"request_id\":null,\"event_id\":\"a-word\"}",
             expected);
    assert_string_equal(json_of(&topic, message, n) + 1, all);
}

#define MESSAGE(message, expected) assert_message(message, sizeof(message) - 1, expected)

static void test_control_characters_quotes_and_line_ends_are_escaped(void **state)
{
    (void)state;
    MESSAGE("", "");
    MESSAGE("plain", "plain");
    MESSAGE("a \"b\" \\ c", "a \\\"b\\\" \\\\ c");
    MESSAGE("one\n  two\ttab", "one\\n  two\\u0009tab");
    MESSAGE("\x1b[2J\r\x7f", "\\u001b[2J\\u000d\\u007f");
    MESSAGE("a\0b", "a\\u0000b");
    MESSAGE("\xc2\x85\xc2\x9b\xc2\xa0", "\\u0085\\u009b\xc2\xa0");
    MESSAGE("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\\u2028\\u2029\xe2\x80\xaa");
}

static void test_utf8_stays_and_other_bytes_are_escaped(void **state)
{
    (void)state;
    MESSAGE("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d",
            "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d");
    MESSAGE("\xff\xc3(", "\\\\xff\\\\xc3(");
    MESSAGE("cut \xe2\x82", "cut \\\\xe2\\\\x82");
    MESSAGE("\xc0\x80\xed\xa0\x80", "\\\\xc0\\\\x80\\\\xed\\\\xa0\\\\x80");
}

static void test_request_and_thread_are_named(void **state)
{
    (void)state;
    struct log_topic topic = {.event = "e", .request_id = "4f\"", .thread = "loader"};
    assert_non_null(strstr(json_of(&topic, "m", 1),
                           "\"thread\":\"loader\",\"request_id\":\"4f\\\"\",\"event_id\":\"e\"}"));
    topic.thread = NULL;
    assert_non_null(strstr(json_of(&topic, "m", 1), "\"thread\":\"test_log_json\""));
}

static void test_a_line_of_the_access_log(void **state)
{
    (void)state;
    struct log_access access = {.method = "GET",
                                .path = "/a\xff?x",
                                .path_bytes = 3,
                                .status = 404,
                                .body_bytes = 17,
                                .duration_us = 12345,
                                .wait_us = 7};
    struct log_topic topic = {.event = "access", .access = &access};
    assert_non_null(strstr(json_of(&topic, "m", 1),
                           "\"event_id\":\"access\",\"http.request.method\":\"GET\",\"url.path\":"
                           "\"/a\\\\xff\",\"http.response.status_code\":404,"
                           "\"http.response.body.size\":17,\"duration_ms\":12.345,"
                           "\"wait_ms\":0.007}"));
    access.query = "a=\"&b";
    access.query_bytes = 4;
    access.status = 0;
    assert_non_null(strstr(json_of(&topic, "m", 1),
                           "\"url.query\":\"a=\\\"&\",\"http.response.status_code\":null"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_characters_quotes_and_line_ends_are_escaped),
        cmocka_unit_test(test_utf8_stays_and_other_bytes_are_escaped),
        cmocka_unit_test(test_request_and_thread_are_named),
        cmocka_unit_test(test_a_line_of_the_access_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
