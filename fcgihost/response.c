/* A response's head and body, checked, in the form that all three protocols want. */
#include "response.h"

#include "fork.h"
#include "log_line.h"
#include "request.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    HEAD_BYTES = 512,
    SEND_PIECES = RESPONSE_PIECES - 1,
    HELD_BYTES = 16 << 10,
    WITHHELD_BYTES = 64 << 10
};

static const char out_of_memory[] = "out of memory";

/* Room for n bytes in the head, before what is there from a place on. NULL: out of memory. */
static char *make_room(struct response *response, size_t at, size_t n)
{
    if (response->head_bytes + n > response->head_capacity) {
        size_t capacity = response->head_capacity > 0 ? response->head_capacity : HEAD_BYTES;
        while (capacity < response->head_bytes + n)
            capacity *= 2;
        char *head = realloc(response->head, capacity);
        if (head == NULL)
            return NULL;
        response->head = head;
        response->head_capacity = capacity;
    }
    char *room = response->head + at;
    memmove(room + n, room, response->head_bytes - at);
    response->head_bytes += n;
    return room;
}

static bool append(struct response *response, const char *bytes, size_t n)
{
    char *room = make_room(response, response->head_bytes, n);
    if (room != NULL)
        memcpy(room, bytes, n);
    return room != NULL;
}

/* What a byte may be part of. */
enum { IS_TOKEN = 1, IS_CONTROL = 2 };

/* Tokens: RFC 9110, section 5.6.2. Control characters but the tab, which header values may hold. */
static const unsigned char classes[256] = {
    [0x00 ... 0x08] = IS_CONTROL,
    [0x0a ... 0x1f] = IS_CONTROL,
    [0x7f] = IS_CONTROL,
    ['a' ... 'z'] = IS_TOKEN,
    ['A' ... 'Z'] = IS_TOKEN,
    ['0' ... '9'] = IS_TOKEN,
    ['!'] = IS_TOKEN,
    ['#' ... '\''] = IS_TOKEN,
    ['*' ... '+'] = IS_TOKEN,
    ['-' ... '.'] = IS_TOKEN,
    ['^' ... '`'] = IS_TOKEN,
    ['|'] = IS_TOKEN,
    ['~'] = IS_TOKEN,
};

static bool has_control(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (classes[(unsigned char)bytes[i]] == IS_CONTROL)
            return true;
    return false;
}

/* How many digits bytes begins with. */
static size_t count_digits(const char *bytes, size_t n)
{
    size_t count = 0;
    while (count < n && bytes[count] >= '0' && bytes[count] <= '9')
        count++;
    return count;
}

const char *response_set_status(struct response *response, const char *status, size_t bytes)
{
    if (bytes < 4 || count_digits(status, bytes) != 3 || status[3] != ' ')
        return "a status is three digits, a space and a reason, as in \"200 OK\"";
    if (status[0] < '2')
        return "a status below 200 can't be sent by an application behind a web server";
    if (has_control(status, bytes) || memchr(status, '\t', bytes) != NULL)
        return "control character in the status";
    response_reset(response);
    if (!append(response, "Status: ", 8) || !append(response, status, bytes) ||
        !append(response, "\r\n", 2))
        return out_of_memory;
    response->status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
    return NULL;
}

static bool is_token(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (classes[(unsigned char)bytes[i]] != IS_TOKEN)
            return false;
    return n > 0;
}

/* PEP 3333 keeps hop-by-hop headers (RFC 2616, section 13.5.1) from applications; Status is CGI's
 * own. */
static bool is_servers(const char *name, size_t n)
{
    static const struct {
        const char *name;
        size_t bytes;
    } names[] = {
        {"connection", 10},
        {"keep-alive", 10},
        {"proxy-authenticate", 18},
        {"proxy-authorization", 19},
        {"te", 2},
        {"trailers", 8},
        {"trailer", 7},
        {"upgrade", 7},
        {"transfer-encoding", 17},
        {"status", 6},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i].bytes == n && strncasecmp(names[i].name, name, n) == 0)
            return true;
    return false;
}

static const char *declare_length(struct response *response, const char *value, size_t n)
{
    if (response->content_length >= 0)
        return "Content-Length twice";
    if (n == 0 || n > 18 || count_digits(value, n) < n)
        return "Content-Length is not a number";
    response->content_length = 0;
    for (size_t i = 0; i < n; i++)
        response->content_length = response->content_length * 10 + (value[i] - '0');
    return NULL;
}

const char *response_add_header(struct response *response, const char *name, size_t name_bytes,
                                const char *value, size_t value_bytes)
{
    if (!is_token(name, name_bytes))
        return "a header name is made of letters, digits and !#$%&'*+-.^_`|~";
    if (has_control(value, value_bytes))
        return "control character in the header's value";
    if (is_servers(name, name_bytes))
        return "this header belongs to the web server, an application must not set it";
    if (name_bytes == 14 && strncasecmp(name, "content-length", 14) == 0) {
        const char *reason = declare_length(response, value, value_bytes);
        if (reason != NULL)
            return reason;
    }
    /* HAProxy 2.6 lets the last of Status and Location decide, and takes Location for a 302. */
    bool is_location = name_bytes == 8 && strncasecmp(name, "location", 8) == 0;
    size_t at = is_location ? 0 : response->head_bytes;
    char *line = make_room(response, at, name_bytes + value_bytes + 4);
    if (line == NULL)
        return out_of_memory;
    memcpy(line, name, name_bytes);
    memcpy(line + name_bytes, ": ", 2);
    memcpy(line + name_bytes + 2, value, value_bytes);
    memcpy(line + name_bytes + 2 + value_bytes, "\r\n", 2);
    return NULL;
}

bool response_has_header(const struct response *response, const char *name)
{
    size_t n = strlen(name);
    const char *p = response->head, *end = p != NULL ? p + response->head_bytes : NULL;
    while (p < end) {
        if ((size_t)(end - p) > n && p[n] == ':' && strncasecmp(p, name, n) == 0)
            return true;
        p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
    }
    return false;
}

void response_reset(struct response *response)
{
    char *head = response->head;
    size_t capacity = response->head_capacity;
    char *held = response->held;
    size_t held_bytes = response->held_bytes;
    *response = (struct response){.head = head,
                                  .head_capacity = capacity,
                                  .content_length = -1,
                                  .held = held,
                                  .held_bytes = held_bytes};
}

void response_drop_held(struct response *response)
{
    free(response->held);
    response->held = NULL;
    response->held_bytes = 0;
}

void response_clear(struct response *response)
{
    free(response->head);
    free(response->held);
    *response = (struct response){.content_length = -1};
}

bool response_is_bodyless(const struct request *request)
{
    int status = request->response.status;
    return status == 204 || status == 304 || request->is_head;
}

/* Takes over as much of the pieces as Content-Length allows. */
static size_t admit(struct response *response, const struct iovec *pieces, size_t count,
                    struct iovec *out)
{
    size_t out_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t n = pieces[i].iov_len;
        if (response->content_length >= 0) {
            uint64_t left = (uint64_t)response->content_length - response->body_bytes;
            if (n > left) {
                response->excess_bytes += n - left;
                n = left;
            }
        }
        response->body_bytes += n;
        if (n > 0)
            out[out_count++] = (struct iovec){.iov_base = pieces[i].iov_base, .iov_len = (size_t)n};
    }
    return out_count;
}

/* What comes when the response has ended already is too much, unless it is not sent anyway. */
static void count_excess(struct request *request, const struct iovec *pieces, size_t count)
{
    if (request->response.content_length >= 0 && !response_is_bodyless(request))
        for (size_t i = 0; i < count; i++)
            request->response.excess_bytes += pieces[i].iov_len;
}

bool response_is_short(const struct request *request)
{
    const struct response *response = &request->response;
    return !response_is_bodyless(request) && response->content_length >= 0 &&
           response->body_bytes < (uint64_t)response->content_length;
}

bool response_is_whole(const struct request *request)
{
    const struct response *response = &request->response;
    return response->status != 0 &&
           (response_is_bodyless(request) ||
            (response->content_length >= 0 && !response_is_short(request)));
}

bool response_is_over(const struct response *response)
{
    return response->is_ended || response->is_peer_gone || response->is_abandoned;
}

/* The head, if it has not left yet, and as much of the body as may be sent. -1: out of memory. */
static long gather(struct request *request, const struct iovec *pieces, size_t count,
                   struct iovec out[RESPONSE_PIECES])
{
    struct response *response = &request->response;
    size_t head_count = 0;
    if (!response->is_head_sent && response->status != 0) {
        if (!append(response, "\r\n", 2))
            return -1;
        out[head_count++] =
            (struct iovec){.iov_base = response->head, .iov_len = response->head_bytes};
        response->is_head_sent = true;
    }
    size_t body_count = admit(response, pieces, count, out + head_count);
    return (long)(head_count + (response_is_bodyless(request) ? 0 : body_count));
}

static void begin_sending(struct response *response)
{
    while (atomic_exchange(&response->is_sending, true))
        sched_yield(); /* an answer that goes out between two records waits for nobody */
}

static int transmit(struct request *request, const struct iovec *pieces, size_t count, bool is_last)
{
    if (request->response.is_peer_gone)
        return -1;
    if (count == 0 && !is_last)
        return 0;
    begin_sending(&request->response);
    int result = request->ops->send(request, pieces, count, is_last);
    request->response.is_sending = false;
    if (result == 0)
        return 0;
    request->response.is_peer_gone = true;
    request->must_close = true;
    return -1;
}

/* Some fronts use a kept connection again as soon as they see the end, and then send no more of
 * this request's body. */
static bool must_withhold_end(struct request *request)
{
    if (!request->is_keep_wanted)
        return false;
    if (request->response.is_early)
        return !request_has_read_body(request);
    return request_drain_body(request) == DRAIN_WAIT;
}

/* There are fronts that send no more of a body once they have the head, and then wait for the end:
 * a short answer waits as a whole. false: it is too long. */
static bool withhold_all(struct response *response, const struct iovec *out, size_t out_count)
{
    size_t body_bytes = 0;
    for (size_t i = 1; i < out_count; i++)
        body_bytes += out[i].iov_len;
    if (out_count == 0 || out[0].iov_base != response->head || body_bytes > WITHHELD_BYTES ||
        !make_room(response, response->head_bytes, body_bytes))
        return false;
    char *end = response->head + response->head_bytes - body_bytes;
    for (size_t i = 1; i < out_count; i++) {
        memcpy(end, out[i].iov_base, out[i].iov_len);
        end += out[i].iov_len;
    }
    return true;
}

static int send_some(struct request *request, const struct iovec *pieces, size_t count,
                     bool is_last)
{
    struct response *response = &request->response;
    if (response->is_ended) {
        count_excess(request, pieces, count);
        return response->is_peer_gone ? -1 : 0;
    }
    struct iovec out[RESPONSE_PIECES];
    long out_count = gather(request, pieces, count, out);
    if (out_count < 0)
        return -1;
    if (!is_last)
        is_last = response->is_early = response_is_whole(request);
    if (is_last)
        response->is_ended = true;
    if (is_last && response_is_short(request) && !response->is_abandoned) {
        /* Without its end the response is visibly broken off; with it some fronts call it whole. */
        request->must_close = true;
        is_last = false;
    }
    response->is_end_withheld = is_last && must_withhold_end(request);
    response->is_all_withheld = response->is_end_withheld && !response->is_early &&
                                withhold_all(response, out, (size_t)out_count);
    if (response->is_all_withheld)
        return 0;
    if (is_last && !response->is_early && request->drain == DRAIN_WAIT && request->input != NULL)
        request_drop_body(request);
    return transmit(request, out, (size_t)out_count, is_last && !response->is_end_withheld);
}

/* One after the other, each with a NUL behind it. More than there is room for is in the host's own
 * log alone. */
static void hold_error(struct response *response, const char *text, size_t text_bytes)
{
    if (response->held == NULL)
        response->held = malloc(HELD_BYTES);
    if (response->held == NULL || text_bytes >= HELD_BYTES - response->held_bytes)
        return;
    memcpy(response->held + response->held_bytes, text, text_bytes);
    response->held[response->held_bytes + text_bytes] = '\0';
    response->held_bytes += text_bytes + 1;
}

static void send_error(struct request *request, const char *text, size_t text_bytes)
{
    begin_sending(&request->response);
    int result = request->ops->send_error(request, text, text_bytes);
    request->response.is_sending = false;
    if (result < 0) {
        request->response.is_peer_gone = true;
        request->must_close = true;
    }
}

/* Each message by itself: nginx logs 2 KiB of each. */
static int send_head_and_held(struct request *request)
{
    struct response *response = &request->response;
    struct iovec head[RESPONSE_PIECES];
    long count = gather(request, NULL, 0, head);
    if (count < 0 || transmit(request, head, (size_t)count, false) < 0)
        return -1;
    const char *end = response->held + response->held_bytes;
    for (const char *text = response->held; text < end && !response->is_peer_gone;
         text += strlen(text) + 1)
        send_error(request, text, strlen(text));
    response_drop_held(response);
    return response->is_peer_gone ? -1 : 0;
}

int response_send(struct request *request, const struct iovec *pieces, size_t count, bool is_last)
{
    struct response *response = &request->response;
    if (fork_is_child()) {
        /* The parent answers, on the connection that both hold. */
        response->is_peer_gone = true;
        return -1;
    }
    bool is_held = response->held_bytes > 0 && response->status != 0 && !response->is_head_sent;
    if (is_held && send_head_and_held(request) < 0)
        return -1;
    for (; count > SEND_PIECES; pieces += SEND_PIECES, count -= SEND_PIECES)
        if (send_some(request, pieces, SEND_PIECES, false) < 0)
            return -1;
    return send_some(request, pieces, count, is_last);
}

int response_send_last(struct request *request, const struct iovec *pieces, size_t count)
{
    response_enter(&request->response);
    int result = response_send(request, pieces, count, true);
    response_leave(&request->response);
    return result;
}

int response_send_end(struct request *request)
{
    struct response *response = &request->response;
    bool is_end_due = response->is_end_withheld;
    struct iovec all = {.iov_base = response->head, .iov_len = response->head_bytes};
    size_t count = response->is_all_withheld;
    response->is_end_withheld = response->is_all_withheld = false;
    return transmit(request, &all, count, is_end_due);
}

/* Escaped, with a newline behind it; the caller frees it. NULL: out of memory. */
static char *escape_error(const char *text, size_t text_bytes)
{
    while (text_bytes > 0 && text[text_bytes - 1] == '\n')
        text_bytes--;
    struct log_line line = {.room = 0};
    log_line_append_escaped(&line, text, text_bytes);
    char *escaped = malloc(line.used + 2);
    if (escaped == NULL)
        return NULL;
    line = (struct log_line){.data = escaped, .room = line.used};
    log_line_append_escaped(&line, text, text_bytes);
    memcpy(escaped + line.used, "\n", 2);
    return escaped;
}

void response_send_error(struct request *request, const char *text, size_t text_bytes)
{
    struct response *response = &request->response;
    if (fork_is_child() || !response_enter(response))
        return;
    bool is_due = !response->is_ended && !response->is_peer_gone;
    char *escaped = is_due ? escape_error(text, text_bytes) : NULL;
    if (escaped != NULL && response->is_head_sent)
        send_error(request, escaped, strlen(escaped));
    else if (escaped != NULL)
        hold_error(response, escaped, strlen(escaped));
    free(escaped);
    response_leave(response);
}

int response_send_page(struct request *request, const char *status, const char *text)
{
    char length[24];
    int digits = snprintf(length, sizeof(length), "%zu", strlen(text));
    struct response *response = &request->response;
    unsigned retry_after_s = response->retry_after_s > 0 ? response->retry_after_s : 1;
    response_set_status(response, status, strlen(status));
    response_add_header(response, "Content-Type", 12, "text/plain; charset=utf-8", 25);
    response_add_header(response, "Content-Length", 14, length, (size_t)digits);
    if (response->status == 503) {
        digits = snprintf(length, sizeof(length), "%u", retry_after_s);
        response_add_header(response, "Retry-After", 11, length, (size_t)digits);
    }
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    return response_send_last(request, &piece, 1);
}
