/* A stream must read the same at once and in any pieces, and counting must agree with reading.
 * links: record.c */
#include "fuzz.h"

#include "protocol/record.h"

struct walk {
    struct record_stream stream;
    uint8_t *content;
    size_t content_bytes, replies;
    uint8_t *unused;
    size_t unused_bytes;
    enum stream_event last;
};

static void start(struct walk *walk, size_t n)
{
    *walk = (struct walk){.stream = {.id = 1, .type = RECORD_STDIN, .max_connections = 4},
                          .content = malloc(n + 1),
                          .unused = malloc(n + 1)};
    MUST(walk->content != NULL && walk->unused != NULL);
}

static void finish(struct walk *walk)
{
    free(walk->content);
    free(walk->unused);
}

static bool is_over(const struct walk *walk)
{
    return walk->last == STREAM_END || walk->last == STREAM_ABORT || walk->last == STREAM_BAD;
}

static void feed(struct walk *walk, const uint8_t *piece, size_t n, size_t take)
{
    memcpy(walk->unused + walk->unused_bytes, piece, n);
    walk->unused_bytes += n;
    while (!is_over(walk)) {
        struct stream_step step;
        uint8_t *copy = fuzz_copy(walk->unused, walk->unused_bytes);
        walk->last = record_stream_next(&walk->stream, copy, walk->unused_bytes, &step);
        MUST(step.used_bytes <= walk->unused_bytes);
        MUST(step.content_bytes <= walk->unused_bytes - step.used_bytes);
        MUST(step.reply_bytes <= RECORD_REPLY_BYTES);
        size_t taken = 0;
        if (walk->last == STREAM_CONTENT) {
            MUST(step.content == copy + step.used_bytes && step.content_bytes > 0);
            taken = step.content_bytes < take ? step.content_bytes : take;
            memcpy(walk->content + walk->content_bytes, step.content, taken);
            walk->content_bytes += taken;
            record_stream_take(&walk->stream, taken);
        }
        walk->replies += step.reply_bytes;
        free(copy);
        size_t used = step.used_bytes + taken;
        memmove(walk->unused, walk->unused + used, walk->unused_bytes - used);
        walk->unused_bytes -= used;
        if (walk->last == STREAM_MORE) {
            MUST(walk->unused_bytes < RECORD_HEADER_BYTES + RECORD_MANAGEMENT_BYTES);
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    size_t piece_bytes = 1 + data[0] % 32, split = 1 + data[0] % n;
    const uint8_t *stream = data + 1, *end = data + n;
    struct walk whole, pieces, parts;
    start(&whole, n);
    start(&pieces, n);
    start(&parts, n);
    feed(&whole, stream, n - 1, SIZE_MAX);
    for (const uint8_t *p = stream; p < end; p += piece_bytes)
        feed(&pieces, p, (size_t)(end - p) < piece_bytes ? (size_t)(end - p) : piece_bytes, 3);
    feed(&parts, stream, split - 1, SIZE_MAX);
    feed(&parts, stream + split - 1, n - split, SIZE_MAX);
    const struct walk *others[] = {&pieces, &parts};
    for (int i = 0; i < 2; i++) {
        MUST(is_over(others[i]) == is_over(&whole));
        MUST(!is_over(&whole) || others[i]->last == whole.last);
        MUST(others[i]->content_bytes == whole.content_bytes);
        MUST(memcmp(others[i]->content, whole.content, whole.content_bytes) == 0);
        MUST(others[i]->replies == whole.replies);
        MUST(others[i]->stream.is_ended == whole.stream.is_ended);
    }
    bool is_ended;
    struct record_stream fresh = {.id = 1, .type = RECORD_STDIN};
    uint8_t *copy = fuzz_copy(stream, n - 1);
    MUST(record_stream_count(fresh, copy, n - 1, &is_ended) == whole.content_bytes);
    MUST(is_ended == (is_over(&whole) && whole.last == STREAM_END));
    free(copy);
    finish(&whole);
    finish(&pieces);
    finish(&parts);
    return 0;
}
