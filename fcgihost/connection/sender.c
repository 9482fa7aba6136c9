/* Sends the responses that slow peers do not take at once. */
#include "connection/sender.h"

#include "base/clock.h"
#include "base/pieces.h"
#include "http/transport.h"
#include "net/socket_io.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* How long a thread waits for its peer. A peer that reads is ready sooner; handing the rest
     * over costs a copy and two context switches. */
    WAIT_MS = 5,
    TICK_MS = 1000, /* between two checks of the deadlines */
    EVENTS = 16,
    TURN_BYTES = 256 << 10, /* sent to one peer before others are served */
    WAKE_SLOT = UINT32_MAX,
};

int sender_init(struct sender *sender)
{
    pthread_condattr_t attributes;
    *sender = (struct sender){.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                              .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_mutex_init(&sender->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sender->progress, &attributes);
    pthread_condattr_destroy(&attributes);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_SLOT};
    if (sender->epoll_fd < 0 || sender->wake_fd < 0)
        return -1;
    return epoll_ctl(sender->epoll_fd, EPOLL_CTL_ADD, sender->wake_fd, &event);
}

void sender_clear(struct sender *sender)
{
    pthread_mutex_lock(&sender->mutex);
    sender->is_ending = true;
    bool has_thread = sender->has_thread;
    pthread_mutex_unlock(&sender->mutex);
    if (has_thread) {
        eventfd_write(sender->wake_fd, 1);
        pthread_join(sender->thread, NULL);
    }
    close(sender->epoll_fd);
    close(sender->wake_fd);
    free(sender->slots);
    pthread_cond_destroy(&sender->progress);
    pthread_mutex_destroy(&sender->mutex);
}

/* The mutex is held here and below unless a comment says otherwise. */
static int arm(struct sender *sender, struct request *request, int operation)
{
    struct outbox *outbox = &request->outbox;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT,
                                .data.u64 = outbox->slot | (uint64_t)outbox->serial << 32};
    int result = epoll_ctl(sender->epoll_fd, operation, request->fd, &event);
    outbox->is_armed = result == 0;
    return result;
}

/* A free slot, or -1 when out of memory. */
static long find_slot(struct sender *sender)
{
    for (uint32_t i = 0; sender->used < sender->slot_count && i < sender->slot_count; i++)
        if (sender->slots[i].request == NULL)
            return i;
    uint32_t count = sender->slot_count > 0 ? 2 * sender->slot_count : EVENTS;
    struct sender_slot *slots = realloc(sender->slots, count * sizeof(*slots));
    if (slots == NULL)
        return -1;
    for (uint32_t i = sender->slot_count; i < count; i++)
        slots[i] = (struct sender_slot){.request = NULL};
    long slot = sender->slot_count;
    sender->slots = slots;
    sender->slot_count = count;
    return slot;
}

static void begin_period(struct outbox *outbox, uint64_t now_ms)
{
    outbox->rate_begin_ms = now_ms;
    outbox->rate_end_ms = now_ms + REQUEST_RATE_MS;
    outbox->rate_bytes = outbox->taken_bytes;
    outbox->rate_queued = outbox->queued;
}

static void restart_times(const struct sender *sender, struct request *request, uint64_t now_ms)
{
    struct outbox *outbox = &request->outbox;
    outbox->deadline_ms = now_ms + sender->io_timeout_ms;
    outbox->queued = socket_queued(request->fd);
    begin_period(outbox, now_ms);
}

static void unregister(struct sender *sender, struct request *request)
{
    struct outbox *outbox = &request->outbox;
    if (!outbox->is_registered)
        return;
    epoll_ctl(sender->epoll_fd, EPOLL_CTL_DEL, request->fd, NULL);
    sender->slots[outbox->slot].request = NULL;
    sender->used--;
    outbox->is_registered = outbox->is_armed = false;
}

static void *run(void *argument);

/* Has the sender's thread send what is in the outbox. 0 or -1. */
static int set_going(struct sender *sender, struct request *request)
{
    struct outbox *outbox = &request->outbox;
    restart_times(sender, request, clock_ms());
    if (!sender->has_thread)
        sender->has_thread = pthread_create(&sender->thread, NULL, run, sender) == 0;
    if (!sender->has_thread)
        return -1;
    if (outbox->is_registered)
        return arm(sender, request, EPOLL_CTL_MOD);
    long slot = find_slot(sender);
    if (slot < 0)
        return -1;
    outbox->slot = (uint32_t)slot;
    outbox->serial = ++sender->slots[slot].serial;
    if (arm(sender, request, EPOLL_CTL_ADD) < 0)
        return -1;
    sender->slots[slot].request = request;
    outbox->is_registered = true;
    if (sender->used++ == 0)
        eventfd_write(sender->wake_fd, 1); /* it waits without a timeout */
    return 0;
}

static void fail(struct sender *sender, struct request *request, int error)
{
    request->outbox.error = error;
    request->outbox.lost_bytes = spool_bytes(&request->outbox.bytes);
    spool_clear(&request->outbox.bytes);
    unregister(sender, request);
}

/* Sends as much as the peer takes now. */
static void flush(struct sender *sender, struct request *request)
{
    struct outbox *outbox = &request->outbox;
    uint64_t before = outbox->taken_bytes;
    while (spool_bytes(&outbox->bytes) > 0 && outbox->taken_bytes - before < TURN_BYTES) {
        const uint8_t *bytes;
        long n = spool_peek(&outbox->bytes, &bytes);
        ssize_t sent = n > 0 ? send(request->fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) : n;
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR))
            break;
        if (sent < 0) {
            fail(sender, request, errno);
            return;
        }
        if (request->ops->pass_unsent != NULL && !outbox->is_cut)
            request->ops->pass_unsent(request, bytes, (size_t)sent);
        spool_take(&outbox->bytes, (size_t)sent);
        outbox->taken_bytes += (uint64_t)sent;
    }
    if (outbox->taken_bytes > before)
        outbox->deadline_ms = clock_ms() + sender->io_timeout_ms;
}

/* Of a Unix socket, epoll says nothing before the peer has taken three quarters of the buffer: what
 * is left in it tells more. */
static void look_at_queue(struct sender *sender, struct request *request, uint64_t now_ms)
{
    struct outbox *outbox = &request->outbox;
    uint64_t queued = socket_queued(request->fd);
    if (queued < outbox->queued)
        outbox->deadline_ms = now_ms + sender->io_timeout_ms;
    outbox->queued = queued;
}

static bool is_abandoned(const struct request *request)
{
    return !request->outbox.is_cut && request->ops->is_abandoned != NULL &&
           request->ops->is_abandoned(request);
}

/* The peer has aborted the request: nobody wants the rest, but the peer waits for its end. pieces:
 * what was to follow in the outbox. */
static void cut(struct sender *sender, struct request *request, const struct iovec *pieces,
                size_t count)
{
    struct outbox *outbox = &request->outbox;
    uint64_t before = spool_bytes(&outbox->bytes) + pieces_bytes(pieces, count);
    size_t n = 0;
    errno = ECONNABORTED;
    uint8_t *rest = request->ops->cut_unsent != NULL
                        ? request->ops->cut_unsent(request, pieces, count, &n)
                        : NULL;
    outbox->is_cut = true;
    if (rest == NULL && errno == 0)
        return; /* no more than the end is left */
    if (rest != NULL)
        spool_begin(&outbox->bytes, sender->store, sender->memory_max);
    if (rest == NULL || spool_append(&outbox->bytes, rest, n) < 0)
        fail(sender, request, errno);
    outbox->lost_bytes = before > n ? before - n : 0;
    free(rest);
}

static void look_at_peer(struct sender *sender, struct request *request, uint64_t now_ms)
{
    struct outbox *outbox = &request->outbox;
    if (spool_bytes(&outbox->bytes) == 0)
        return;
    if (outbox->is_finished && is_abandoned(request)) {
        cut(sender, request, NULL, 0);
        if (outbox->error != 0 || spool_bytes(&outbox->bytes) == 0)
            return;
    }
    look_at_queue(sender, request, now_ms);
    uint64_t taken =
        socket_taken(outbox->taken_bytes - outbox->rate_bytes, outbox->rate_queued, outbox->queued);
    bool is_period_over = now_ms >= outbox->rate_end_ms;
    enum socket_speed speed = socket_judge(taken, sender->min_rate, now_ms - outbox->rate_begin_ms);
    if (now_ms >= outbox->deadline_ms || (is_period_over && speed == SOCKET_TOO_SLOW)) {
        fail(sender, request, ETIMEDOUT);
        if (!request->ops->is_end_implied) /* otherwise close_outbox() resets it */
            shutdown(request->fd, SHUT_RDWR);
    } else if (is_period_over && speed == SOCKET_FAST_ENOUGH)
        begin_period(outbox, now_ms);
}

/* Waits for the peer again, or gives the connection back if nothing is left to send. */
static void conclude(struct sender *sender, struct request *request)
{
    struct outbox *outbox = &request->outbox;
    if (outbox->error == 0 && spool_bytes(&outbox->bytes) > 0) {
        arm(sender, request, EPOLL_CTL_MOD); /* if it fails: look_at_all() */
        return;
    }
    if (outbox->error == 0 && outbox->is_shut_due)
        shutdown(request->fd, SHUT_WR);
    outbox->is_shut_due = false;
    if (!outbox->is_finished)
        return;
    struct connection *connection = request->connection;
    unregister(sender, request);
    outbox->is_finished = false;
    pthread_mutex_unlock(&sender->mutex);
    sender->give_back(sender->owner, connection); /* may be freed as soon as a worker has it */
    pthread_mutex_lock(&sender->mutex);
}

static void look_at_all(struct sender *sender, uint64_t now_ms)
{
    for (uint32_t i = 0; i < sender->slot_count; i++) {
        struct request *request = sender->slots[i].request;
        if (request == NULL)
            continue;
        struct outbox *outbox = &request->outbox;
        look_at_peer(sender, request, now_ms);
        bool is_done = outbox->error != 0 || spool_bytes(&outbox->bytes) == 0;
        if (!is_done && !outbox->is_armed)
            flush(sender, request); /* no event will tell that the peer takes more */
        if (is_done || !outbox->is_armed)
            conclude(sender, request);
    }
}

static void take_event(struct sender *sender, const struct epoll_event *event)
{
    uint32_t slot = (uint32_t)event->data.u64, serial = (uint32_t)(event->data.u64 >> 32);
    struct request *request = slot < sender->slot_count ? sender->slots[slot].request : NULL;
    eventfd_t wakes;
    if (slot == WAKE_SLOT)
        eventfd_read(sender->wake_fd, &wakes);
    if (request == NULL || sender->slots[slot].serial != serial)
        return;
    request->outbox.is_armed = false;
    flush(sender, request);
    conclude(sender, request);
}

static void *run(void *argument)
{
    struct sender *sender = argument;
    uint64_t looked_ms = clock_ms();
    pthread_setname_np(pthread_self(), "sender");
    pthread_mutex_lock(&sender->mutex);
    while (!sender->is_ending) {
        struct epoll_event events[EVENTS];
        int timeout_ms = sender->used > 0 ? TICK_MS : -1;
        pthread_mutex_unlock(&sender->mutex);
        int count = epoll_wait(sender->epoll_fd, events, EVENTS, timeout_ms);
        pthread_mutex_lock(&sender->mutex);
        for (int i = 0; i < count; i++)
            take_event(sender, &events[i]);
        if (sender->waiting > 0)
            pthread_cond_broadcast(&sender->progress);
        if (clock_ms() >= looked_ms + TICK_MS) {
            looked_ms = clock_ms();
            look_at_all(sender, looked_ms);
        }
    }
    pthread_mutex_unlock(&sender->mutex);
    return NULL;
}

/* The temporary files are full: waits until the peer has taken everything. 0, or -1 with errno;
 * ECONNABORTED, and no error of the outbox: the peer has aborted the request. */
static int wait_until_empty(struct sender *sender, struct request *request)
{
    struct outbox *outbox = &request->outbox;
    uint64_t end_ms = request->send_wait != NULL ? request->send_wait->end_ms : 0;
    int error = 0;
    sender->waiting++;
    while (outbox->error == 0 && spool_bytes(&outbox->bytes) > 0) {
        uint64_t now_ms = clock_ms(), left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
        struct timespec tick =
            clock_deadline(end_ms > 0 && left_ms < TICK_MS ? (unsigned)left_ms : TICK_MS);
        pthread_cond_timedwait(&sender->progress, &sender->mutex, &tick);
        if (end_ms > 0 && clock_ms() >= end_ms)
            fail(sender, request, ETIMEDOUT);
        if (outbox->error == 0 && spool_bytes(&outbox->bytes) > 0 && is_abandoned(request)) {
            error = ECONNABORTED;
            break;
        }
    }
    sender->waiting--;
    errno = outbox->error != 0 ? outbox->error : error;
    return errno == 0 ? 0 : -1;
}

static bool is_unwanted(const void *owner)
{
    const struct request *request = owner;
    return request->ops->is_abandoned(request);
}

/* The thread waits for the peer. If that aborts the request meanwhile, the record that has begun
 * can't be completed: the connection ends. */
static int send_directly(struct request *request, struct iovec *pieces, size_t count,
                         struct input *input)
{
    struct socket_pace *pace = request_pace(request);
    pace->is_unwanted = request->ops->is_abandoned != NULL ? is_unwanted : NULL;
    pace->owner = request;
    return socket_send_paced(request->fd, pieces, count, pace, request->send_wait, input);
}

static int append(struct sender *sender, struct request *request, const struct iovec *piece)
{
    struct outbox *outbox = &request->outbox;
    if (spool_append(&outbox->bytes, piece->iov_base, piece->iov_len) == 0)
        return 0;
    if (wait_until_empty(sender, request) < 0)
        return -1;
    if (spool_append(&outbox->bytes, piece->iov_base, piece->iov_len) == 0)
        return 0;
    /* Still no room, as the piece is larger than the limit: sends it directly. */
    struct iovec copy = *piece;
    pthread_mutex_unlock(&sender->mutex);
    int result = send_directly(request, &copy, 1, NULL);
    pthread_mutex_lock(&sender->mutex);
    if (result == 0 && request->ops->pass_unsent != NULL)
        request->ops->pass_unsent(request, piece->iov_base, piece->iov_len);
    return result;
}

static void mark_unsent(struct request *request, const struct iovec *pieces, size_t count)
{
    if (request->ops->mark_unsent != NULL)
        request->ops->mark_unsent(request, pieces_bytes(pieces, count));
}

/* The application learns of the abort, and the end of its request is sent, behind what is left of
 * the record that has begun. -1 with errno. */
static int abort_response(struct sender *sender, struct request *request,
                          const struct iovec *pieces, size_t count)
{
    cut(sender, request, pieces, count);
    errno = request->outbox.error != 0 ? request->outbox.error : ECONNABORTED;
    return -1;
}

static int put(struct sender *sender, struct request *request, struct iovec *pieces, size_t count)
{
    struct outbox *outbox = &request->outbox;
    unsigned none = 0;
    if (outbox->error == 0 && spool_bytes(&outbox->bytes) == 0) {
        if (socket_send_some(request->fd, &pieces, &count, 0, &none, NULL) < 0)
            outbox->error = errno;
        mark_unsent(request, pieces, count);
    }
    for (size_t i = 0; i < count && outbox->error == 0; i++) {
        bool is_appended = append(sender, request, &pieces[i]) == 0;
        if (!is_appended && outbox->error == 0 && errno == ECONNABORTED)
            return abort_response(sender, request, pieces + i, count - i);
        if (!is_appended && outbox->error == 0)
            outbox->error = errno;
        if (outbox->error == 0 && !outbox->is_armed && spool_bytes(&outbox->bytes) > 0 &&
            set_going(sender, request) < 0)
            outbox->error = ENOMEM;
    }
    errno = outbox->error;
    return outbox->error == 0 ? 0 : -1;
}

int sender_send(struct request *request, struct iovec *pieces, size_t count)
{
    struct outbox *outbox = &request->outbox;
    struct sender *sender = outbox->sender;
    if (!atomic_load_explicit(&outbox->is_used, memory_order_relaxed)) {
        if (sender == NULL || !request_is_body_received(request)) {
            int sent = send_directly(request, pieces, count, request->input);
            if (sent < 0 && errno == ETIMEDOUT)
                outbox->error =
                    ETIMEDOUT; /* its connection must not look as if all had been sent */
            return sent;
        }
        if (socket_send_some(request->fd, &pieces, &count, WAIT_MS, &outbox->patience_ms,
                             request->send_wait) < 0)
            return -1;
        if (count == 0)
            return 0;
        spool_begin(&outbox->bytes, sender->store, sender->memory_max);
        atomic_store(&outbox->is_used, true);
    }
    if (request->send_wait != NULL)
        request->send_wait->before(request->send_wait); /* no mutex with the GIL held */
    pthread_mutex_lock(&sender->mutex);
    int result = put(sender, request, pieces, count);
    int error = errno;
    pthread_mutex_unlock(&sender->mutex);
    errno = error;
    return result;
}

void sender_shut(struct request *request)
{
    struct outbox *outbox = &request->outbox;
    bool is_due = true;
    if (atomic_load(&outbox->is_used)) {
        pthread_mutex_lock(&outbox->sender->mutex);
        is_due = spool_bytes(&outbox->bytes) == 0;
        outbox->is_shut_due = !is_due;
        pthread_mutex_unlock(&outbox->sender->mutex);
    }
    if (is_due)
        shutdown(request->fd, SHUT_WR);
}

bool sender_finish(struct request *request)
{
    struct outbox *outbox = &request->outbox;
    struct sender *sender = outbox->sender;
    if (!atomic_load(&outbox->is_used))
        return false;
    pthread_mutex_lock(&sender->mutex);
    outbox->is_finished = outbox->error == 0 && spool_bytes(&outbox->bytes) > 0;
    bool is_waiting = outbox->is_finished;
    if (!is_waiting)
        unregister(sender, request);
    pthread_mutex_unlock(&sender->mutex);
    return is_waiting;
}
