/* The epoll set that all threads share: which connection is next, which has timed out. */
#include "connection/poller.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/fork.h"
#include "base/log.h"
#include "connection/poller_internal.h"
#include "http/request.h"
#include "http/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEALED_MS = 2000 /* the lack of descriptors is over after so long without one */ };

static enum pollable wake_pollable = POLLABLE_WAKE, ready_pollable = POLLABLE_READY;

/* The process's only poller, for close_in_child(). */
static struct poller *the_poller;

/* A child of os.fork() does not serve. If it kept the sockets open, nobody else could listen on
 * them, and clients would wait for the end of a connection that the host has closed. */
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

static void note_files(struct poller *poller)
{
    poller->epoll_file = descriptor_file_of(poller->epoll_fd);
    for (size_t i = 0; i < poller->listener_count; i++)
        poller->listeners[i].file = descriptor_file_of(poller->listeners[i].listener->fd);
}

bool poller_has_lost_descriptors(struct poller *poller)
{
    bool has_lost = descriptor_file_is_lost(poller->epoll_file, poller->epoll_fd);
    pthread_mutex_lock(&poller->mutex);
    for (size_t i = 0; !has_lost && i < poller->listener_count; i++) {
        const struct poller_listener *item = &poller->listeners[i];
        has_lost =
            item->listener->fd >= 0 && descriptor_file_is_lost(item->file, item->listener->fd);
    }
    pthread_mutex_unlock(&poller->mutex);
    return has_lost;
}

int poller_init(struct poller *poller, struct listener_set *set, const struct config *config,
                int change_fd)
{
    memset(poller, 0, sizeof(*poller));
    poller->change_fd = change_fd;
    poller->io_timeout_ms = config->io_timeout_ms;
    poller->descriptor_limit = descriptors_find_limit();
    poller->connection_max = poller_find_max(poller, config);
    pthread_mutex_init(&poller->mutex, NULL);
    poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    poller->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    poller->listeners = calloc(set->count, sizeof(*poller->listeners));
    if (poller->wake_fd < 0 || poller->ready_fd < 0 || poller->epoll_fd < 0 ||
        poller->listeners == NULL || poller_parse_allow(poller, config) < 0)
        return -1;
    for (size_t i = 0; i < set->count; i++) {
        poller->listeners[i] =
            (struct poller_listener){.pollable = POLLABLE_LISTENER, .listener = &set->items[i]};
        if (poller_control(poller, EPOLL_CTL_ADD, set->items[i].fd, EPOLLIN,
                           &poller->listeners[i]) < 0)
            return -1;
    }
    poller->listener_count = set->count;
    note_files(poller);
    the_poller = poller;
    pthread_atfork(NULL, NULL, close_in_child);
    if (poller_control(poller, EPOLL_CTL_ADD, poller->ready_fd, EPOLLIN, &ready_pollable) < 0)
        return -1;
    return poller_control(poller, EPOLL_CTL_ADD, poller->wake_fd, EPOLLIN, &wake_pollable);
}

static void free_buried(struct connection *buried)
{
    while (buried != NULL) {
        struct connection *next = buried->next;
        if (buried->request != NULL) { /* its body was being received */
            buried->request->ops->release(buried->request);
            request_free(buried->request);
        }
        connection_free(buried);
        buried = next;
    }
}

void poller_clear(struct poller *poller)
{
    the_poller = NULL;
    free_buried(poller->buried);
    close(poller->epoll_fd);
    close(poller->wake_fd);
    close(poller->ready_fd);
    free(poller->listeners);
    free(poller->allow);
    pthread_mutex_destroy(&poller->mutex);
}

int poller_set_listener_events(struct poller *poller, uint32_t events)
{
    int result = 0;
    for (size_t i = 0; i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd >= 0 &&
            poller_control(poller, EPOLL_CTL_MOD, listener->fd, events, &poller->listeners[i]) < 0)
            result = -1;
    }
    return result;
}

void poller_heed_ready(struct poller *poller, bool is_heeded)
{
    poller_control(poller, EPOLL_CTL_MOD, poller->ready_fd, is_heeded ? EPOLLIN : 0,
                   &ready_pollable);
    if (is_heeded)
        eventfd_write(poller->ready_fd, 1);
}

void poller_link(struct poller *poller, struct connection *connection)
{
    connection->next = poller->connections;
    if (poller->connections != NULL)
        poller->connections->previous = connection;
    poller->connections = connection;
    poller->connection_count++;
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

/* The calling worker owns the connection, on which something has come. false: it must not look at
 * it, which is left for the next process. The mutex orders this against poller_busy_count(): either
 * that sees the connection as busy, or the worker sees that it must leave it. */
static bool may_look(struct poller *poller, struct connection *connection)
{
    atomic_store_explicit(&connection->pause_end_ms, 0, memory_order_relaxed);
    if (!atomic_load(&poller->is_handing_over) || connection->is_answered ||
        connection->is_sending) {
        hold_look(&connection->hold);
        return true;
    }
    pthread_mutex_lock(&poller->mutex);
    bool is_left = atomic_load(&poller->is_handing_over);
    if (is_left)
        hold_leave(&connection->hold);
    else
        hold_look(&connection->hold);
    pthread_mutex_unlock(&poller->mutex);
    eventfd_write(poller->change_fd, 1);
    return !is_left;
}

/* Takes a connection whose peer has paused while it sent a body: its worker then writes to the file
 * what is too much for memory. Called when no event of epoll_wait is left to be handled, so that
 * none can be this connection's. It is removed from epoll, which would report a hang-up whatever
 * events it waits for. */
static struct connection *find_paused(struct poller *poller, uint64_t now_ms)
{
    struct connection *found = NULL;
    uint64_t next_ms = 0;
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        uint64_t end_ms = atomic_load(&c->pause_end_ms);
        if (end_ms == 0 || atomic_load(&poller->is_handing_over))
            continue;
        if (end_ms > now_ms)
            next_ms = next_ms == 0 || end_ms < next_ms ? end_ms : next_ms;
        else if (found == NULL && hold_seize(&c->hold))
            found = c;
        else
            next_ms = now_ms + 1; /* after this one, or when its worker has given it back */
    }
    if (found != NULL) {
        atomic_store(&found->pause_end_ms, 0);
        poller_control(poller, EPOLL_CTL_DEL, found->fd, 0, NULL);
        found->is_registered = found->is_lasting = false;
    }
    atomic_store(&poller->pause_end_ms, next_ms);
    pthread_mutex_unlock(&poller->mutex);
    return found;
}

/* NULL: no pause has ended; *timeout_ms then lasts until the next one may. */
static struct connection *take_paused(struct poller *poller, int *timeout_ms)
{
    uint64_t end_ms = atomic_load_explicit(&poller->pause_end_ms, memory_order_relaxed);
    if (end_ms == 0 || poller->next_event < poller->event_count)
        return NULL;
    uint64_t now_ms = clock_ms();
    struct connection *paused = now_ms >= end_ms ? find_paused(poller, now_ms) : NULL;
    end_ms = atomic_load(&poller->pause_end_ms);
    uint64_t left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
    if (paused == NULL && end_ms != 0 && (*timeout_ms < 0 || left_ms < (uint64_t)*timeout_ms))
        *timeout_ms = (int)left_ms;
    return paused;
}

/* Wakes the leader, which may be waiting without a timeout. */
static void note_pause(struct poller *poller, struct connection *connection)
{
    uint64_t end_ms = connection->request != NULL ? request_pause_end(connection->request) : 0;
    if (end_ms == 0)
        return;
    pthread_mutex_lock(&poller->mutex);
    uint64_t next_ms = atomic_load(&poller->pause_end_ms);
    bool is_next = next_ms == 0 || end_ms < next_ms;
    atomic_store(&connection->pause_end_ms, end_ms);
    if (is_next)
        atomic_store(&poller->pause_end_ms, end_ms);
    pthread_mutex_unlock(&poller->mutex);
    if (is_next)
        eventfd_write(poller->ready_fd, 1);
}

/* NULL: the timeout has passed, or a signal arrived. */
static enum pollable *next_pollable(struct poller *poller, int timeout_ms)
{
    if (poller->next_event >= poller->event_count) {
        poller->next_event = 0;
        atomic_fetch_add(&poller->round, 1);
        poller->event_count =
            epoll_wait(poller->epoll_fd, poller->events, POLLER_EVENTS, timeout_ms);
        /* The application has closed it; the supervisor will see that, if it gets the time. */
        if (poller->event_count < 0 && errno != EINTR)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return poller->event_count > 0 ? poller->events[poller->next_event++].data.ptr : NULL;
}

/* Where one connection arrived, more may wait: asking the listener first saves an epoll_wait for
 * each of them, 0.5 of 21 µs. Only so many in a row, as other connections wait meanwhile. */
static struct connection *accept_another(struct poller *poller)
{
    struct connection *connection = NULL;
    int accepts = atomic_load_explicit(&poller->accepts_in_row, memory_order_relaxed);
    if (accepts == 0)
        return NULL;
    if (accepts < POLLER_EVENTS)
        connection = poller_accept(poller, poller->last_listener);
    atomic_store_explicit(&poller->accepts_in_row, connection != NULL ? accepts + 1 : 0,
                          memory_order_relaxed);
    return connection;
}

static struct connection *accept_first(struct poller *poller, struct listener *listener)
{
    struct connection *connection = poller_accept(poller, listener);
    poller->last_listener = listener;
    atomic_store_explicit(&poller->accepts_in_row, connection != NULL, memory_order_relaxed);
    return connection;
}

/* Waits for the next event. NULL: it was not about a connection. */
static struct connection *wait_for_one(struct poller *poller, int timeout_ms)
{
    eventfd_t count;
    struct connection *connection = accept_another(poller);
    if (connection == NULL)
        connection = take_paused(poller, &timeout_ms);
    enum pollable *pollable = connection == NULL ? next_pollable(poller, timeout_ms) : NULL;
    if (pollable == NULL)
        return connection;
    switch (*pollable) {
    case POLLABLE_CONNECTION:
        connection = (struct connection *)(void *)pollable;
        if (poller->events[poller->next_event - 1].events & (EPOLLRDHUP | EPOLLHUP))
            atomic_store(&connection->has_hung_up, true);
        if (!hold_take(&connection->hold) || !may_look(poller, connection))
            return NULL;
        return connection;
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
        struct connection *connection = poller_take_ready(poller, UINT64_MAX);
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

/* A kept connection that is armed already needs no call, unless something may be unread, be it the
 * end of the stream: epoll reports only what comes from now on. */
static int arm(struct poller *poller, struct connection *connection, bool is_kept)
{
    int operation = connection->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (is_kept && connection->is_lasting && connection->is_emptied &&
        !atomic_load(&connection->has_hung_up))
        return 0;
    connection->is_registered = true;
    connection->is_lasting = is_kept;
    connection->was_lasting |= is_kept;
    return poller_control(poller, operation, connection->fd, poller_events_of(connection),
                          connection);
}

/* Armed first: an event that comes before the connection is free is left to the caller. */
int poller_give(struct poller *poller, struct connection *connection, uint64_t deadline_ms)
{
    /* If the request of a new connection has not arrived yet, more connections are unlikely. */
    if (!connection->is_registered && connection->served == 0)
        atomic_store_explicit(&poller->accepts_in_row, 0, memory_order_relaxed);
    atomic_store(&connection->has_head, connection->request != NULL);
    atomic_store(&connection->is_lingering, connection->is_answered || connection->is_sending);
    atomic_store(&connection->deadline_ms, deadline_ms);
    if (deadline_ms == 0)
        atomic_store(&connection->idle_ms, clock_ms());
    if (arm(poller, connection, deadline_ms == 0) < 0)
        return -1;
    note_pause(poller, connection);
    return !hold_give(&connection->hold);
}

int poller_watch(struct poller *poller, struct connection *connection, uint64_t deadline_ms)
{
    int result = poller_give(poller, connection, deadline_ms);
    if (result < 0 || (result > 0 && may_look(poller, connection)))
        return result;
    /* Another worker may own it now, or even have closed it. */
    if (atomic_load_explicit(&poller->is_handing_over, memory_order_relaxed))
        eventfd_write(poller->change_fd, 1);
    return 0;
}

void poller_mute(struct poller *poller, struct connection *connection)
{
    if (!connection->is_lasting)
        return;
    connection->is_lasting = false;
    poller_control(poller, EPOLL_CTL_MOD, connection->fd, EPOLLONESHOT, connection);
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

/* Frees the buried to which no event points any more. */
static void sweep(struct poller *poller)
{
    if (poller->buried == NULL || poller->buried->buried_round >= atomic_load(&poller->round))
        return;
    free_buried(poller->buried);
    poller->buried = NULL;
}

void poller_bury(struct poller *poller, struct connection *connection)
{
    sweep(poller);
    hold_bury(&connection->hold);
    /* To close the descriptor is not enough: a forked child may have a copy of it. */
    poller_control(poller, EPOLL_CTL_DEL, connection->fd, 0, NULL);
    connection_clear(connection);
    connection->buried_round = atomic_load(&poller->round);
    connection->next = poller->buried;
    poller->buried = connection;
}

void poller_close(struct poller *poller, struct connection *connection)
{
    pthread_mutex_lock(&poller->mutex);
    poller_unlink(poller, connection);
    bool is_last = poller->connection_count == 0;
    /* A forked child may hold a copy of the descriptor; then close() alone would not tell the
     * peer. */
    if (fork_has_happened())
        shutdown(connection->fd, SHUT_RDWR);
    bool is_buried = connection->was_lasting;
    if (is_buried)
        poller_bury(poller, connection);
    pthread_mutex_unlock(&poller->mutex);
    if (!is_buried)
        connection_free(connection);
    if (atomic_load(&poller->is_accept_paused))
        poller_resume_accepting(poller);
    if ((is_last && atomic_load(&poller->is_draining)) || atomic_load(&poller->is_handing_over))
        eventfd_write(poller->change_fd, 1);
}

/* Without the mutex, so that no worker waits where the folder of the file hangs, of NFS, say. Only
 * the calling thread closes listeners and changes what is known of their files. */
const char *poller_find_lost_file(struct poller *poller)
{
    const char *name = NULL;
    for (size_t i = 0; name == NULL && i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd >= 0 && listener_tells_loss(listener))
            name = listener->name;
    }
    return name;
}

const char *poller_listener_name(const struct poller *poller, size_t i)
{
    return poller->listeners[i].listener->name;
}

int poller_listener_fd(struct poller *poller, size_t i)
{
    pthread_mutex_lock(&poller->mutex);
    int fd = poller->listeners[i].listener->fd;
    pthread_mutex_unlock(&poller->mutex);
    return fd;
}

size_t poller_connection_count(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    size_t count = poller->connection_count;
    pthread_mutex_unlock(&poller->mutex);
    return count;
}

void poller_get_load(struct poller *poller, struct poller_load *load)
{
    *load = (struct poller_load){0};
    pthread_mutex_lock(&poller->mutex);
    load->open = poller->connection_count;
    load->max = poller->connection_max;
    for (const struct connection *c = poller->connections; c != NULL; c = c->next)
        load->idle += poller_is_idle(c);
    load->parked = poller_count_queue(&poller->parked);
    load->waiting = poller_count_queue(&poller->ready);
    if (poller->ready.first != NULL)
        load->oldest_waiting_ms = (clock_us() - poller->ready.first->queued_us) / 1000;
    pthread_mutex_unlock(&poller->mutex);
}

void poller_tend(struct poller *poller, uint64_t now_ms)
{
    poller_resume_accepting(poller);
    poller_free_descriptors(poller);
    poller_expire(poller, now_ms);
    pthread_mutex_lock(&poller->mutex);
    poller_release_parked(poller, now_ms);
    sweep(poller);
    bool has_healed = poller->is_pause_logged && now_ms >= poller->last_pause_ms + HEALED_MS;
    if (has_healed)
        poller->is_pause_logged = false;
    pthread_mutex_unlock(&poller->mutex);
    if (has_healed)
        log_info("accepting-again", "accepting connections again");
}

void poller_cut(struct poller *poller)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    atomic_store(&poller->is_cut, true);
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next)
        if (!atomic_load(&poller->is_handing_over) || !connection_can_move(c)) {
            /* Where closing the connection ends the response, a truncated response must not look
             * complete. */
            if (!atomic_load(&c->is_lingering))
                setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            shutdown(c->fd, SHUT_RDWR);
        }
    pthread_mutex_unlock(&poller->mutex);
}

void poller_quit(struct poller *poller)
{
    atomic_store(&poller->is_quitting, true);
    eventfd_write(poller->wake_fd, 1);
}
