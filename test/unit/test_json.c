/* JSON with hostile strings; Python's json reads it back.
 *
 * links: json.c strbuf.c */
#include "unit.h"

#include <math.h>

#include "status/json.h"

static struct strbuf text;

static int tear_down(void **state)
{
    (void)state;
    strbuf_clear(&text);
    return 0;
}

static const char *written(void)
{
    strbuf_put_bytes(&text, "", 1);
    assert_false(text.has_failed);
    return text.data;
}

/* What Python makes of the text that was written, as ascii(). */
static void assert_read_by_python(const char *expected)
{
    char name[] = "/tmp/test_json.XXXXXX", command[256], got[8192] = "";
    int fd = mkstemp(name);
    FILE *file = fdopen(fd, "w");
    fputs(written(), file);
    fclose(file);
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c 'import json,sys; print(ascii(json.load(open(sys.argv[1], "
             "encoding=\"utf-8\"))))' %s",
             name);
    file = popen(command, "r");
    size_t n = fread(got, 1, sizeof(got) - 1, file);
    int status = pclose(file);
    remove(name);
    assert_int_equal(status, 0);
    got[n > 0 ? n - 1 : 0] = '\0';
    assert_string_equal(got, expected);
}

static void test_commas_stand_between_members_and_nowhere_else(void **state)
{
    (void)state;
    struct json json = {.text = &text};
    json_begin_object(&json, NULL);
    json_begin_array(&json, "a");
    json_end_array(&json);
    json_begin_array(&json, "b");
    json_unsigned(&json, NULL, 1);
    json_begin_object(&json, NULL);
    json_end_object(&json);
    json_null(&json, NULL);
    json_end_array(&json);
    json_bool(&json, "c", true);
    json_end_object(&json);
    assert_string_equal(written(), "{\"a\":[],\"b\":[1,{},null],\"c\":true}");
}

static void test_hostile_strings_arrive_as_they_were_and_end_nothing(void **state)
{
    (void)state;
    struct json json = {.text = &text};
    json_begin_array(&json, NULL);
    json_string(&json, NULL, "\",\"x\":\"y");
    json_string(&json, NULL, "\\\"\\u0041\\");
    json_string(&json, NULL, "a\nb\tc\x01\x1f\x7f\x1b[31m");
    json_string(&json, NULL, "</script><!--&'");
    json_string(&json, NULL,
                "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xe2\x80\xa8\xe2\x80\xa9");
    json_string(&json, NULL, NULL);
    json_end_array(&json);
    assert_null(strstr(written(), "</script>"));
    assert_read_by_python(
        "['\",\"x\":\"y', '\\\\\"\\\\u0041\\\\', 'a\\nb\\tc\\x01\\x1f\\x7f\\x1b[31m', "
        "\"</script><!--&'\", 'gr\\xfc\\xdf \\u20ac \\U0001f600 \\u2028\\u2029', None]");
}

static void test_bytes_that_are_not_utf_8_become_the_replacement_character(void **state)
{
    (void)state;
    static const char *const strings[] = {
        "\xff",     "\xc0\x80",     "\xe0\x80\x80",     "\xed\xa0\x80", "\xc3",
        "\xe2\x82", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\x80",         "\xf8\x88\x80\x80\x80",
        "a\xe2\"",  "\xc3\\"};
    struct json json = {.text = &text};
    json_begin_array(&json, NULL);
    for (size_t i = 0; i < COUNT(strings); i++)
        json_string(&json, NULL, strings[i]);
    json_end_array(&json);
    assert_read_by_python(
        "['\\ufffd', '\\ufffd\\ufffd', '\\ufffd\\ufffd\\ufffd', '\\ufffd\\ufffd\\ufffd', "
        "'\\ufffd', '\\ufffd\\ufffd', '\\ufffd\\ufffd\\ufffd', '\\ufffd\\ufffd\\ufffd\\ufffd', "
        "'\\ufffd', '\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd', 'a\\ufffd\"', '\\ufffd\\\\']");
}

static void test_every_byte_before_every_other_one_gives_json(void **state)
{
    (void)state;
    struct json json = {.text = &text};
    json_begin_array(&json, NULL);
    for (int a = 1; a < 256; a++)
        for (int b = 0; b < 256; b += 5)
            json_string(&json, NULL, (char[]){(char)a, (char)b, '"', 0});
    json_end_array(&json);
    char name[] = "/tmp/test_json.XXXXXX", command[256];
    int fd = mkstemp(name);
    FILE *file = fdopen(fd, "w");
    fputs(written(), file);
    fclose(file);
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c 'import json,sys; assert len(json.load(open(sys.argv[1], "
             "encoding=\"utf-8\"))) == 255 * 52' %s",
             name);
    assert_int_equal(system(command), 0);
    remove(name);
}

static void test_what_json_has_no_number_for_is_null(void **state)
{
    (void)state;
    struct json json = {.text = &text};
    json_begin_array(&json, NULL);
    json_number(&json, NULL, NAN);
    json_number(&json, NULL, INFINITY);
    json_number(&json, NULL, 0.25);
    json_number(&json, NULL, 12439552);
    json_unsigned(&json, NULL, 18446744073709551615ull);
    json_end_array(&json);
    assert_string_equal(written(), "[null,null,0.25,12439552,18446744073709551615]");
}

static void test_moments_are_utc_with_milliseconds(void **state)
{
    (void)state;
    struct json json = {.text = &text};
    json_begin_array(&json, NULL);
    json_moment(&json, NULL, 1795873224531999ull);
    json_moment(&json, NULL, 0);
    json_end_array(&json);
    assert_string_equal(written(), "[\"2026-11-28T13:40:24.531Z\",null]");
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_commas_stand_between_members_and_nowhere_else),
        TEST(test_hostile_strings_arrive_as_they_were_and_end_nothing),
        TEST(test_bytes_that_are_not_utf_8_become_the_replacement_character),
        TEST(test_every_byte_before_every_other_one_gives_json),
        TEST(test_what_json_has_no_number_for_is_null),
        TEST(test_moments_are_utc_with_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
