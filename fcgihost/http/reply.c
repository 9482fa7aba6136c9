/* Sends a response: how much of it may still be sent, and when to send its end. */
#include "http/reply.h"

#include "base/fork.h"
#include "base/log_line.h"
#include "http/request.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SEND_PIECES = RESPONSE_PIECES - 1, HELD_BYTES = 16 << 10, WITHHELD_BYTES = 64 << 10 };

bool reply_is_bodyless(const struct request *request)
{
    int status = request->response.status;
    return status == 204 || status == 304 || request->is_head;
}

/* Copies to out as much of the pieces as Content-Length still allows. */
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

/* Once the response has ended every byte is excess, except where no body is sent anyway. */
static void count_excess(struct request *request, const struct iovec *pieces, size_t count)
{
    if (request->response.content_length >= 0 && !reply_is_bodyless(request))
        for (size_t i = 0; i < count; i++)
            request->response.excess_bytes += pieces[i].iov_len;
}

bool reply_is_short(const struct request *request)
{
    const struct response *response = &request->response;
    return !reply_is_bodyless(request) && response->content_length >= 0 &&
           response->body_bytes < (uint64_t)response->content_length;
}

bool reply_is_whole(const struct request *request)
{
    const struct response *response = &request->response;
    return response->status != 0 && (reply_is_bodyless(request) ||
                                     (response->content_length >= 0 && !reply_is_short(request)));
}

/* Collects the head, unless it has been sent, and as much of the body as may be sent. The number of
 * pieces; -1: out of memory. */
static long gather(struct request *request, const struct iovec *pieces, size_t count,
                   struct iovec out[RESPONSE_PIECES])
{
    struct response *response = &request->response;
    size_t head_count = 0;
    if (!response->is_head_sent && response->status != 0) {
        if (!response_append(response, "\r\n", 2))
            return -1;
        out[head_count++] =
            (struct iovec){.iov_base = response->head, .iov_len = response->head_bytes};
        response->is_head_sent = true;
    }
    size_t body_count = admit(response, pieces, count, out + head_count);
    return (long)(head_count + (reply_is_bodyless(request) ? 0 : body_count));
}

static void begin_sending(struct response *response)
{
    while (atomic_exchange(&response->is_sending, true))
        sched_yield(); /* for a reply to a management record, which never blocks */
}

/* The peer is gone; or it has only aborted the request, and its connection may be kept. */
static void note_failure(struct request *request)
{
    if (errno == ECONNABORTED) {
        request->response.is_abandoned = true;
        return;
    }
    request->response.is_peer_gone = true;
    request->must_close = true;
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
    if (result < 0)
        note_failure(request);
    return result;
}

/* Some web servers reuse a kept connection as soon as they see the response's end, without having
 * sent the rest of this request's body. */
static bool must_withhold_end(struct request *request)
{
    if (!request->is_keep_wanted)
        return false;
    if (request->response.is_early)
        return !request_has_read_body(request);
    return request_drain_body(request) == DRAIN_WAIT;
}

/* Some web servers stop sending a body once they have the response's head, and wait for its end: a
 * short response is therefore withheld completely, in response->head. false: it is too long. */
static bool withhold_all(struct response *response, const struct iovec *out, size_t out_count)
{
    size_t body_bytes = 0;
    for (size_t i = 1; i < out_count; i++)
        body_bytes += out[i].iov_len;
    if (out_count == 0 || out[0].iov_base != response->head || body_bytes > WITHHELD_BYTES ||
        !response_make_room(response, response->head_bytes, body_bytes))
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
        is_last = response->is_early = reply_is_whole(request);
    if (is_last)
        response->is_ended = true;
    if (is_last && reply_is_short(request) && !response->is_abandoned) {
        /* Without its end the client sees that the response is incomplete; with it, some web
         * servers would pass it on as complete. */
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

/* Appends the text and a NUL. Text that does not fit is only in the host's own log. */
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
    if (result < 0)
        note_failure(request);
}

/* Sends each message in a record of its own, as nginx logs at most 2 KiB of a record. */
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

int reply_send(struct request *request, const struct iovec *pieces, size_t count, bool is_last)
{
    struct response *response = &request->response;
    if (fork_is_child()) {
        /* The parent responds; the child has only inherited the connection. */
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

int reply_send_last(struct request *request, const struct iovec *pieces, size_t count)
{
    response_enter(&request->response);
    int result = reply_send(request, pieces, count, true);
    response_leave(&request->response);
    return result;
}

int reply_send_end(struct request *request)
{
    struct response *response = &request->response;
    bool is_end_due = response->is_end_withheld;
    struct iovec all = {.iov_base = response->head, .iov_len = response->head_bytes};
    size_t count = response->is_all_withheld;
    response->is_end_withheld = response->is_all_withheld = false;
    return transmit(request, &all, count, is_end_due);
}

/* The text escaped, and a newline; the caller frees it. NULL: out of memory. */
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

void reply_send_error(struct request *request, const char *text, size_t text_bytes)
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

void reply_break_off(struct request *request)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    request->must_close = true;
    request->response.is_failed = true;
    if (request->ops->is_end_implied && request->response.is_head_sent)
        setsockopt(request->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

int reply_send_page(struct request *request, const char *status, const char *text)
{
    response_set_page(&request->response, status, text);
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    return reply_send_last(request, &piece, 1);
}
