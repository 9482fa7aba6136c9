/* FastCGI: libfcgi parses the heads that the gate accepted; body records are parsed, and responses
 * written, here. */
#include "base/pieces.h"
#include "connection/connection.h"
#include "connection/sender.h"
#include "http/request.h"
#include "net/socket_io.h"
#include "protocol/gate.h"
#include "protocol/libfcgi_os.h"
#include "protocol/record.h"

#include <errno.h>
#include <fcgiapp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SEND_PIECES = 96,
    SEND_RECORDS = 24,
    MAX_CUTS = 256,
    /* An end with its padding, the longest management record, and what follows. */
    AHEAD_BYTES = 4 * RECORD_HEADER_BYTES + UINT8_MAX + RECORD_MANAGEMENT_BYTES,
    TAIL_BYTES = 2 * RECORD_HEADER_BYTES + RECORD_END_BYTES,
};

struct batch;

struct fastcgi_state {
    FCGX_Request fcgx;
    struct record_stream body;
    struct batch *batch;         /* while it is being sent */
    struct record_border border; /* where the peer is in what the sender sends to it */
    uint16_t id;
    bool has_stderr;
    bool has_end; /* END_REQUEST has been sent, or waits in the outbox */
};

_Static_assert(sizeof(struct fastcgi_state) <= REQUEST_STATE_BYTES,
               "request.h: REQUEST_STATE_BYTES is too small");

static struct fastcgi_state *state_of(struct request *request)
{
    return (struct fastcgi_state *)(void *)request->state;
}

static int reply(int fd, const uint8_t *bytes, size_t n, uint64_t timeout_ms)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    return socket_send(fd, &piece, 1, timeout_ms, NULL, NULL);
}

/* libfcgi does not skip the padding of FCGI_BEGIN_REQUEST: moves that record up to the next one.
 * The head then begins that many bytes later. */
static size_t drop_begin_padding(uint8_t *head)
{
    struct record begin = record_parse(head);
    if (begin.padding_bytes == 0)
        return 0;
    memmove(head + begin.padding_bytes, head, RECORD_HEADER_BYTES + RECORD_BEGIN_BYTES);
    record_put_header(head + begin.padding_bytes, RECORD_BEGIN_REQUEST, begin.id,
                      RECORD_BEGIN_BYTES);
    return begin.padding_bytes;
}

/* libfcgi gets the head alone: it never reads the connection, so it sees no byte that the gate has
 * not checked. */
static int parse_head(struct request *request, uint8_t *head, size_t head_bytes, size_t param_count)
{
    struct fastcgi_state *state = state_of(request);
    FCGX_Request *fcgx = &state->fcgx;
    if (libfcgi_os_accept(fcgx, head, head_bytes, param_count) < 0)
        return -1;
    if (fcgx->requestId == state->id)
        return 0;
    errno = EPROTO;
    return -1;
}

static int add_params(struct request *request, char **envp)
{
    /* The first one is FCGI_ROLE, which libfcgi puts there. */
    for (char **entry = envp + 1; *entry != NULL; entry++) {
        char *name = *entry, *separator = strchr(name, '=');
        if (separator == NULL || separator == name)
            continue;
        *separator = '\0';
        const char *value = separator + 1;
        if (request_add_param(request, name, (size_t)(separator - name), value, strlen(value)) < 0)
            return -1;
    }
    return 0;
}

/* FastCGI 1.0, section 6.3: an authorizer gets no FCGI_STDIN and no CONTENT_LENGTH. If a web server
 * sends FCGI_STDIN anyway, the gate drops the records. */
static int set_role(struct request *request, unsigned role)
{
    request->role = role;
    state_of(request)->body.is_ended = role == ROLE_AUTHORIZER;
    if (role == ROLE_RESPONDER)
        return 0;
    if (role == ROLE_AUTHORIZER && request_set_param(request, "CONTENT_LENGTH", "0") < 0)
        return -1;
    return request_set_param(request, "FCGI_ROLE",
                             role == ROLE_AUTHORIZER ? "AUTHORIZER" : "FILTER");
}

static enum head_state accept_head(struct receiver *receiver, struct connection *connection,
                                   const struct gate_result *result)
{
    struct input *input = &connection->input;
    struct request *request = receiver_take_request(receiver);
    if (request == NULL)
        return HEAD_REFUSED;
    struct fastcgi_state *state = state_of(request);
    *state =
        (struct fastcgi_state){.id = result->id,
                               .body = {.id = result->id,
                                        .type = RECORD_STDIN,
                                        .max_connections = receiver->gate_limits->max_connections}};
    connection->request = request;
    request->ops = &fastcgi_transport;
    request->is_keep_wanted = result->is_kept;
    size_t skipped_bytes = drop_begin_padding(input->data + input->begin);
    input->begin += skipped_bytes;
    connection->head_bytes = result->head_bytes - skipped_bytes;
    uint8_t *head = input->data + input->begin;
    if (parse_head(request, head, connection->head_bytes, result->param_count) < 0) {
        connection->refusal = errno == ENOMEM ? "its parameters can't be read: out of memory"
                                              : "its parameters can't be read";
        return HEAD_REFUSED;
    }
    if (add_params(request, state->fcgx.envp) < 0 || set_role(request, result->role) < 0) {
        connection->refusal = "its parameters can't be stored";
        return HEAD_REFUSED;
    }
    input->begin += connection->head_bytes;
    connection->cuts = 0;
    return HEAD_WHOLE;
}

/* Foreign records are mostly at the start, where nothing needs to be moved. */
static void cut_out(struct input *input, size_t offset, size_t n)
{
    if (offset > 0) {
        uint8_t *bytes = input->data + input->begin;
        memmove(bytes + offset, bytes + offset + n, input_available(input) - offset - n);
        input->end -= n;
    } else
        input->begin += n;
}

static enum head_state fastcgi_begin(struct receiver *receiver, struct connection *connection)
{
    struct input *input = &connection->input;
    for (;;) {
        struct gate_result result;
        switch (gate_examine(input->data + input->begin, input_available(input),
                             receiver->gate_limits, &result)) {
        case GATE_MORE:
            return HEAD_MORE;
        case GATE_WHOLE:
            return accept_head(receiver, connection, &result);
        case GATE_REFUSE:
            connection->refusal = result.reason;
            return HEAD_REFUSED;
        case GATE_CUT:
            if (result.cut_offset > 0 && ++connection->cuts > MAX_CUTS) {
                connection->refusal = "too many records of other requests in a request's head";
                return HEAD_REFUSED;
            }
            cut_out(input, result.cut_offset, result.cut_bytes);
            /* Does not wait for a peer that can't even take these few bytes: this thread has others
             * to serve. */
            if (result.reply_bytes > 0 &&
                reply(connection->fd, result.reply, result.reply_bytes, 0) < 0)
                return HEAD_REFUSED;
            if (result.is_last)
                return HEAD_REFUSED;
        }
    }
}

static bool fastcgi_is_body_here(struct request *request)
{
    const struct input *input = request->input;
    bool is_ended;
    size_t n = record_stream_count(state_of(request)->body, input->data + input->begin,
                                   input_available(input), &is_ended);
    if (request->content_length < 0)
        return n == 0 && is_ended;
    return n >= (uint64_t)request->content_length;
}

static enum body_state receive_body(struct request *request, uint64_t deadline_ms)
{
    input_compact(request->input);
    long n = input_receive_until(request->input, request->fd, deadline_ms);
    if (n > 0)
        return BODY_CONTENT;
    if (n < 0 && errno == EAGAIN)
        return BODY_WAIT;
    if (n == 0)
        errno = ECONNRESET;
    return BODY_CUT;
}

/* Replies to a management record in the middle of a body, unless a response is being sent, perhaps
 * by another thread: the reply could end up inside one of its records. */
static int reply_beside(struct request *request, const struct stream_step *step)
{
    struct response *response = &request->response;
    if (atomic_load(&request->outbox.is_used) || atomic_exchange(&response->is_sending, true))
        return 0;
    int result = reply(request->fd, step->reply, step->reply_bytes, 0);
    if (result < 0)
        response->is_peer_gone = true; /* part of a record may have been sent */
    atomic_store(&response->is_sending, false);
    return result;
}

static enum body_state end_of_body(struct request *request)
{
    if (!state_of(request)->body.is_aborted)
        return BODY_END;
    request->is_aborted = true;
    errno = ECONNABORTED;
    return BODY_CUT;
}

static enum body_state fastcgi_next_body(struct request *request, uint64_t deadline_ms,
                                         const uint8_t **content, size_t *content_bytes)
{
    struct fastcgi_state *state = state_of(request);
    struct input *input = request->input;
    if (state->body.is_ended)
        return end_of_body(request);
    for (;;) {
        struct stream_step step;
        enum stream_event event = record_stream_next(&state->body, input->data + input->begin,
                                                     input_available(input), &step);
        input->begin += step.used_bytes;
        enum body_state received;
        switch (event) {
        case STREAM_CONTENT:
            *content = step.content;
            *content_bytes = step.content_bytes;
            return BODY_CONTENT;
        case STREAM_END:
        case STREAM_ABORT:
            return end_of_body(request);
        case STREAM_BAD:
            errno = EPROTO;
            return BODY_CUT;
        case STREAM_REPLY:
            if (reply_beside(request, &step) < 0)
                return BODY_CUT;
            break;
        case STREAM_MORE:
            received = receive_body(request, deadline_ms);
            if (received != BODY_CONTENT)
                return received;
        }
    }
}

static void fastcgi_take_body(struct request *request, size_t bytes)
{
    request->input->begin += bytes;
    record_stream_take(&state_of(request)->body, bytes);
}

/* Collects records for one sendmsg. */
struct batch {
    struct request *request;
    uint16_t id;
    size_t lead_bytes; /* of the first pieces, they belong to the record before */
    size_t bytes;
    struct iovec pieces[SEND_PIECES];
    size_t piece_count;
    uint8_t headers[SEND_RECORDS][RECORD_HEADER_BYTES];
    size_t record_count;
};

static void begin_batch(struct batch *batch, struct request *request)
{
    struct fastcgi_state *state = state_of(request);
    batch->request = request;
    batch->id = state->id;
    batch->lead_bytes = batch->bytes = batch->piece_count = batch->record_count = 0;
    state->batch = batch;
}

static int flush_batch(struct batch *batch)
{
    int result = sender_send(batch->request, batch->pieces, batch->piece_count);
    batch->lead_bytes = batch->bytes = batch->piece_count = batch->record_count = 0;
    return result;
}

/* Finds out to which record the first of the unsent bytes belongs. The tail behind the records,
 * which has no header of its own here, is taken for a part of the last one: it is never cut. */
static void fastcgi_mark_unsent(struct request *request, size_t unsent_bytes)
{
    struct fastcgi_state *state = state_of(request);
    const struct batch *batch = state->batch;
    size_t sent = batch->bytes - unsent_bytes;
    state->border = (struct record_border){.left = batch->lead_bytes};
    for (size_t i = 0; i < batch->record_count && sent >= state->border.left; i++) {
        sent -= state->border.left;
        state->border.left = 0;
        record_border_pass(&state->border, batch->headers[i],
                           sent < RECORD_HEADER_BYTES ? sent : RECORD_HEADER_BYTES);
        if (sent < RECORD_HEADER_BYTES)
            return;
        sent -= RECORD_HEADER_BYTES;
    }
    state->border.left -= sent < state->border.left ? sent : state->border.left;
}

static void fastcgi_pass_unsent(struct request *request, const uint8_t *bytes, size_t n)
{
    record_border_pass(&state_of(request)->border, bytes, n);
}

static void add_piece(struct batch *batch, const void *bytes, size_t n)
{
    batch->bytes += n;
    batch->pieces[batch->piece_count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
}

/* Packs the pieces into records of the largest size, regardless of where pieces begin and end. */
static int add_stream(struct batch *batch, enum record_type type, const struct iovec *pieces,
                      size_t count)
{
    size_t left = pieces_bytes(pieces, count), room = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes = pieces[i].iov_base;
        size_t piece_left = pieces[i].iov_len;
        while (piece_left > 0) {
            bool is_full =
                batch->record_count == SEND_RECORDS || batch->piece_count + 3 > SEND_PIECES;
            if (is_full && flush_batch(batch) < 0)
                return -1;
            if (is_full)
                batch->lead_bytes = room;
            if (room == 0) {
                room = left < RECORD_CONTENT_BYTES ? left : RECORD_CONTENT_BYTES;
                uint8_t *header = batch->headers[batch->record_count++];
                record_put_header(header, type, batch->id, room);
                add_piece(batch, header, RECORD_HEADER_BYTES);
            }
            size_t n = piece_left < room ? piece_left : room;
            add_piece(batch, bytes, n);
            bytes += n;
            piece_left -= n;
            room -= n;
            left -= n;
        }
    }
    return 0;
}

/* The ends of the response's streams, and of the request. */
static size_t put_tail(const struct fastcgi_state *state, uint8_t tail[TAIL_BYTES])
{
    uint8_t *end = record_put_header(tail, RECORD_STDOUT, state->id, 0);
    if (state->has_stderr)
        end = record_put_header(end, RECORD_STDERR, state->id, 0);
    return (size_t)(record_put_end(end, state->id, STATUS_REQUEST_COMPLETE) - tail);
}

/* Up to n bytes of what is unsent, or of the pieces that follow it; where these end within a
 * record, zeros stand for the rest of it. *at: how much of the pieces has been read. Their number,
 * or -1 with errno. */
static long read_unsent(struct spool *unsent, const struct iovec *pieces, size_t count, size_t *at,
                        uint8_t *bytes, size_t n)
{
    if (spool_bytes(unsent) > 0)
        return spool_read(unsent, bytes, n);
    size_t skip = *at;
    for (; count > 0 && skip >= pieces->iov_len; pieces++, count--)
        skip -= pieces->iov_len;
    if (count == 0) {
        memset(bytes, 0, n);
        return (long)n;
    }
    size_t here = pieces->iov_len - skip;
    if (n > here)
        n = here;
    memcpy(bytes, (const uint8_t *)pieces->iov_base + skip, n);
    *at += n;
    return (long)n;
}

/* Keeps the rest of the record that has begun: without it the peer would take the next one for its
 * content. */
static uint8_t *fastcgi_cut_unsent(struct request *request, const struct iovec *pieces,
                                   size_t count, size_t *n)
{
    struct fastcgi_state *state = state_of(request);
    struct spool *unsent = &request->outbox.bytes;
    uint8_t tail[TAIL_BYTES];
    size_t tail_bytes = state->has_end ? put_tail(state, tail) : 0, kept = 0, distance, at = 0;
    errno = 0;
    if (spool_bytes(unsent) + pieces_bytes(pieces, count) <= tail_bytes)
        return NULL;
    uint8_t *bytes = malloc(RECORD_HEADER_BYTES + UINT16_MAX + UINT8_MAX + TAIL_BYTES);
    while (bytes != NULL && (distance = record_border_distance(&state->border)) > 0) {
        long got = read_unsent(unsent, pieces, count, &at, bytes + kept, distance);
        if (got <= 0) {
            free(bytes);
            return NULL;
        }
        record_border_pass(&state->border, bytes + kept, (size_t)got);
        kept += (size_t)got;
    }
    if (bytes != NULL)
        memcpy(bytes + kept, tail, tail_bytes);
    *n = kept + tail_bytes;
    return bytes;
}

static int fastcgi_send(struct request *request, const struct iovec *pieces, size_t count,
                        bool is_last)
{
    struct batch batch;
    begin_batch(&batch, request);
    /* A peer that has aborted the request waits for its end all the same. */
    bool is_aborted = add_stream(&batch, RECORD_STDOUT, pieces, count) < 0;
    if (is_aborted && (!is_last || errno != ECONNABORTED))
        return -1;
    uint8_t tail[TAIL_BYTES];
    if (is_last) {
        state_of(request)->has_end = true;
        add_piece(&batch, tail, put_tail(state_of(request), tail));
    }
    int result = flush_batch(&batch);
    if (is_aborted && result == 0)
        errno = ECONNABORTED;
    return is_aborted ? -1 : result;
}

static int fastcgi_send_error(struct request *request, const char *text, size_t text_bytes)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = text_bytes};
    struct batch batch;
    begin_batch(&batch, request);
    state_of(request)->has_stderr = true;
    if (add_stream(&batch, RECORD_STDERR, &piece, 1) < 0)
        return -1;
    return flush_batch(&batch);
}

static void fastcgi_begin_data(struct request *request)
{
    struct record_stream *body = &state_of(request)->body;
    if (body->is_aborted)
        return; /* nothing follows */
    *body = (struct record_stream){
        .id = body->id, .type = RECORD_DATA, .max_connections = body->max_connections};
}

/* Passes the records of the body that are there. false: they are none. */
static bool pass_records(struct record_stream *body, const uint8_t **bytes, size_t *n)
{
    while (!body->is_ended) {
        struct stream_step step;
        enum stream_event event = record_stream_next(body, *bytes, *n, &step);
        if (event == STREAM_BAD)
            return false;
        record_stream_take(body, event == STREAM_CONTENT ? step.content_bytes : 0);
        size_t used = step.used_bytes + (event == STREAM_CONTENT ? step.content_bytes : 0);
        *bytes += used;
        *n -= used;
        if (event == STREAM_MORE)
            break;
    }
    return true;
}

/* Is there an FCGI_ABORT_REQUEST in or after the part of the body that has arrived? Consumes
 * nothing. What has not been received is looked at too, as the end of the body may be there. */
static bool find_abort(const struct request *request)
{
    const struct fastcgi_state *state = (const void *)request->state;
    const uint8_t *bytes = request->input->data + request->input->begin;
    size_t n = input_available(request->input);
    struct record_stream body = state->body;
    uint8_t ahead[AHEAD_BYTES];
    if (!pass_records(&body, &bytes, &n))
        return false;
    if (!body.is_aborted && n < (body.is_ended ? RECORD_HEADER_BYTES : AHEAD_BYTES)) {
        if (n > 0)
            memcpy(ahead, bytes, n);
        ssize_t more = recv(request->fd, ahead + n, sizeof(ahead) - n, MSG_PEEK | MSG_DONTWAIT);
        n += more > 0 ? (size_t)more : 0;
        bytes = ahead;
        if (!pass_records(&body, &bytes, &n))
            return false;
    }
    if (body.is_aborted || !body.is_ended || n < RECORD_HEADER_BYTES)
        return body.is_aborted;
    struct record record = record_parse(bytes);
    return record.type == RECORD_ABORT_REQUEST && record.id == state->id;
}

static bool fastcgi_is_abandoned(const struct request *request)
{
    if (!input_enter(request->input))
        return false; /* another thread is reading the body, and will find it */
    bool is_found = find_abort(request);
    input_leave(request->input);
    return is_found;
}

/* Writes a record header for what is left of the current record: content, padding, or another
 * request's record, which the next process must skip too. */
static size_t fastcgi_put_place(const struct request *request, uint8_t *out)
{
    const struct record_stream *body =
        &((const struct fastcgi_state *)(const void *)request->state)->body;
    uint32_t content = body->content_left, padding = body->skip_left;
    uint16_t id = body->id;
    if (content == 0 && padding == 0 && !body->is_ended)
        return 0;
    if (content == 0 && padding > 0 && !body->is_ending) {
        id = id == 1 ? 2 : 1;
        content = padding > UINT8_MAX ? padding - UINT8_MAX : padding;
        padding -= content;
    }
    record_put_header(out, body->type, id, content);
    out[RECORD_HEADER_PADDING] = (uint8_t)padding;
    return RECORD_HEADER_BYTES;
}

static void fastcgi_pass_taken(struct request *request, uint64_t taken_bytes)
{
    (void)request;
    (void)taken_bytes; /* not needed: the position in the stream tells */
}

static void fastcgi_release(struct request *request)
{
    FCGX_Free(&state_of(request)->fcgx, 0);
}

const struct transport_ops fastcgi_transport = {
    .name = "FastCGI",
    .begin = fastcgi_begin,
    .is_body_here = fastcgi_is_body_here,
    .next_body = fastcgi_next_body,
    .take_body = fastcgi_take_body,
    .send = fastcgi_send,
    .send_error = fastcgi_send_error,
    .begin_data = fastcgi_begin_data,
    .is_abandoned = fastcgi_is_abandoned,
    .mark_unsent = fastcgi_mark_unsent,
    .pass_unsent = fastcgi_pass_unsent,
    .cut_unsent = fastcgi_cut_unsent,
    .put_place = fastcgi_put_place,
    .pass_taken = fastcgi_pass_taken,
    .release = fastcgi_release,
};
