/* SCGI: a head (parsed by scgi_head.c), a body of CONTENT_LENGTH bytes, and a response that ends
 * when the connection is closed. */
#include "connection/connection.h"
#include "connection/sender.h"
#include "http/request.h"
#include "protocol/scgi_head.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct scgi_state {
    uint64_t body_left;
};

static struct scgi_state *state_of(struct request *request)
{
    return (struct scgi_state *)(void *)request->state;
}

static int add_params(struct request *request, const struct scgi_head *head)
{
    char *pairs = arena_alloc(&request->arena, head->pairs_bytes);
    if (pairs == NULL)
        return -1;
    memcpy(pairs, head->pairs, head->pairs_bytes);
    const char *p = pairs, *end = pairs + head->pairs_bytes;
    while (p < end) {
        struct scgi_pair pair = scgi_head_next(&p);
        if (strcmp(pair.name, "SCGI") == 0)
            continue;
        if (request_add_param(request, pair.name, pair.name_bytes, pair.value, pair.value_bytes) <
            0)
            return -1;
    }
    return 0;
}

static enum head_state scgi_begin(struct receiver *receiver, struct connection *connection)
{
    struct input *input = &connection->input;
    struct scgi_head head;
    size_t max_bytes = receiver->gate_limits->head_bytes;
    enum scgi_verdict verdict =
        scgi_head_parse(input->data + input->begin, input_available(input), max_bytes, &head);
    if (verdict == SCGI_MORE)
        return HEAD_MORE;
    connection->refusal = head.reason;
    if (verdict == SCGI_REFUSE)
        return HEAD_REFUSED;
    struct request *request = receiver_take_request(receiver);
    if (request == NULL)
        return HEAD_REFUSED;
    connection->request = request;
    request->ops = &scgi_transport;
    state_of(request)->body_left = head.content_length;
    if (add_params(request, &head) < 0) {
        connection->refusal = "its headers can't be stored: out of memory";
        return HEAD_REFUSED;
    }
    connection->head_bytes = head.head_bytes;
    input->begin += head.head_bytes;
    return HEAD_WHOLE;
}

static bool scgi_is_body_here(struct request *request)
{
    return input_available(request->input) >= state_of(request)->body_left;
}

static enum body_state scgi_next_body(struct request *request, uint64_t deadline_ms,
                                      const uint8_t **content, size_t *content_bytes)
{
    struct input *input = request->input;
    uint64_t left = state_of(request)->body_left;
    if (left == 0)
        return BODY_END;
    if (input_available(input) == 0) {
        long n = input_receive_until(input, request->fd, deadline_ms);
        if (n < 0)
            return errno == EAGAIN ? BODY_WAIT : BODY_CUT;
        if (n == 0) {
            errno = ECONNRESET;
            return BODY_CUT;
        }
    }
    *content = input->data + input->begin;
    *content_bytes = input_available(input);
    if (*content_bytes > left)
        *content_bytes = (size_t)left;
    return BODY_CONTENT;
}

static void scgi_take_body(struct request *request, size_t bytes)
{
    request->input->begin += bytes;
    state_of(request)->body_left -= bytes;
}

static int scgi_send(struct request *request, const struct iovec *pieces, size_t count,
                     bool is_last)
{
    struct iovec copy[RESPONSE_PIECES];
    for (size_t i = 0; i < count; i++)
        copy[i] = pieces[i];
    if (sender_send(request, copy, count) < 0)
        return -1;
    /* Closing the connection ends the response, and that happens only when the application has
     * returned: end it now. */
    if (is_last && request->response.is_early)
        sender_shut(request);
    return 0;
}

static int scgi_send_error(struct request *request, const char *text, size_t text_bytes)
{
    (void)request;
    (void)text;
    (void)text_bytes;
    return 0;
}

static size_t scgi_put_place(const struct request *request, uint8_t *out)
{
    (void)request;
    (void)out;
    return 0;
}

static void scgi_pass_taken(struct request *request, uint64_t taken_bytes)
{
    uint64_t *left = &state_of(request)->body_left;
    *left -= taken_bytes < *left ? taken_bytes : *left;
}

static void scgi_release(struct request *request)
{
    (void)request;
}

const struct transport_ops scgi_transport = {
    .name = "SCGI",
    .is_end_implied = true,
    .begin = scgi_begin,
    .is_body_here = scgi_is_body_here,
    .next_body = scgi_next_body,
    .take_body = scgi_take_body,
    .send = scgi_send,
    .send_error = scgi_send_error,
    .put_place = scgi_put_place,
    .pass_taken = scgi_pass_taken,
    .release = scgi_release,
};
