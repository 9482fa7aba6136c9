/* links: http_head.c */
#include "unit.h"

#include "protocol/http_head.h"

enum { MAX_BYTES = 1000 };

static enum http_verdict parse(const char *text, size_t n, struct http_head *head)
{
    uint8_t *copy = exact_copy(text, n);
    enum http_verdict verdict = http_head_parse(copy, n, MAX_BYTES, head);
    if (verdict == HTTP_WHOLE) {
        /* For the caller, who has the same bytes. */
        head->method = text + ((const uint8_t *)head->method - copy);
        head->target = text + ((const uint8_t *)head->target - copy);
    }
    exact_free(copy);
    return verdict;
}

static void assert_refused(const char *text, size_t n)
{
    struct http_head head;
    if (parse(text, n, &head) != HTTP_REFUSE)
        fail_msg("not refused: %.*s", (int)n, text);
    assert_non_null(head.reason);
}

static void test_a_request_line_gives_method_and_target_and_headers_are_skipped(void **state)
{
    (void)state;
    static const char text[] =
        "GET /status?format=json HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\nrest";
    struct http_head head;
    assert_int_equal(parse(text, sizeof(text) - 1, &head), HTTP_WHOLE);
    assert_int_equal(head.head_bytes, sizeof(text) - 1 - 4);
    assert_int_equal(head.method_bytes, 3);
    assert_memory_equal(head.method, "GET", 3);
    assert_int_equal(head.target_bytes, strlen("/status?format=json"));
    assert_memory_equal(head.target, "/status?format=json", head.target_bytes);
}

static void test_every_prefix_of_a_head_waits_for_more(void **state)
{
    (void)state;
    static const char *const heads[] = {"GET / HTTP/1.0\r\n\r\n", "HEAD /a HTTP/1.1\nA: b\n\n",
                                        "GET * HTTP/1.1\r\nA: b\r\n\n"};
    struct http_head head;
    for (size_t i = 0; i < COUNT(heads); i++) {
        for (size_t n = 0; n < strlen(heads[i]); n++)
            assert_int_equal(parse(heads[i], n, &head), HTTP_MORE);
        assert_int_equal(parse(heads[i], strlen(heads[i]), &head), HTTP_WHOLE);
    }
}

static void test_what_is_no_http_1_request_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"get / HTTP/1.1\r\n\r\n",
                                        "GET  HTTP/1.1\r\n\r\n",
                                        "GET /\r\n\r\n",
                                        "GET / HTTP/2.0\r\n\r\n",
                                        "GET / HTTP/1.1 x\r\n\r\n",
                                        "GET / HTTP/1.\r\n\r\n",
                                        "GET / x\r\n\r\n",
                                        "ABCDEFGHIJKLMNOPQ / HTTP/1.1",
                                        "G\x01",
                                        "\n\n",
                                        " / HTTP/1.1\r\n\r\n"};
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_refused(texts[i], strlen(texts[i]));
    assert_refused("GET /\0a HTTP/1.1\r\n\r\n", 21);
}

static void test_a_head_that_is_too_long_is_refused_before_it_ends(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    struct http_head head;
    put_text(&bytes, "GET / HTTP/1.1\r\nA: ");
    put_fill(&bytes, 'a', MAX_BYTES - bytes.n);
    assert_int_equal(parse((const char *)bytes.data, bytes.n, &head), HTTP_MORE);
    put_fill(&bytes, 'a', 1);
    assert_refused((const char *)bytes.data, bytes.n);
    clear_bytes(&bytes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_line_gives_method_and_target_and_headers_are_skipped),
        cmocka_unit_test(test_every_prefix_of_a_head_waits_for_more),
        cmocka_unit_test(test_what_is_no_http_1_request_is_refused),
        cmocka_unit_test(test_a_head_that_is_too_long_is_refused_before_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
