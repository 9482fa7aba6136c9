/* The benchmark's client: what it sends is judged by the host's own parsers, and it must see every
 * byte that is wrong in a response.
 * links: bench/wire.c gate.c record.c scgi_head.c */
#include "unit.h"

#include "../bench/wire.h"
#include "protocol/gate.h"
#include "protocol/scgi_head.h"

static const char body[] = "Hello, world\n";
static const char cgi_response[] = "Status: 200 OK\r\nContent-Length: 13\r\n\r\nHello, world\n";
static const char http_response[] =
    "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 13\r\n\r\nHello, world\n";

static struct wire_exchange exchange_of(enum wire_protocol protocol, size_t upload_bytes)
{
    return (struct wire_exchange){protocol,         true, "/path", upload_bytes, body,
                                  sizeof(body) - 1, 200,  false};
}

/* The response, in two parts that are cut at every place, ends with the verdict and no sooner. */
static void assert_verdict(const struct wire_exchange *exchange, const struct bytes *input,
                           enum wire_verdict expected, const char *problem)
{
    bool ends_with_connection = exchange->protocol == WIRE_SCGI;
    for (size_t cut = 0; cut <= input->n; cut++) {
        struct wire_response response = {0};
        uint8_t *first = exact_copy(input->data, cut);
        uint8_t *second = exact_copy(input->data + cut, input->n - cut);
        enum wire_verdict verdict = wire_receive(&response, exchange, (char *)first, cut);
        if (verdict != WIRE_WRONG)
            verdict = cut < input->n
                          ? wire_receive(&response, exchange, (char *)second, input->n - cut)
                          : verdict;
        if (verdict == WIRE_MORE && (ends_with_connection || expected == WIRE_WRONG))
            verdict = wire_receive_end(&response, exchange);
        exact_free(first);
        exact_free(second);
        assert_int_equal(verdict, expected);
        if (problem != NULL)
            assert_string_equal(response.problem, problem);
    }
}

static void assert_cgi_verdict(const char *response, enum wire_verdict expected,
                               const char *problem)
{
    struct bytes scgi = {0}, fastcgi = {0};
    put_text(&scgi, response);
    put_record(&fastcgi, 6, 1, response, strlen(response), 3);
    put_record(&fastcgi, 6, 1, "", 0, 0);
    put_end_request(&fastcgi, 1, 0);
    struct wire_exchange exchange = exchange_of(WIRE_SCGI, 0);
    assert_verdict(&exchange, &scgi, expected, problem);
    exchange.protocol = WIRE_FASTCGI;
    assert_verdict(&exchange, &fastcgi, expected, problem);
    clear_bytes(&scgi);
    clear_bytes(&fastcgi);
}

static void test_fastcgi_requests_pass_the_gate(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 16384, 1 << 20};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct wire_exchange exchange = exchange_of(WIRE_FASTCGI, sizes[i]);
        size_t n;
        char *request = wire_build_request(&exchange, &n);
        assert_non_null(request);
        struct gate_limits limits = {65536, 1, 1u << ROLE_RESPONDER};
        struct gate_result result;
        assert_int_equal(gate_examine((uint8_t *)request, n, &limits, &result), GATE_WHOLE);
        assert_true(result.is_kept);
        assert_in_range(n - result.head_bytes, sizes[i] + 8, sizes[i] + 8 * (sizes[i] / 32768 + 3));
        free(request);
    }
}

static void test_a_long_value_has_a_long_length(void **state)
{
    (void)state;
    char path[300] = "/";
    memset(path + 1, 'p', sizeof(path) - 2);
    struct wire_exchange exchange = exchange_of(WIRE_FASTCGI, 0);
    exchange.path = path;
    size_t n;
    char *request = wire_build_request(&exchange, &n);
    assert_non_null(request);
    struct gate_limits limits = {65536, 1, 1u << ROLE_RESPONDER};
    struct gate_result result;
    assert_int_equal(gate_examine((uint8_t *)request, n, &limits, &result), GATE_WHOLE);
    free(request);
}

static void test_scgi_requests_are_read_by_the_host(void **state)
{
    (void)state;
    struct wire_exchange exchange = exchange_of(WIRE_SCGI, 100);
    size_t n;
    char *request = wire_build_request(&exchange, &n);
    assert_non_null(request);
    struct scgi_head head;
    assert_int_equal(scgi_head_parse((uint8_t *)request, n, 65536, &head), SCGI_WHOLE);
    assert_int_equal(head.content_length, 100);
    assert_int_equal(n - head.head_bytes, 100);
    assert_memory_equal(request + head.head_bytes, "abcdefghijklmnopqrstuvwxyzabcd", 30);
    free(request);
}

static size_t count_of(const char *text, size_t n, const char *wanted)
{
    size_t count = 0, length = strlen(wanted);
    for (size_t i = 0; i + length <= n; i++)
        count += memcmp(text + i, wanted, length) == 0;
    return count;
}

static void test_a_rich_request_has_30_headers_and_12_cookies(void **state)
{
    (void)state;
    struct wire_exchange exchange = exchange_of(WIRE_HTTP, 0);
    exchange.is_rich = true;
    size_t n;
    char *request = wire_build_request(&exchange, &n);
    assert_non_null(request);
    assert_int_equal(count_of(request, n, "\r\n"), 1 + 30 + 1);
    const char *cookies = strstr(request, "\r\nCookie: ") + 10;
    assert_int_equal(count_of(cookies, strcspn(cookies, "\r"), "; "), 12 - 1);
    free(request);
    exchange.protocol = WIRE_SCGI;
    request = wire_build_request(&exchange, &n);
    assert_int_equal(count_of(request, n, "HTTP_"), 30);
    assert_int_equal(count_of(request, n, "HTTP_SEC_CH_UA_MOBILE"), 1);
    free(request);
}

static void test_http_requests(void **state)
{
    (void)state;
    struct wire_exchange exchange = exchange_of(WIRE_HTTP, 3);
    size_t n;
    char *request = wire_build_request(&exchange, &n);
    assert_non_null(request);
    assert_memory_equal(request, "POST /path HTTP/1.1\r\nHost: localhost\r\n", 38);
    assert_memory_equal(request + n - 26, "\r\nContent-Length: 3\r\n\r\nabc", 26);
    free(request);
}

static void test_the_expected_response_is_whole(void **state)
{
    (void)state;
    assert_cgi_verdict(cgi_response, WIRE_WHOLE, NULL);
    assert_cgi_verdict("Content-Type: a\r\n\r\nHello, world\n", WIRE_WHOLE, NULL);
    struct bytes http = {0};
    put_text(&http, http_response);
    struct wire_exchange exchange = exchange_of(WIRE_HTTP, 0);
    assert_verdict(&exchange, &http, WIRE_WHOLE, NULL);
    clear_bytes(&http);
}

static void test_a_body_in_several_records(void **state)
{
    (void)state;
    static char large[70000];
    memset(large, 'x', sizeof(large));
    struct bytes input = {0};
    put_record(&input, 6, 1, "A: b\r\n\r\n", 8, 0);
    put_record(&input, 6, 1, large, 65535, 1);
    put_record(&input, 6, 1, large, sizeof(large) - 65535, 0);
    put_end_request(&input, 1, 0);
    struct wire_exchange exchange = exchange_of(WIRE_FASTCGI, 0);
    exchange.expected_body = large;
    exchange.expected_bytes = sizeof(large);
    struct wire_response response = {0};
    assert_int_equal(wire_receive(&response, &exchange, (char *)input.data, input.n), WIRE_WHOLE);
    clear_bytes(&input);
}

static void test_wrong_responses(void **state)
{
    (void)state;
    assert_cgi_verdict("Status: 500 No\r\n\r\nHello, world\n", WIRE_WRONG,
                       "another status than expected");
    assert_cgi_verdict("Content-Length: 12\r\n\r\nHello, world\n", WIRE_WRONG,
                       "another Content-Length than expected");
    assert_cgi_verdict("A: b\r\n\r\nHello, world", WIRE_WRONG, "a shorter body than expected");
    assert_cgi_verdict("A: b\r\n\r\nHello, world\n\n", WIRE_WRONG, "a longer body than expected");
    assert_cgi_verdict("A: b\r\n\r\nHello, World\n", WIRE_WRONG, "another body than expected");
    assert_cgi_verdict("A: b\r\nHello, world\n", WIRE_WRONG, "no whole head");
}

static void test_another_status_than_200_is_right_if_it_is_the_expected_one(void **state)
{
    (void)state;
    struct wire_exchange exchange = exchange_of(WIRE_SCGI, 0);
    exchange.expected_status = 404;
    struct bytes missing = {0}, found = {0};
    put_text(&missing, "Status: 404 Not Found\r\n\r\nHello, world\n");
    put_text(&found, "Content-Type: text/plain\r\n\r\nHello, world\n");
    assert_verdict(&exchange, &missing, WIRE_WHOLE, NULL);
    assert_verdict(&exchange, &found, WIRE_WRONG, "another status than expected");
    clear_bytes(&missing);
    clear_bytes(&found);
}

static void assert_http_problem(const char *text, const char *problem)
{
    struct bytes http = {0};
    put_text(&http, text);
    struct wire_exchange exchange = exchange_of(WIRE_HTTP, 0);
    assert_verdict(&exchange, &http, WIRE_WRONG, problem);
    clear_bytes(&http);
}

static void test_wrong_http_responses(void **state)
{
    (void)state;
    assert_http_problem("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 13\r\n\r\n",
                        "another status than expected");
    assert_http_problem("HTTP/1.1 200 OK\r\n\r\n", "no Content-Length");
    assert_http_problem("Status: 200\r\nContent-Length: 13\r\n\r\n", "not an HTTP response");
    assert_http_problem("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world",
                        "the connection ended before the response did");
}

static void test_a_head_without_an_end(void **state)
{
    (void)state;
    struct bytes input = {0};
    put_fill(&input, 'x', WIRE_HEAD_BYTES + 100);
    struct wire_exchange exchange = exchange_of(WIRE_SCGI, 0);
    struct wire_response response = {0};
    assert_int_equal(wire_receive(&response, &exchange, (char *)input.data, input.n), WIRE_WRONG);
    clear_bytes(&input);
}

/* A whole response with a record put in, or behind it. */
static void assert_record_problem(int type, int id, const char *content, size_t n,
                                  const char *problem)
{
    struct bytes input = {0};
    put_record(&input, 6, 1, cgi_response, sizeof(cgi_response) - 1, 0);
    put_record(&input, type, id, content, n, 5);
    struct wire_exchange exchange = exchange_of(WIRE_FASTCGI, 0);
    assert_verdict(&exchange, &input, WIRE_WRONG, problem);
    clear_bytes(&input);
}

static void test_wrong_records(void **state)
{
    (void)state;
    const char *other_type = "a record of another type than STDOUT and END_REQUEST";
    assert_record_problem(7, 1, "oops", 4, other_type);
    assert_record_problem(9, 1, "", 0, other_type);
    assert_record_problem(6, 2, "", 0, "not a record of the request");
    assert_record_problem(6, 257, "", 0, "not a record of the request");
    assert_record_problem(6, 1, "x", 1, "a longer body than expected");
    assert_record_problem(3, 1, "1234567", 7, "an END_REQUEST of another length than 8");
    assert_record_problem(3, 1, "\0\0\0\0\1\0\0", 8, "the request was refused");
    assert_record_problem(6, 1, "", 0, "the connection ended before the response did");
}

static void test_nothing_comes_after_the_end(void **state)
{
    (void)state;
    struct bytes input = {0};
    put_record(&input, 6, 1, cgi_response, sizeof(cgi_response) - 1, 0);
    put_end_request(&input, 1, 0);
    put_bytes(&input, "\1", 1);
    struct wire_exchange exchange = exchange_of(WIRE_FASTCGI, 0);
    assert_verdict(&exchange, &input, WIRE_WRONG, "bytes after END_REQUEST");
    clear_bytes(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fastcgi_requests_pass_the_gate),
        cmocka_unit_test(test_a_long_value_has_a_long_length),
        cmocka_unit_test(test_scgi_requests_are_read_by_the_host),
        cmocka_unit_test(test_a_rich_request_has_30_headers_and_12_cookies),
        cmocka_unit_test(test_http_requests),
        cmocka_unit_test(test_the_expected_response_is_whole),
        cmocka_unit_test(test_a_body_in_several_records),
        cmocka_unit_test(test_wrong_responses),
        cmocka_unit_test(test_another_status_than_200_is_right_if_it_is_the_expected_one),
        cmocka_unit_test(test_wrong_http_responses),
        cmocka_unit_test(test_a_head_without_an_end),
        cmocka_unit_test(test_wrong_records),
        cmocka_unit_test(test_nothing_comes_after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
