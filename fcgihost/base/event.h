/* Something that happens once, and that threads wait for. */
#ifndef FCGIHOST_EVENT_H
#define FCGIHOST_EVENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct event {
    atomic_bool is_set;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int fd; /* -1, or where a byte is written when it happens */
};

void event_init(struct event *event);
void event_set(struct event *event);
static inline bool event_is_set(struct event *event)
{
    return atomic_load(&event->is_set);
}
/* For a wait in poll(2): a byte is written to fd when it happens. It may have happened before. */
void event_set_descriptor(struct event *event, int fd);
/* Waits for it, for timeout_ms at most. false: it has not happened. Never with the GIL held. */
bool event_wait(struct event *event, uint64_t timeout_ms);

#endif
