/* The poller's queues: of requests that wait for a thread, and for the application. */
#include "base/clock.h"
#include "connection/poller.h"
#include "connection/poller_internal.h"

#include <sys/eventfd.h>

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

/* Takes the first connection, or NULL. */
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
    if (!atomic_exchange(&poller->has_ready, true)) /* otherwise it has been woken already */
        eventfd_write(poller->ready_fd, 1);
}

void poller_release_parked(struct poller *poller, uint64_t until_ms)
{
    while (poller->parked.first != NULL && poller->parked.first->park_end_ms <= until_ms)
        poller_enqueue_ready(poller, dequeue(&poller->parked));
}

/* Inserts by park_end_ms. Nearly always at the end; a connection that was released too early
 * returns with its earlier time. */
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
    poller_release_parked(poller, UINT64_MAX);
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

/* Takes the first connection whose response has been sent. The others are left for the next
 * process. */
static struct connection *dequeue_sent(struct poller_queue *queue)
{
    struct connection *before = NULL, *c = queue->first;
    for (; c != NULL && !c->is_sending; c = c->next_parked)
        before = c;
    if (c == NULL || before == NULL)
        return c != NULL ? dequeue(queue) : NULL;
    before->next_parked = c->next_parked;
    if (queue->last == c)
        queue->last = before;
    return c;
}

struct connection *poller_take_ready(struct poller *poller, uint64_t before_us)
{
    struct connection *connection = NULL;
    if (!poller_has_ready(poller))
        return NULL;
    pthread_mutex_lock(&poller->mutex);
    if (atomic_load(&poller->is_handing_over))
        connection = before_us == UINT64_MAX ? dequeue_sent(&poller->ready) : NULL;
    else if (before_us == UINT64_MAX || is_overdue(poller->ready.first, before_us))
        connection = dequeue(&poller->ready);
    if (connection != NULL)
        connection->is_queued = false;
    atomic_store(&poller->has_ready, poller->ready.first != NULL);
    pthread_mutex_unlock(&poller->mutex);
    return connection;
}

struct connection *poller_take_overdue(struct poller *poller, uint64_t before_us)
{
    return poller_take_ready(poller, before_us);
}

size_t poller_count_queue(const struct poller_queue *queue)
{
    size_t count = 0;
    for (const struct connection *c = queue->first; c != NULL; c = c->next_parked)
        count++;
    return count;
}
