/* Hands connections to another process, and takes over those of a previous one. */
#include "connection/poller.h"

#include "base/clock.h"
#include "base/log.h"
#include "connection/poller_internal.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

bool poller_is_spawners(struct poller *poller)
{
    return poller->listener_count == 1 && listener_is_spawners(poller->listeners[0].listener);
}

void poller_begin_handover(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    atomic_store(&poller->is_handing_over, true);
    poller_set_listener_events(poller, 0);
    poller_heed_ready(poller, false);
    pthread_mutex_unlock(&poller->mutex);
}

/* What came on the connection meanwhile was left to the next process. */
static void report_again(struct poller *poller, struct connection *connection)
{
    connection->was_lasting = true; /* its first event may still be on its way */
    poller_control(poller, EPOLL_CTL_MOD, connection->fd, poller_events_of(connection), connection);
    if (!hold_give(&connection->hold))
        poller_enqueue_ready(poller, connection);
}

void poller_give_up_handover(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    atomic_store(&poller->is_handing_over, false);
    poller_heed_ready(poller, true);
    for (struct connection *c = poller->connections; c != NULL; c = c->next)
        if (hold_seize(&c->hold))
            report_again(poller, c);
    atomic_store(&poller->pause_end_ms, 1); /* some have paused meanwhile */
    pthread_mutex_unlock(&poller->mutex);
}

size_t poller_busy_count(struct poller *poller)
{
    size_t count = 0;
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = c->next)
        count += !connection_can_move(c);
    pthread_mutex_unlock(&poller->mutex);
    return count;
}

static int hand_over_connections(struct poller *poller, struct handover *handover)
{
    size_t lost = 0;
    handover->connections = calloc(poller->connection_count + 1, sizeof(*handover->connections));
    if (handover->connections == NULL)
        return -1;
    for (struct connection *c = poller->connections; c != NULL; c = c->next) {
        if (!connection_can_move(c) || atomic_load(&c->is_expired))
            continue;
        if (connection_describe(c, &handover->connections[handover->connection_count]) == 0)
            handover->connection_count++;
        else
            lost++;
    }
    if (lost > 0)
        log_error("handover-lost",
                  "%zu connection(s) can't be handed over to the next process, as there is no "
                  "memory: they are closed",
                  lost);
    return 0;
}

int poller_hand_over(struct poller *poller, struct handover *handover)
{
    handover->listeners = calloc(poller->listener_count, sizeof(*handover->listeners));
    if (handover->listeners == NULL)
        return -1;
    for (size_t i = 0; i < poller->listener_count; i++)
        if (poller->listeners[i].listener->fd >= 0)
            handover->listeners[handover->listener_count++] =
                listener_describe(poller->listeners[i].listener);
    pthread_mutex_lock(&poller->mutex);
    int result = hand_over_connections(poller, handover);
    pthread_mutex_unlock(&poller->mutex);
    return result;
}

/* If bytes came with the connection it goes into the queue: epoll would not report them. */
static void take_over_connection(struct poller *poller, const struct handover_connection *left)
{
    struct connection *connection = connection_take_over(left);
    if (connection == NULL) {
        log_error("handover-lost",
                  "a connection handed over by the previous process is closed: out of memory");
        return;
    }
    pthread_mutex_lock(&poller->mutex);
    poller_link(poller, connection);
    if (left->input.bytes > 0)
        poller_enqueue_ready(poller, connection);
    pthread_mutex_unlock(&poller->mutex);
    int watched = left->input.bytes > 0 ? 0 : poller_watch(poller, connection, left->deadline_ms);
    if (watched > 0)
        poller_queue(poller, connection);
    else if (watched < 0)
        poller_close(poller, connection);
}

void poller_take_over(struct poller *poller, const struct handover *handover)
{
    pthread_mutex_lock(&poller->mutex);
    if (handover->connection_count > 0) /* their descriptors may be close to the limit */
        poller->last_fd = poller->descriptor_limit;
    pthread_mutex_unlock(&poller->mutex);
    /* Connections are inserted at the front of the list: adding the last one first keeps the
     * order. */
    for (size_t i = handover->connection_count; i > 0; i--)
        take_over_connection(poller, &handover->connections[i - 1]);
}

/* Giving connections away while this process goes on */

/* Describes the connection, if it is queued or watched, so that no thread owns it. With the mutex
 * held. */
static bool pick(struct connection *connection, struct handover_connection *item)
{
    return !connection->is_picked && connection_can_move(connection) &&
           !atomic_load(&connection->is_expired) && connection_describe(connection, item) == 0;
}

size_t poller_pick_movable(struct poller *poller, size_t max, struct handover *handover)
{
    *handover = (struct handover){0};
    pthread_mutex_lock(&poller->mutex);
    size_t room = poller->connection_count < max ? poller->connection_count : max;
    handover->connections = calloc(room + 1, sizeof(*handover->connections));
    for (struct connection *c = poller->connections;
         c != NULL && handover->connections != NULL && handover->connection_count < room;
         c = c->next)
        if (pick(c, &handover->connections[handover->connection_count])) {
            c->is_picked = true;
            handover->connection_count++;
        }
    pthread_mutex_unlock(&poller->mutex);
    return handover->connection_count;
}

static void take_from_queue(struct poller_queue *queue, struct connection *connection)
{
    struct connection *before = NULL, *c = queue->first;
    for (; c != NULL && c != connection; c = c->next_parked)
        before = c;
    if (c == NULL)
        return;
    if (before != NULL)
        before->next_parked = c->next_parked;
    else
        queue->first = c->next_parked;
    if (queue->last == c)
        queue->last = before;
}

static void bury(struct poller *poller, struct connection *connection)
{
    if (connection->is_queued) {
        take_from_queue(&poller->parked, connection);
        take_from_queue(&poller->ready, connection);
    }
    poller_unlink(poller, connection);
    if (connection->request != NULL)
        spool_clear(&connection->request->body);
    poller_bury(poller, connection);
}

void poller_release_picked(struct poller *poller, struct handover *handover, bool is_gone)
{
    struct connection *next;
    pthread_mutex_lock(&poller->mutex);
    for (struct connection *c = poller->connections; c != NULL; c = next) {
        next = c->next;
        if (!c->is_picked)
            continue;
        c->is_picked = false;
        if (is_gone)
            bury(poller, c);
    }
    pthread_mutex_unlock(&poller->mutex);
    for (size_t i = 0; i < handover->connection_count; i++)
        free((void *)(uintptr_t)handover->connections[i].input.data);
}
