/* How long connections are kept on which nothing comes, and which of them is closed when there is
 * no room for new ones: the one that has been idle longest. */
#include "connection/idle_connections.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "connection/poller.h"
#include "connection/poller_internal.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    LONG_IDLE_MS = 1000, /* its web server may be about to use one that is idle for less */
    FORGOTTEN_MS = 1000, /* then a connection with unread bytes is looked at */
    FEW_PART = 32,       /* of the descriptors below the limit: so few free ones are too few */
};

bool poller_is_idle(const struct connection *connection)
{
    return hold_is_free(&connection->hold) && !atomic_load(&connection->has_head) &&
           atomic_load(&connection->deadline_ms) == 0;
}

/* Is it watched, with nothing to read? Then it is the peer that keeps it waiting. */
static bool is_silent(const struct connection *connection)
{
    char byte;
    return hold_is_free(&connection->hold) &&
           recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* What was left unread when the connection became idle is not reported: a receive that gets less
 * than it has room for has emptied the socket, unless it ended at urgent bytes or at a descriptor
 * that was passed. No web server sends these, but nobody shall fill the host with connections that
 * never seem idle. */
static bool is_forgotten(const struct connection *connection, uint64_t now_ms)
{
    uint64_t idle_ms = atomic_load(&connection->idle_ms);
    return now_ms >= idle_ms + FORGOTTEN_MS && now_ms < idle_ms + 3ull * FORGOTTEN_MS &&
           poller_is_idle(connection) && !is_silent(connection);
}

void poller_expire(struct poller *poller, uint64_t now_ms)
{
    pthread_mutex_lock(&poller->mutex);
    bool is_handing_over = atomic_load(&poller->is_handing_over);
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        if (!is_handing_over && is_forgotten(c, now_ms) && hold_seize(&c->hold))
            poller_enqueue_ready(poller, c);
        uint64_t deadline_ms = atomic_load(&c->deadline_ms);
        if (deadline_ms == 0 || now_ms < deadline_ms || !is_silent(c))
            continue;
        /* The worker that gets the event finds the end of the stream, and closes it. */
        atomic_store(&c->is_expired, true);
        shutdown(c->fd, SHUT_RD);
    }
    pthread_mutex_unlock(&poller->mutex);
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

enum room poller_make_room(struct poller *poller)
{
    struct connection *longest = NULL;
    for (struct connection *c = poller->connections; c != NULL; c = c->next)
        if (poller_is_idle(c) && !atomic_load(&c->is_expired) &&
            (longest == NULL || atomic_load(&c->idle_ms) <= atomic_load(&longest->idle_ms)) &&
            is_silent(c))
            longest = c;
    if (longest == NULL)
        return ROOM_NONE;
    if (clock_ms() < atomic_load(&longest->idle_ms) + LONG_IDLE_MS)
        return ROOM_LATER;
    atomic_store(&longest->is_expired, true);
    shutdown(longest->fd, SHUT_RD);
    return ROOM_SOON;
}

void poller_free_descriptors(struct poller *poller)
{
    int few = poller->descriptor_limit / FEW_PART, limit = poller->descriptor_limit - few;
    pthread_mutex_lock(&poller->mutex);
    if (!atomic_load(&poller->is_handing_over) && !descriptors_are_left(poller->wake_fd, limit))
        for (int i = 0; i < few && poller_make_room(poller) == ROOM_SOON; i++)
            continue;
    pthread_mutex_unlock(&poller->mutex);
}
