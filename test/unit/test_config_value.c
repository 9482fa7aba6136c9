/* links: config_value.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config_value.h"

static const struct config_value_range wide = {0, UINT64_MAX};

typedef int parse_number(const char *, const struct config_value_range *, uint64_t *,
                         struct config_value_reason *);

static void assert_number(parse_number *parse, const char *text, uint64_t expected)
{
    struct config_value_reason reason = {{0}};
    uint64_t number = 12345;

    if (parse(text, &wide, &number, &reason) != 0)
        fail_msg("\"%s\" %s", text, reason.text);
    assert_int_equal(number, expected);
}

static void assert_refused(parse_number *parse, const char *text,
                           const struct config_value_range *range, const char *expected)
{
    struct config_value_reason reason = {{0}};
    uint64_t number = 0;

    if (parse(text, range, &number, &reason) == 0)
        fail_msg("\"%s\" was taken for %llu", text, (unsigned long long)number);
    assert_string_equal(reason.text, expected);
}

static void test_integers(void **state)
{
    (void)state;
    assert_number(config_value_parse_integer, "0", 0);
    assert_number(config_value_parse_integer, "007", 7);
    assert_number(config_value_parse_integer, "18446744073709551614", UINT64_MAX - 1);
}

static void test_integers_refused(void **state)
{
    static const struct config_value_range range = {1, 1024};
    static const char out[] = "is out of range (1 to 1024): write a number within it";
    static const char not_one[] = "is not a number: write a whole number from 1 to 1024";
    static const char *const outside[] = {"0",
                                          "1025",
                                          "-1",
                                          "4294967297",
                                          "18446744073709551615",
                                          "18446744073709551616",
                                          "99999999999999999999999999999999"};
    static const char *const garbage[] = {"",    "x",   "4x",  "0x4", "+4", " 4",  "4 ",
                                          "4.5", "1e3", "--1", "-",   "-x", "4,5", "\xd9\xa3"};

    (void)state;
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_refused(config_value_parse_integer, outside[i], &range, out);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
        assert_refused(config_value_parse_integer, garbage[i], &range, not_one);
    assert_refused(config_value_parse_integer, "18446744073709551615", &wide,
                   "is out of range (0 to 18446744073709551615): write a number within it");
}

static void test_times(void **state)
{
    (void)state;
    assert_number(config_value_parse_time, "0", 0);
    assert_number(config_value_parse_time, "250ms", 250);
    assert_number(config_value_parse_time, "60s", 60000);
    assert_number(config_value_parse_time, "60", 60000);
    assert_number(config_value_parse_time, "5m", 300000);
    assert_number(config_value_parse_time, "24h", 86400000);
}

static void test_times_refused(void **state)
{
    static const struct config_value_range range = {10, 86400000};
    static const char out[] = "is out of range (10ms to 24h): write a time within it";
    static const char no_unit[] =
        "has an unknown unit: write a whole number with ms, s, m or h, like 30s";
    static const char not_one[] =
        "is not a time: write a whole number with ms, s, m or h, like 30s";
    static const char *const outside[] = {"9ms",
                                          "0",
                                          "25h",
                                          "86401s",
                                          "-5s",
                                          "18446744073709551615ms",
                                          "18446744073709552s",
                                          "99999999999999999999h"};
    static const char *const units[] = {"5d", "5S", "5 s", "5sm", "5mss", "1.5s", "5s ", "5\xb5s"};
    static const char *const garbage[] = {"", "s", "ms", "never", "+5s", " 5s", "-", "-s"};

    (void)state;
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_refused(config_value_parse_time, outside[i], &range, out);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        assert_refused(config_value_parse_time, units[i], &range, no_unit);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
        assert_refused(config_value_parse_time, garbage[i], &range, not_one);
}

static void test_sizes(void **state)
{
    (void)state;
    assert_number(config_value_parse_size, "0", 0);
    assert_number(config_value_parse_size, "1000", 1000);
    assert_number(config_value_parse_size, "64K", 65536);
    assert_number(config_value_parse_size, "64k", 65536);
    assert_number(config_value_parse_size, "20M", 20971520);
    assert_number(config_value_parse_size, "3G", UINT64_C(3221225472));
    assert_number(config_value_parse_size, "3g", UINT64_C(3221225472));
}

static void test_sizes_refused(void **state)
{
    static const struct config_value_range range = {1024, 1048576};
    static const char out[] = "is out of range (1K to 1M): write a size within it";
    static const char no_unit[] =
        "has an unknown unit: write a whole number, alone or with K, M or G, like 64K";
    static const char not_one[] =
        "is not a size: write a whole number, alone or with K, M or G, like 64K";
    static const char *const outside[] = {"1023",    "2M",           "-1K",
                                          "1048577", "17179869184G", "99999999999999999999K"};
    static const char *const units[] = {"64KB", "64T", "64KK", "64 K", "64b", "6.4K", "64K "};
    static const char *const garbage[] = {"", "K", "much", "+1K", "-", "-K"};

    (void)state;
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_refused(config_value_parse_size, outside[i], &range, out);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        assert_refused(config_value_parse_size, units[i], &range, no_unit);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
        assert_refused(config_value_parse_size, garbage[i], &range, not_one);
}

static void test_octal_modes(void **state)
{
    static const struct config_value_range range = {0, 0777};
    static const char *const garbage[] = {"", "8", "0o660", "rw-", "-1", "660 ", "6 60", "0x1ff"};
    struct config_value_reason reason;
    unsigned mode = 1;

    (void)state;
    assert_int_equal(config_value_parse_octal("0", &range, &mode, &reason), 0);
    assert_int_equal(mode, 0);
    assert_int_equal(config_value_parse_octal("660", &range, &mode, &reason), 0);
    assert_int_equal(mode, 0660);
    assert_int_equal(config_value_parse_octal("0000777", &range, &mode, &reason), 0);
    assert_int_equal(mode, 0777);
    assert_int_equal(config_value_parse_octal("1000", &range, &mode, &reason), -1);
    assert_string_equal(reason.text,
                        "is out of range (0000 to 0777): write an octal mode within it");
    assert_int_equal(config_value_parse_octal("7777777777777777777777777", &range, &mode, &reason),
                     -1);
    assert_string_equal(reason.text,
                        "is out of range (0000 to 0777): write an octal mode within it");
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        assert_int_equal(config_value_parse_octal(garbage[i], &range, &mode, &reason), -1);
        assert_string_equal(reason.text,
                            "is not an octal mode: write digits from 0 to 7, like 0660");
    }
    assert_int_equal(mode, 0777);
}

static void test_switches(void **state)
{
    static const char *const on[] = {"yes", "true", "on"};
    static const char *const off[] = {"no", "false", "off"};
    static const char *const garbage[] = {"", "1", "0", "Yes", "y", "yess", "yes ", "enabled"};
    struct config_value_reason reason;
    bool is_on = false;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(config_value_parse_switch(on[i], &is_on, &reason), 0);
        assert_true(is_on);
        assert_int_equal(config_value_parse_switch(off[i], &is_on, &reason), 0);
        assert_false(is_on);
    }
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        assert_int_equal(config_value_parse_switch(garbage[i], &is_on, &reason), -1);
        assert_string_equal(reason.text,
                            "is not a switch: write yes or no (true, false, on and off also do)");
    }
}

static void test_words(void **state)
{
    static const char *const words[] = {"auto", "fastcgi", "scgi", NULL};
    struct config_value_reason reason;
    unsigned place = 9;

    (void)state;
    assert_int_equal(config_value_parse_word("scgi", words, &place, &reason), 0);
    assert_int_equal(place, 2);
    assert_int_equal(config_value_parse_word("http", words, &place, &reason), -1);
    assert_string_equal(reason.text, "is not known: write one of auto, fastcgi, scgi");
    assert_int_equal(config_value_parse_word("", words, &place, &reason), -1);
    assert_int_equal(config_value_parse_word("fast", words, &place, &reason), -1);
}

static void assert_wsgi(const char *text, const char *expected)
{
    struct config_value_reason reason = {{0}};
    int result = config_value_check_wsgi(text, &reason);

    assert_string_equal(reason.text, expected);
    assert_int_equal(result, expected[0] == '\0' ? 0 : -1);
}

static void assert_import(const char *text, const char *expected)
{
    struct config_value_reason reason = {{0}};
    int result = config_value_check_import(text, &reason);

    assert_string_equal(reason.text, expected);
    assert_int_equal(result, expected[0] == '\0' ? 0 : -1);
}

static void test_imports(void **state)
{
    static const char not_names[] = "is neither module nor module:function: write Python names, "
                                    "with dots between them";
    static const char file[] = "names a file, not a module: write the name used to import it";

    (void)state;
    assert_import("shop", "");
    assert_import("shop.caches", "");
    assert_import("shop.caches:fill", "");
    assert_import("shop:Cache.fill", "");
    assert_import("caf\xc3\xa9:_1", "");
    assert_import("shop.py", ""); /* a module that is called py */
    assert_import("shop/caches.py", file);
    assert_import("/srv/shop", file);
    assert_import("shop.py:fill", file);
    assert_import("", not_names);
    assert_import(":fill", not_names);
    assert_import("shop:", not_names);
    assert_import("shop:fill:more", not_names);
    assert_import("shop:fill()", not_names);
    assert_import(".shop", not_names);
    assert_import("shop..caches", not_names);
    assert_import("shop.:fill", not_names);
    assert_import("2shop", not_names);
    assert_import("shop caches", not_names);
    assert_import("shop-caches", not_names);
}

static void test_wsgi(void **state)
{
    static const char not_names[] = "is not package.module:callable: write Python names, with dots "
                                    "between them";
    static const char no_colon[] = "is not package.module:callable: add \":\" and the callable's "
                                   "name, like :application";

    (void)state;
    assert_wsgi("hello:application", "");
    assert_wsgi("a.b_2.c:_d", "");
    assert_wsgi("caf\xc3\xa9.m:app", "");
    assert_wsgi("hello", no_colon);
    assert_wsgi("", no_colon);
    assert_wsgi("hello.py:app", "names a file, not a module: leave out \".py\"");
    assert_wsgi("app/hello.py", "is a path, not package.module:callable: write a module's name, or "
                                "give the file as script");
    assert_wsgi("hello:", not_names);
    assert_wsgi(":app", not_names);
    assert_wsgi("a..b:app", not_names);
    assert_wsgi(".a:app", not_names);
    assert_wsgi("a.:app", not_names);
    assert_wsgi("a:b:c", not_names);
    assert_wsgi("a:b.c", "");
    assert_wsgi("a:b.", not_names);
    assert_wsgi("a:.b", not_names);
    assert_wsgi("a b:c", not_names);
    assert_wsgi("2a:c", not_names);
    assert_wsgi("a:app()", not_names);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", "2x", "a.b", "a b", "a()", "a-b", "a\n"};
    struct config_value_reason reason;

    (void)state;
    assert_int_equal(config_value_check_name("application", &reason), 0);
    assert_int_equal(config_value_check_name("_x9", &reason), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(config_value_check_name(bad[i], &reason), -1);
        assert_string_equal(reason.text,
                            "is not a Python name: write letters, digits and _, like application");
    }
}

static void assert_mount(const char *text, const char *normal, const char *expected)
{
    struct config_value_reason reason = {{0}};
    char got[64] = "untouched";
    int result = config_value_parse_mount(text, got, &reason);

    assert_string_equal(reason.text, expected);
    assert_int_equal(result, expected[0] == '\0' ? 0 : -1);
    if (result == 0)
        assert_string_equal(got, normal);
}

static void test_mounts(void **state)
{
    static const char no_slash[] =
        "does not start with \"/\": write a URL prefix like /shop, or / for root";
    static const char dots[] = "contains a segment \".\" or \"..\": write the prefix without it";

    (void)state;
    assert_mount("/", "", "");
    assert_mount("/shop", "/shop", "");
    assert_mount("/shop/", "/shop", "");
    assert_mount("/a/b//", "/a/b", "");
    assert_mount("/a b%20", "/a b%20", "");
    assert_mount("/.well-known/..x", "/.well-known/..x", "");
    assert_mount("shop", NULL, no_slash);
    assert_mount("", NULL, no_slash);
    assert_mount("http://x/", NULL, no_slash);
    assert_mount("/a//b", NULL, "contains \"//\": write single slashes");
    assert_mount("/a/../b", NULL, dots);
    assert_mount("/a/..", NULL, dots);
    assert_mount("/./", NULL, dots);
    assert_mount("/s?x", NULL,
                 "contains \"?\" or \"#\", which end a URL's path: write the path alone");
    assert_mount("/s#x", NULL,
                 "contains \"?\" or \"#\", which end a URL's path: write the path alone");
    assert_mount("/a\nb", NULL, "contains a control character: write a URL prefix like /shop");
}

static void assert_extensions(const char *text, const char *expected)
{
    struct config_value_reason reason = {""};
    char normal[64];

    if (config_value_parse_extensions(text, normal, &reason) == 0)
        assert_string_equal(normal, expected);
    else
        assert_string_equal(reason.text, expected);
}

static void test_extensions(void **state)
{
    static const char none[] = "contains no extension: write one, like .wsgi";
    static const char no_list[] = "is not a list of extensions: write each with its dot, and "
                                  "spaces between them, like .py .wsgi";

    (void)state;
    assert_extensions(".py", ".py");
    assert_extensions(".py .wsgi", ".py .wsgi");
    assert_extensions(" .py\t .WSGI  ", ".py .WSGI");
    assert_extensions(".tar.py", ".tar.py");
    assert_extensions("", none);
    assert_extensions("  ", none);
    assert_extensions("py", no_list);
    assert_extensions(".py wsgi", no_list);
    assert_extensions(".", no_list);
    assert_extensions(".py .", no_list);
    assert_extensions(".py,.wsgi", no_list);
    assert_extensions(".py .a/b", no_list);
    assert_extensions("*.py", no_list);
}

static void test_formats_are_the_shortest(void **state)
{
    char text[24];

    (void)state;
    config_value_format(0, CONFIG_VALUE_TIME, text);
    assert_string_equal(text, "0");
    config_value_format(1500, CONFIG_VALUE_TIME, text);
    assert_string_equal(text, "1500ms");
    config_value_format(90000, CONFIG_VALUE_TIME, text);
    assert_string_equal(text, "90s");
    config_value_format(7200000, CONFIG_VALUE_TIME, text);
    assert_string_equal(text, "2h");
    config_value_format(65537, CONFIG_VALUE_SIZE, text);
    assert_string_equal(text, "65537");
    config_value_format(65536, CONFIG_VALUE_SIZE, text);
    assert_string_equal(text, "64K");
    config_value_format(65536, CONFIG_VALUE_PLAIN, text);
    assert_string_equal(text, "65536");
    config_value_format(UINT64_MAX, CONFIG_VALUE_SIZE, text);
    assert_string_equal(text, "18446744073709551615");
}

static void test_quoted_text_is_one_short_line(void **state)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];
    char text[400];

    (void)state;
    config_value_quote("a\tb\n\x1b[31m\x7f caf\xc3\xa9", quoted);
    assert_string_equal(quoted, "a\\x09b\\x0a\\x1b[31m\\x7f caf\xc3\xa9");
    for (size_t length = 0; length < sizeof(text); length++) {
        memset(text, '\n', length);
        text[length] = '\0';
        config_value_quote(text, quoted);
        assert_true(strlen(quoted) < sizeof(quoted));
        assert_int_equal(strlen(quoted) == 4 * length, strstr(quoted, "...") == NULL);
    }
}

static void test_distances(void **state)
{
    (void)state;
    assert_int_equal(config_value_distance("", ""), 0);
    assert_int_equal(config_value_distance("", "abc"), 3);
    assert_int_equal(config_value_distance("threads", "threads"), 0);
    assert_int_equal(config_value_distance("thread", "threads"), 1);
    assert_int_equal(config_value_distance("thraeds", "threads"), 1);
    assert_int_equal(config_value_distance("kitten", "sitting"), 3);
    assert_int_equal(config_value_distance("a", "b"), 1);
    assert_true(config_value_distance("x", "0123456789012345678901234567890123456789"
                                           "0123456789012345678901234567890123456789") > 60);
}

/* Every prefix of what is good is either good or refused with a reason that goes on after a value.
 */
static void test_every_prefix_gives_a_value_or_a_reason(void **state)
{
    static const char *const texts[] = {"18446744073709551616ms", "1024G", "0777", "a.b.c:d",
                                        "/a/b/../c//"};
    struct config_value_reason reason;
    char prefix[32];
    char normal[32];
    uint64_t number;
    unsigned mode;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t length = 0; length <= strlen(texts[i]); length++) {
            snprintf(prefix, sizeof(prefix), "%.*s", (int)length, texts[i]);
            for (int parser = 0; parser < 7; parser++) {
                int result = 0;

                reason.text[0] = '\0';
                switch (parser) {
                case 0:
                    result = config_value_parse_integer(prefix, &wide, &number, &reason);
                    break;
                case 1:
                    result = config_value_parse_time(prefix, &wide, &number, &reason);
                    break;
                case 2:
                    result = config_value_parse_size(prefix, &wide, &number, &reason);
                    break;
                case 3:
                    result = config_value_parse_octal(prefix, &wide, &mode, &reason);
                    break;
                case 4:
                    result = config_value_check_wsgi(prefix, &reason);
                    break;
                case 5:
                    result = config_value_check_import(prefix, &reason);
                    break;
                default:
                    result = config_value_parse_mount(prefix, normal, &reason);
                    break;
                }
                assert_int_equal(result, reason.text[0] == '\0' ? 0 : -1);
                assert_true(result == 0 || strstr(reason.text, ": ") != NULL);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_integers_refused),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_times_refused),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_sizes_refused),
        cmocka_unit_test(test_octal_modes),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_wsgi),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_mounts),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_formats_are_the_shortest),
        cmocka_unit_test(test_quoted_text_is_one_short_line),
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_every_prefix_gives_a_value_or_a_reason),
    };

    return cmocka_run_group_tests_name("config_value", tests, NULL, NULL);
}
