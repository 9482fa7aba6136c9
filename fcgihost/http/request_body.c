/* A request's body: received before a thread gets the request, read by the application, or
 * dropped. */
#include "http/request.h"

#include "base/clock.h"
#include "protocol/record.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* A filter's file follows, and must be received before the connection can be reused. */
static bool has_more(const struct request *request)
{
    return request->role == ROLE_FILTER && !request->is_data && !request->is_aborted;
}

/* What the end that the transport reports means for the connection. After an abort the next request
 * may follow, as after the body's end. */
static enum drain_state drain_after(const struct request *request, enum body_state state)
{
    if (state != BODY_END && !request->is_aborted)
        return DRAIN_FAILED;
    return has_more(request) ? DRAIN_WAIT : DRAIN_DONE;
}

/* Checks the end that the transport reports. -1: it came too early. */
static long end_body(struct request *request, enum body_state state)
{
    int error = errno;
    request->is_body_ended = true;
    request->drain = drain_after(request, state);
    if (state == BODY_END &&
        (request->content_length < 0 || request->body_bytes >= (uint64_t)request->content_length))
        return 0;
    request->body_failure = BODY_WAS_CUT;
    request->body_errno = state == BODY_END ? ECONNABORTED : error;
    if (request->drain == DRAIN_FAILED)
        request->must_close = true;
    return -1;
}

static uint64_t wait_end(const struct request *request)
{
    return atomic_load_explicit(&request->wait_end_ms, memory_order_relaxed);
}

static bool is_wait_over(const struct request *request)
{
    uint64_t end_ms = wait_end(request);
    return end_ms > 0 && clock_ms() >= end_ms;
}

/* How long to wait for the peer's next bytes. */
static uint64_t read_deadline(const struct request *request)
{
    uint64_t deadline_ms = clock_ms() + request->io_timeout_ms, end_ms = wait_end(request);
    return end_ms > 0 && end_ms < deadline_ms ? end_ms : deadline_ms;
}

/* When the peer will have been waited for during a whole period, if nothing comes. */
static uint64_t period_end(const struct request *request, uint64_t now_ms)
{
    if (request->min_rate == 0)
        return UINT64_MAX;
    return now_ms + (request->read_waited_ms < REQUEST_RATE_MS
                         ? REQUEST_RATE_MS - request->read_waited_ms
                         : 0);
}

/* Has the reader waited for a whole period, in which too little has come? What has come without a
 * wait, while the application did something else, counts, that time does not. here_bytes: what is
 * there and has not been read. */
static bool is_read_too_slow(struct request *request, size_t here_bytes)
{
    uint64_t received_bytes = request->body_bytes + here_bytes;
    if (request->min_rate == 0 || request->read_waited_ms < REQUEST_RATE_MS)
        return false;
    bool is_slow =
        received_bytes - request->read_before_bytes < request->min_rate * REQUEST_RATE_MS / 1000;
    request->read_waited_ms = 0;
    request->read_before_bytes = received_bytes;
    return is_slow;
}

/* What has been received into request->body comes first. */
static enum body_state next_body(struct request *request, uint64_t deadline_ms,
                                 const uint8_t **content, size_t *n)
{
    if (spool_bytes(&request->body) == 0)
        return request->ops->next_body(request, deadline_ms, content, n);
    long got = spool_peek(&request->body, content);
    *n = got > 0 ? (size_t)got : 0;
    return got > 0 ? BODY_CONTENT : BODY_CUT;
}

static bool is_last_piece(const struct request *request, size_t n)
{
    return request->content_length >= 0 &&
           request->body_bytes + n >= (uint64_t)request->content_length;
}

/* Waits for the next piece until deadline_ms, and no longer for a peer that is too slow. */
static enum body_state await_body(struct request *request, uint64_t deadline_ms,
                                  const uint8_t **content, size_t *n)
{
    for (;;) {
        uint64_t before_ms = clock_ms(), period_end_ms = period_end(request, before_ms),
                 end_ms = period_end_ms < deadline_ms ? period_end_ms : deadline_ms;
        enum body_state state = next_body(request, end_ms, content, n);
        int error = errno;
        bool is_period_over = state == BODY_CUT && error == ETIMEDOUT && end_ms < deadline_ms;
        request->read_waited_ms += clock_ms() - before_ms;
        if (state != BODY_CONTENT && !is_period_over) {
            errno = error;
            return state;
        }
        if (is_read_too_slow(request, state == BODY_CONTENT ? *n : 0) &&
            !(state == BODY_CONTENT && is_last_piece(request, *n))) {
            errno = ETIMEDOUT;
            return BODY_CUT;
        }
        if (state == BODY_CONTENT)
            return state;
    }
}

static long peek_body(struct request *request, uint64_t deadline_ms, const uint8_t **content)
{
    if (request->body_failure != BODY_FINE)
        return -1;
    if (request->is_body_ended ||
        (request->content_length >= 0 && request->body_bytes >= (uint64_t)request->content_length))
        return 0;
    size_t n = 0;
    enum body_state state = deadline_ms > 0 ? await_body(request, deadline_ms, content, &n)
                                            : next_body(request, 0, content, &n);
    if (state == BODY_WAIT) {
        errno = EAGAIN;
        return -1;
    }
    if (state == BODY_CUT && errno == ETIMEDOUT && is_wait_over(request))
        return -1; /* the reader's own deadline has passed, not the peer's: nothing is lost */
    if (state != BODY_CONTENT)
        return end_body(request, state);
    if (request->content_length >= 0 && n > (uint64_t)request->content_length - request->body_bytes)
        n = (size_t)((uint64_t)request->content_length - request->body_bytes);
    if (request->body_limit > 0 && request->body_bytes + n > request->body_limit) {
        request->body_failure = BODY_TOO_LARGE;
        request->body_errno = EFBIG;
        return -1;
    }
    return (long)n;
}

long request_peek_body(struct request *request, const uint8_t **content)
{
    return peek_body(request, read_deadline(request), content);
}

void request_skip_body(struct request *request, size_t n)
{
    if (spool_bytes(&request->body) > 0)
        spool_take(&request->body, n);
    else
        request->ops->take_body(request, n);
    request->body_bytes += n;
}

/* Reads directly from the temporary file, if there is one, without another copy. The number of
 * bytes; 0: nothing is in a file. */
static long read_taken(struct request *request, void *buffer, size_t n)
{
    if (!spool_is_in_file(&request->body))
        return 0;
    long got = spool_read(&request->body, buffer, n);
    if (got < 0)
        return end_body(request, BODY_CUT);
    request->body_bytes += (uint64_t)got;
    return got;
}

long request_read_body(struct request *request, void *buffer, size_t n)
{
    size_t got = 0;
    while (got < n) {
        const uint8_t *content;
        long available = read_taken(request, (char *)buffer + got, n - got);
        if (available > 0) {
            got += (size_t)available;
            continue;
        }
        if (available == 0)
            available = request_peek_body(request, &content);
        if (available < 0)
            return -1;
        if (available == 0)
            break;
        size_t take = (size_t)available < n - got ? (size_t)available : n - got;
        memcpy((char *)buffer + got, content, take);
        request_skip_body(request, take);
        got += take;
    }
    return (long)got;
}

bool request_is_body_at_hand(struct request *request, size_t n)
{
    if (request->is_body_ended || request->body_failure != BODY_FINE)
        return true;
    if (request->content_length >= 0 && n > (uint64_t)request->content_length - request->body_bytes)
        n = (size_t)((uint64_t)request->content_length - request->body_bytes);
    if (n == 0)
        return true;
    if (spool_is_in_file(&request->body))
        return false; /* reading the disk may block */
    const uint8_t *content;
    long available = peek_body(request, 0, &content);
    return available < 0 ? request->body_failure != BODY_FINE
                         : (size_t)available >= n || available == 0;
}

static void switch_to_data(struct request *request)
{
    request->is_data = true;
    request->ops->begin_data(request);
}

void request_begin_data(struct request *request)
{
    uint64_t deadline_ms = read_deadline(request);
    enum body_state state = request->is_body_ended ? BODY_END : BODY_CONTENT;
    while (state == BODY_CONTENT) {
        const uint8_t *content;
        size_t n = 0;
        state = request->ops->next_body(request, deadline_ms, &content, &n);
        if (state == BODY_CONTENT)
            request->ops->take_body(request, n);
    }
    switch_to_data(request);
    request->content_length = request_number(request, "FCGI_DATA_LENGTH");
    request->body_limit = 0;
    request->body_bytes = 0;
    request->is_body_ended = false;
    request->body_failure = BODY_FINE;
    if (state != BODY_END)
        end_body(request, state);
}

/* Drops what has arrived. If the peer sends without a pause this stops while some is left in the
 * socket, so that epoll reports the connection again. */
static enum body_state drop_what_is_there(struct request *request)
{
    uint64_t before = request->dropped_bytes;
    enum body_state state = BODY_CONTENT;
    while (state == BODY_CONTENT) {
        const uint8_t *content;
        size_t n = 0;
        struct pollfd more = {.fd = request->fd, .events = POLLIN};
        if (request->dropped_bytes - before >= REQUEST_DRAIN_PIECE_BYTES && poll(&more, 1, 0) > 0)
            return BODY_WAIT;
        state = request->ops->next_body(request, 0, &content, &n);
        if (state == BODY_CONTENT)
            request->ops->take_body(request, n);
        request->dropped_bytes += n;
        if (state == BODY_END && has_more(request)) {
            switch_to_data(request);
            state = BODY_CONTENT;
        }
    }
    return state;
}

/* Have enough of the bytes that were received so far come in this period? */
static bool is_enough(const struct request *request, uint64_t received_bytes)
{
    return received_bytes - request->rate_bytes >= request->min_rate * REQUEST_RATE_MS / 1000;
}

/* Is the peer slower than min_rate? received_bytes: so far. */
static bool is_too_slow(struct request *request, uint64_t received_bytes, uint64_t now_ms)
{
    if (request->min_rate == 0 || now_ms < request->rate_end_ms)
        return false;
    bool is_slow = request->rate_end_ms != 0 && !is_enough(request, received_bytes);
    request->rate_end_ms = now_ms + REQUEST_RATE_MS;
    request->rate_bytes = received_bytes;
    return is_slow;
}

/* Called when something has arrived: sets the time by which more must have. One who has sent enough
 * in this period need not send at its very end: the next one is seen with its first bytes. */
static void set_peer_deadline(struct request *request, uint64_t received_bytes, uint64_t timeout_ms,
                              uint64_t now_ms)
{
    uint64_t rate_end_ms = request->rate_end_ms;
    if (is_enough(request, received_bytes))
        rate_end_ms += REQUEST_RATE_MS;
    request->peer_deadline_ms = now_ms + timeout_ms;
    if (request->min_rate > 0 && rate_end_ms < request->peer_deadline_ms)
        request->peer_deadline_ms = rate_end_ms;
}

enum drain_state request_drain_body(struct request *request)
{
    if (request->drain != DRAIN_WAIT)
        return request->drain;
    spool_clear(&request->body);
    uint64_t before = request->dropped_bytes, now_ms = clock_ms(),
             deadline_ms = request->peer_deadline_ms;
    enum body_state state = drop_what_is_there(request);
    bool is_slow = is_too_slow(request, request->dropped_bytes, now_ms);
    if (deadline_ms == 0 || request->dropped_bytes > before)
        set_peer_deadline(request, request->dropped_bytes,
                          request->response.is_end_withheld ? REQUEST_DRAIN_WITHHELD_MS
                                                            : request->io_timeout_ms,
                          now_ms);
    if (state == BODY_END || request->is_aborted)
        request->drain = DRAIN_DONE;
    else if (state != BODY_WAIT || now_ms >= request->peer_deadline_ms || is_slow)
        request->drain = DRAIN_FAILED;
    return request->drain;
}

bool request_is_body_received(struct request *request)
{
    if (request->is_body_here)
        return true;
    if (!input_enter(request->input))
        return false;
    bool is_received =
        request->is_body_ended || request->drain == DRAIN_DONE ||
        (request->content_length >= 0 && request->body_bytes >= (uint64_t)request->content_length);
    input_leave(request->input);
    return is_received;
}

static bool drop_body(void *owner)
{
    return request_drain_body(owner) == DRAIN_WAIT;
}

void request_drop_body(struct request *request)
{
    request->input->owner = request;
    request->input->drop = drop_body;
}

bool request_has_read_body(struct request *request)
{
    if (has_more(request) || !input_enter(request->input))
        return false;
    const uint8_t *content;
    bool is_read = peek_body(request, 0, &content) == 0;
    bool is_over = is_read && request_drain_body(request) == DRAIN_DONE;
    input_leave(request->input);
    return is_over;
}

static bool end_intake(struct request *request, enum body_failure failure, int error)
{
    request->intake = INTAKE_DONE;
    request->peer_deadline_ms = request->rate_end_ms = 0;
    if (failure != BODY_FINE)
        spool_clear(&request->body);
    else
        spool_end_burst(&request->body);
    request->body_failure = failure;
    request->body_errno = error;
    return true;
}

/* The end of the stream has been received. Without a CONTENT_LENGTH this tells how long the body
 * is. */
static bool end_taken(struct request *request, enum body_state state)
{
    int error = errno;
    bool is_whole = state == BODY_END && request->content_length < 0;
    request->drain = drain_after(request, state);
    if (is_whole) {
        request->content_length = request->taken_bytes > 0 ? (int64_t)request->taken_bytes : -1;
        return end_intake(request, BODY_FINE, 0);
    }
    if (!request->is_aborted)
        request->must_close = true;
    if (state == BODY_CUT && request->peer_deadline_ms != 0 &&
        clock_ms() >= request->peer_deadline_ms)
        error = ETIMEDOUT; /* the poller shut the connection down */
    return end_intake(request, BODY_WAS_CUT, state == BODY_END ? ECONNABORTED : error);
}

static bool keep_taken(struct request *request, const uint8_t *content, size_t n)
{
    if (request->body_limit > 0 && request->taken_bytes + n > request->body_limit)
        return end_intake(request, BODY_TOO_LARGE, EFBIG);
    if (spool_append(&request->body, content, n) < 0)
        return end_intake(request, BODY_HAS_NO_ROOM, errno);
    request->ops->take_body(request, n);
    request->taken_bytes += n;
    return false;
}

/* Limits how much one call receives if the peer sends without a pause: some is left in the socket,
 * so that epoll reports the connection again. */
static bool is_piece_taken(const struct request *request, uint64_t before)
{
    struct pollfd more = {.fd = request->fd, .events = POLLIN};
    return request->taken_bytes - before >= REQUEST_TAKEN_PIECE_BYTES && poll(&more, 1, 0) > 0;
}

static bool is_in_doubt(const struct request *request)
{
    return request->doubt_end_ms != 0 && request->taken_bytes == 0;
}

uint64_t request_pause_end(const struct request *request)
{
    if (request->intake != INTAKE_BEGUN)
        return 0;
    if (is_in_doubt(request))
        return request->doubt_end_ms;
    return spool_is_in_burst(&request->body) ? request->came_ms + REQUEST_PAUSE_MS : 0;
}

static void begin_intake(struct request *request, struct spool_store *store, size_t memory_max)
{
    spool_begin(&request->body, store, memory_max);
    spool_allow_burst(&request->body, memory_max <= SIZE_MAX / REQUEST_BURST_TIMES
                                          ? REQUEST_BURST_TIMES * memory_max
                                          : SIZE_MAX);
    request->intake = INTAKE_BEGUN;
}

bool request_take_in_body(struct request *request, struct spool_store *store, size_t memory_max)
{
    uint64_t before = request->taken_bytes, now_ms = clock_ms();
    if (request->intake == INTAKE_NONE)
        begin_intake(request, store, memory_max);
    while (!is_piece_taken(request, before)) {
        uint64_t left = request->content_length >= 0
                            ? (uint64_t)request->content_length - request->taken_bytes
                            : UINT64_MAX;
        const uint8_t *content;
        size_t n = 0;
        if (left == 0)
            return end_intake(request, BODY_FINE, 0);
        enum body_state state = request->ops->next_body(request, 0, &content, &n);
        if (state == BODY_WAIT)
            break;
        if (state != BODY_CONTENT)
            return end_taken(request, state);
        if (keep_taken(request, content, n < left ? n : (size_t)left))
            return true;
    }
    if (is_in_doubt(request) && now_ms >= request->doubt_end_ms)
        return end_intake(request, BODY_FINE, 0);
    if (is_too_slow(request, request->taken_bytes, now_ms)) {
        errno = ETIMEDOUT;
        return end_taken(request, BODY_CUT);
    }
    if (request->taken_bytes > before)
        request->came_ms = now_ms;
    uint64_t pause_end_ms = request_pause_end(request);
    if (pause_end_ms != 0 && now_ms >= pause_end_ms && spool_settle(&request->body) < 0)
        return end_intake(request, BODY_HAS_NO_ROOM, errno);
    if (request->peer_deadline_ms == 0 || request->taken_bytes > before)
        set_peer_deadline(request, request->taken_bytes, request->io_timeout_ms, now_ms);
    return false;
}
