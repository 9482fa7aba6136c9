/* Messages of the host's own that a peer can cause as often as it likes. */
#include "base/log_gather.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

enum {
    EVENTS = 32 /* more than the source has; of one beyond them all are written */,
    PERIOD_MS = 1000
};

static struct {
    pthread_mutex_t mutex;
    struct gathered_event {
        const char *event;
        enum log_level level;
        uint64_t end_ms; /* of the second that began with its first message */
        unsigned written;
        unsigned long long left_out;
    } events[EVENTS];
} gather = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* With the mutex held, as the next one. NULL: there is no room for it. */
static struct gathered_event *find(const char *event)
{
    for (size_t i = 0; i < EVENTS; i++) {
        struct gathered_event *found = &gather.events[i];
        if (found->event == NULL)
            found->event = event;
        if (strcmp(found->event, event) == 0)
            return found;
    }
    return NULL;
}

static void take(struct gathered_event *event, struct log_gathered *over)
{
    over->event = event->left_out > 0 ? event->event : NULL;
    over->level = event->level;
    over->count = event->left_out;
    event->left_out = 0;
}

bool log_gather_admit(const char *event, enum log_level level, uint64_t now_ms,
                      struct log_gathered *over)
{
    over->event = NULL;
    pthread_mutex_lock(&gather.mutex);
    struct gathered_event *found = find(event);
    bool is_admitted = true;
    if (found != NULL) {
        if (now_ms >= found->end_ms) {
            take(found, over);
            found->end_ms = now_ms + PERIOD_MS;
            found->written = 0;
        }
        found->level = level;
        is_admitted = found->written < LOG_GATHER_FIRST;
        found->written += is_admitted;
        found->left_out += !is_admitted;
    }
    pthread_mutex_unlock(&gather.mutex);
    return is_admitted;
}

bool log_gather_take(uint64_t now_ms, bool is_every, struct log_gathered *over)
{
    over->event = NULL;
    pthread_mutex_lock(&gather.mutex);
    for (size_t i = 0; i < EVENTS && over->event == NULL; i++)
        if (is_every || now_ms >= gather.events[i].end_ms)
            take(&gather.events[i], over);
    pthread_mutex_unlock(&gather.mutex);
    return over->event != NULL;
}
