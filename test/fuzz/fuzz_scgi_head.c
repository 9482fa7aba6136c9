/* Once a verdict has been spoken more bytes do not change it, and the pairs fill their room.
 * links: scgi_head.c */
#include "fuzz.h"

#include "protocol/scgi_head.h"

enum { HEAD_BYTES = 4096 };

static enum scgi_verdict parse(const uint8_t *data, size_t n, struct scgi_head *head)
{
    uint8_t *copy = fuzz_copy(data, n);
    enum scgi_verdict verdict = scgi_head_parse(copy, n, HEAD_BYTES, head);
    if (verdict == SCGI_WHOLE) {
        MUST(head->head_bytes <= n && head->head_bytes <= HEAD_BYTES);
        MUST(copy[head->head_bytes - 1] == ',');
        const char *p = head->pairs, *end = p + head->pairs_bytes;
        MUST((const uint8_t *)end == copy + head->head_bytes - 1);
        for (bool is_first = true; p < end; is_first = false) {
            struct scgi_pair pair = scgi_head_next(&p);
            MUST(pair.name_bytes > 0);
            MUST(!is_first || strcmp(pair.name, "CONTENT_LENGTH") == 0);
            MUST(pair.name[pair.name_bytes] == '\0' && pair.value[pair.value_bytes] == '\0');
        }
        MUST(p == end);
    }
    MUST((verdict == SCGI_REFUSE) == (head->reason != NULL));
    free(copy);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct scgi_head head, prefix;
    enum scgi_verdict verdict = parse(data, n, &head);
    for (size_t i = 0; i < n && i < 512; i++) {
        enum scgi_verdict earlier = parse(data, i, &prefix);
        MUST(earlier == SCGI_MORE || earlier == verdict);
        MUST(earlier != SCGI_WHOLE || prefix.head_bytes == head.head_bytes);
        MUST(verdict != SCGI_WHOLE || i >= head.head_bytes || earlier == SCGI_MORE);
    }
    return 0;
}
