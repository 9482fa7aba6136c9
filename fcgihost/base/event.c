/* Something that happens once, and that threads wait for. */
#include "base/event.h"

#include "base/clock.h"

#include <unistd.h>

void event_init(struct event *event)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&event->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&event->mutex, NULL);
    atomic_init(&event->is_set, false);
    event->fd = -1;
}

void event_set(struct event *event)
{
    pthread_mutex_lock(&event->mutex);
    atomic_store(&event->is_set, true);
    pthread_cond_broadcast(&event->condition);
    if (event->fd >= 0)
        (void)!write(event->fd, "", 1);
    pthread_mutex_unlock(&event->mutex);
}

void event_set_descriptor(struct event *event, int fd)
{
    pthread_mutex_lock(&event->mutex);
    event->fd = fd;
    pthread_mutex_unlock(&event->mutex);
}

bool event_wait(struct event *event, uint64_t timeout_ms)
{
    struct timespec deadline = clock_deadline(timeout_ms);
    pthread_mutex_lock(&event->mutex);
    int error = 0;
    while (!event_is_set(event) && error == 0)
        error = pthread_cond_timedwait(&event->condition, &event->mutex, &deadline);
    pthread_mutex_unlock(&event->mutex);
    return event_is_set(event);
}
