/* links: record.c */
#include "unit.h"

#include "protocol/record.h"

enum { ID = 7, MAX_CONNECTIONS = 511 };

static void test_a_header_reads_back_as_it_was_put(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 255, 256, 8192, RECORD_CONTENT_BYTES, 65535};
    static const uint16_t ids[] = {0, 1, 255, 256, 65535};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        for (size_t j = 0; j < COUNT(ids); j++) {
            uint8_t *header = exact_copy("01234567", RECORD_HEADER_BYTES);
            uint8_t *end = record_put_header(header, RECORD_STDOUT, ids[j], lengths[i]);
            assert_ptr_equal(end, header + RECORD_HEADER_BYTES);
            struct record record = record_parse(header);
            assert_int_equal(record.version, 1);
            assert_int_equal(record.type, RECORD_STDOUT);
            assert_int_equal(record.id, ids[j]);
            assert_int_equal(record.content_bytes, lengths[i]);
            assert_int_equal(record.padding_bytes, 0);
            assert_int_equal(header[7], 0);
            assert_int_equal(record_total_bytes(&record), 8 + lengths[i]);
            exact_free(header);
        }
    }
}

static void test_a_header_is_parsed_as_the_specification_lays_it_out(void **state)
{
    (void)state;
    uint8_t *header = exact_copy("\x02\x05\x12\x34\xff\xfe\xfd\x99", RECORD_HEADER_BYTES);
    struct record record = record_parse(header);
    assert_int_equal(record.version, 2);
    assert_int_equal(record.type, RECORD_STDIN);
    assert_int_equal(record.id, 0x1234);
    assert_int_equal(record.content_bytes, 0xfffe);
    assert_int_equal(record.padding_bytes, 0xfd);
    assert_int_equal(record_total_bytes(&record), 8 + 0xfffe + 0xfd);
    exact_free(header);
}

static void test_the_end_of_a_request(void **state)
{
    (void)state;
    uint8_t *out = exact_copy("0123456789abcdef", RECORD_END_BYTES);
    assert_ptr_equal(record_put_end(out, 0x1234, STATUS_UNKNOWN_ROLE), out + RECORD_END_BYTES);
    assert_memory_equal(out, "\1\3\x12\x34\0\10\0\0\0\0\0\0\3\0\0\0", RECORD_END_BYTES);
    exact_free(out);
}

static void test_a_length_has_one_byte_or_four(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        long length;
        size_t used;
    } rows[] = {
        {"", 0, -1, 0},
        {"\0", 1, 0, 1},
        {"\x7f", 1, 127, 1},
        {"\x80", 1, -1, 0},
        {"\x80\0\0", 3, -1, 0},
        {"\x80\0\0\x05", 4, 5, 4},
        {"\x80\0\1\0!", 5, 256, 4},
        {"\xff\xff\xff\xff", 4, 0x7fffffff, 4},
        {"\x81\x02\x03\x04", 4, 0x01020304, 4},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t *copy = exact_copy(rows[i].bytes, rows[i].n);
        const uint8_t *p = copy;
        assert_int_equal(record_get_length(&p, copy + rows[i].n), rows[i].length);
        assert_int_equal(p - copy, rows[i].used);
        exact_free(copy);
    }
}

/* Answers into a block of exactly RECORD_REPLY_BYTES. */
static struct bytes answer(int type, const struct bytes *content, unsigned max_connections)
{
    struct record record = {
        .version = 1, .type = (uint8_t)type, .content_bytes = (uint16_t)content->n};
    uint8_t *copy = exact_copy(content->data, content->n);
    uint8_t *reply = malloc(RECORD_REPLY_BYTES);
    assert_non_null(reply);
    memset(reply, 0xaa, RECORD_REPLY_BYTES);
    size_t n = record_answer(&record, copy, max_connections, reply);
    assert_in_range(n, RECORD_HEADER_BYTES, RECORD_REPLY_BYTES);
    struct bytes got = {0};
    put_bytes(&got, reply, n);
    free(reply);
    exact_free(copy);
    return got;
}

static void assert_answer(const struct bytes *content, unsigned max_connections,
                          const struct bytes *pairs)
{
    struct bytes got = answer(RECORD_GET_VALUES, content, max_connections), expected = {0};
    put_record(&expected, RECORD_GET_VALUES_RESULT, 0, pairs->data, pairs->n, 0);
    assert_bytes_equal(&got, &expected);
    clear_bytes(&got);
    clear_bytes(&expected);
}

static void test_get_values_answers_the_names_it_knows(void **state)
{
    (void)state;
    struct bytes content = {0}, pairs = {0};
    put_pair(&content, "FCGI_MPXS_CONNS", "");
    put_pair(&content, "FCGI_MAX_CONNS", "");
    put_pair(&content, "FCGI_MAX_REQS", "");
    put_pair(&pairs, "FCGI_MPXS_CONNS", "0");
    put_pair(&pairs, "FCGI_MAX_CONNS", "4294967295");
    put_pair(&pairs, "FCGI_MAX_REQS", "4294967295");
    assert_answer(&content, UINT32_MAX, &pairs);
    clear_bytes(&content);
    clear_bytes(&pairs);
}

static void test_get_values_of_nothing_has_an_empty_answer(void **state)
{
    (void)state;
    assert_answer(&(struct bytes){0}, 1, &(struct bytes){0});
}

static void test_get_values_leaves_out_names_it_does_not_know(void **state)
{
    (void)state;
    struct bytes content = {0}, pairs = {0};
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "FCGI_UNKNOWN_%d", i);
        put_pair(&content, name, "value");
    }
    put_pair(&content, "FCGI_MAX_CONN", "");
    put_pair(&content, "FCGI_MAX_CONNSS", "");
    put_pair(&content, "", "");
    put_pair(&content, "fcgi_max_conns", "");
    assert_answer(&content, 1, &pairs);
    put_pair(&content, "FCGI_MAX_REQS", "a value that nobody asked for");
    put_pair(&pairs, "FCGI_MAX_REQS", "1");
    assert_answer(&content, 1, &pairs);
    clear_bytes(&content);
    clear_bytes(&pairs);
}

static void test_get_values_answers_each_name_once_however_often_it_is_asked(void **state)
{
    (void)state;
    struct bytes content = {0}, pairs = {0};
    for (int i = 0; i < 100; i++) {
        put_pair(&content, "FCGI_MAX_CONNS", "");
        put_pair(&content, "FCGI_MAX_REQS", "");
        put_pair(&content, "FCGI_MPXS_CONNS", "");
    }
    put_pair(&pairs, "FCGI_MAX_CONNS", "4294967295");
    put_pair(&pairs, "FCGI_MAX_REQS", "4294967295");
    put_pair(&pairs, "FCGI_MPXS_CONNS", "0");
    assert_answer(&content, UINT32_MAX, &pairs);
    clear_bytes(&content);
    clear_bytes(&pairs);
}

static void test_get_values_stops_at_what_is_cut_short(void **state)
{
    (void)state;
    struct bytes whole = {0}, pairs = {0};
    put_pair(&whole, "FCGI_MAX_CONNS", "");
    size_t first = whole.n;
    put_length(&whole, 13);
    put_length(&whole, 200); /* four bytes */
    put_text(&whole, "FCGI_MAX_REQS");
    put_fill(&whole, 'v', 200);
    size_t all = whole.n;
    put_pair(&pairs, "FCGI_MAX_CONNS", "9");
    size_t n = whole.n;
    for (whole.n = first; whole.n < n; whole.n++)
        assert_answer(&whole, 9, &pairs);
    assert_int_equal(whole.n, all);
    put_pair(&pairs, "FCGI_MAX_REQS", "9");
    assert_answer(&whole, 9, &pairs);
    clear_bytes(&whole);
    clear_bytes(&pairs);
}

static void test_get_values_believes_no_length(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
        {"\xff\xff\xff\xff\0", 5},
        {"\0\xff\xff\xff\xff", 5},
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
        {"\x0e\1"
         "FCGI_MAX_CONNS",
         16},
        {"\x0e\xff\xff\xff\xf0"
         "FCGI_MAX_CONNS",
         19},
        {"\x0f\0"
         "FCGI_MAX_CONNS",
         16},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes content = {0};
        put_bytes(&content, rows[i].bytes, rows[i].n);
        assert_answer(&content, 1, &(struct bytes){0});
        clear_bytes(&content);
    }
}

static void test_get_values_of_random_bytes_fits_its_room(void **state)
{
    (void)state;
    uint32_t seed = 20240511;
    for (int round = 0; round < 20000; round++) {
        struct bytes content = {0};
        for (uint32_t i = next_random(&seed) % 60; i > 0; i--) {
            uint32_t kind = next_random(&seed) % 4;
            if (kind == 0)
                put_fill(&content, (int)(next_random(&seed) & 0xff), 1);
            else
                put_pair(&content, kind == 1 ? "FCGI_MAX_CONNS" : "FCGI_MPXS_CONNS",
                         kind == 3 ? "x" : "");
        }
        struct bytes got = answer(RECORD_GET_VALUES, &content, UINT32_MAX);
        clear_bytes(&got);
        clear_bytes(&content);
    }
}

static void test_any_other_management_record_is_an_unknown_type(void **state)
{
    (void)state;
    struct bytes content = {0};
    put_text(&content, "whatever");
    for (int type = 0; type < 256; type++) {
        if (type == RECORD_GET_VALUES)
            continue;
        uint8_t body[8] = {(uint8_t)type};
        struct bytes got = answer(type, &content, 1), expected = {0};
        put_record(&expected, RECORD_UNKNOWN_TYPE, 0, body, sizeof(body), 0);
        assert_bytes_equal(&got, &expected);
        clear_bytes(&got);
        clear_bytes(&expected);
    }
    clear_bytes(&content);
}

/* What a reader of a stream has seen: the content, and every event in a letter each. */
struct walk {
    struct record_stream stream;
    struct bytes unused;  /* received, and not used up */
    struct bytes content; /* of the stream */
    struct bytes replies;
    char events[64]; /* E end, A abort, R reply, B bad */
    size_t event_count;
    bool is_over;
};

static struct walk start_walk(void)
{
    return (struct walk){
        .stream = {.id = ID, .type = RECORD_STDIN, .max_connections = MAX_CONNECTIONS}};
}

static void clear_walk(struct walk *walk)
{
    clear_bytes(&walk->unused);
    clear_bytes(&walk->content);
    clear_bytes(&walk->replies);
}

static void note(struct walk *walk, char event)
{
    assert_true(walk->event_count + 1 < sizeof(walk->events));
    walk->events[walk->event_count++] = event;
}

static void forget(struct bytes *bytes, size_t n)
{
    assert_true(n <= bytes->n);
    bytes->n -= n;
    if (n > 0)
        memmove(bytes->data, bytes->data + n, bytes->n);
}

/* One more piece arrives; take: the most that is taken of a piece of content at once. */
static void feed(struct walk *walk, const uint8_t *piece, size_t n, size_t take)
{
    put_bytes(&walk->unused, piece, n);
    while (!walk->is_over) {
        struct stream_step step;
        uint8_t *copy = exact_copy(walk->unused.data, walk->unused.n);
        enum stream_event event = record_stream_next(&walk->stream, copy, walk->unused.n, &step);
        assert_true(step.used_bytes <= walk->unused.n);
        assert_true(step.reply_bytes <= RECORD_REPLY_BYTES);
        size_t taken = 0;
        if (event == STREAM_CONTENT) {
            assert_ptr_equal(step.content, copy + step.used_bytes);
            assert_in_range(step.content_bytes, 1, walk->unused.n - step.used_bytes);
            taken = step.content_bytes < take ? step.content_bytes : take;
            put_bytes(&walk->content, step.content, taken);
            record_stream_take(&walk->stream, taken);
        }
        put_bytes(&walk->replies, step.reply, step.reply_bytes);
        exact_free(copy);
        forget(&walk->unused, step.used_bytes + taken);
        if (event == STREAM_MORE) {
            /* A buffer of that size always gets on. */
            assert_true(walk->unused.n < RECORD_HEADER_BYTES + RECORD_MANAGEMENT_BYTES);
            return;
        }
        if (event != STREAM_CONTENT)
            note(walk, "..EARB"[event]);
        walk->is_over = event == STREAM_END || event == STREAM_ABORT || event == STREAM_BAD;
        assert_int_equal(walk->stream.is_ended, event == STREAM_END || event == STREAM_ABORT);
    }
}

static void assert_walks_equal(const struct walk *got, const struct walk *expected)
{
    assert_string_equal(got->events, expected->events);
    assert_bytes_equal(&got->content, &expected->content);
    assert_bytes_equal(&got->replies, &expected->replies);
    assert_int_equal(got->stream.is_ended, expected->stream.is_ended);
}

static void assert_count_agrees(const uint8_t *bytes, size_t n)
{
    struct walk walk = start_walk();
    feed(&walk, bytes, n, SIZE_MAX);
    uint8_t *copy = exact_copy(bytes, n);
    bool is_ended;
    struct record_stream stream = start_walk().stream;
    assert_int_equal(record_stream_count(stream, copy, n, &is_ended), walk.content.n);
    assert_int_equal(is_ended, strchr(walk.events, 'E') != NULL);
    exact_free(copy);
    clear_walk(&walk);
}

/* Feeds the stream whole, in two parts at every place, and byte by byte. */
static struct walk walk_in_all_ways(const struct bytes *stream)
{
    struct walk whole = start_walk();
    feed(&whole, stream->data, stream->n, SIZE_MAX);
    for (size_t split = 0; split <= stream->n; split++) {
        struct walk parts = start_walk();
        feed(&parts, stream->data, split, SIZE_MAX);
        assert_true(parts.content.n <= whole.content.n);
        if (parts.content.n > 0)
            assert_memory_equal(parts.content.data, whole.content.data, parts.content.n);
        assert_true(parts.event_count <= whole.event_count);
        assert_memory_equal(parts.events, whole.events, parts.event_count);
        feed(&parts, stream->data + split, stream->n - split, 3);
        assert_walks_equal(&parts, &whole);
        clear_walk(&parts);
        assert_count_agrees(stream->data, split);
    }
    struct walk bytewise = start_walk();
    for (size_t i = 0; i < stream->n; i++)
        feed(&bytewise, stream->data + i, 1, SIZE_MAX);
    assert_walks_equal(&bytewise, &whole);
    clear_walk(&bytewise);
    return whole;
}

static void assert_walk(const struct bytes *stream, const char *content, const char *events,
                        const struct bytes *replies)
{
    struct walk walk = walk_in_all_ways(stream);
    assert_string_equal(walk.events, events);
    assert_int_equal(walk.content.n, strlen(content));
    if (walk.content.n > 0)
        assert_memory_equal(walk.content.data, content, walk.content.n);
    if (replies != NULL)
        assert_bytes_equal(&walk.replies, replies);
    else
        assert_int_equal(walk.replies.n, 0);
    clear_walk(&walk);
}

static void test_an_empty_stream(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_text(&stream, "");
    assert_walk(&stream, "", "", NULL);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 5);
    assert_walk(&stream, "", "E", NULL);
    clear_bytes(&stream);
}

static void test_content_in_records_with_padding(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "one", 3, 5);
    put_record(&stream, RECORD_STDIN, ID, "2", 1, 0);
    put_record(&stream, RECORD_STDIN, ID, "three", 5, 255);
    assert_walk(&stream, "one2three", "", NULL);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
    assert_walk(&stream, "one2three", "E", NULL);
    clear_bytes(&stream);
}

static void test_the_end_comes_behind_its_own_padding(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "", 0, 100);
    struct walk walk = start_walk();
    feed(&walk, stream.data, RECORD_HEADER_BYTES + 99, SIZE_MAX);
    assert_string_equal(walk.events, "");
    feed(&walk, stream.data + RECORD_HEADER_BYTES + 99, 1, SIZE_MAX);
    assert_string_equal(walk.events, "E");
    clear_walk(&walk);
    clear_bytes(&stream);
}

static void test_what_follows_the_end_is_left_alone(void **state)
{
    (void)state;
    for (size_t padding = 0; padding < 256; padding += 51) {
        struct bytes stream = {0}, next = {0};
        put_record(&stream, RECORD_STDIN, ID, "x", 1, padding);
        put_record(&stream, RECORD_STDIN, ID, "", 0, padding);
        put_begin(&next, ID, ROLE_RESPONDER, 1);
        put_bytes(&stream, next.data, next.n);
        struct walk walk = start_walk();
        feed(&walk, stream.data, stream.n, SIZE_MAX);
        assert_string_equal(walk.events, "E");
        assert_bytes_equal(&walk.unused, &next);
        clear_walk(&walk);
        clear_bytes(&stream);
        clear_bytes(&next);
    }
}

static void test_content_comes_before_its_record_is_whole(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "abcdef", 6, 0);
    struct walk walk = start_walk();
    feed(&walk, stream.data, RECORD_HEADER_BYTES + 2, SIZE_MAX);
    assert_int_equal(walk.content.n, 2);
    clear_walk(&walk);
    clear_bytes(&stream);
}

static void test_records_of_other_requests_are_passed_over(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID + 1, "theirs", 6, 2);
    put_record(&stream, RECORD_STDIN, ID, "ours", 4, 1);
    put_record(&stream, RECORD_PARAMS, 0x700, "theirs", 6, 0);
    put_record(&stream, RECORD_STDIN, ID + 1, "", 0, 3);
    put_record(&stream, RECORD_ABORT_REQUEST, ID + 1, "", 0, 0);
    put_record(&stream, 99, ID + 1, "what", 4, 0);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
    assert_walk(&stream, "ours", "E", NULL);
    clear_bytes(&stream);
}

static void test_a_second_request_is_told_that_one_connection_carries_one(void **state)
{
    (void)state;
    struct bytes stream = {0}, replies = {0};
    put_record(&stream, RECORD_STDIN, ID, "ab", 2, 0);
    put_begin(&stream, 0x102, ROLE_RESPONDER, 1);
    put_record(&stream, RECORD_PARAMS, 0x102, "\1\1NV", 4, 4);
    put_record(&stream, RECORD_STDIN, ID, "cd", 2, 0);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
    put_end_request(&replies, 0x102, STATUS_CANT_MPX_CONN);
    assert_walk(&stream, "abcd", "RE", &replies);
    clear_bytes(&stream);
    clear_bytes(&replies);
}

static void test_the_same_request_cannot_begin_again(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "ab", 2, 0);
    put_begin(&stream, ID, ROLE_RESPONDER, 1);
    put_record(&stream, RECORD_STDIN, ID, "cd", 2, 0);
    assert_walk(&stream, "ab", "B", NULL);
    clear_bytes(&stream);
}

static void test_management_records_in_the_middle_of_a_body(void **state)
{
    (void)state;
    struct bytes stream = {0}, content = {0}, replies = {0}, pairs = {0};
    put_pair(&content, "FCGI_MAX_CONNS", "");
    put_record(&stream, RECORD_GET_VALUES, 0, content.data, content.n, 7);
    put_record(&stream, RECORD_STDIN, ID, "abc", 3, 1);
    put_record(&stream, 77, 0, "xyz", 3, 0);
    put_record(&stream, RECORD_STDIN, ID, "def", 3, 0);
    put_record(&stream, RECORD_GET_VALUES, 0, "", 0, 0);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
    put_pair(&pairs, "FCGI_MAX_CONNS", "511");
    put_record(&replies, RECORD_GET_VALUES_RESULT, 0, pairs.data, pairs.n, 0);
    put_record(&replies, RECORD_UNKNOWN_TYPE, 0, "\x4d\0\0\0\0\0\0\0", 8, 0);
    put_record(&replies, RECORD_GET_VALUES_RESULT, 0, "", 0, 0);
    assert_walk(&stream, "abcdef", "RRRE", &replies);
    clear_bytes(&stream);
    clear_bytes(&content);
    clear_bytes(&replies);
    clear_bytes(&pairs);
}

static void test_management_records_have_a_limit(void **state)
{
    (void)state;
    struct bytes stream = {0}, content = {0};
    put_fill(&content, 0, RECORD_MANAGEMENT_BYTES);
    put_record(&stream, RECORD_GET_VALUES, 0, content.data, content.n, 255);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
    struct walk walk = start_walk();
    feed(&walk, stream.data, stream.n, SIZE_MAX);
    assert_string_equal(walk.events, "RE");
    clear_walk(&walk);
    stream.n = 0;
    put_fill(&content, 0, 1);
    put_record(&stream, RECORD_GET_VALUES, 0, content.data, content.n, 0);
    walk = start_walk();
    feed(&walk, stream.data, RECORD_HEADER_BYTES, SIZE_MAX); /* its length is enough to know */
    assert_string_equal(walk.events, "B");
    clear_walk(&walk);
    clear_bytes(&stream);
    clear_bytes(&content);
}

static void test_an_abort_ends_the_walk(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "half a b", 8, 0);
    put_record(&stream, RECORD_ABORT_REQUEST, ID, "", 0, 0);
    put_record(&stream, RECORD_STDIN, ID, "ody", 3, 0);
    assert_walk(&stream, "half a b", "A", NULL);
    clear_bytes(&stream);
}

static void test_the_padding_of_an_abort_is_passed_over(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_ABORT_REQUEST, ID, "xx", 2, 9);
    size_t aborted = stream.n;
    put_record(&stream, RECORD_BEGIN_REQUEST, ID, "", 0, 0);
    for (size_t split = 0; split < aborted; split++) {
        struct walk walk = start_walk();
        feed(&walk, stream.data, split, SIZE_MAX);
        assert_string_equal(walk.events, "");
        feed(&walk, stream.data + split, stream.n - split, SIZE_MAX);
        assert_string_equal(walk.events, "A");
        assert_true(walk.stream.is_aborted);
        /* The next request has been left where it is. */
        assert_int_equal(walk.unused.n, stream.n - aborted);
        clear_walk(&walk);
    }
    clear_bytes(&stream);
}

static void test_a_border_is_found_whatever_pieces_the_records_come_in(void **state)
{
    (void)state;
    struct bytes stream = {0};
    size_t ends[4];
    put_record(&stream, RECORD_STDOUT, ID, "some content", 12, 3);
    ends[0] = stream.n;
    put_record(&stream, RECORD_STDERR, ID, "", 0, 0);
    ends[1] = stream.n;
    put_record(&stream, RECORD_STDOUT, ID, "", 0, 255);
    ends[2] = stream.n;
    put_record(&stream, RECORD_END_REQUEST, ID, "12345678", 8, 0);
    ends[3] = stream.n;
    for (size_t first = 0; first <= stream.n; first++)
        for (size_t step = 1; step < 20; step += 6) {
            struct record_border border = {.left = 0};
            size_t next = 0, at = first;
            record_border_pass(&border, stream.data, first);
            for (; at < stream.n; at += step) {
                size_t n = at + step < stream.n ? step : stream.n - at;
                record_border_pass(&border, stream.data + at, n);
            }
            assert_int_equal(record_border_distance(&border), 0);
            /* And in the middle: what is said to belong to the record never leads past its end. */
            border = (struct record_border){.left = 0};
            record_border_pass(&border, stream.data, first);
            while (ends[next] < first)
                next++;
            size_t distance = record_border_distance(&border);
            assert_true(distance <= ends[next] - first);
            bool is_border = first == 0 || ends[next] == first;
            assert_int_equal(distance == 0, is_border);
        }
    clear_bytes(&stream);
}

static void test_another_version_is_bad(void **state)
{
    (void)state;
    for (int version = 0; version < 256; version++) {
        struct bytes stream = {0};
        put_record(&stream, RECORD_STDIN, ID, "abc", 3, 0);
        size_t second = stream.n;
        put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
        stream.data[second] = (uint8_t)version;
        struct walk walk = start_walk();
        feed(&walk, stream.data, stream.n, SIZE_MAX);
        assert_string_equal(walk.events, version == 1 ? "E" : "B");
        clear_walk(&walk);
        clear_bytes(&stream);
    }
}

static void test_another_type_of_the_same_request_is_bad(void **state)
{
    (void)state;
    for (int type = 0; type < 256; type++) {
        if (type == RECORD_STDIN || type == RECORD_ABORT_REQUEST)
            continue;
        struct bytes stream = {0};
        put_record(&stream, RECORD_STDIN, ID, "abc", 3, 0);
        put_record(&stream, type, ID, "abc", 3, 0);
        struct walk walk = start_walk();
        feed(&walk, stream.data, stream.n, SIZE_MAX);
        assert_string_equal(walk.events, "B");
        assert_int_equal(walk.content.n, 3);
        clear_walk(&walk);
        clear_bytes(&stream);
    }
}

static void test_records_of_the_largest_size(void **state)
{
    (void)state;
    struct bytes stream = {0}, content = {0};
    put_fill(&content, 'x', 65535);
    put_record(&stream, RECORD_STDIN, ID, content.data, content.n, 255);
    put_record(&stream, RECORD_STDIN, ID + 1, content.data, content.n, 255);
    put_record(&stream, RECORD_STDIN, ID, content.data, content.n, 255);
    put_record(&stream, RECORD_STDIN, ID, "", 0, 0);
    static const size_t pieces[] = {1, 4096, 65535, 65536, SIZE_MAX};
    for (size_t i = 1; i < COUNT(pieces); i++) {
        struct walk walk = start_walk();
        for (size_t p = 0; p < stream.n;) {
            size_t n = stream.n - p < pieces[i] ? stream.n - p : pieces[i];
            feed(&walk, stream.data + p, n, SIZE_MAX);
            p += n;
        }
        assert_string_equal(walk.events, "E");
        assert_int_equal(walk.content.n, 2 * 65535);
        clear_walk(&walk);
    }
    clear_bytes(&stream);
    clear_bytes(&content);
}

static void test_a_stream_that_has_ended_counts_nothing(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "next", 4, 0);
    struct record_stream ended = {.id = ID, .type = RECORD_STDIN, .is_ended = true};
    bool is_ended = false;
    assert_int_equal(record_stream_count(ended, stream.data, stream.n, &is_ended), 0);
    assert_true(is_ended);
    clear_bytes(&stream);
}

static void test_counting_from_the_middle_of_a_record(void **state)
{
    (void)state;
    struct bytes stream = {0};
    put_record(&stream, RECORD_STDIN, ID, "abcdef", 6, 3);
    put_record(&stream, RECORD_STDIN, ID, "gh", 2, 0);
    struct walk walk = start_walk();
    feed(&walk, stream.data, RECORD_HEADER_BYTES + 2, SIZE_MAX);
    bool is_ended = true;
    size_t used = RECORD_HEADER_BYTES + 2;
    assert_int_equal(
        record_stream_count(walk.stream, stream.data + used, stream.n - used, &is_ended), 6);
    assert_false(is_ended);
    clear_walk(&walk);
    clear_bytes(&stream);
}

static void put_random_record(struct bytes *stream, uint32_t *seed)
{
    static const int ids[] = {ID, ID, ID, 0, ID + 1};
    static const int types[] = {RECORD_STDIN,      RECORD_STDIN,         RECORD_STDIN,
                                RECORD_GET_VALUES, RECORD_BEGIN_REQUEST, RECORD_ABORT_REQUEST};
    uint8_t content[40];
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)next_random(seed);
    int id = ids[next_random(seed) % COUNT(ids)];
    int type = id == ID && next_random(seed) % 8 != 0 ? RECORD_STDIN
                                                      : types[next_random(seed) % COUNT(types)];
    size_t n = id == ID ? 1 + next_random(seed) % 39 : next_random(seed) % 40;
    put_record(stream, type, id, content, n, next_random(seed) % 4);
}

static void test_random_streams_read_the_same_in_any_pieces(void **state)
{
    (void)state;
    uint32_t seed = 4711;
    for (int round = 0; round < 300; round++) {
        struct bytes stream = {0};
        put_text(&stream, "");
        for (uint32_t i = next_random(&seed) % 8; i > 0; i--)
            put_random_record(&stream, &seed);
        if (stream.n > 0 && next_random(&seed) % 3 == 0)
            stream.data[next_random(&seed) % stream.n] ^= (uint8_t)next_random(&seed);
        struct walk walk = walk_in_all_ways(&stream);
        clear_walk(&walk);
        clear_bytes(&stream);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_header_reads_back_as_it_was_put),
        cmocka_unit_test(test_a_header_is_parsed_as_the_specification_lays_it_out),
        cmocka_unit_test(test_the_end_of_a_request),
        cmocka_unit_test(test_a_length_has_one_byte_or_four),
        cmocka_unit_test(test_get_values_answers_the_names_it_knows),
        cmocka_unit_test(test_get_values_of_nothing_has_an_empty_answer),
        cmocka_unit_test(test_get_values_leaves_out_names_it_does_not_know),
        cmocka_unit_test(test_get_values_answers_each_name_once_however_often_it_is_asked),
        cmocka_unit_test(test_get_values_stops_at_what_is_cut_short),
        cmocka_unit_test(test_get_values_believes_no_length),
        cmocka_unit_test(test_get_values_of_random_bytes_fits_its_room),
        cmocka_unit_test(test_any_other_management_record_is_an_unknown_type),
        cmocka_unit_test(test_an_empty_stream),
        cmocka_unit_test(test_content_in_records_with_padding),
        cmocka_unit_test(test_the_end_comes_behind_its_own_padding),
        cmocka_unit_test(test_what_follows_the_end_is_left_alone),
        cmocka_unit_test(test_content_comes_before_its_record_is_whole),
        cmocka_unit_test(test_records_of_other_requests_are_passed_over),
        cmocka_unit_test(test_a_second_request_is_told_that_one_connection_carries_one),
        cmocka_unit_test(test_the_same_request_cannot_begin_again),
        cmocka_unit_test(test_management_records_in_the_middle_of_a_body),
        cmocka_unit_test(test_management_records_have_a_limit),
        cmocka_unit_test(test_an_abort_ends_the_walk),
        cmocka_unit_test(test_the_padding_of_an_abort_is_passed_over),
        cmocka_unit_test(test_a_border_is_found_whatever_pieces_the_records_come_in),
        cmocka_unit_test(test_another_version_is_bad),
        cmocka_unit_test(test_another_type_of_the_same_request_is_bad),
        cmocka_unit_test(test_records_of_the_largest_size),
        cmocka_unit_test(test_a_stream_that_has_ended_counts_nothing),
        cmocka_unit_test(test_counting_from_the_middle_of_a_record),
        cmocka_unit_test(test_random_streams_read_the_same_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
