/* Requests that take too long, or whose client has left. */
#include "life/request_deadlines.h"

#include "base/log.h"
#include "embed/py_stacks.h"
#include "embed/py_task.h"

#include <stdlib.h>

enum {
    PROBE_MS = 1000,  /* after this wait of a thread a task finds out if the GIL can be had */
    STACKS_MS = 2000, /* how long the task waits for the GIL before stacks are read without it */
    HURRY_MS = 50,    /* between two attempts to raise an exception that could not be raised yet */
    GONE_TICK_MS = 250, /* between two checks whether a client has left */
};

int request_deadlines_init(struct request_deadlines *deadlines, const struct config *config,
                           struct activities *activities)
{
    *deadlines = (struct request_deadlines){
        .limits = {.slow_ms = config->slow_request_ms, .timeout_ms = config->request_time_ms},
        .is_gone_watched = config->client_gone == CLIENT_GONE_INTERRUPT,
        .activities = activities};
    if (deadlines->limits.slow_ms == 0 && deadlines->limits.timeout_ms == 0 &&
        !deadlines->is_gone_watched)
        return 0;
    deadlines->entries = calloc(activities->count, sizeof(*deadlines->entries));
    return deadlines->entries != NULL ? 0 : -1;
}

void request_deadlines_clear(struct request_deadlines *deadlines)
{
    free(deadlines->entries);
    deadlines->entries = NULL;
}

/* "GET /path", or that it is unknown. */
static void describe(struct activity *activity, struct activity_report *report)
{
    if (!activity_get(activity, report))
        *report = (struct activity_report){.request = "a request"};
}

static void log_retirement(struct activity *activity)
{
    struct activity_report report;
    describe(activity, &report);
    struct log_topic topic = {.event = "request-not-ended",
                              .request_id =
                                  report.request_id[0] != '\0' ? report.request_id : NULL};
    log_about(LOG_LEVEL_ERROR, &topic,
              "%s: did not end within %d s of fcgihost.RequestTimeout: it waits in C code, or has "
              "caught the exception; the process is retired",
              report.request, REQUEST_CLOCK_GRACE_MS / 1000);
}

/* Whether the process must be retired. */
static bool see_to(struct request_deadlines *deadlines, unsigned i, uint64_t now_ms)
{
    struct activity *activity = &deadlines->activities->items[i];
    struct request_clock_view view;
    if (!request_clock_look(&activity->work, &view))
        return false;
    view.is_client_gone =
        deadlines->is_gone_watched && activity_has_client_left(activity, view.serial);
    unsigned due = request_clock_step(&deadlines->entries[i], &deadlines->limits, &view, now_ms);
    unsigned wanted = due & (REQUEST_CLOCK_SLOW | REQUEST_CLOCK_TIMEOUT | REQUEST_CLOCK_GONE);
    if (wanted != 0)
        request_clock_want(&activity->work, view.serial, wanted);
    if (due & REQUEST_CLOCK_SLOW)
        counters_add(&activity->counters->slow, 1);
    if (due & REQUEST_CLOCK_TIMEOUT)
        counters_add(&activity->counters->timeouts, 1);
    if (due & REQUEST_CLOCK_RETIRE)
        log_retirement(activity);
    return due & REQUEST_CLOCK_RETIRE;
}

struct waiting {
    bool is_task_wanted; /* there is work, or a thread has waited for PROBE_MS */
    bool is_work_wanted; /* a stack to log, or an exception to raise */
    uint64_t longest_ms; /* the longest wait of a thread for the GIL */
};

static struct waiting look_at_waits(const struct request_deadlines *deadlines, uint64_t now_ms)
{
    struct waiting waiting = {.longest_ms = 0};
    struct request_clock_view view;
    for (unsigned i = 0; i < deadlines->activities->count; i++) {
        const struct request_clock *work = &deadlines->activities->items[i].work;
        if (!request_clock_look(work, &view))
            continue;
        if (request_clock_wanted(work) != 0)
            waiting.is_work_wanted = true;
        if (view.phase == REQUEST_CLOCK_GIL && now_ms > view.since_ms + waiting.longest_ms)
            waiting.longest_ms = now_ms - view.since_ms;
    }
    waiting.is_task_wanted = waiting.is_work_wanted || waiting.longest_ms >= PROBE_MS;
    return waiting;
}

/* No thread gets the GIL: both the task and a request have waited for it for
 * REQUEST_CLOCK_WEDGE_MS. */
static bool is_wedged(const struct request_deadlines *deadlines, const struct waiting *waiting,
                      uint64_t now_ms)
{
    return deadlines->limits.timeout_ms > 0 && deadlines->task_since_ms > 0 &&
           now_ms >= deadlines->task_since_ms + REQUEST_CLOCK_WEDGE_MS &&
           waiting->longest_ms >= REQUEST_CLOCK_WEDGE_MS;
}

/* Has a task run if one is wanted, and none is under way. */
static void send_task(struct request_deadlines *deadlines, const struct waiting *waiting,
                      uint64_t now_ms)
{
    if (py_task_is_under_way(PY_TASK_OVERDUE)) {
        if (deadlines->task_since_ms > 0 && now_ms >= deadlines->task_since_ms + STACKS_MS &&
            !deadlines->is_wedge_logged) {
            deadlines->is_wedge_logged = true;
            py_stacks_log_from_outside(deadlines->activities, "requests take too long");
        }
        return;
    }
    deadlines->task_since_ms = 0;
    deadlines->is_wedge_logged = false;
    if (!waiting->is_task_wanted)
        return;
    deadlines->task_since_ms = now_ms;
    py_task_start(PY_TASK_OVERDUE);
}

bool request_deadlines_is_wedged(const struct request_deadlines *deadlines)
{
    return deadlines->task_since_ms > 0 && deadlines->is_wedge_logged;
}

bool request_deadlines_step(struct request_deadlines *deadlines, uint64_t now_ms)
{
    bool must_retire = false;
    if (deadlines->entries == NULL)
        return false;
    for (unsigned i = 0; i < deadlines->activities->count; i++)
        must_retire = see_to(deadlines, i, now_ms) || must_retire;
    struct waiting waiting = look_at_waits(deadlines, now_ms);
    deadlines->is_hurried = waiting.is_work_wanted;
    send_task(deadlines, &waiting, now_ms);
    if (!must_retire && !deadlines->is_retired && is_wedged(deadlines, &waiting, now_ms)) {
        log_error("gil-held",
                  "no thread could take the GIL for %d s, and requests wait for it: C code of an "
                  "extension does not release it; the process is retired",
                  REQUEST_CLOCK_WEDGE_MS / 1000);
        must_retire = true;
    }
    bool is_news = must_retire && !deadlines->is_retired;
    deadlines->is_retired = deadlines->is_retired || must_retire;
    return is_news;
}

uint64_t request_deadlines_wait_ms(const struct request_deadlines *deadlines, uint64_t now_ms,
                                   uint64_t wait_ms)
{
    struct request_clock_view view;
    if (deadlines->entries == NULL)
        return wait_ms;
    if (deadlines->is_gone_watched && wait_ms > GONE_TICK_MS)
        wait_ms = GONE_TICK_MS;
    if (deadlines->is_hurried && wait_ms > HURRY_MS)
        wait_ms = HURRY_MS;
    /* A request that begins meanwhile is not due before that. */
    if (deadlines->limits.slow_ms > 0 && deadlines->limits.slow_ms < wait_ms)
        wait_ms = deadlines->limits.slow_ms;
    if (deadlines->limits.timeout_ms > 0 && deadlines->limits.timeout_ms < wait_ms)
        wait_ms = deadlines->limits.timeout_ms;
    for (unsigned i = 0; i < deadlines->activities->count; i++)
        if (request_clock_look(&deadlines->activities->items[i].work, &view))
            wait_ms = request_clock_wait_ms(&deadlines->entries[i], &deadlines->limits, &view,
                                            now_ms, wait_ms);
    return wait_ms;
}
