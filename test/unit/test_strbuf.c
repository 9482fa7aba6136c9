/* Text that grows, also without memory to grow into.
 *
 * links: strbuf.c */
#include "unit.h"

#include "status/strbuf.h"

static struct strbuf text;

/* The next realloc() fails, whoever calls it. A sanitizer has its own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { CAN_FAIL = true };
static bool is_failing;
void *__libc_realloc(void *memory, size_t n);

void *realloc(void *memory, size_t n)
{
    return is_failing ? NULL : __libc_realloc(memory, n);
}
#else
enum { CAN_FAIL = false };
static bool is_failing;
#endif

static int tear_down(void **state)
{
    (void)state;
    is_failing = false;
    strbuf_clear(&text);
    return 0;
}

static void assert_text(const char *expected)
{
    assert_false(text.has_failed);
    assert_int_equal(text.used, strlen(expected));
    assert_memory_equal(text.data, expected, text.used);
}

static void test_what_is_put_comes_one_behind_the_other(void **state)
{
    (void)state;
    strbuf_put(&text, "a");
    strbuf_put(&text, "");
    strbuf_put_bytes(&text, "bcd", 2);
    strbuf_put_bytes(&text, NULL, 0);
    strbuf_format(&text, "%d%s", -7, "x");
    strbuf_format(&text, "%s", "");
    assert_text("abc-7x");
    strbuf_clear(&text);
    assert_null(text.data);
    assert_int_equal(text.used, 0);
    strbuf_put(&text, "again");
    assert_text("again");
}

static void test_a_nul_is_a_byte_like_others(void **state)
{
    (void)state;
    strbuf_put_bytes(&text, "a\0b", 3);
    strbuf_put_bytes(&text, "", 1);
    assert_int_equal(text.used, 4);
    assert_memory_equal(text.data, "a\0b\0", 4);
}

/* Around each size at which it grows, byte by byte and at once. */
static void test_pieces_of_every_size_are_whole(void **state)
{
    (void)state;
    static char large[3 << 13], expected[sizeof(large) * 2 + 2];
    memset(large, 'l', sizeof(large) - 1);
    for (size_t n = 4090; n < 4100; n++) {
        for (size_t more = 4090; more < 8200; more += more < 4100 ? 1 : 1000) {
            strbuf_clear(&text);
            strbuf_put_bytes(&text, large, n);
            strbuf_format(&text, "%.*s.", (int)more, large);
            snprintf(expected, sizeof(expected), "%.*s%.*s.", (int)n, large, (int)more, large);
            assert_text(expected);
            assert_true(text.used < text.capacity); /* there is room for vsnprintf()'s NUL */
        }
    }
    strbuf_clear(&text);
    for (size_t i = 0; i < sizeof(large) - 1; i++)
        strbuf_put(&text, "l");
    assert_text(large);
}

static void test_without_memory_the_rest_is_dropped_and_that_is_said(void **state)
{
    (void)state;
    static char large[100000];
    if (!CAN_FAIL)
        skip();
    memset(large, 'l', sizeof(large) - 1);
    strbuf_put(&text, "before");
    is_failing = true;
    strbuf_put(&text, large);
    assert_true(text.has_failed);
    strbuf_put(&text, "after");
    strbuf_format(&text, "%s", "after");
    is_failing = false;
    strbuf_put(&text, "after"); /* what is missing stays missing: no text with a hole */
    assert_true(text.has_failed);
    assert_int_equal(text.used, strlen("before"));
    assert_memory_equal(text.data, "before", text.used);
    strbuf_clear(&text);
    strbuf_put(&text, "anew");
    assert_text("anew");
}

static void test_how_long_a_character_is_and_what_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *string;
        size_t bytes;
    } cases[] = {
        {"", 0},
        {"a", 1},
        {"\x7f", 1},
        {"\xc3\xa9", 2},
        {"\xe2\x82\xac.", 3},
        {"\xf0\x9f\x90\x8d.", 4},
        {"\x80", 0}, /* a continuation */
        {"\xff", 0},
        {"\xc3", 0}, /* cut short */
        {"\xe2\x82", 0},
        {"\xf0\x9f\x90", 0},
        {"\xc3(", 0},
        {"\xc0\xaf", 0}, /* overlong */
        {"\xe0\x80\xaf", 0},
        {"\xed\xa0\x80", 0},     /* a surrogate */
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *exact = (char *)exact_copy(cases[i].string, strlen(cases[i].string) + 1);
        assert_int_equal(text_utf8_bytes(exact), cases[i].bytes);
        exact_free((uint8_t *)exact);
    }
}

#define TEST(function) cmocka_unit_test_teardown(function, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_put_comes_one_behind_the_other),
        TEST(test_a_nul_is_a_byte_like_others),
        TEST(test_pieces_of_every_size_are_whole),
        TEST(test_without_memory_the_rest_is_dropped_and_that_is_said),
        TEST(test_how_long_a_character_is_and_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
