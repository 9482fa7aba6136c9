/* links: scgi_head.c */
#include "unit.h"

#include "protocol/scgi_head.h"

enum { HEAD_BYTES = 65536 };

/* The example of the specification. */
static const char example[] = "70:CONTENT_LENGTH\00027\0SCGI\0001\0REQUEST_METHOD\0POST\0"
                              "REQUEST_URI\0/deepthought\0,What is the answer to life?";
enum { EXAMPLE_HEAD_BYTES = 74 };

/* The pairs of head point into memory that is gone. */
static enum scgi_verdict parse(const char *bytes, size_t n, size_t max_bytes,
                               struct scgi_head *head)
{
    uint8_t *copy = exact_copy(bytes, n);
    memset(head, 0xaa, sizeof(*head));
    enum scgi_verdict verdict = scgi_head_parse(copy, n, max_bytes, head);
    if (verdict == SCGI_WHOLE) {
        assert_in_range(head->head_bytes, 3, n);
        assert_true((const uint8_t *)head->pairs > copy);
        assert_true((const uint8_t *)head->pairs + head->pairs_bytes + 1 ==
                    copy + head->head_bytes);
        const char *p = head->pairs, *end = p + head->pairs_bytes;
        while (p < end)
            scgi_head_next(&p);
        assert_ptr_equal(p, end);
    }
    exact_free(copy);
    if (verdict == SCGI_REFUSE)
        assert_non_null(head->reason);
    else
        assert_null(head->reason);
    return verdict;
}

static void put_netstring(struct bytes *bytes, const char *content, size_t n)
{
    char length[24];
    snprintf(length, sizeof(length), "%zu:", n);
    put_text(bytes, length);
    put_bytes(bytes, content, n);
    put_text(bytes, ",");
}

static void test_the_specification_s_example(void **state)
{
    (void)state;
    struct scgi_head head;
    assert_int_equal(parse(example, sizeof(example) - 1, HEAD_BYTES, &head), SCGI_WHOLE);
    assert_int_equal(head.head_bytes, EXAMPLE_HEAD_BYTES);
    assert_int_equal(head.pairs_bytes, 70);
    assert_int_equal(head.content_length, 27);
    assert_int_equal(sizeof(example) - 1 - head.head_bytes, head.content_length);
}

static void test_the_pairs_come_one_after_the_other(void **state)
{
    (void)state;
    static const char *const expected[][2] = {{"CONTENT_LENGTH", "27"},
                                              {"SCGI", "1"},
                                              {"REQUEST_METHOD", "POST"},
                                              {"REQUEST_URI", "/deepthought"}};
    uint8_t *copy = exact_copy(example, EXAMPLE_HEAD_BYTES);
    struct scgi_head head;
    assert_int_equal(scgi_head_parse(copy, EXAMPLE_HEAD_BYTES, HEAD_BYTES, &head), SCGI_WHOLE);
    const char *p = head.pairs;
    for (size_t i = 0; i < COUNT(expected); i++) {
        struct scgi_pair pair = scgi_head_next(&p);
        assert_string_equal(pair.name, expected[i][0]);
        assert_string_equal(pair.value, expected[i][1]);
        assert_int_equal(pair.name_bytes, strlen(pair.name));
        assert_int_equal(pair.value_bytes, strlen(pair.value));
    }
    assert_ptr_equal(p, head.pairs + head.pairs_bytes);
    exact_free(copy);
}

static void test_every_shorter_head_wants_more(void **state)
{
    (void)state;
    struct scgi_head head;
    for (size_t n = 0; n < EXAMPLE_HEAD_BYTES; n++)
        assert_int_equal(parse(example, n, HEAD_BYTES, &head), SCGI_MORE);
    for (size_t n = EXAMPLE_HEAD_BYTES; n < sizeof(example); n++) {
        assert_int_equal(parse(example, n, HEAD_BYTES, &head), SCGI_WHOLE);
        assert_int_equal(head.head_bytes, EXAMPLE_HEAD_BYTES);
    }
}

static void assert_refused(const char *bytes, size_t n, const char *reason)
{
    struct scgi_head head;
    enum scgi_verdict verdict = parse(bytes, n, HEAD_BYTES, &head);
    if (verdict != SCGI_REFUSE)
        fail_msg("\"%.*s\" passes", (int)n, bytes);
    if (strstr(head.reason, reason) == NULL)
        fail_msg("\"%.*s\": \"%s\" has no \"%s\"", (int)n, bytes, head.reason, reason);
}

static void test_lengths_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *reason;
    } rows[] = {
        {":", "not a netstring"},
        {",", "not a netstring"},
        {"-1:", "not a netstring"},
        {"+1:", "not a netstring"},
        {" 1:", "not a netstring"},
        {"1 :", "not a netstring"},
        {"0x10:", "not a netstring"},
        {"12;", "not a netstring"},
        {"12,", "not a netstring"},
        {"GET / HTTP/1.0\r\n", "not a netstring"},
        {"00", "begins with 0"},
        {"00:,", "begins with 0"},
        {"070:", "begins with 0"},
        {"00000001:", "begins with 0"},
        {"0:,", "NUL"},
        {"0:x", "comma"},
        {"99999999:", "request_head"},
        {"99999999", "request_head"},
        {"4294967295:", "8 digits"},
        {"18446744073709551615:", "8 digits"},
        {"000000000", "8 digits"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_refused(rows[i].bytes, strlen(rows[i].bytes), rows[i].reason);
}

static void test_lengths_that_never_fit_are_refused_without_a_limit_too(void **state)
{
    (void)state;
    struct scgi_head head;
    assert_int_equal(parse("99999999:", 9, SIZE_MAX, &head), SCGI_MORE);
    assert_int_equal(parse("100000000", 9, SIZE_MAX, &head), SCGI_REFUSE);
    assert_non_null(strstr(head.reason, "8 digits"));
    assert_int_equal(parse("18446744073709551615:", 21, SIZE_MAX, &head), SCGI_REFUSE);
}

static void test_the_head_is_refused_as_soon_as_its_length_is_beyond_the_limit(void **state)
{
    (void)state;
    struct scgi_head head;
    assert_int_equal(parse(example, sizeof(example) - 1, EXAMPLE_HEAD_BYTES, &head), SCGI_WHOLE);
    for (size_t n = 2; n < sizeof(example); n++) {
        assert_int_equal(parse(example, n, EXAMPLE_HEAD_BYTES - 1, &head), SCGI_REFUSE);
        assert_non_null(strstr(head.reason, "request_head"));
    }
    assert_int_equal(parse(example, 1, EXAMPLE_HEAD_BYTES - 1, &head), SCGI_MORE);
}

static void test_a_netstring_ends_with_a_comma(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char copy[EXAMPLE_HEAD_BYTES];
        memcpy(copy, example, EXAMPLE_HEAD_BYTES);
        copy[EXAMPLE_HEAD_BYTES - 1] = (char)byte;
        if (byte != ',')
            assert_refused(copy, EXAMPLE_HEAD_BYTES, "comma");
    }
}

/* The content of a netstring, and what is wrong with it; NULL: nothing. */
struct content_row {
    const char *content;
    size_t n;
    const char *reason;
};

#define ROW(content, reason)                                                                       \
    {                                                                                              \
        content, sizeof(content) - 1, reason                                                       \
    }

static void assert_contents(const struct content_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes input = {0};
        put_netstring(&input, rows[i].content, rows[i].n);
        struct scgi_head head;
        for (size_t n = 0; n < input.n; n++)
            assert_int_equal(parse((const char *)input.data, n, HEAD_BYTES, &head), SCGI_MORE);
        if (rows[i].reason != NULL)
            assert_refused((const char *)input.data, input.n, rows[i].reason);
        else
            assert_int_equal(parse((const char *)input.data, input.n, HEAD_BYTES, &head),
                             SCGI_WHOLE);
        clear_bytes(&input);
    }
}

static void test_strings_that_are_no_pairs(void **state)
{
    (void)state;
    static const struct content_row rows[] = {
        ROW("x", "NUL"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001", "NUL"),
        ROW("CONTENT_LENGTH", "NUL"),
        ROW("\0", "without a value"),
        ROW("CONTENT_LENGTH\0", "without a value"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0", "without a value"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0\0", "without a value"),
        ROW("\0\0", "CONTENT_LENGTH"),
        ROW("\0\0\0\0", "CONTENT_LENGTH"),
        ROW("\0000\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0\0\0", "without a name"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0\0value\0", "without a name"),
        ROW("CONTENT_LENGTH\0000\0\0value\0SCGI\0001\0", "without a name"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0N\0\0", NULL),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0N=M\0=\0", NULL),
    };
    assert_contents(rows, COUNT(rows));
}

static void test_content_length_comes_first_and_is_a_number(void **state)
{
    (void)state;
    static const struct content_row rows[] = {
        ROW("SCGI\0001\0CONTENT_LENGTH\0000\0", "CONTENT_LENGTH"),
        ROW("SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("content_length\0000\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTHS\0000\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0-1\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0+1\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0 1\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0001 \0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0001,1\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0000x1\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0001000000000000000000\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\00099999999999999999999999\0SCGI\0001\0", "CONTENT_LENGTH"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0CONTENT_LENGTH\0001\0", "twice"),
        ROW("CONTENT_LENGTH\0000\0CONTENT_LENGTH\0\0SCGI\0001\0", "twice"),
        ROW("CONTENT_LENGTH\0005\0SCGI\0001\0CONTENT_LENGTH\0005\0", NULL),
    };
    assert_contents(rows, COUNT(rows));
}

static void test_content_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t length;
    } rows[] = {{"0", 0},
                {"1", 1},
                {"007", 7},
                {"20971520", 20971520},
                {"4294967296", 4294967296},
                {"999999999999999999", 999999999999999999}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes content = {0}, input = {0};
        put_bytes(&content, "CONTENT_LENGTH", 15);
        put_bytes(&content, rows[i].text, strlen(rows[i].text) + 1);
        put_bytes(&content, "SCGI\0001", 7);
        put_netstring(&input, (const char *)content.data, content.n);
        struct scgi_head head;
        assert_int_equal(parse((const char *)input.data, input.n, HEAD_BYTES, &head), SCGI_WHOLE);
        assert_int_equal(head.content_length, rows[i].length);
        clear_bytes(&content);
        clear_bytes(&input);
    }
}

static void test_scgi_is_there_once_and_1(void **state)
{
    (void)state;
    static const struct content_row rows[] = {
        ROW("CONTENT_LENGTH\0000\0", "no SCGI"),
        ROW("CONTENT_LENGTH\0000\0scgi\0001\0", "no SCGI"),
        ROW("CONTENT_LENGTH\0000\0N\0SCGI\0", "no SCGI"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0\0", "not 1"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0002\0", "not 1"),
        ROW("CONTENT_LENGTH\0000\0SCGI\00011\0", "not 1"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0SCGI\0001\0", "not 1"),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0SCGI\0002\0", "not 1"),
        ROW("CONTENT_LENGTH\0000\0N\0v\0SCGI\0001\0", NULL),
        ROW("CONTENT_LENGTH\0000\0SCGI\0001\0", NULL),
    };
    assert_contents(rows, COUNT(rows));
}

static void test_many_headers(void **state)
{
    (void)state;
    struct bytes content = {0}, input = {0};
    put_bytes(&content, "CONTENT_LENGTH\0000\0SCGI\0001", 24);
    for (int i = 0; i < 4000; i++) {
        char pair[32];
        int n = snprintf(pair, sizeof(pair), "HTTP_X%d%cv", i, 0);
        put_bytes(&content, pair, (size_t)n + 1);
    }
    put_netstring(&input, (const char *)content.data, content.n);
    struct scgi_head head;
    assert_int_equal(parse((const char *)input.data, input.n, SIZE_MAX, &head), SCGI_WHOLE);
    assert_int_equal(head.pairs_bytes, content.n);
    clear_bytes(&content);
    clear_bytes(&input);
}

static void test_random_changes_of_a_good_head(void **state)
{
    (void)state;
    uint32_t seed = 987;
    size_t verdicts[3] = {0};
    for (int round = 0; round < 100000; round++) {
        char copy[sizeof(example)];
        memcpy(copy, example, sizeof(example));
        static const char bytes[] = "\0\0\0,:0129=CS\xff";
        for (uint32_t i = next_random(&seed) % 5; i > 0; i--)
            copy[next_random(&seed) % EXAMPLE_HEAD_BYTES] =
                bytes[next_random(&seed) % sizeof(bytes)];
        struct scgi_head head;
        size_t n = next_random(&seed) % 4 == 0 ? next_random(&seed) % sizeof(example)
                                               : sizeof(example) - 1;
        verdicts[parse(copy, n, HEAD_BYTES, &head)]++;
    }
    for (size_t i = 0; i < COUNT(verdicts); i++)
        assert_in_range(verdicts[i], 100, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_specification_s_example),
        cmocka_unit_test(test_the_pairs_come_one_after_the_other),
        cmocka_unit_test(test_every_shorter_head_wants_more),
        cmocka_unit_test(test_lengths_that_are_none),
        cmocka_unit_test(test_lengths_that_never_fit_are_refused_without_a_limit_too),
        cmocka_unit_test(test_the_head_is_refused_as_soon_as_its_length_is_beyond_the_limit),
        cmocka_unit_test(test_a_netstring_ends_with_a_comma),
        cmocka_unit_test(test_strings_that_are_no_pairs),
        cmocka_unit_test(test_content_length_comes_first_and_is_a_number),
        cmocka_unit_test(test_content_lengths),
        cmocka_unit_test(test_scgi_is_there_once_and_1),
        cmocka_unit_test(test_many_headers),
        cmocka_unit_test(test_random_changes_of_a_good_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
