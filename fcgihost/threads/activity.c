/* Which request each thread is serving. */
#include "threads/activity.h"

#include "base/clock.h"
#include "http/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void activity_init(struct activity *activity)
{
    *activity = (struct activity){.served = NULL};
    activity->counters = &activity->own_counters;
    pthread_mutex_init(&activity->mutex, NULL);
}

void activity_begin(struct activity *activity, struct request *request)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&activity->mutex);
    activity->served = request;
    activity->since_ms = now_ms;
    pthread_mutex_unlock(&activity->mutex);
    if (activity->board != NULL) {
        char text[SCOREBOARD_TEXT_BYTES];
        request_describe(request, text, sizeof(text));
        scoreboard_set(activity->board, text, now_ms);
    }
    request_clock_begin(&activity->work, now_ms);
}

/* Takes the mutex: a thread that holds it may be looking at the request's connection. */
void activity_end_application(struct activity *activity)
{
    pthread_mutex_lock(&activity->mutex);
    request_clock_leave(&activity->work);
    pthread_mutex_unlock(&activity->mutex);
}

bool activity_has_client_left(struct activity *activity, unsigned long long serial)
{
    struct request_clock_view view;
    pthread_mutex_lock(&activity->mutex);
    bool is_same = activity->served != NULL && request_clock_look(&activity->work, &view) &&
                   view.serial == serial;
    bool has_left = is_same && request_has_peer_left(activity->served);
    pthread_mutex_unlock(&activity->mutex);
    return has_left;
}

void activity_end(struct activity *activity)
{
    pthread_mutex_lock(&activity->mutex);
    activity->served = NULL;
    pthread_mutex_unlock(&activity->mutex);
    if (activity->board != NULL)
        scoreboard_set(activity->board, NULL, 0);
}

int activities_init(struct activities *activities, unsigned capacity)
{
    size_t bytes = capacity * sizeof(*activities->items);
    memset(activities, 0, sizeof(*activities));
    activities->spare = &activities->own_spare;
    activities->items = aligned_alloc(_Alignof(struct activity), bytes);
    if (activities->items == NULL)
        return -1;
    memset(activities->items, 0, bytes);
    for (unsigned i = 0; i < capacity; i++)
        activity_init(&activities->items[i]);
    return 0;
}

void activities_enter(struct activities *activities)
{
    unsigned busy = atomic_fetch_add_explicit(&activities->busy, 1, memory_order_relaxed) + 1,
             busiest = atomic_load_explicit(&activities->busiest, memory_order_relaxed);
    while (busy > busiest && !atomic_compare_exchange_weak(&activities->busiest, &busiest, busy))
        continue;
}

void activities_leave(struct activities *activities)
{
    atomic_fetch_sub_explicit(&activities->busy, 1, memory_order_relaxed);
}

void activities_sum(const struct activities *activities, struct counters_totals *totals)
{
    *totals = (struct counters_totals){0};
    for (unsigned i = 0; i < activities->count; i++)
        counters_sum(activities->items[i].counters, totals);
    counters_sum(activities->spare, totals);
}

bool activity_get(struct activity *activity, struct activity_report *report)
{
    report->thread = activity->thread;
    pthread_mutex_lock(&activity->mutex);
    const struct request *request = activity->served;
    if (request != NULL) {
        request_describe(request, report->request, sizeof(report->request));
        snprintf(report->request_id, sizeof(report->request_id), "%s",
                 request->id != NULL ? request->id : "");
        report->age_ms = clock_ms() - activity->since_ms;
    }
    pthread_mutex_unlock(&activity->mutex);
    return request != NULL;
}
