/* The epoll set that the workers share: it accepts, it keeps the idle, it hands over what is ready.
 */
#include "poller.h"

#include "clock.h"
#include "fork.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct poller_listener {
    enum pollable pollable;
    struct listener *listener;
};

static enum pollable wake_pollable = POLLABLE_WAKE;

/* The poller whose descriptors a forked child must not hold: the process has one. */
static struct poller *the_poller;

/* A child of os.fork() does not serve: with the sockets open it would keep others from listening,
 * and clients waiting for an end that the host has long sent. */
static void close_in_child(void)
{
    struct poller *poller = the_poller;
    if (poller == NULL)
        return;
    for (size_t i = 0; i < poller->listener_count; i++) {
        if (poller->listeners[i].listener->fd >= 0)
            close(poller->listeners[i].listener->fd);
    }
    close(poller->epoll_fd);
}

static int control(struct poller *poller, int operation, int fd, uint32_t events, void *pollable)
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
    pthread_mutex_init(&poller->mutex, NULL);
    poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    poller->listeners = calloc(set->count, sizeof(*poller->listeners));
    if (poller->wake_fd < 0 || poller->epoll_fd < 0 || poller->listeners == NULL ||
        parse_allow(poller, config) < 0)
        return -1;
    for (size_t i = 0; i < set->count; i++) {
        poller->listeners[i] =
            (struct poller_listener){.pollable = POLLABLE_LISTENER, .listener = &set->items[i]};
        if (control(poller, EPOLL_CTL_ADD, set->items[i].fd, EPOLLIN, &poller->listeners[i]) < 0)
            return -1;
    }
    poller->listener_count = set->count;
    the_poller = poller;
    pthread_atfork(NULL, NULL, close_in_child);
    return control(poller, EPOLL_CTL_ADD, poller->wake_fd, EPOLLIN, &wake_pollable);
}

void poller_clear(struct poller *poller)
{
    the_poller = NULL;
    close(poller->epoll_fd);
    close(poller->wake_fd);
    free(poller->listeners);
    free(poller->allow);
    pthread_mutex_destroy(&poller->mutex);
}

static void set_listener_events(struct poller *poller, uint32_t events)
{
    for (size_t i = 0; i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd >= 0)
            control(poller, EPOLL_CTL_MOD, listener->fd, events, &poller->listeners[i]);
    }
}

/* With the mutex held. */
static void pause_accepting(struct poller *poller)
{
    atomic_store(&poller->is_accept_paused, true);
    set_listener_events(poller, 0);
    if (!poller->is_pause_logged)
        log_error("can't accept connections: %s; new ones wait until others have closed (raise the "
                  "limit of open "
                  "files: ulimit -n, LimitNOFILE=)",
                  strerror(errno));
    poller->is_pause_logged = true;
}

static void resume_accepting(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    if (atomic_exchange(&poller->is_accept_paused, false))
        set_listener_events(poller, EPOLLIN);
    pthread_mutex_unlock(&poller->mutex);
}

static void link_connection(struct poller *poller, struct connection *connection)
{
    connection->next = poller->connections;
    if (poller->connections != NULL)
        poller->connections->previous = connection;
    poller->connections = connection;
    poller->connection_count++;
}

/* With the mutex held. -1: nobody was accepted; errno says why. */
static int accept_descriptor(struct poller *poller, struct listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof(peer);
    int fd =
        accept4(listener->fd, (struct sockaddr *)&peer, &peer_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    if (poller->is_pause_logged) {
        poller->is_pause_logged = false;
        log_info("accepting connections again");
    }
    if (!listener->is_tcp)
        return fd;
    if (!address_is_allowed((struct sockaddr *)&peer, poller->allow, poller->allow_count)) {
        log_warning("%s: connection refused: its address is not in [server] allow", listener->name);
        close(fd);
        errno = ECONNABORTED;
        return -1;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

/* With the mutex held. */
static struct connection *accept_connection(struct poller *poller, struct listener *listener)
{
    if (listener->fd < 0)
        return NULL;
    int fd = accept_descriptor(poller, listener);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(poller);
        return NULL;
    }
    struct connection *connection = connection_new(fd);
    if (connection == NULL) {
        close(fd);
        return NULL;
    }
    link_connection(poller, connection);
    return connection;
}

struct connection *poller_next(struct poller *poller)
{
    while (!atomic_load(&poller->is_quitting)) {
        struct epoll_event event;
        if (epoll_wait(poller->epoll_fd, &event, 1, -1) != 1)
            continue;
        enum pollable *pollable = event.data.ptr;
        if (*pollable == POLLABLE_CONNECTION) {
            struct connection *connection = event.data.ptr;
            atomic_exchange(&connection->is_watched, false); /* sees what its last owner wrote */
            return connection;
        }
        if (*pollable == POLLABLE_LISTENER) {
            struct poller_listener *listener = event.data.ptr;
            pthread_mutex_lock(&poller->mutex);
            struct connection *connection = accept_connection(poller, listener->listener);
            pthread_mutex_unlock(&poller->mutex);
            if (connection != NULL)
                return connection;
        }
    }
    return NULL;
}

static int watch(struct poller *poller, struct connection *connection, uint64_t deadline_ms)
{
    int operation = connection->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd = connection->fd;
    connection->is_registered = true;
    atomic_store(&connection->deadline_ms, deadline_ms);
    atomic_store(&connection->is_watched, true);
    /* From here on another worker may have it, and may even have closed it. */
    return control(poller, operation, fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, connection);
}

void poller_watch(struct poller *poller, struct connection *connection, uint64_t deadline_ms)
{
    if (watch(poller, connection, deadline_ms) < 0) {
        log_error("can't watch a connection: %s", strerror(errno));
        poller_close(poller, connection);
    }
}

/* With the mutex held. */
static void unlink_connection(struct poller *poller, struct connection *connection)
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
    unlink_connection(poller, connection);
    bool is_last = poller->connection_count == 0;
    pthread_mutex_unlock(&poller->mutex);
    /* A forked child may hold a copy, so closing ours would tell the peer nothing. */
    if (fork_has_happened())
        shutdown(connection->fd, SHUT_RDWR);
    connection_free(connection);
    if (atomic_load(&poller->is_accept_paused))
        resume_accepting(poller);
    if (is_last && atomic_load(&poller->is_draining))
        eventfd_write(poller->change_fd, 1);
}

size_t poller_connection_count(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    size_t count = poller->connection_count;
    pthread_mutex_unlock(&poller->mutex);
    return count;
}

void poller_tend(struct poller *poller, uint64_t now_ms)
{
    resume_accepting(poller);
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        uint64_t deadline_ms = atomic_load(&c->deadline_ms);
        if (!atomic_load(&c->is_watched) || deadline_ms == 0 || now_ms < deadline_ms)
            continue;
        /* The worker that epoll gives it to then finds its end, and closes it. */
        atomic_store(&c->is_expired, true);
        shutdown(c->fd, SHUT_RD);
    }
    pthread_mutex_unlock(&poller->mutex);
}

void poller_stop_accepting(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    atomic_store(&poller->is_draining, true);
    for (size_t i = 0; i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd < 0)
            continue;
        listener_unlink(listener);
        struct connection *connection;
        while ((connection = accept_connection(poller, listener)) != NULL) {
            if (watch(poller, connection, clock_ms() + poller->io_timeout_ms) < 0) {
                unlink_connection(poller, connection);
                connection_free(connection);
            }
        }
        control(poller, EPOLL_CTL_DEL, listener->fd, 0, NULL);
        listener_close(listener);
    }
    pthread_mutex_unlock(&poller->mutex);
}

void poller_close_idle(struct poller *poller, bool is_every)
{
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        char byte;
        bool is_kept_idle = atomic_load(&c->deadline_ms) == 0;
        if (atomic_load(&c->is_watched) && (is_every || is_kept_idle) &&
            recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
            shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&poller->mutex);
}

void poller_quit(struct poller *poller)
{
    atomic_store(&poller->is_quitting, true);
    eventfd_write(poller->wake_fd, 1);
}
