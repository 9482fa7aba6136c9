/* links: gate.c record.c */
#include "unit.h"

#include "protocol/gate.h"

enum { ID = 7, OTHER_ID = 8, HEAD_BYTES = 4096 };

static const struct gate_limits limits = {
    .head_bytes = HEAD_BYTES, .max_connections = 511, .roles = 1u << ROLE_RESPONDER};

/* Looks at a copy behind which nothing can be read. The reason, if there is one, is static. */
static enum gate_verdict examine_within(const struct bytes *input, const struct gate_limits *within,
                                        struct gate_result *result)
{
    uint8_t *copy = exact_copy(input->data, input->n);
    memset(result, 0xaa, sizeof(*result));
    enum gate_verdict verdict = gate_examine(copy, input->n, within, result);
    exact_free(copy);
    assert_true(result->reply_bytes <= RECORD_REPLY_BYTES);
    if (verdict == GATE_WHOLE) {
        assert_in_range(result->head_bytes, 1, input->n);
        assert_int_equal(result->reply_bytes, 0);
    }
    if (verdict == GATE_CUT) {
        assert_in_range(result->cut_bytes, RECORD_HEADER_BYTES, input->n);
        assert_true(result->cut_offset <= input->n - result->cut_bytes);
    }
    if (verdict == GATE_REFUSE)
        assert_non_null(result->reason);
    return verdict;
}

static enum gate_verdict examine(const struct bytes *input, struct gate_result *result)
{
    return examine_within(input, &limits, result);
}

static void cut_out(struct bytes *input, size_t offset, size_t n)
{
    memmove(input->data + offset, input->data + offset + n, input->n - offset - n);
    input->n -= n;
}

/* Does what the connection's owner does: cuts, keeps the replies, and looks again. */
static enum gate_verdict pass(struct bytes *input, struct gate_result *result,
                              struct bytes *replies)
{
    for (;;) {
        enum gate_verdict verdict = examine(input, result);
        if (verdict != GATE_CUT)
            return verdict;
        put_bytes(replies, result->reply, result->reply_bytes);
        cut_out(input, result->cut_offset, result->cut_bytes);
        if (result->is_last)
            return verdict;
    }
}

static void assert_refused(const struct bytes *input, const char *reason)
{
    struct gate_result result;
    assert_int_equal(examine(input, &result), GATE_REFUSE);
    if (strstr(result.reason, reason) == NULL)
        fail_msg("\"%s\" has no \"%s\"", result.reason, reason);
}

static void assert_more(const struct bytes *input)
{
    struct gate_result result;
    assert_int_equal(examine(input, &result), GATE_MORE);
}

static void assert_whole(const struct bytes *input, size_t head_bytes)
{
    struct gate_result result;
    assert_int_equal(examine(input, &result), GATE_WHOLE);
    assert_int_equal(result.head_bytes, head_bytes);
}

/* Every shorter one wants more, this one is whole, and so it is with anything behind it. */
static void assert_good_head(const struct bytes *head)
{
    struct bytes input = {0};
    for (size_t n = 0; n < head->n; n++) {
        input.n = 0;
        put_bytes(&input, head->data, n);
        assert_more(&input);
    }
    input.n = 0;
    put_bytes(&input, head->data, head->n);
    assert_whole(&input, head->n);
    put_record(&input, RECORD_STDIN, ID, "body", 4, 0);
    assert_whole(&input, head->n);
    put_fill(&input, 0xff, 20);
    assert_whole(&input, head->n);
    clear_bytes(&input);
}

static void put_some_parameters(struct bytes *bytes)
{
    char value[141];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    put_pair(bytes, "A", "b");
    put_pair(bytes, "HTTP_X", value); /* a length of four bytes */
    put_pair(bytes, "QUERY_STRING", "");
    put_pair(bytes, "", "");
    put_pair(bytes, "Q", "a=b=c");
}

/* The parameters in records of at most size bytes, each with some padding. */
static struct bytes make_head(const struct bytes *parameters, size_t size, size_t padding)
{
    struct bytes head = {0};
    put_begin(&head, ID, ROLE_RESPONDER, 1);
    for (size_t p = 0; p < parameters->n;) {
        size_t n = parameters->n - p < size ? parameters->n - p : size;
        put_record(&head, RECORD_PARAMS, ID, parameters->data + p, n, padding);
        p += n;
    }
    put_record(&head, RECORD_PARAMS, ID, "", 0, padding);
    return head;
}

static struct bytes make_good_head(void)
{
    struct bytes parameters = {0};
    put_some_parameters(&parameters);
    struct bytes head = make_head(&parameters, SIZE_MAX, 3);
    clear_bytes(&parameters);
    return head;
}

static void test_a_good_head_is_whole_at_its_end_and_not_before(void **state)
{
    (void)state;
    struct bytes head = make_good_head();
    assert_good_head(&head);
    clear_bytes(&head);
}

static void test_a_head_without_parameters(void **state)
{
    (void)state;
    struct bytes none = {0};
    struct bytes head = make_head(&none, 1, 255);
    assert_good_head(&head);
    clear_bytes(&head);
}

static void test_what_the_begin_record_says(void **state)
{
    (void)state;
    for (int flags = 0; flags < 256; flags++) {
        struct bytes head = {0};
        put_begin(&head, 0xfedc, ROLE_RESPONDER, flags);
        put_record(&head, RECORD_PARAMS, 0xfedc, "", 0, 0);
        struct gate_result result;
        assert_int_equal(examine(&head, &result), GATE_WHOLE);
        assert_int_equal(result.id, 0xfedc);
        assert_int_equal(result.role, ROLE_RESPONDER);
        assert_int_equal(result.is_kept, flags & 1);
        clear_bytes(&head);
    }
}

static void test_parameters_in_records_of_every_size(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_some_parameters(&parameters);
    for (size_t size = 1; size <= parameters.n; size++) {
        for (size_t padding = 0; padding < 2; padding++) {
            struct bytes head = make_head(&parameters, size, 7 * padding);
            assert_whole(&head, head.n);
            head.n--;
            assert_more(&head);
            clear_bytes(&head);
        }
    }
    struct bytes head = make_head(&parameters, 1, 1);
    assert_good_head(&head);
    clear_bytes(&head);
    clear_bytes(&parameters);
}

static void test_parameters_are_counted(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    for (size_t count = 0; count < 40; count++) {
        struct bytes head = make_head(&parameters, 100, 0);
        struct gate_result result;
        assert_int_equal(examine(&head, &result), GATE_WHOLE);
        assert_int_equal(result.param_count, count);
        clear_bytes(&head);
        put_pair(&parameters, count % 2 ? "N" : "", count % 3 ? "v" : "");
    }
    clear_bytes(&parameters);
}

static void test_parameters_in_three_records_split_anywhere(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "NAME", "value");
    size_t four_byte_length = parameters.n;
    put_bytes(&parameters, "\x80\0\0\1\x80\0\0\2", 8);
    put_text(&parameters, "Nvv");
    assert_true(parameters.n > four_byte_length);
    for (size_t i = 1; i < parameters.n - 1; i++) {
        for (size_t j = i + 1; j < parameters.n; j++) {
            struct bytes head = {0};
            put_begin(&head, ID, ROLE_RESPONDER, 0);
            put_record(&head, RECORD_PARAMS, ID, parameters.data, i, 1);
            put_record(&head, RECORD_PARAMS, ID, parameters.data + i, j - i, 0);
            put_record(&head, RECORD_PARAMS, ID, parameters.data + j, parameters.n - j, 255);
            put_record(&head, RECORD_PARAMS, ID, "", 0, 0);
            assert_whole(&head, head.n);
            clear_bytes(&head);
        }
    }
    clear_bytes(&parameters);
}

static void test_a_begin_record_with_padding(void **state)
{
    (void)state;
    struct bytes head = {0};
    put_record(&head, RECORD_BEGIN_REQUEST, ID, "\0\1\0\0\0\0\0\0", 8, 255);
    put_record(&head, RECORD_PARAMS, ID, "\1\1Nv", 4, 255);
    put_record(&head, RECORD_PARAMS, ID, "", 0, 255);
    assert_good_head(&head);
    clear_bytes(&head);
}

static void test_the_largest_head_passes_and_one_byte_more_does_not(void **state)
{
    (void)state;
    struct bytes parameters = {0}, value = {0};
    /* A begin record, two headers, a length of one byte and one of four, a name of one. */
    put_fill(&value, 'v', HEAD_BYTES - 16 - 8 - 8 - 1 - 4 - 1);
    put_bytes(&value, "", 1);
    put_pair(&parameters, "N", (const char *)value.data);
    struct bytes head = make_head(&parameters, SIZE_MAX, 0);
    assert_int_equal(head.n, HEAD_BYTES);
    assert_whole(&head, HEAD_BYTES);
    struct gate_limits smaller = limits;
    smaller.head_bytes--;
    struct gate_result result;
    assert_int_equal(examine_within(&head, &smaller, &result), GATE_REFUSE);
    assert_non_null(strstr(result.reason, "request_head"));
    clear_bytes(&head);
    clear_bytes(&parameters);
    clear_bytes(&value);
}

static void test_a_head_too_large_is_refused_before_its_bytes_have_come(void **state)
{
    (void)state;
    struct bytes head = {0}, content = {0};
    put_begin(&head, ID, ROLE_RESPONDER, 1);
    put_fill(&content, 'x', 65535);
    put_record(&head, RECORD_PARAMS, ID, content.data, content.n, 0);
    head.n = 16 + RECORD_HEADER_BYTES - 1;
    assert_more(&head);
    head.n++;
    assert_refused(&head, "request_head");
    clear_bytes(&head);
    clear_bytes(&content);
}

static void test_padding_counts_as_part_of_the_head(void **state)
{
    (void)state;
    struct bytes head = {0};
    put_begin(&head, ID, ROLE_RESPONDER, 1);
    struct gate_result result;
    enum gate_verdict verdict = GATE_MORE;
    for (int i = 0; i < HEAD_BYTES / 264 + 1; i++) {
        put_record(&head, RECORD_PARAMS, ID, "x", 1, 255);
        verdict = examine(&head, &result);
    }
    assert_int_equal(verdict, GATE_REFUSE);
    clear_bytes(&head);
}

static void test_a_limit_smaller_than_a_begin_record(void **state)
{
    (void)state;
    struct bytes head = make_good_head();
    struct gate_limits tiny = limits;
    tiny.head_bytes = 15;
    struct gate_result result;
    assert_int_equal(examine_within(&head, &tiny, &result), GATE_REFUSE);
    head.n = 16; /* nothing else need come */
    assert_int_equal(examine_within(&head, &tiny, &result), GATE_REFUSE);
    clear_bytes(&head);
}

static void test_parameters_that_lie(void **state)
{
    (void)state;
    static const struct {
        const char *what, *content;
        size_t n;
    } rows[] = {
        {"a name of 2 GiB", "\xff\xff\xff\xff\0", 5},
        {"a value of 2 GiB", "\1\xff\xff\xff\xffN", 6},
        {"both of 2 GiB", "\xff\xff\xff\xff\xff\xff\xff\xffN", 9},
        {"lengths whose sum is 4 GiB", "\xff\xff\xff\xfe\xff\xff\xff\xfe\0\0", 10},
        {"a name's length and no more", "\1", 1},
        {"a name's length cut after one byte", "\x80", 1},
        {"a name's length cut after three", "\x80\0\0", 3},
        {"no value's length", "\x80\0\0\1", 4},
        {"a value's length cut after three", "\1\x80\0\0", 4},
        {"a name beyond the end", "\5\0NAME", 6},
        {"a value beyond the end", "\1\5Nvalu", 7},
        {"a value by one beyond the end", "\1\1N", 3},
        {"a good pair, then half a one", "\1\1Nv\1", 5},
        {"NUL in a name", "\3\1N\0Nv", 6},
        {"NUL as a name", "\1\0\0", 3},
        {"'=' in a name", "\3\1N=Nv", 6},
        {"'=' at a name's end", "\2\1N=v", 5},
        {"'=' as a name", "\1\0=", 3},
        {"NUL in a value", "\1\3Nv\0v", 6},
        {"NUL at a value's end", "\1\2Nv\0", 5},
        {"NUL in the last value of two", "\1\1Nv\1\1M\0", 8},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes parameters = {0};
        put_bytes(&parameters, rows[i].content, rows[i].n);
        for (size_t size = 1; size <= rows[i].n; size++) {
            struct bytes head = make_head(&parameters, size, size % 3), more = {0};
            struct gate_result result;
            if (examine(&head, &result) != GATE_REFUSE)
                fail_msg("%s in records of %zu bytes passes", rows[i].what, size);
            assert_non_null(strstr(result.reason, "parameter"));
            put_bytes(&more, head.data, head.n - size % 3 - RECORD_HEADER_BYTES);
            assert_more(&more);
            put_fill(&head, 'N', 100); /* what follows must not count as the parameters' */
            assert_refused(&head, "parameter");
            clear_bytes(&more);
            clear_bytes(&head);
        }
        clear_bytes(&parameters);
    }
}

static void test_an_equals_sign_in_a_value_is_fine(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "HTTP_COOKIE", "=a=b=");
    struct bytes head = make_head(&parameters, 1, 0);
    assert_whole(&head, head.n);
    clear_bytes(&head);
    clear_bytes(&parameters);
}

static void put_get_values(struct bytes *bytes, struct bytes *replies, size_t padding)
{
    struct bytes content = {0}, pairs = {0};
    put_pair(&content, "FCGI_MAX_CONNS", "");
    put_record(bytes, RECORD_GET_VALUES, 0, content.data, content.n, padding);
    put_pair(&pairs, "FCGI_MAX_CONNS", "511");
    put_record(replies, RECORD_GET_VALUES_RESULT, 0, pairs.data, pairs.n, 0);
    clear_bytes(&content);
    clear_bytes(&pairs);
}

/* Every prefix of the input asks for more or cuts something out; all of it leaves head and rest. */
static void assert_leaves(const struct bytes *input, const struct bytes *head,
                          const struct bytes *rest, const struct bytes *replies)
{
    for (size_t n = 0; n <= input->n; n++) {
        struct bytes received = {0}, answers = {0};
        put_bytes(&received, input->data, n);
        struct gate_result result;
        enum gate_verdict verdict = pass(&received, &result, &answers);
        put_bytes(&received, input->data + n, input->n - n);
        if (verdict == GATE_MORE)
            verdict = pass(&received, &result, &answers);
        assert_int_equal(verdict, GATE_WHOLE);
        assert_int_equal(result.head_bytes, head->n);
        assert_int_equal(received.n, head->n + rest->n);
        assert_memory_equal(received.data, head->data, head->n);
        if (rest->n > 0)
            assert_memory_equal(received.data + head->n, rest->data, rest->n);
        assert_bytes_equal(&answers, replies);
        clear_bytes(&received);
        clear_bytes(&answers);
    }
}

static void test_management_records_before_and_inside_the_head(void **state)
{
    (void)state;
    struct bytes input = {0}, replies = {0}, head = {0}, rest = {0};
    put_get_values(&input, &replies, 5);
    put_record(&input, 42, 0, "??", 2, 0);
    put_record(&replies, RECORD_UNKNOWN_TYPE, 0, "\x2a\0\0\0\0\0\0\0", 8, 0);
    put_begin(&input, ID, ROLE_RESPONDER, 1);
    put_get_values(&input, &replies, 0);
    put_record(&input, RECORD_PARAMS, ID, "\1\1N", 3, 2);
    put_get_values(&input, &replies, 1);
    put_get_values(&input, &replies, 255);
    put_record(&input, RECORD_PARAMS, ID, "v", 1, 0);
    put_get_values(&input, &replies, 0);
    put_record(&input, RECORD_PARAMS, ID, "", 0, 4);
    put_begin(&head, ID, ROLE_RESPONDER, 1);
    put_record(&head, RECORD_PARAMS, ID, "\1\1N", 3, 2);
    put_record(&head, RECORD_PARAMS, ID, "v", 1, 0);
    put_record(&head, RECORD_PARAMS, ID, "", 0, 4);
    put_text(&rest, "");
    assert_leaves(&input, &head, &rest, &replies);
    /* Behind the head they are the stream's matter. */
    struct bytes more = {0};
    put_get_values(&input, &more, 0);
    put_get_values(&rest, &more, 0);
    struct bytes received = {0}, answers = {0};
    put_bytes(&received, input.data, input.n);
    struct gate_result result;
    assert_int_equal(pass(&received, &result, &answers), GATE_WHOLE);
    assert_int_equal(received.n, head.n + rest.n);
    assert_memory_equal(received.data + head.n, rest.data, rest.n);
    assert_bytes_equal(&answers, &replies);
    struct bytes *all[] = {&input, &replies, &head, &rest, &more, &received, &answers};
    for (size_t i = 0; i < COUNT(all); i++)
        clear_bytes(all[i]);
}

static void test_every_type_of_management_record_is_cut_out(void **state)
{
    (void)state;
    for (int type = 0; type < 256; type++) {
        if (type == RECORD_BEGIN_REQUEST)
            continue;
        struct bytes input = {0}, replies = {0};
        put_record(&input, type, 0, "x", 1, 1);
        struct gate_result result;
        assert_int_equal(examine(&input, &result), GATE_CUT);
        assert_int_equal(result.cut_offset, 0);
        assert_int_equal(result.cut_bytes, input.n);
        assert_in_range(result.reply_bytes, 1, RECORD_REPLY_BYTES);
        assert_false(result.is_last);
        assert_int_equal(result.reply[1], type == RECORD_GET_VALUES ? RECORD_GET_VALUES_RESULT
                                                                    : RECORD_UNKNOWN_TYPE);
        clear_bytes(&input);
        clear_bytes(&replies);
    }
}

static void test_a_management_record_too_long_is_refused_by_its_header(void **state)
{
    (void)state;
    struct bytes content = {0}, before = {0}, inside = {0};
    put_fill(&content, 0, RECORD_MANAGEMENT_BYTES + 1);
    put_record(&before, RECORD_GET_VALUES, 0, content.data, content.n, 0);
    before.n = RECORD_HEADER_BYTES;
    assert_refused(&before, "4096");
    put_begin(&inside, ID, ROLE_RESPONDER, 1);
    put_bytes(&inside, before.data, before.n);
    assert_refused(&inside, "4096");
    before.n = 0;
    put_record(&before, RECORD_GET_VALUES, 0, content.data, RECORD_MANAGEMENT_BYTES, 0);
    struct gate_result result;
    assert_int_equal(examine(&before, &result), GATE_CUT);
    clear_bytes(&content);
    clear_bytes(&before);
    clear_bytes(&inside);
}

static void test_a_role_that_is_not_served(void **state)
{
    (void)state;
    static const int roles[] = {0,    ROLE_AUTHORIZER, ROLE_FILTER, 4, 31, 32, 33, 255, 256, 257,
                                65535};
    for (size_t i = 0; i < COUNT(roles); i++) {
        for (int flags = 0; flags < 2; flags++) {
            struct bytes input = {0}, expected = {0};
            put_begin(&input, ID, roles[i], flags);
            put_record(&input, RECORD_PARAMS, ID, "\1\1Nv", 4, 0);
            put_record(&input, RECORD_PARAMS, ID, "", 0, 0);
            struct gate_result result;
            assert_int_equal(examine(&input, &result), GATE_CUT);
            assert_int_equal(result.cut_offset, 0);
            assert_int_equal(result.cut_bytes, 16);
            assert_int_equal(result.is_last, flags == 0);
            put_end_request(&expected, ID, STATUS_UNKNOWN_ROLE);
            assert_int_equal(result.reply_bytes, expected.n);
            assert_memory_equal(result.reply, expected.data, expected.n);
            clear_bytes(&input);
            clear_bytes(&expected);
        }
    }
}

static void test_a_request_after_one_whose_role_is_not_served(void **state)
{
    (void)state;
    struct bytes input = {0}, replies = {0}, rest = {0};
    put_begin(&input, ID, ROLE_FILTER, 1);
    put_record(&input, RECORD_PARAMS, ID, "\1\1Nv", 4, 3);
    put_record(&input, RECORD_PARAMS, ID, "", 0, 0);
    put_record(&input, RECORD_STDIN, ID, "", 0, 0);
    put_record(&input, RECORD_DATA, ID, "data", 4, 1);
    put_end_request(&replies, ID, STATUS_UNKNOWN_ROLE);
    struct bytes head = make_good_head();
    put_bytes(&input, head.data, head.n);
    put_text(&rest, "behind");
    put_text(&input, "behind");
    assert_leaves(&input, &head, &rest, &replies);
    clear_bytes(&input);
    clear_bytes(&replies);
    clear_bytes(&rest);
    clear_bytes(&head);
}

static void test_the_roles_that_are_served_are_the_caller_s_choice(void **state)
{
    (void)state;
    struct gate_limits all = limits;
    all.roles = 1u << ROLE_RESPONDER | 1u << ROLE_AUTHORIZER | 1u << ROLE_FILTER;
    for (int role = ROLE_RESPONDER; role <= ROLE_FILTER; role++) {
        struct bytes input = {0};
        put_begin(&input, ID, role, 0);
        put_record(&input, RECORD_PARAMS, ID, "", 0, 0);
        struct gate_result result;
        assert_int_equal(examine_within(&input, &all, &result), GATE_WHOLE);
        assert_int_equal(result.role, role);
        clear_bytes(&input);
    }
}

static void test_an_abort_inside_the_head_cuts_the_request_out(void **state)
{
    (void)state;
    for (int flags = 0; flags < 2; flags++) {
        struct bytes input = {0}, expected = {0};
        put_begin(&input, ID, ROLE_RESPONDER, flags);
        put_record(&input, RECORD_PARAMS, ID, "\1\1N", 3, 2);
        put_record(&input, RECORD_ABORT_REQUEST, ID, "", 0, 6);
        size_t aborted = input.n;
        struct bytes head = make_good_head();
        put_bytes(&input, head.data, head.n);
        struct gate_result result;
        assert_int_equal(examine(&input, &result), GATE_CUT);
        assert_int_equal(result.cut_offset, 0);
        assert_int_equal(result.cut_bytes, aborted);
        assert_int_equal(result.is_last, flags == 0);
        put_end_request(&expected, ID, STATUS_REQUEST_COMPLETE);
        assert_int_equal(result.reply_bytes, expected.n);
        assert_memory_equal(result.reply, expected.data, expected.n);
        cut_out(&input, result.cut_offset, result.cut_bytes);
        assert_bytes_equal(&input, &head);
        clear_bytes(&input);
        clear_bytes(&expected);
        clear_bytes(&head);
    }
}

static void test_the_same_request_cannot_begin_again(void **state)
{
    (void)state;
    struct bytes input = {0};
    put_begin(&input, ID, ROLE_RESPONDER, 1);
    put_begin(&input, ID, ROLE_RESPONDER, 1);
    assert_refused(&input, "out of order");
    clear_bytes(&input);
}

static void test_a_second_request_beside_the_first_is_refused_and_its_records_cut_out(void **state)
{
    (void)state;
    struct bytes input = {0}, head = {0}, rest = {0}, replies = {0};
    put_begin(&input, ID, ROLE_RESPONDER, 1);
    put_begin(&input, OTHER_ID, ROLE_RESPONDER, 1);
    put_record(&input, RECORD_PARAMS, OTHER_ID, "\1\1X", 3, 1);
    put_record(&input, RECORD_PARAMS, ID, "\1\1Nv", 4, 0);
    put_record(&input, RECORD_STDIN, OTHER_ID, "theirs", 6, 0);
    put_record(&input, RECORD_ABORT_REQUEST, OTHER_ID, "", 0, 0);
    put_record(&input, RECORD_PARAMS, ID, "", 0, 0);
    put_begin(&head, ID, ROLE_RESPONDER, 1);
    put_record(&head, RECORD_PARAMS, ID, "\1\1Nv", 4, 0);
    put_record(&head, RECORD_PARAMS, ID, "", 0, 0);
    put_end_request(&replies, OTHER_ID, STATUS_CANT_MPX_CONN);
    put_text(&rest, "");
    assert_leaves(&input, &head, &rest, &replies);
    clear_bytes(&input);
    clear_bytes(&head);
    clear_bytes(&rest);
    clear_bytes(&replies);
}

static void test_stray_records_of_requests_that_are_over_are_cut_out(void **state)
{
    (void)state;
    struct bytes input = {0}, rest = {0}, replies = {0};
    put_record(&input, RECORD_STDIN, ID, "left over", 9, 1);
    put_record(&input, RECORD_STDIN, ID, "", 0, 0);
    put_record(&input, RECORD_PARAMS, 3, "", 0, 0);
    put_record(&input, RECORD_DATA, 3, "file", 4, 0);
    put_record(&input, RECORD_ABORT_REQUEST, ID, "", 0, 0);
    struct bytes head = make_good_head();
    put_bytes(&input, head.data, head.n);
    put_record(&input, RECORD_STDIN, ID, "", 0, 0);
    put_record(&rest, RECORD_STDIN, ID, "", 0, 0);
    put_text(&replies, "");
    assert_leaves(&input, &head, &rest, &replies);
    clear_bytes(&input);
    clear_bytes(&rest);
    clear_bytes(&replies);
    clear_bytes(&head);
}

static void test_records_that_only_an_application_sends_are_refused(void **state)
{
    (void)state;
    static const int types[] = {0, 3, 6, 7, 9, 10, 11, 12, 255};
    for (size_t i = 0; i < COUNT(types); i++) {
        struct bytes input = {0};
        put_record(&input, types[i], ID, "", 0, 0);
        assert_refused(&input, "only an application sends");
        clear_bytes(&input);
    }
}

static void test_records_of_the_request_out_of_order(void **state)
{
    (void)state;
    for (int type = 0; type < 256; type++) {
        if (type == RECORD_PARAMS || type == RECORD_ABORT_REQUEST)
            continue;
        struct bytes input = {0};
        put_begin(&input, ID, ROLE_RESPONDER, 1);
        put_record(&input, type, ID, "", 0, 0);
        assert_refused(&input, "out of order");
        clear_bytes(&input);
    }
}

static void test_a_begin_record_of_the_wrong_shape_is_refused_by_its_header(void **state)
{
    (void)state;
    static const struct {
        int id;
        size_t content_bytes;
    } rows[] = {{0, 8}, {ID, 0}, {ID, 7}, {ID, 9}, {ID, 65535}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes content = {0}, input = {0};
        put_fill(&content, 1, rows[i].content_bytes);
        put_record(&input, RECORD_BEGIN_REQUEST, rows[i].id, content.data, content.n, 0);
        assert_refused(&input, "begin-request");
        input.n = RECORD_HEADER_BYTES;
        assert_refused(&input, "begin-request");
        clear_bytes(&input);
        clear_bytes(&content);
    }
}

static void test_a_version_that_is_not_1(void **state)
{
    (void)state;
    for (int version = 0; version < 256; version++) {
        if (version == 1)
            continue;
        struct bytes input = {0};
        put_fill(&input, version, 1);
        assert_refused(&input, "version");
        clear_bytes(&input);
        put_begin(&input, ID, ROLE_RESPONDER, 1);
        size_t second = input.n;
        put_record(&input, RECORD_PARAMS, ID, "", 0, 0);
        input.data[second] = (uint8_t)version;
        assert_refused(&input, "version");
        input.data[0] = (uint8_t)version;
        assert_refused(&input, "version");
        clear_bytes(&input);
    }
}

static void test_cuts_leave_what_they_do_not_cut(void **state)
{
    (void)state;
    struct bytes input = {0};
    put_begin(&input, ID, ROLE_RESPONDER, 1);
    put_record(&input, RECORD_PARAMS, ID, "\1\1N", 3, 0);
    size_t before = input.n;
    put_record(&input, 42, 0, "", 0, 3);
    struct gate_result result;
    assert_int_equal(examine(&input, &result), GATE_CUT);
    assert_int_equal(result.cut_offset, before);
    assert_int_equal(result.cut_bytes, RECORD_HEADER_BYTES + 3);
    clear_bytes(&input);
}

/* Random bytes of which most look like records. */
static void put_random(struct bytes *bytes, uint32_t *seed)
{
    uint8_t content[64];
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(next_random(seed) % 3 == 0 ? next_random(seed) : 1);
    for (uint32_t i = 1 + next_random(seed) % 8; i > 0; i--) {
        int id = (int)(next_random(seed) % 3);
        uint32_t kind = next_random(seed) % 8;
        if (kind == 0)
            put_begin(bytes, 1 + id, next_random(seed) % 4 == 0 ? 2 : 1, id);
        else if (kind < 5)
            put_record(bytes, RECORD_PARAMS, 1, content, next_random(seed) % 16, id);
        else
            put_record(bytes, (int)(next_random(seed) % 13), id, content, next_random(seed) % 64,
                       next_random(seed) % 5);
    }
    for (uint32_t i = next_random(seed) % 4; i > 0; i--)
        bytes->data[next_random(seed) % bytes->n] = (uint8_t)next_random(seed);
    bytes->n -= next_random(seed) % 4 == 0 ? next_random(seed) % bytes->n : 0;
}

static void test_random_bytes_come_to_an_end(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    size_t verdicts[4] = {0};
    for (int round = 0; round < 100000; round++) {
        struct bytes input = {0}, replies = {0};
        if (round % 8 == 0) {
            for (uint32_t i = next_random(&seed) % 64; i > 0; i--)
                put_fill(&input, (int)(next_random(&seed) & 0xff), 1);
            put_text(&input, "");
            if (input.n > 0 && round % 16 == 0)
                input.data[0] = 1;
        } else {
            if (round % 2 == 0)
                put_begin(&input, 1, ROLE_RESPONDER, 1);
            put_random(&input, &seed);
            if (round % 3 == 0)
                put_record(&input, RECORD_PARAMS, 1, "", 0, 0);
        }
        struct gate_result result;
        verdicts[pass(&input, &result, &replies)]++;
        clear_bytes(&input);
        clear_bytes(&replies);
    }
    for (size_t i = 0; i < COUNT(verdicts); i++)
        assert_in_range(verdicts[i], 100, 100000); /* the bytes reach every corner */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_head_is_whole_at_its_end_and_not_before),
        cmocka_unit_test(test_a_head_without_parameters),
        cmocka_unit_test(test_what_the_begin_record_says),
        cmocka_unit_test(test_parameters_in_records_of_every_size),
        cmocka_unit_test(test_parameters_are_counted),
        cmocka_unit_test(test_parameters_in_three_records_split_anywhere),
        cmocka_unit_test(test_a_begin_record_with_padding),
        cmocka_unit_test(test_the_largest_head_passes_and_one_byte_more_does_not),
        cmocka_unit_test(test_a_head_too_large_is_refused_before_its_bytes_have_come),
        cmocka_unit_test(test_padding_counts_as_part_of_the_head),
        cmocka_unit_test(test_a_limit_smaller_than_a_begin_record),
        cmocka_unit_test(test_parameters_that_lie),
        cmocka_unit_test(test_an_equals_sign_in_a_value_is_fine),
        cmocka_unit_test(test_management_records_before_and_inside_the_head),
        cmocka_unit_test(test_every_type_of_management_record_is_cut_out),
        cmocka_unit_test(test_a_management_record_too_long_is_refused_by_its_header),
        cmocka_unit_test(test_a_role_that_is_not_served),
        cmocka_unit_test(test_a_request_after_one_whose_role_is_not_served),
        cmocka_unit_test(test_the_roles_that_are_served_are_the_caller_s_choice),
        cmocka_unit_test(test_an_abort_inside_the_head_cuts_the_request_out),
        cmocka_unit_test(test_the_same_request_cannot_begin_again),
        cmocka_unit_test(test_a_second_request_beside_the_first_is_refused_and_its_records_cut_out),
        cmocka_unit_test(test_stray_records_of_requests_that_are_over_are_cut_out),
        cmocka_unit_test(test_records_that_only_an_application_sends_are_refused),
        cmocka_unit_test(test_records_of_the_request_out_of_order),
        cmocka_unit_test(test_a_begin_record_of_the_wrong_shape_is_refused_by_its_header),
        cmocka_unit_test(test_a_version_that_is_not_1),
        cmocka_unit_test(test_cuts_leave_what_they_do_not_cut),
        cmocka_unit_test(test_random_bytes_come_to_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
