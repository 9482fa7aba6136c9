/* links: request_id.c request.c request_body.c spool.c descriptors.c arena.c reply.c
 * response.c fork.c log_line.c */
#include "unit.h"

#include "http/request.h"
#include "http/request_id.h"

static struct request *request;

static int set_up(void **state)
{
    (void)state;
    request = request_new();
    return request != NULL ? request_id_seed() : -1;
}

static int tear_down(void **state)
{
    (void)state;
    request_free(request);
    return 0;
}

static const char *id_of(const char *name, const char *value)
{
    request_reset(request);
    assert_int_equal(request_add_param(request, name, strlen(name), value, strlen(value)), 0);
    return request_id(request);
}

static bool is_made(const char *id)
{
    return strlen(id) == REQUEST_ID_MADE_BYTES &&
           strspn(id, "0123456789abcdef") == REQUEST_ID_MADE_BYTES;
}

static void test_the_web_server_s_own_is_used(void **state)
{
    (void)state;
    char longest[REQUEST_ID_BYTES_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[REQUEST_ID_BYTES_MAX] = '\0';
    assert_string_equal(id_of("HTTP_X_REQUEST_ID", "a"), "a");
    assert_string_equal(id_of("HTTP_X_REQUEST_ID", "Root=1-67891233-abcdef012345678912345678"),
                        "Root=1-67891233-abcdef012345678912345678");
    assert_string_equal(id_of("HTTP_X_REQUEST_ID", longest), longest);
}

static void test_one_that_is_not_fit_for_a_line_of_the_log_is_not_used(void **state)
{
    (void)state;
    char long_one[REQUEST_ID_BYTES_MAX + 2];
    memset(long_one, 'x', sizeof(long_one));
    long_one[REQUEST_ID_BYTES_MAX + 1] = '\0';
    assert_true(is_made(id_of("HTTP_X_REQUEST_ID", "")));
    assert_true(is_made(id_of("HTTP_X_REQUEST_ID", "a b")));
    assert_true(is_made(id_of("HTTP_X_REQUEST_ID", "a\nb")));
    assert_true(is_made(id_of("HTTP_X_REQUEST_ID", "a\x7f")));
    assert_true(is_made(id_of("HTTP_X_REQUEST_ID", "caf\xc3\xa9")));
    assert_true(is_made(id_of("HTTP_X_REQUEST_ID", long_one)));
}

static void test_of_a_traceparent_it_is_the_trace_id(void **state)
{
    (void)state;
    const char *trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_string_equal(
        id_of("HTTP_TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        trace);
    assert_string_equal(
        id_of("HTTP_TRACEPARENT", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"),
        trace);
}

static void test_a_traceparent_that_is_none_is_not_used(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
    };
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_true(is_made(id_of("HTTP_TRACEPARENT", wrong[i])));
}

static void test_x_request_id_comes_before_traceparent(void **state)
{
    (void)state;
    const char *parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request_add_param(request, "HTTP_TRACEPARENT", 16, parent, strlen(parent));
    request_add_param(request, "HTTP_X_REQUEST_ID", 17, "mine", 4);
    assert_string_equal(request_id(request), "mine");
}

static void test_each_request_has_one_of_its_own_and_keeps_it(void **state)
{
    (void)state;
    char seen[100][REQUEST_ID_MADE_BYTES + 1];
    for (size_t i = 0; i < COUNT(seen); i++) {
        request_reset(request);
        const char *id = request_id(request);
        assert_true(is_made(id));
        assert_ptr_equal(request_id(request), id);
        memcpy(seen[i], id, sizeof(seen[i]));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(seen[i], seen[j]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_web_server_s_own_is_used),
        TEST(test_one_that_is_not_fit_for_a_line_of_the_log_is_not_used),
        TEST(test_of_a_traceparent_it_is_the_trace_id),
        TEST(test_a_traceparent_that_is_none_is_not_used),
        TEST(test_x_request_id_comes_before_traceparent),
        TEST(test_each_request_has_one_of_its_own_and_keeps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
