/* A response, as an application makes it: whatever it sets and sends in whichever order, what
 * leaves is a head that was declared, once and before all else, and as much of the body as that
 * allows. The oracle is PEP 3333 and RFC 9110, written once more.
 *
 * Steps, each a byte and what it takes: set the status, add a header, send, send the last. Before
 * them a byte: 1, HEAD; 2, the peer keeps the connection; 4, it takes nothing after some calls.
 * links: reply.c response.c request.c request_body.c spool.c descriptors.c arena.c
 * log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c log_standard.c
 * log_syslog.c own_file.c fork.c */
#include "fuzz.h"

#include <ctype.h>

#include "http/reply.h"
#include "http/request.h"

enum { IS_HEAD = 1, IS_KEPT = 2, FAILS = 4, MOST_BYTES = 1 << 16 };

static struct {
    uint8_t bytes[MOST_BYTES];
    size_t n;
    unsigned calls, ends, fails_at;
} sent;

static int fake_send(struct request *request, const struct iovec *pieces, size_t count,
                     bool is_last)
{
    (void)request;
    MUST(count <= RESPONSE_PIECES && sent.ends == 0);
    if (sent.fails_at > 0 && ++sent.calls >= sent.fails_at)
        return -1;
    for (size_t i = 0; i < count; i++) {
        MUST(pieces[i].iov_len > 0 && sent.n + pieces[i].iov_len <= MOST_BYTES);
        memcpy(sent.bytes + sent.n, pieces[i].iov_base, pieces[i].iov_len);
        sent.n += pieces[i].iov_len;
    }
    sent.ends += is_last;
    return 0;
}

static enum body_state no_body(struct request *request, uint64_t deadline_ms,
                               const uint8_t **content, size_t *n)
{
    (void)request;
    (void)deadline_ms;
    (void)content;
    (void)n;
    return BODY_END;
}

static const struct transport_ops transport = {
    .name = "fake", .send = fake_send, .next_body = no_body};

/* What has been declared and given, by the specification. */
static struct {
    char head[MOST_BYTES]; /* the lines in the order in which they must leave */
    size_t head_bytes;
    bool has_status, has_length, is_sent;
    int status;
    uint64_t length;
    uint8_t body[MOST_BYTES];
    size_t body_bytes;
} declared;

static bool is_text(const char *text, size_t n, bool may_have_tabs)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && !(may_have_tabs && c == '\t')) || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_valid_status(const char *text, size_t n)
{
    return n >= 4 && text[0] >= '2' && text[0] <= '9' && isdigit((unsigned char)text[1]) &&
           isdigit((unsigned char)text[2]) && text[3] == ' ' && is_text(text, n, false);
}

static bool is_named(const char *name, size_t n, const char *other)
{
    return n == strlen(other) && strncasecmp(name, other, n) == 0;
}

static bool is_valid_name(const char *name, size_t n)
{
    static const char *const servers[] = {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "te",         "trailer",    "trailers",           "transfer-encoding",
        "upgrade",    "status"};
    for (size_t i = 0; i < sizeof(servers) / sizeof(*servers); i++)
        if (is_named(name, n, servers[i]))
            return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] == '\0' ||
            !(isalnum((unsigned char)name[i]) || strchr("!#$%&'*+-.^_`|~", name[i]) != NULL) ||
            (unsigned char)name[i] > 0x7f)
            return false;
    return n > 0;
}

static bool is_valid_length(const char *text, size_t n)
{
    if (declared.has_length || n == 0 || n > 18)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)text[i]))
            return false;
    return true;
}

static void declare_line(size_t at, const char *name, size_t name_bytes, const char *value,
                         size_t value_bytes)
{
    char line[600];
    int n = snprintf(line, sizeof(line), "%.*s: ", (int)name_bytes, name);
    memcpy(line + n, value, value_bytes);
    memcpy(line + n + value_bytes, "\r\n", 2);
    size_t bytes = (size_t)n + value_bytes + 2;
    MUST(declared.head_bytes + bytes < MOST_BYTES);
    memmove(declared.head + at + bytes, declared.head + at, declared.head_bytes - at);
    memcpy(declared.head + at, line, bytes);
    declared.head_bytes += bytes;
}

static void set_status(struct response *response, const char *text, size_t n)
{
    if (response->is_head_sent)
        return; /* who calls it refuses that */
    bool is_valid = is_valid_status(text, n);
    MUST((response_set_status(response, text, n) == NULL) == is_valid);
    if (!is_valid)
        return;
    declared.has_status = true;
    declared.has_length = false;
    declared.head_bytes = 0;
    declared.status = (text[0] - '0') * 100 + (text[1] - '0') * 10 + text[2] - '0';
    declare_line(0, "Status", 6, text, n);
}

static void add_header(struct response *response, const char *name, size_t name_bytes,
                       const char *value, size_t n)
{
    if (response->is_head_sent || !declared.has_status)
        return;
    bool is_length = is_named(name, name_bytes, "content-length");
    bool is_valid = is_valid_name(name, name_bytes) && is_text(value, n, true) &&
                    (!is_length || is_valid_length(value, n));
    MUST((response_add_header(response, name, name_bytes, value, n) == NULL) == is_valid);
    if (!is_valid)
        return;
    if (is_length) {
        char digits[20];
        snprintf(digits, sizeof(digits), "%.*s", (int)n, value);
        declared.has_length = true;
        declared.length = strtoull(digits, NULL, 10);
    }
    declare_line(is_named(name, name_bytes, "location") ? 0 : declared.head_bytes, name, name_bytes,
                 value, n);
}

static bool is_bodyless(const struct request *request)
{
    return request->is_head || declared.status == 204 || declared.status == 304;
}

static void send_body(struct request *request, const uint8_t *bytes, size_t n, size_t pieces,
                      bool is_last)
{
    struct iovec given[200];
    size_t count = 0, piece = pieces > 0 ? n / pieces + 1 : n;
    if (!declared.has_status || (request->response.is_ended && is_last))
        return;
    for (size_t p = 0; p < n && count < 200; p += piece)
        given[count++] =
            (struct iovec){(void *)(uintptr_t)(bytes + p), piece < n - p ? piece : n - p};
    MUST(declared.body_bytes + n <= MOST_BYTES);
    if (n > 0)
        memcpy(declared.body + declared.body_bytes, bytes, n);
    declared.body_bytes += n;
    declared.is_sent = true;
    response_enter(&request->response);
    reply_send(request, given, count, is_last);
    response_leave(&request->response);
}

/* The head was put together once, and the body is a prefix of what was given: all that the length
 * leaves room for. */
static void check(struct request *request, bool is_over)
{
    const struct response *response = &request->response;
    size_t allowed = declared.has_length && declared.length < declared.body_bytes
                         ? declared.length
                         : declared.body_bytes;
    if (!declared.is_sent) {
        MUST(sent.n == 0 && sent.ends == 0);
        return;
    }
    if (sent.fails_at > 0 && sent.calls >= sent.fails_at) {
        MUST(response->is_peer_gone && request->must_close && sent.ends == 0);
        return;
    }
    MUST(sent.n >= declared.head_bytes + 2);
    MUST(memcmp(sent.bytes, declared.head, declared.head_bytes) == 0);
    MUST(memcmp(sent.bytes + declared.head_bytes, "\r\n", 2) == 0);
    size_t body_bytes = sent.n - declared.head_bytes - 2;
    MUST(body_bytes == (is_bodyless(request) ? 0 : allowed));
    MUST(body_bytes == 0 ||
         memcmp(sent.bytes + declared.head_bytes + 2, declared.body, body_bytes) == 0);
    bool is_short =
        declared.has_length && declared.length > declared.body_bytes && !is_bodyless(request);
    bool is_whole = is_bodyless(request) || (declared.has_length && !is_short);
    MUST(reply_is_short(request) == is_short);
    MUST(sent.ends == (is_whole || (is_over && !is_short)));
    MUST(!is_over || !is_short || request->must_close);
    if (declared.has_length && !is_bodyless(request))
        MUST(response->excess_bytes == declared.body_bytes - allowed);
}

struct script {
    const uint8_t *p, *end;
};

static size_t take(struct script *script, const uint8_t **bytes, bool is_large)
{
    size_t n = script->p < script->end ? *script->p++ : 0;
    if (is_large)
        n *= 16;
    if (n > (size_t)(script->end - script->p))
        n = (size_t)(script->end - script->p);
    *bytes = script->p;
    script->p += n;
    return n;
}

static void step(struct request *request, struct script *script)
{
    const uint8_t *first, *second;
    uint8_t what = *script->p++;
    size_t n = take(script, &first, what % 4 == 2), m;
    uint8_t *copy = fuzz_copy(first, n), *other;
    switch (what % 4) {
    case 0:
        set_status(&request->response, (char *)copy, n);
        break;
    case 1:
        m = take(script, &second, false);
        other = fuzz_copy(second, m);
        add_header(&request->response, (char *)copy, n, (char *)other, m);
        free(other);
        break;
    case 2:
        send_body(request, copy, n, what / 4, false);
        break;
    case 3:
        send_body(request, copy, n, what / 4, what >= 0xf0);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct request *request;
    static struct input input;
    if (request == NULL)
        request = request_new();
    MUST(request != NULL);
    if (n == 0 || n > 8192)
        return 0;
    memset(&declared, 0, sizeof(declared));
    sent.n = sent.calls = sent.ends = 0;
    sent.fails_at = (data[0] & FAILS) != 0 ? 1 + data[0] / 16 : 0;
    request->ops = &transport;
    request->input = &input;
    request->is_head = (data[0] & IS_HEAD) != 0;
    request->is_keep_wanted = (data[0] & IS_KEPT) != 0;
    request->content_length = 0;
    bool is_over = false;
    for (struct script script = {data + 1, data + n}; script.p < script.end && !is_over;) {
        is_over = *script.p % 4 == 3 && *script.p >= 0xf0 && declared.has_status;
        step(request, &script);
        check(request, is_over);
    }
    if (!is_over && declared.has_status) {
        send_body(request, NULL, 0, 0, true);
        check(request, true);
    }
    request_reset(request);
    return 0;
}
