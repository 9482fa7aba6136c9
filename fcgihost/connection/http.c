/* Plain HTTP/1, for the status sockets only: one GET for each connection. */
#include "connection/connection.h"
#include "http/request.h"
#include "net/socket_io.h"
#include "protocol/http_head.h"

#include <string.h>

enum { CGI_STATUS_BYTES = 8 /* "Status: " */ };

struct http_state {
    bool is_head_sent;
};

static struct http_state *state_of(struct request *request)
{
    return (struct http_state *)(void *)request->state;
}

static int add_param(struct request *request, const char *name, const char *value, size_t n)
{
    char *copy = arena_alloc(&request->arena, n + 1);
    if (copy == NULL)
        return -1;
    memcpy(copy, value, n);
    copy[n] = '\0';
    return request_add_param(request, name, strlen(name), copy, n);
}

static int add_params(struct request *request, const struct http_head *head)
{
    const char *query = memchr(head->target, '?', head->target_bytes);
    size_t path_bytes = query != NULL ? (size_t)(query - head->target) : head->target_bytes;
    size_t query_bytes = query != NULL ? head->target_bytes - path_bytes - 1 : 0;
    if (add_param(request, "REQUEST_METHOD", head->method, head->method_bytes) < 0 ||
        add_param(request, "REQUEST_URI", head->target, head->target_bytes) < 0)
        return -1;
    return add_param(request, "QUERY_STRING", query != NULL ? query + 1 : "", query_bytes);
}

static enum head_state http_begin(struct receiver *receiver, struct connection *connection)
{
    struct input *input = &connection->input;
    struct http_head head;
    enum http_verdict verdict = http_head_parse(input->data + input->begin, input_available(input),
                                                receiver->gate_limits->head_bytes, &head);
    if (verdict == HTTP_MORE)
        return HEAD_MORE;
    connection->refusal = head.reason;
    if (verdict == HTTP_REFUSE)
        return HEAD_REFUSED;
    struct request *request = receiver_take_request(receiver);
    if (request == NULL)
        return HEAD_REFUSED;
    connection->request = request;
    request->ops = &http_transport;
    *state_of(request) = (struct http_state){.is_head_sent = false};
    if (add_params(request, &head) < 0) {
        connection->refusal = "its head can't be stored: out of memory";
        return HEAD_REFUSED;
    }
    connection->head_bytes = head.head_bytes;
    input->begin += head.head_bytes;
    return HEAD_WHOLE;
}

/* A GET rarely has a body; one that has is not read, and the connection is closed. */
static bool http_is_body_here(struct request *request)
{
    (void)request;
    return true;
}

static enum body_state http_next_body(struct request *request, uint64_t deadline_ms,
                                      const uint8_t **content, size_t *content_bytes)
{
    (void)request;
    (void)deadline_ms;
    (void)content;
    (void)content_bytes;
    return BODY_END;
}

static void http_take_body(struct request *request, size_t bytes)
{
    (void)request;
    (void)bytes;
}

/* The first piece is a CGI head: "Status: 200 OK", headers, an empty line. */
static int http_send(struct request *request, const struct iovec *pieces, size_t count,
                     bool is_last)
{
    static char version[] = "HTTP/1.1 ", closing[] = "Connection: close\r\n\r\n";
    struct iovec out[RESPONSE_PIECES + 2];
    size_t n = 0, i = 0;
    (void)is_last;
    if (!state_of(request)->is_head_sent && count > 0) {
        state_of(request)->is_head_sent = true;
        out[n++] = (struct iovec){version, sizeof(version) - 1};
        out[n++] = (struct iovec){(char *)pieces[0].iov_base + CGI_STATUS_BYTES,
                                  pieces[0].iov_len - CGI_STATUS_BYTES - 2};
        out[n++] = (struct iovec){closing, sizeof(closing) - 1};
        i = 1;
    }
    for (; i < count; i++)
        out[n++] = pieces[i];
    return socket_send_paced(request->fd, out, n, request_pace(request), request->send_wait,
                             request->input);
}

static int http_send_error(struct request *request, const char *text, size_t text_bytes)
{
    (void)request;
    (void)text;
    (void)text_bytes;
    return 0;
}

static void http_release(struct request *request)
{
    (void)request;
}

const struct transport_ops http_transport = {
    .name = "HTTP",
    .begin = http_begin,
    .is_body_here = http_is_body_here,
    .next_body = http_next_body,
    .take_body = http_take_body,
    .send = http_send,
    .send_error = http_send_error,
    .release = http_release,
};
