/* Accepts connections while there is room for them. Static functions are called with the poller's
 * mutex held. */
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "connection/poller.h"
#include "connection/poller_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* The default of [limits] connections. */
    CONNECTIONS_BASE = 4096,
    CONNECTIONS_FOR_THREAD = 64,
};

size_t poller_find_max(const struct poller *poller, const struct config *config)
{
    size_t max = config->connections;
    if (max == 0)
        max = CONNECTIONS_BASE + CONNECTIONS_FOR_THREAD * (size_t)config->threads;
    return max < (size_t)poller->descriptor_limit ? max : (size_t)poller->descriptor_limit;
}

int poller_parse_allow(struct poller *poller, const struct config *config)
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

/* true: this is the first pause for a while, so it should be logged. */
static bool pause_accepting(struct poller *poller)
{
    bool is_news = !poller->is_pause_logged;
    atomic_store(&poller->is_accept_paused, true);
    poller_set_listener_events(poller, 0);
    poller->is_pause_logged = true;
    poller->last_pause_ms = clock_ms();
    return is_news;
}

/* With the mutex. A listener that can't be watched again counts as paused: each tick tries it
 * again. */
static void set_events(struct poller *poller, uint32_t events)
{
    if (poller_set_listener_events(poller, events) < 0 && events != 0)
        atomic_store(&poller->is_accept_paused, true);
}

void poller_leave_to_siblings(struct poller *poller, bool is_left)
{
    pthread_mutex_lock(&poller->mutex);
    if (!atomic_load(&poller->is_accept_paused) && !atomic_load(&poller->is_handing_over))
        set_events(poller, is_left ? 0 : EPOLLIN);
    pthread_mutex_unlock(&poller->mutex);
}

bool poller_accepts_in_row(const struct poller *poller)
{
    return atomic_load_explicit(&poller->accepts_in_row, memory_order_relaxed) > 0;
}

void poller_resume_accepting(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    if (!atomic_load(&poller->is_handing_over) && !atomic_load(&poller->is_held) &&
        atomic_exchange(&poller->is_accept_paused, false))
        set_events(poller, EPOLLIN);
    pthread_mutex_unlock(&poller->mutex);
}

/* Asks the kernel only if the latest descriptor was close to the limit. */
static bool has_descriptor(const struct poller *poller)
{
    return poller->last_fd < poller->descriptor_limit - 1 || atomic_load(&poller->is_draining) ||
           descriptors_are_left(poller->wake_fd, poller->descriptor_limit);
}

enum acceptance { ACCEPTED, NOBODY, NOT_ALLOWED, NO_DESCRIPTOR, TOO_MANY, NO_ROOM_YET };

/* Stops accepting until a connection has been closed; new ones stay in the backlog. reason:
 * NO_DESCRIPTOR or TOO_MANY. */
static enum acceptance wait_for_room(struct poller *poller, enum acceptance reason)
{
    enum room room = poller_make_room(poller);
    bool is_fault = room == ROOM_NONE || (room == ROOM_LATER && reason == NO_DESCRIPTOR),
         was_logged = poller->is_pause_logged, is_news = pause_accepting(poller);
    if (!is_fault)
        poller->is_pause_logged = was_logged;
    return is_news && is_fault ? reason : NO_ROOM_YET;
}

/* errno says why no descriptor was available. */
static enum acceptance accept_descriptor(struct poller *poller, const struct listener *listener,
                                         int *fd)
{
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof(peer);
    errno = EMFILE;
    *fd = -1;
    if (poller->connection_count >= poller->connection_max && !atomic_load(&poller->is_draining))
        return wait_for_room(poller, TOO_MANY);
    if (has_descriptor(poller))
        *fd = descriptors_above_standard(accept4(listener->fd, (struct sockaddr *)&peer,
                                                 &peer_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (*fd < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
            return NOBODY;
        int error = errno;
        enum acceptance acceptance = wait_for_room(poller, NO_DESCRIPTOR);
        errno = error;
        return acceptance;
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

static struct connection *add_connection(struct poller *poller, int fd)
{
    struct connection *connection = connection_new(fd);
    if (connection == NULL)
        close(fd);
    else
        poller_link(poller, connection);
    return connection;
}

static void log_refusal(const struct poller *poller, const struct listener *listener,
                        enum acceptance acceptance, int error)
{
    if (acceptance == NOT_ALLOWED)
        log_about(LOG_LEVEL_WARNING,
                  &(struct log_topic){.event = "connection-not-allowed", .is_gathered = true},
                  "%s: connection refused: its address is not in [server] allow", listener->name);
    else if (acceptance == NO_DESCRIPTOR)
        log_error("accept-failed",
                  "can't accept connections: %s; new ones wait until others have closed (raise the "
                  "limit of open files: ulimit -n, LimitNOFILE=)",
                  strerror(error));
    else if (acceptance == TOO_MANY)
        log_warning("connections-full",
                    "can't accept connections: %zu are open, as many as [limits] connections "
                    "allows, and none is idle; new ones wait until others have closed",
                    poller->connection_max);
}

struct connection *poller_accept(struct poller *poller, struct listener *listener)
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
    log_refusal(poller, listener, acceptance, error);
    return connection;
}

/* Accepts everything in the backlog, to serve it. */
static void accept_queue(struct poller *poller, const struct listener *listener)
{
    int fd;
    while (accept_descriptor(poller, listener, &fd) == ACCEPTED) {
        struct connection *connection = add_connection(poller, fd);
        if (connection == NULL)
            continue;
        int watched = poller_give(poller, connection, clock_ms() + poller->io_timeout_ms);
        if (watched > 0)
            poller_enqueue_ready(poller, connection);
        else if (watched < 0) {
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

/* A worker of a manager leaves the backlog to its siblings: they serve it even if this one does
 * not, for example a successor that could not load its application. */
static enum listener_owner owner_of(const struct poller *poller, const struct listener *listener)
{
    if (atomic_load(&poller->is_held))
        return LISTENER_SHARED;
    return poller->is_managed ? LISTENER_UNKNOWN : listener_find_owner(listener);
}

void poller_stop_accepting(struct poller *poller)
{
    atomic_store(&poller->is_draining, true);
    for (size_t i = 0; i < poller->listener_count; i++) {
        struct listener *listener = poller->listeners[i].listener;
        if (listener->fd >= 0)
            stop_listening(poller, listener, owner_of(poller, listener));
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
        poller_resume_accepting(poller);
}
