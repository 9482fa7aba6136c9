/* The epoll set that the workers share: it accepts, it keeps the idle, it hands over what is ready.
 */
#include "connection/poller.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/fork.h"
#include "base/log.h"
#include "connection/poller_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEALED_MS = 2000 /* so long without a lack of descriptors, and it is over */ };

static enum pollable wake_pollable = POLLABLE_WAKE, ready_pollable = POLLABLE_READY;

/* The poller whose descriptors a forked child must not hold: the process has one. */
static struct poller *the_poller;

/* A child of os.fork() does not serve: with the sockets open it would keep others from listening,
 * and clients waiting for an end that the host has long sent. */
static void close_in_child(void)
{
    struct poller *poller = the_poller;
    if (poller == NULL)
        return;
    for (size_t i = 0; i < poller->listener_count; i++)
        if (poller->listeners[i].listener->fd >= 0)
            close(poller->listeners[i].listener->fd);
    close(poller->epoll_fd);
}

int poller_control(struct poller *poller, int operation, int fd, uint32_t events, void *pollable)
{
    struct epoll_event event = {.events = events, .data.ptr = pollable};
    return epoll_ctl(poller->epoll_fd, operation, fd, &event);
}

static int parse_allow(struct poller *poller, const struct config *config)
{
    poller->allow = calloc(config->allow.count + 1, sizeof(*poller->allow));
    if (poller->allow == NULL)
        return -1;
    for (size_t i = 0; i < config->allow.count; i++) {
        const char *reason;
        if (address_parse_block(config->allow.items[i], &poller->allow[i], &reason) < 0) {
            errno = EINVAL;
            return -1;
        }
    }
    poller->allow_count = config->allow.count;
    return 0;
}

int poller_init(struct poller *poller, struct listener_set *set, const struct config *config,
                int change_fd)
{
    memset(poller, 0, sizeof(*poller));
    poller->change_fd = change_fd;
    poller->io_timeout_ms = config->io_timeout_ms;
    poller->descriptor_limit = descriptors_find_limit();
    pthread_mutex_init(&poller->mutex, NULL);
    poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    poller->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    poller->listeners = calloc(set->count, sizeof(*poller->listeners));
    if (poller->wake_fd < 0 || poller->ready_fd < 0 || poller->epoll_fd < 0 ||
        poller->listeners == NULL || parse_allow(poller, config) < 0)
        return -1;
    for (size_t i = 0; i < set->count; i++) {
        poller->listeners[i] =
            (struct poller_listener){.pollable = POLLABLE_LISTENER, .listener = &set->items[i]};
        if (poller_control(poller, EPOLL_CTL_ADD, set->items[i].fd, EPOLLIN, &poller->listeners[i]) < 0)
            return -1;
    }
    poller->listener_count = set->count;
    the_poller = poller;
    pthread_atfork(NULL, NULL, close_in_child);
    if (poller_control(poller, EPOLL_CTL_ADD, poller->ready_fd, EPOLLIN, &ready_pollable) < 0)
        return -1;
    return poller_control(poller, EPOLL_CTL_ADD, poller->wake_fd, EPOLLIN, &wake_pollable);
}

void poller_clear(struct poller *poller)
{
    the_poller = NULL;
    while (poller->buried != NULL) {
        struct connection *next = poller->buried->next;
        connection_free(poller->buried);
        poller->buried = next;
    }
    close(poller->epoll_fd);
    close(poller->wake_fd);
    close(poller->ready_fd);
    free(poller->listeners);
    free(poller->allow);
    pthread_mutex_destroy(&poller->mutex);
}

void poller_set_listener_events(struct poller *poller, uint32_t events)
{
    for (size_t i = 0; i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd >= 0)
            poller_control(poller, EPOLL_CTL_MOD, listener->fd, events, &poller->listeners[i]);
    }
}

void poller_heed_ready(struct poller *poller, bool is_heeded)
{
    poller_control(poller, EPOLL_CTL_MOD, poller->ready_fd, is_heeded ? EPOLLIN : 0,
                   &ready_pollable);
    if (is_heeded)
        eventfd_write(poller->ready_fd, 1);
}

/* With the mutex held. Says so once, however often it happens before the lack is over. true: log
 * it. */
static bool pause_accepting(struct poller *poller)
{
    bool is_news = !poller->is_pause_logged;
    atomic_store(&poller->is_accept_paused, true);
    poller_set_listener_events(poller, 0);
    poller->is_pause_logged = true;
    poller->last_pause_ms = clock_ms();
    return is_news;
}

static void resume_accepting(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    if (!atomic_load(&poller->is_handing_over) && !atomic_load(&poller->is_held) &&
        atomic_exchange(&poller->is_accept_paused, false))
        poller_set_listener_events(poller, EPOLLIN);
    pthread_mutex_unlock(&poller->mutex);
}

void poller_link(struct poller *poller, struct connection *connection)
{
    connection->next = poller->connections;
    if (poller->connections != NULL)
        poller->connections->previous = connection;
    poller->connections = connection;
    poller->connection_count++;
}

/* With the mutex held. Looks only where the last connection got a number near the limit. */
static bool is_room_left(const struct poller *poller)
{
    return poller->last_fd < poller->descriptor_limit - 1 || atomic_load(&poller->is_draining) ||
           descriptors_are_left(poller->wake_fd, poller->descriptor_limit);
}

enum acceptance { ACCEPTED, NOBODY, NOT_ALLOWED, OUT_OF_DESCRIPTORS, STILL_OUT };

/* With the mutex held. errno says why when there are no descriptors. */
static enum acceptance accept_descriptor(struct poller *poller, const struct listener *listener,
                                         int *fd)
{
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof(peer);
    errno = EMFILE;
    *fd = -1;
    if (is_room_left(poller))
        *fd = descriptors_above_standard(accept4(listener->fd, (struct sockaddr *)&peer, &peer_bytes,
                                                 SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (*fd < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
            return NOBODY;
        return pause_accepting(poller) ? OUT_OF_DESCRIPTORS : STILL_OUT;
    }
    poller->last_fd = *fd;
    if (!listener->is_tcp)
        return ACCEPTED;
    if (!address_is_allowed((struct sockaddr *)&peer, poller->allow, poller->allow_count)) {
        close(*fd);
        return NOT_ALLOWED;
    }
    int one = 1;
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return ACCEPTED;
}

/* With the mutex held. */
static struct connection *add_connection(struct poller *poller, int fd)
{
    struct connection *connection = connection_new(fd);
    if (connection == NULL)
        close(fd);
    else
        poller_link(poller, connection);
    return connection;
}

static struct connection *accept_connection(struct poller *poller, struct listener *listener)
{
    struct connection *connection = NULL;
    int fd;
    pthread_mutex_lock(&poller->mutex);
    bool is_open = listener->fd >= 0 && !atomic_load(&poller->is_handing_over);
    enum acceptance acceptance = is_open ? accept_descriptor(poller, listener, &fd) : NOBODY;
    int error = errno;
    if (acceptance == ACCEPTED)
        connection = add_connection(poller, fd);
    pthread_mutex_unlock(&poller->mutex);
    if (acceptance == NOT_ALLOWED)
        log_warning("%s: connection refused: its address is not in [server] allow", listener->name);
    else if (acceptance == OUT_OF_DESCRIPTORS)
        log_error("can't accept connections: %s; new ones wait until others have closed (raise the "
                  "limit of "
                  "open files: ulimit -n, LimitNOFILE=)",
                  strerror(error));
    return connection;
}

/* With the mutex held. */
void poller_enqueue(struct poller_queue *queue, struct connection *connection)
{
    connection->next_parked = NULL;
    connection->is_queued = true;
    if (queue->last != NULL)
        queue->last->next_parked = connection;
    else
        queue->first = connection;
    queue->last = connection;
}

/* The first one, or NULL. With the mutex held. */
static struct connection *dequeue(struct poller_queue *queue)
{
    struct connection *connection = queue->first;
    if (connection != NULL)
        queue->first = connection->next_parked;
    if (queue->first == NULL)
        queue->last = NULL;
    return connection;
}

void poller_enqueue_ready(struct poller *poller, struct connection *connection)
{
    connection->queued_us = clock_us();
    poller_enqueue(&poller->ready, connection);
    if (!atomic_exchange(&poller->has_ready, true)) /* else who waits in epoll knows of others */
        eventfd_write(poller->ready_fd, 1);
}

/* The wait of those that have parked until then is over; they are in the order of their ends. With
 * the mutex held. */
static void release_parked(struct poller *poller, uint64_t until_ms)
{
    while (poller->parked.first != NULL && poller->parked.first->park_end_ms <= until_ms)
        poller_enqueue_ready(poller, dequeue(&poller->parked));
}

/* Nearly always the last one; one that was released too early comes back with its old end. */
static void insert_by_end(struct poller_queue *queue, struct connection *connection)
{
    struct connection **next = &queue->first;
    if (queue->last == NULL || queue->last->park_end_ms <= connection->park_end_ms) {
        poller_enqueue(queue, connection);
        return;
    }
    connection->is_queued = true;
    while ((*next)->park_end_ms <= connection->park_end_ms)
        next = &(*next)->next_parked;
    connection->next_parked = *next;
    *next = connection;
}

void poller_park(struct poller *poller, struct connection *connection)
{
    pthread_mutex_lock(&poller->mutex);
    insert_by_end(&poller->parked, connection);
    pthread_mutex_unlock(&poller->mutex);
}

void poller_unpark(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    release_parked(poller, UINT64_MAX);
    pthread_mutex_unlock(&poller->mutex);
}

void poller_queue(struct poller *poller, struct connection *connection)
{
    pthread_mutex_lock(&poller->mutex);
    poller_enqueue_ready(poller, connection);
    pthread_mutex_unlock(&poller->mutex);
}

bool poller_has_ready(const struct poller *poller)
{
    return atomic_load_explicit(&poller->has_ready, memory_order_relaxed);
}

static bool is_overdue(const struct connection *connection, uint64_t before_us)
{
    return connection != NULL && connection->request != NULL && connection->queued_us <= before_us;
}

/* NULL: none is to be had, or none of before_us. */
static struct connection *take_ready(struct poller *poller, uint64_t before_us)
{
    struct connection *connection = NULL;
    if (!poller_has_ready(poller))
        return NULL;
    pthread_mutex_lock(&poller->mutex);
    if (!atomic_load(&poller->is_handing_over) &&
        (before_us == UINT64_MAX || is_overdue(poller->ready.first, before_us)))
        connection = dequeue(&poller->ready);
    if (connection != NULL)
        connection->is_queued = false;
    atomic_store(&poller->has_ready, poller->ready.first != NULL);
    pthread_mutex_unlock(&poller->mutex);
    return connection;
}

struct connection *poller_take_overdue(struct poller *poller, uint64_t before_us)
{
    return take_ready(poller, before_us);
}

void poller_recall(struct poller *poller)
{
    atomic_store(&poller->is_recalled, true);
    eventfd_write(poller->ready_fd, 1);
}

bool poller_is_recalled(const struct poller *poller)
{
    return atomic_load(&poller->is_recalled) || atomic_load(&poller->is_quitting);
}

void poller_end_recall(struct poller *poller)
{
    atomic_store(&poller->is_recalled, false);
}

/* It is this worker's now. false: no, it stays as it is for the next process; epoll does not speak of it
 * again. Whoever counts the busy ones either sees that it is not watched, or its worker sees that it is to
 * be left. */
static bool take_connection(struct poller *poller, struct connection *connection)
{
    if (connection->fd < 0)
        return false; /* another process has it */
    atomic_exchange(&connection->is_watched, false); /* sees what its last owner wrote */
    if (!atomic_load(&poller->is_handing_over) || connection->is_answered)
        return true;
    pthread_mutex_lock(&poller->mutex);
    bool is_left = atomic_load(&poller->is_handing_over);
    atomic_store(&connection->is_watched, is_left);
    pthread_mutex_unlock(&poller->mutex);
    eventfd_write(poller->change_fd, 1);
    return !is_left;
}

/* NULL: the time is over, or a signal came. */
static enum pollable *next_pollable(struct poller *poller, int timeout_ms)
{
    if (poller->next_event >= poller->event_count) {
        poller->next_event = 0;
        poller->event_count =
            epoll_wait(poller->epoll_fd, poller->events, POLLER_EVENTS, timeout_ms);
    }
    return poller->event_count > 0 ? poller->events[poller->next_event++].data.ptr : NULL;
}

/* Where one connection came, more may wait: to ask the listener first saves an epoll_wait for each
 * of them, 0.5 of 21 µs. Not for ever, as the others wait meanwhile. */
static struct connection *accept_another(struct poller *poller)
{
    struct connection *connection = NULL;
    int accepts = atomic_load_explicit(&poller->accepts_in_row, memory_order_relaxed);
    if (accepts == 0)
        return NULL;
    if (accepts < POLLER_EVENTS)
        connection = accept_connection(poller, poller->last_listener);
    atomic_store_explicit(&poller->accepts_in_row, connection != NULL ? accepts + 1 : 0,
                          memory_order_relaxed);
    return connection;
}

static struct connection *accept_first(struct poller *poller, struct listener *listener)
{
    struct connection *connection = accept_connection(poller, listener);
    poller->last_listener = listener;
    atomic_store_explicit(&poller->accepts_in_row, connection != NULL, memory_order_relaxed);
    return connection;
}

/* What epoll tells next. NULL: no connection. */
static struct connection *wait_for_one(struct poller *poller, int timeout_ms)
{
    eventfd_t count;
    struct connection *connection = accept_another(poller);
    enum pollable *pollable = connection == NULL ? next_pollable(poller, timeout_ms) : NULL;
    if (pollable == NULL)
        return connection;
    switch (*pollable) {
    case POLLABLE_CONNECTION:
        connection = (struct connection *)(void *)pollable;
        return take_connection(poller, connection) ? connection : NULL;
    case POLLABLE_LISTENER:
        return accept_first(poller, ((struct poller_listener *)(void *)pollable)->listener);
    case POLLABLE_READY:
        eventfd_read(poller->ready_fd, &count);
        break;
    case POLLABLE_WAKE:
        break;
    }
    return NULL;
}

struct connection *poller_next(struct poller *poller)
{
    while (!atomic_load(&poller->is_quitting)) {
        struct connection *connection = take_ready(poller, UINT64_MAX);
        if (connection == NULL)
            connection = wait_for_one(poller, -1);
        if (connection != NULL)
            return connection;
    }
    return NULL;
}

struct connection *poller_lead(struct poller *poller, int timeout_ms)
{
    return poller_is_recalled(poller) ? NULL : wait_for_one(poller, timeout_ms);
}

int poller_watch(struct poller *poller, struct connection *connection, uint64_t deadline_ms)
{
    int operation = connection->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd = connection->fd;
    /* A new one's request has not come yet, so that more connections have not either. */
    if (!connection->is_registered && connection->served == 0)
        atomic_store_explicit(&poller->accepts_in_row, 0, memory_order_relaxed);
    connection->is_registered = true;
    atomic_store(&connection->has_head, connection->request != NULL);
    atomic_store(&connection->is_lingering, connection->is_answered);
    atomic_store(&connection->deadline_ms, deadline_ms);
    atomic_store(&connection->is_watched, true);
    /* From here on another worker may have it, and may even have closed it. */
    int result = poller_control(poller, operation, fd, WATCHED_EVENTS, connection);
    if (atomic_load_explicit(&poller->is_handing_over, memory_order_relaxed))
        eventfd_write(poller->change_fd, 1);
    return result;
}

/* With the mutex held. */
void poller_unlink(struct poller *poller, struct connection *connection)
{
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        poller->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    poller->connection_count--;
}

void poller_close(struct poller *poller, struct connection *connection)
{
    pthread_mutex_lock(&poller->mutex);
    poller_unlink(poller, connection);
    bool is_last = poller->connection_count == 0;
    pthread_mutex_unlock(&poller->mutex);
    /* A forked child may hold a copy, so closing ours would tell the peer nothing. */
    if (fork_has_happened())
        shutdown(connection->fd, SHUT_RDWR);
    connection_free(connection);
    if (atomic_load(&poller->is_accept_paused))
        resume_accepting(poller);
    if ((is_last && atomic_load(&poller->is_draining)) || atomic_load(&poller->is_handing_over))
        eventfd_write(poller->change_fd, 1);
}

const char *poller_listener_name(const struct poller *poller, size_t i)
{
    return poller->listeners[i].listener->name;
}

size_t poller_connection_count(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    size_t count = poller->connection_count;
    pthread_mutex_unlock(&poller->mutex);
    return count;
}

static size_t queue_count(const struct poller_queue *queue)
{
    size_t count = 0;
    for (const struct connection *c = queue->first; c != NULL; c = c->next_parked)
        count++;
    return count;
}

void poller_get_load(struct poller *poller, struct poller_load *load)
{
    *load = (struct poller_load){0};
    pthread_mutex_lock(&poller->mutex);
    load->open = poller->connection_count;
    for (const struct connection *c = poller->connections; c != NULL; c = c->next)
        load->idle += atomic_load(&c->is_watched) && !atomic_load(&c->has_head) &&
                      atomic_load(&c->deadline_ms) == 0;
    load->parked = queue_count(&poller->parked);
    load->waiting = queue_count(&poller->ready);
    if (poller->ready.first != NULL)
        load->oldest_waiting_ms = (clock_us() - poller->ready.first->queued_us) / 1000;
    pthread_mutex_unlock(&poller->mutex);
}

/* Its worker has nothing to read, so whoever waits, waits for the peer. With the mutex held. */
static bool is_silent(const struct connection *connection)
{
    char byte;
    return atomic_load(&connection->is_watched) &&
           recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void expire(struct poller *poller, uint64_t now_ms)
{
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        uint64_t deadline_ms = atomic_load(&c->deadline_ms);
        if (deadline_ms == 0 || now_ms < deadline_ms || !is_silent(c))
            continue;
        /* The worker that epoll gives it to then finds its end, and closes it. */
        atomic_store(&c->is_expired, true);
        shutdown(c->fd, SHUT_RD);
    }
    pthread_mutex_unlock(&poller->mutex);
}

void poller_tend(struct poller *poller, uint64_t now_ms)
{
    resume_accepting(poller);
    expire(poller, now_ms);
    pthread_mutex_lock(&poller->mutex);
    release_parked(poller, now_ms);
    bool has_healed = poller->is_pause_logged && now_ms >= poller->last_pause_ms + HEALED_MS;
    if (has_healed)
        poller->is_pause_logged = false;
    pthread_mutex_unlock(&poller->mutex);
    if (has_healed)
        log_info("accepting connections again");
}

/* What has queued up is served. With the mutex held. */
static void accept_queue(struct poller *poller, const struct listener *listener)
{
    int fd;
    while (accept_descriptor(poller, listener, &fd) == ACCEPTED) {
        struct connection *connection = add_connection(poller, fd);
        if (connection != NULL &&
            poller_watch(poller, connection, clock_ms() + poller->io_timeout_ms) < 0) {
            poller_unlink(poller, connection);
            connection_free(connection);
        }
    }
}

static void stop_listening(struct poller *poller, struct listener *listener,
                           enum listener_owner owner)
{
    listener_unlink(listener);
    pthread_mutex_lock(&poller->mutex);
    if (owner == LISTENER_OURS)
        listener_refuse(listener);
    if (owner != LISTENER_SHARED)
        accept_queue(poller, listener);
    poller_control(poller, EPOLL_CTL_DEL, listener->fd, 0, NULL);
    listener_close(listener);
    pthread_mutex_unlock(&poller->mutex);
}

/* A manager's worker does not refuse for its siblings. */
void poller_stop_accepting(struct poller *poller)
{
    atomic_store(&poller->is_draining, true);
    for (size_t i = 0; i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd >= 0)
            stop_listening(poller, listener,
                           poller->is_managed ? LISTENER_UNKNOWN : listener_find_owner(listener));
    }
}

void poller_hold(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    atomic_store(&poller->is_held, true);
    atomic_store(&poller->is_accept_paused, true);
    poller_set_listener_events(poller, 0);
    pthread_mutex_unlock(&poller->mutex);
}

void poller_release(struct poller *poller)
{
    if (atomic_exchange(&poller->is_held, false))
        resume_accepting(poller);
}

void poller_close_idle(struct poller *poller, bool is_every)
{
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        bool is_kept_idle = atomic_load(&c->deadline_ms) == 0;
        bool is_no_request = !atomic_load(&c->has_head) || atomic_load(&c->is_lingering);
        if ((is_kept_idle || (is_every && is_no_request)) && is_silent(c))
            shutdown(c->fd, SHUT_RD);
    }
    pthread_mutex_unlock(&poller->mutex);
}

void poller_cut(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next)
        if (!atomic_load(&poller->is_handing_over) || !connection_can_move(c))
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&poller->mutex);
}

void poller_quit(struct poller *poller)
{
    atomic_store(&poller->is_quitting, true);
    eventfd_write(poller->wake_fd, 1);
}
