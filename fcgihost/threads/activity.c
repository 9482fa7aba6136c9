/* What each thread serves, for others who ask. */
#include "threads/activity.h"

#include "base/clock.h"
#include "http/request.h"

void activity_init(struct activity *activity)
{
    pthread_mutex_init(&activity->mutex, NULL);
    activity->served = NULL;
}

void activity_begin(struct activity *activity, const struct request *request)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&activity->mutex);
    activity->served = request;
    activity->since_ms = now_ms;
    pthread_mutex_unlock(&activity->mutex);
}

void activity_end(struct activity *activity)
{
    pthread_mutex_lock(&activity->mutex);
    activity->served = NULL;
    pthread_mutex_unlock(&activity->mutex);
}

bool activity_get(struct activity *activity, struct activity_report *report)
{
    report->thread = activity->thread;
    pthread_mutex_lock(&activity->mutex);
    const struct request *request = activity->served;
    if (request != NULL) {
        request_describe(request, report->request, sizeof(report->request));
        report->age_ms = clock_ms() - activity->since_ms;
    }
    pthread_mutex_unlock(&activity->mutex);
    return request != NULL;
}
