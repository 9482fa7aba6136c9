/* A connection of many requests, received in pieces: the gate, its cuts, libfcgi for the heads that
 * it lets pass, and the walk through the bodies. libfcgi must take every such head, and find as
 * many parameters as there are.
 * links: gate.c libfcgi_os.c record.c */
#include "fuzz.h"

#include <fcgiapp.h>

#include "protocol/gate.h"
#include "protocol/libfcgi_os.h"

enum { HEAD_BYTES = 2048 };

static const struct gate_limits limits = {
    .head_bytes = HEAD_BYTES, .max_connections = 511, .roles = 1u << ROLE_RESPONDER};

struct pairs {
    size_t count, bytes;
};

/* Counts the pairs of a head that passed, with a reader of its own. */
static struct pairs count_pairs(const uint8_t *head, size_t n)
{
    uint8_t *content = malloc(n);
    MUST(content != NULL);
    size_t content_bytes = 0;
    for (size_t p = 0; p < n;) {
        MUST(n - p >= RECORD_HEADER_BYTES);
        struct record record = record_parse(head + p);
        MUST(record_total_bytes(&record) <= n - p);
        if (record.type == RECORD_PARAMS) {
            memcpy(content + content_bytes, head + p + RECORD_HEADER_BYTES, record.content_bytes);
            content_bytes += record.content_bytes;
        }
        p += record_total_bytes(&record);
    }
    struct pairs pairs = {0, 0};
    const uint8_t *p = content, *end = content + content_bytes;
    while (p < end) {
        long name_bytes = record_get_length(&p, end);
        long value_bytes = record_get_length(&p, end);
        MUST(name_bytes >= 0 && value_bytes >= 0 && name_bytes + value_bytes <= end - p);
        MUST(memchr(p, 0, (size_t)(name_bytes + value_bytes)) == NULL);
        MUST(memchr(p, '=', (size_t)name_bytes) == NULL);
        p += name_bytes + value_bytes;
        pairs.count++;
        pairs.bytes += (size_t)(name_bytes + value_bytes) + 1; /* '=' */
    }
    free(content);
    return pairs;
}

static void check_libfcgi(const uint8_t *head, size_t n, const struct gate_result *result)
{
    MUST(libfcgi_os_init() == 0);
    /* The host drops the padding of the first record: libfcgi would take it for records. */
    size_t begin_bytes = RECORD_HEADER_BYTES + RECORD_BEGIN_BYTES;
    size_t padding_bytes = record_parse(head).padding_bytes;
    uint8_t *compact = fuzz_copy(head + padding_bytes, n - padding_bytes);
    record_put_header(compact, RECORD_BEGIN_REQUEST, result->id, RECORD_BEGIN_BYTES);
    memcpy(compact + RECORD_HEADER_BYTES, head + RECORD_HEADER_BYTES, RECORD_BEGIN_BYTES);
    MUST(n - padding_bytes >= begin_bytes);
    FCGX_Request fcgx;
    MUST(libfcgi_os_accept(&fcgx, compact, n - padding_bytes, result->param_count) == 0);
    MUST(fcgx.requestId == result->id);
    MUST((fcgx.keepConnection != 0) == result->is_kept);
    struct pairs got = {0, 0}, expected = count_pairs(head, n);
    MUST(result->param_count == expected.count);
    MUST(strcmp(fcgx.envp[0], "FCGI_ROLE=RESPONDER") == 0);
    for (; fcgx.envp[1 + got.count] != NULL; got.count++)
        got.bytes += strlen(fcgx.envp[1 + got.count]);
    MUST(got.count == expected.count);
    MUST(got.bytes == expected.bytes);
    fcgx.ipcFd = -1;
    FCGX_Free(&fcgx, 0);
    free(compact);
}

struct connection {
    uint8_t *bytes; /* received, and not used up */
    size_t n;
    bool is_in_body, is_over;
    struct record_stream stream;
};

static void cut_out(struct connection *connection, size_t offset, size_t n)
{
    MUST(n <= connection->n && offset <= connection->n - n);
    memmove(connection->bytes + offset, connection->bytes + offset + n, connection->n - offset - n);
    connection->n -= n;
}

/* false: more must be received. */
static bool advance_head(struct connection *connection)
{
    struct gate_result result;
    uint8_t *copy = fuzz_copy(connection->bytes, connection->n);
    enum gate_verdict verdict = gate_examine(copy, connection->n, &limits, &result);
    MUST(verdict == GATE_REFUSE || result.reply_bytes <= RECORD_REPLY_BYTES);
    switch (verdict) {
    case GATE_MORE:
        break;
    case GATE_WHOLE:
        MUST(result.head_bytes <= connection->n && result.head_bytes <= HEAD_BYTES);
        check_libfcgi(copy, result.head_bytes, &result);
        connection->is_in_body = true;
        connection->stream = (struct record_stream){.id = result.id, .type = RECORD_STDIN};
        cut_out(connection, 0, result.head_bytes);
        break;
    case GATE_CUT:
        MUST(result.cut_bytes >= RECORD_HEADER_BYTES);
        cut_out(connection, result.cut_offset, result.cut_bytes);
        connection->is_over = result.is_last;
        break;
    case GATE_REFUSE:
        MUST(result.reason != NULL);
        connection->is_over = true;
    }
    free(copy);
    return verdict != GATE_MORE;
}

static bool advance_body(struct connection *connection)
{
    struct stream_step step;
    uint8_t *copy = fuzz_copy(connection->bytes, connection->n);
    enum stream_event event = record_stream_next(&connection->stream, copy, connection->n, &step);
    free(copy);
    MUST(step.used_bytes + step.content_bytes <= connection->n);
    record_stream_take(&connection->stream, step.content_bytes);
    cut_out(connection, 0, step.used_bytes + step.content_bytes);
    connection->is_in_body = event != STREAM_END;
    connection->is_over = event == STREAM_BAD || event == STREAM_ABORT;
    return event != STREAM_MORE;
}

/* The first byte says in how large pieces the others arrive; 0: at once. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    size_t piece_bytes = data[0] > 0 ? data[0] : n;
    struct connection connection = {.bytes = malloc(n)};
    MUST(connection.bytes != NULL);
    for (size_t p = 1; p < n && !connection.is_over;) {
        size_t piece = n - p < piece_bytes ? n - p : piece_bytes;
        memcpy(connection.bytes + connection.n, data + p, piece);
        connection.n += piece;
        p += piece;
        bool is_on = true;
        while (is_on && !connection.is_over)
            is_on = connection.is_in_body ? advance_body(&connection) : advance_head(&connection);
    }
    free(connection.bytes);
    return 0;
}
