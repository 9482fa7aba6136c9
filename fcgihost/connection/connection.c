/* One connection from a web server: what has been received on it, and what to do next. */
#include "connection/connection.h"

#include "base/clock.h"
#include "connection/sender.h"
#include "http/meta_variables.h"
#include "http/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT_BYTES = 2 * RECORD_MANAGEMENT_BYTES };

struct connection *connection_new(int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    connection->pollable = POLLABLE_CONNECTION;
    connection->fd = fd;
    return connection;
}

/* 0, or -1 when out of memory; the file is then closed. */
static int take_body_over(struct connection *connection, const struct handover_connection *left)
{
    uint8_t *memory = malloc(left->body.bytes + 1);
    if (memory == NULL) {
        if (left->body_fd >= 0)
            close(left->body_fd);
        return -1;
    }
    memcpy(memory, left->body.data, left->body.bytes);
    spool_adopt(&connection->taken_over, memory, left->body.bytes, left->body_fd,
                (off_t)left->body_begin, (off_t)left->body_end);
    connection->has_taken_over = true;
    return 0;
}

struct connection *connection_take_over(const struct handover_connection *left)
{
    struct connection *connection = connection_new(left->fd);
    size_t n = left->input.bytes;
    if (connection == NULL && left->has_body && left->body_fd >= 0)
        close(left->body_fd);
    if (connection == NULL || (left->has_body && take_body_over(connection, left) < 0) ||
        (n > 0 && input_own(&connection->input, n) < 0)) {
        if (connection != NULL)
            spool_clear(&connection->taken_over);
        free(connection);
        close(left->fd);
        return NULL;
    }
    if (n > 0)
        memcpy(connection->input.data, left->input.data, n);
    connection->input.end = n;
    connection->served = (unsigned long)left->served;
    connection->park_end_ms = left->park_end_ms;
    atomic_store(&connection->deadline_ms, left->deadline_ms);
    return connection;
}

bool connection_can_move(const struct connection *connection)
{
    if (connection->is_queued)
        return !connection->is_sending;
    /* A worker may take a lingering connection, finish it and watch it again between these loads:
     * is_lingering changes only while the connection is not free, hence the second look. */
    return hold_is_free(&connection->hold) && !atomic_load(&connection->is_lingering) &&
           hold_is_free(&connection->hold);
}

/* The part of the request's body that this process, or the one before it, has buffered. NULL:
 * none. */
static const struct spool *taken_in(const struct connection *connection)
{
    const struct request *request = connection->request;
    if (request == NULL)
        return connection->has_taken_over ? &connection->taken_over : NULL;
    return request->intake != INTAKE_NONE ? &request->body : NULL;
}

int connection_describe(const struct connection *connection, struct handover_connection *left)
{
    const struct input *input = &connection->input;
    const struct request *request = connection->request;
    const struct spool *body = taken_in(connection);
    size_t head_bytes = request != NULL ? connection->head_bytes : 0,
           input_bytes = input_available(input), place_bytes = 0,
           body_bytes = body != NULL ? body->end - body->begin : 0;
    uint8_t *bytes = malloc(head_bytes + TRANSPORT_PLACE_BYTES + input_bytes + body_bytes + 1);
    if (bytes == NULL)
        return -1;
    if (head_bytes > 0)
        memcpy(bytes, connection->head, head_bytes);
    if (body != NULL && request != NULL)
        place_bytes = request->ops->put_place(request, bytes + head_bytes);
    size_t n = head_bytes + place_bytes;
    if (input_bytes > 0)
        memcpy(bytes + n, input->data + input->begin, input_bytes);
    n += input_bytes;
    if (body_bytes > 0)
        memcpy(bytes + n, body->memory + body->begin, body_bytes);
    *left = (struct handover_connection){.fd = connection->fd,
                                         .served = connection->served,
                                         .deadline_ms = atomic_load(&connection->deadline_ms),
                                         .park_end_ms = connection->park_end_ms,
                                         .input = {.data = bytes, .bytes = n},
                                         .has_body = body != NULL,
                                         .body_fd = -1};
    if (body == NULL)
        return 0;
    left->body = (struct handover_bytes){.data = bytes + n, .bytes = body_bytes};
    if (spool_is_in_file(body)) {
        left->body_fd = body->fd;
        left->body_begin = (uint64_t)body->file_begin;
        left->body_end = (uint64_t)body->file_end;
    }
    return 0;
}

void connection_clear(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    free(connection->head);
    connection->head = NULL;
    spool_clear(&connection->taken_over);
    input_clear(&connection->input);
}

void connection_free(struct connection *connection)
{
    connection_clear(connection);
    free(connection);
}

bool connection_has_begun(const struct connection *connection)
{
    return connection->request != NULL || input_available(&connection->input) > 0;
}

static const struct transport_ops *choose_transport(const struct receiver *receiver, uint8_t first)
{
    enum config_protocol protocol = receiver->config->protocol;
    if (receiver->speaks_http && first >= 'A' && first <= 'Z')
        return &http_transport;
    if (protocol == PROTOCOL_FASTCGI || (protocol == PROTOCOL_AUTO && first == RECORD_VERSION))
        return &fastcgi_transport;
    if (protocol == PROTOCOL_SCGI || (protocol == PROTOCOL_AUTO && first >= '0' && first <= '9'))
        return &scgi_transport;
    return NULL;
}

static const char *describe_stranger(const uint8_t *bytes, size_t n)
{
    static const char *const methods[] = {"GET ",     "POST ",   "HEAD ", "PUT ",
                                          "OPTIONS ", "DELETE ", "PRI ",  "CONNECT "};
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        size_t m = strlen(methods[i]);
        if (n >= m && memcmp(bytes, methods[i], m) == 0)
            return "it sent HTTP: point the web server's fastcgi_pass or scgi_pass here, not "
                   "proxy_pass";
    }
    if (bytes[0] == 0x16)
        return "it sent TLS: the web server must speak plain FastCGI or SCGI to this socket";
    return "neither FastCGI nor SCGI";
}

/* Does the input hold nothing that is still needed? */
static bool is_spent(const struct connection *connection)
{
    const struct request *request = connection->request;
    return input_available(&connection->input) == 0 &&
           (request == NULL || connection->is_answered || request->intake != INTAKE_NONE);
}

/* Moves the few bytes of an incomplete record to the worker's large buffer, so that one receive
 * gets much. */
static void lend_buffer(struct receiver *receiver, struct input *input)
{
    size_t n = input_available(input);
    if (n >= receiver->buffer_bytes)
        return;
    memcpy(receiver->buffer, input->data + input->begin, n);
    bool is_at_eof = input->is_at_eof;
    input_clear(input);
    *input = (struct input){.data = receiver->buffer,
                            .capacity = receiver->buffer_bytes,
                            .end = n,
                            .is_at_eof = is_at_eof};
}

/* Makes room for the next receive, in the worker's buffer unless unread bytes have been kept
 * elsewhere. */
static int prepare_input(struct receiver *receiver, struct connection *connection)
{
    struct input *input = &connection->input;
    const struct request *request = connection->request;
    if (input->is_owned && is_spent(connection))
        input_clear(input);
    else if (input->is_owned && request != NULL && request->intake != INTAKE_NONE)
        lend_buffer(receiver, input);
    if (!input->is_owned) {
        if (input->data == NULL)
            *input = (struct input){.data = receiver->buffer, .capacity = receiver->buffer_bytes};
        return 0;
    }
    if (input->end < input->capacity)
        return 0;
    input_compact(input);
    size_t limit = receiver->buffer_bytes;
    if (input->end < input->capacity || input->capacity >= limit)
        return 0;
    return input_own(input, 2 * input->capacity < limit ? 2 * input->capacity : limit);
}

static int keep_head(struct connection *connection);

/* Goes on buffering a body that a predecessor process had begun to buffer. */
/* No more than a moment for a body that is unlikely, and of which nothing has come. */
static void begin_doubt(struct request *request)
{
    if (request->content_length < 0 && meta_is_body_unlikely(request))
        request->doubt_end_ms = clock_ms() + REQUEST_DOUBT_MS;
}

static void resume_intake(struct receiver *receiver, struct connection *connection)
{
    struct request *request = connection->request;
    request->taken_bytes = spool_bytes(&connection->taken_over);
    spool_move(&request->body, &connection->taken_over, receiver->store,
               receiver->config->body_memory_bytes);
    connection->has_taken_over = false;
    request->intake = INTAKE_BEGUN;
    request->ops->pass_taken(request, request->taken_bytes);
    if (request->taken_bytes == 0)
        begin_doubt(request);
}

/* Can the request be served without buffering its body: it is here already, or will be streamed? */
static bool needs_no_intake(struct receiver *receiver, struct request *request)
{
    request->is_body_here = request->ops->is_body_here(request);
    if (request->is_body_here)
        return true;
    begin_doubt(request);
    return request->role == ROLE_FILTER || meta_is_length_refused(request) ||
           meta_is_streamed(request, &receiver->routes->roles[request->role]);
}

static enum connection_step wait_for_body(struct receiver *receiver, struct connection *connection)
{
    struct request *request = connection->request;
    request->is_body_here = request->intake == INTAKE_DONE || request->content_length == 0;
    if (request->is_body_here ||
        (request->intake == INTAKE_NONE && needs_no_intake(receiver, request)))
        return CONNECTION_READY;
    if (keep_head(connection) < 0)
        return CONNECTION_CLOSE;
    request->is_body_here =
        request_take_in_body(request, receiver->store, receiver->config->body_memory_bytes);
    return request->is_body_here ? CONNECTION_READY : CONNECTION_WAIT;
}

static enum connection_step look(struct receiver *receiver, struct connection *connection)
{
    struct input *input = &connection->input;
    if (connection->request == NULL) {
        if (input_available(input) == 0)
            return input->is_at_eof ? CONNECTION_CLOSE : CONNECTION_WAIT;
        const uint8_t *bytes = input->data + input->begin;
        if (connection->ops == NULL)
            connection->ops = choose_transport(receiver, bytes[0]);
        enum head_state state = HEAD_REFUSED;
        if (connection->ops == NULL)
            connection->refusal = describe_stranger(bytes, input_available(input));
        else
            state = connection->ops->begin(receiver, connection);
        if (state == HEAD_REFUSED)
            return CONNECTION_CLOSE;
        if (state == HEAD_MORE) {
            if (input->is_at_eof)
                connection->refusal = "the peer hung up in the middle of a request's head";
            return input->is_at_eof ? CONNECTION_CLOSE : CONNECTION_WAIT;
        }
        struct request *request = connection->request;
        request->connection = connection;
        request->input = input;
        request->fd = connection->fd;
        request->io_timeout_ms = receiver->config->io_timeout_ms;
        request->min_rate = receiver->config->min_rate_bytes;
        request->outbox.sender = receiver->sender;
        request->outbox.patience_ms = SENDER_PATIENCE_MS;
        meta_read_content_length(request, receiver->config->request_body_bytes);
        if (meta_drop_body(request, &receiver->routes->roles[request->role]) < 0) {
            connection->refusal = "out of memory";
            return CONNECTION_CLOSE;
        }
        if (connection->has_taken_over)
            resume_intake(receiver, connection);
    }
    return wait_for_body(receiver, connection);
}

/* Copies the head, which still lies in front of the unread input, as the request now waits: if it
 * is handed over, the next process must parse the head again. -1: out of memory. */
static int keep_head(struct connection *connection)
{
    const struct input *input = &connection->input;
    if (connection->request == NULL || connection->is_answered || connection->is_sending ||
        connection->head != NULL)
        return 0;
    connection->head = malloc(connection->head_bytes);
    if (connection->head == NULL)
        return -1;
    memcpy(connection->head, input->data + input->begin - connection->head_bytes,
           connection->head_bytes);
    return 0;
}

/* The worker's buffer will be used for the next connection: copies what is still needed from it. */
static enum connection_step keep_input(struct connection *connection)
{
    struct input *input = &connection->input;
    if (keep_head(connection) < 0)
        return CONNECTION_CLOSE;
    if (is_spent(connection)) {
        input_clear(input);
        return CONNECTION_WAIT;
    }
    if (input->is_owned)
        return CONNECTION_WAIT;
    input_compact(input);
    if (connection->request != NULL && connection->request->intake != INTAKE_NONE)
        return input_own(input, 0) < 0 ? CONNECTION_CLOSE : CONNECTION_WAIT;
    return input_own(input, INPUT_BYTES) < 0 ? CONNECTION_CLOSE : CONNECTION_WAIT;
}

enum connection_step connection_keep_request(struct connection *connection)
{
    return keep_input(connection);
}

/* A receive that gets less than it has room for has emptied the socket. */
static long receive(struct connection *connection)
{
    struct input *input = &connection->input;
    long n = input_receive(input, connection->fd);
    connection->is_emptied = n >= 0 ? input->end < input->capacity : errno == EAGAIN;
    return n;
}

enum connection_step connection_advance(struct receiver *receiver, struct connection *connection)
{
    connection->is_emptied = false;
    if (prepare_input(receiver, connection) < 0)
        return CONNECTION_CLOSE;
    if (connection->is_answered || connection->is_sending)
        return connection_finish_request(receiver, connection);
    if (receive(connection) < 0 && errno != EAGAIN && errno != ENOBUFS) {
        if (connection->request == NULL)
            return CONNECTION_CLOSE;
        connection->input.is_at_eof = true;
    }
    enum connection_step step = look(receiver, connection);
    return step == CONNECTION_WAIT ? keep_input(connection) : step;
}

/* The response is complete, but the rest of the request's body has not arrived. */
static enum connection_step wait_for_rest(struct connection *connection, bool is_kept)
{
    /* The peer must see that the response has ended, and be able to read it: closing a socket with
     * unread data would reset the connection. */
    if (!is_kept && !connection->is_answered)
        shutdown(connection->fd, SHUT_WR);
    connection->is_answered = true;
    return keep_input(connection);
}

static void release_request(struct receiver *receiver, struct connection *connection)
{
    struct request *request = connection->request;
    connection->request = NULL;
    connection->input.drop = NULL;
    connection->is_answered = false;
    connection->served++;
    atomic_store(&connection->deadline_ms, 0);
    free(connection->head);
    connection->head = NULL;
    request->ops->release(request);
    receiver_give_request(receiver, request);
}

enum connection_rest connection_leave_rest(struct connection *connection)
{
    struct request *request = connection->request;
    if (!atomic_load(&request->outbox.is_used))
        return CONNECTION_REST_NONE;
    connection->is_sending = true;
    if (keep_input(connection) == CONNECTION_CLOSE) {
        request->must_close = true; /* the beginning of the next request is lost */
        input_clear(&connection->input);
    }
    return sender_finish(request) ? CONNECTION_REST_WAITS : CONNECTION_REST_SENT;
}

/* The response has been sent, or never will be: what follows goes directly to the socket. */
static void close_outbox(struct connection *connection)
{
    struct request *request = connection->request;
    connection->is_sending = false;
    if (request->outbox.error != 0) {
        reply_break_off(request);
        request->response.is_peer_gone = true;
    }
    request->outbox.sender = NULL;
    atomic_store(&request->outbox.is_used, false);
}

/* Has the peer sent more, behind a request whose response has been sent? While the process drains
 * it is served, as the peer could not know. */
static bool has_next(struct receiver *receiver, struct connection *connection)
{
    if (input_available(&connection->input) > 0)
        return true;
    return prepare_input(receiver, connection) == 0 &&
           input_receive(&connection->input, connection->fd) > 0;
}

enum connection_step connection_finish_request(struct receiver *receiver,
                                               struct connection *connection)
{
    struct request *request = connection->request;
    const struct response *response = &request->response;
    close_outbox(connection);
    bool is_kept = request->is_keep_wanted && !request->must_close && response->is_ended;
    if (!connection->is_answered) /* the peer was reading the response until now */
        request->peer_deadline_ms = request->rate_end_ms = 0;
    enum drain_state drain = response->is_peer_gone ? DRAIN_FAILED : request_drain_body(request);
    if (drain != DRAIN_WAIT || !is_kept)
        reply_send_end(request);
    if (drain == DRAIN_WAIT && !response->is_peer_gone)
        return wait_for_rest(connection, is_kept);
    is_kept = is_kept && drain == DRAIN_DONE && !response->is_peer_gone;
    release_request(receiver, connection);
    if (!is_kept || (atomic_load(receiver->is_draining) && !has_next(receiver, connection))) {
        input_clear(&connection->input);
        return CONNECTION_CLOSE;
    }
    /* During a handover the next request is left to the next process. */
    if (input_available(&connection->input) == 0 || atomic_load(receiver->is_handing_over))
        return keep_input(connection);
    enum connection_step step = look(receiver, connection);
    return step == CONNECTION_WAIT ? keep_input(connection) : step;
}
