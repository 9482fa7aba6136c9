/* links: error_page.c response.c */
#include "unit.h"

#include "http/error_page.h"
#include "http/response.h"

static struct response response;

static int set_up(void **state)
{
    (void)state;
    memset(&response, 0, sizeof(response));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    response_clear(&response);
    return 0;
}

static void assert_head(const char *expected)
{
    assert_int_equal(response.head_bytes, strlen(expected));
    assert_memory_equal(response.head, expected, strlen(expected));
}

static void test_each_page_has_an_error_status_and_one_line_of_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ERROR_PAGES; i++) {
        const char *status = error_page_status((enum error_page)i);
        const char *text = error_page_text((enum error_page)i);
        assert_non_null(status);
        assert_non_null(text);
        assert_in_range(strtoul(status, NULL, 10), 400, 599);
        assert_true(strlen(status) > 4 && status[3] == ' ');
        assert_true(strlen(text) > 1);
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    }
}

static void test_a_page_is_plain_text_of_its_own_length(void **state)
{
    (void)state;
    response_set_page(&response, "404 Not Found", "Nothing is here.\n");
    assert_head("Status: 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 17\r\n");
    assert_int_equal(response.status, 404);
    assert_true(response.is_hosts_own); /* so that the log does not blame the application */
}

static void test_an_empty_page_has_the_length_0(void **state)
{
    (void)state;
    response_set_page(&response, "500 Internal Server Error", "");
    assert_int_equal(response.content_length, 0);
}

static void test_the_page_replaces_the_head_of_the_application(void **state)
{
    (void)state;
    response_set_status(&response, "200 OK", 6);
    response_add_header(&response, "Set-Cookie", 10, "a=b", 3);
    response_add_header(&response, "Content-Length", 14, "5", 1);
    response_set_page(&response, "504 Gateway Timeout", "Late.\n");
    assert_head("Status: 504 Gateway Timeout\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 6\r\n");
}

static void test_a_503_says_when_to_try_again(void **state)
{
    (void)state;
    response.retry_after_s = 30;
    response_set_page(&response, "503 Service Unavailable", "x");
    assert_head("Status: 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 1\r\nRetry-After: 30\r\n");
}

static void test_a_503_of_unknown_length_asks_for_a_second(void **state)
{
    (void)state;
    response_set_page(&response, "503 Service Unavailable", "x");
    assert_non_null(memmem(response.head, response.head_bytes, "Retry-After: 1\r\n", 16));
}

static void test_only_a_503_says_when_to_try_again(void **state)
{
    (void)state;
    response.retry_after_s = 30;
    response_set_page(&response, "500 Internal Server Error", "x");
    assert_null(memmem(response.head, response.head_bytes, "Retry-After", 11));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_page_has_an_error_status_and_one_line_of_text),
        TEST(test_a_page_is_plain_text_of_its_own_length),
        TEST(test_an_empty_page_has_the_length_0),
        TEST(test_the_page_replaces_the_head_of_the_application),
        TEST(test_a_503_says_when_to_try_again),
        TEST(test_a_503_of_unknown_length_asks_for_a_second),
        TEST(test_only_a_503_says_when_to_try_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
