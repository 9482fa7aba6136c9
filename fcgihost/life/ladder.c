/* Requests that take too long, or whose client has left. */
#include "life/ladder.h"

#include "base/log.h"
#include "embed/py_errand.h"
#include "embed/py_stacks.h"

#include <stdlib.h>

enum {
    PROBE_MS =
        1000, /* a thread has waited this long for the GIL: an errand finds out if it can be had */
    STACKS_MS = 2000, /* how long the errand waits for the GIL before stacks are read without it */
    HURRY_MS = 50,    /* between two attempts to raise an exception that could not be raised yet */
    GONE_TICK_MS = 250, /* between two checks whether a client has left */
};

int ladder_init(struct ladder *ladder, const struct config *config, struct activities *activities)
{
    *ladder = (struct ladder){
        .limits = {.slow_ms = config->slow_request_ms, .timeout_ms = config->request_time_ms},
        .is_gone_watched = config->client_gone == CLIENT_GONE_INTERRUPT,
        .activities = activities};
    if (ladder->limits.slow_ms == 0 && ladder->limits.timeout_ms == 0 && !ladder->is_gone_watched)
        return 0;
    ladder->entries = calloc(activities->count, sizeof(*ladder->entries));
    return ladder->entries != NULL ? 0 : -1;
}

void ladder_clear(struct ladder *ladder)
{
    free(ladder->entries);
    ladder->entries = NULL;
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
              report.request, WORK_GRACE_MS / 1000);
}

/* Whether the process must be retired. */
static bool see_to(struct ladder *ladder, unsigned i, uint64_t now_ms)
{
    struct activity *activity = &ladder->activities->items[i];
    struct work_view view;
    if (!work_look(&activity->work, &view))
        return false;
    view.is_client_gone =
        ladder->is_gone_watched && activity_has_client_left(activity, view.serial);
    unsigned due = work_step(&ladder->entries[i], &ladder->limits, &view, now_ms);
    unsigned wanted = due & (WORK_SLOW | WORK_TIMEOUT | WORK_GONE);
    if (wanted != 0)
        work_want(&activity->work, view.serial, wanted);
    if (due & WORK_SLOW)
        counters_add(&activity->counters->slow, 1);
    if (due & WORK_TIMEOUT)
        counters_add(&activity->counters->timeouts, 1);
    if (due & WORK_RETIRE)
        log_retirement(activity);
    return due & WORK_RETIRE;
}

struct waiting {
    bool is_errand_wanted; /* there is work, or a thread has waited for PROBE_MS */
    bool is_work_wanted;   /* a stack to log, or an exception to raise */
    uint64_t longest_ms;   /* the longest wait of a thread for the GIL */
};

static struct waiting look_at_waits(const struct ladder *ladder, uint64_t now_ms)
{
    struct waiting waiting = {.longest_ms = 0};
    struct work_view view;
    for (unsigned i = 0; i < ladder->activities->count; i++) {
        const struct work *work = &ladder->activities->items[i].work;
        if (!work_look(work, &view))
            continue;
        if (work_wanted(work) != 0)
            waiting.is_work_wanted = true;
        if (view.phase == WORK_GIL && now_ms > view.since_ms + waiting.longest_ms)
            waiting.longest_ms = now_ms - view.since_ms;
    }
    waiting.is_errand_wanted = waiting.is_work_wanted || waiting.longest_ms >= PROBE_MS;
    return waiting;
}

/* No thread gets the GIL: both the errand and a request have waited for it for WORK_WEDGE_MS. */
static bool is_wedged(const struct ladder *ladder, const struct waiting *waiting, uint64_t now_ms)
{
    return ladder->limits.timeout_ms > 0 && ladder->errand_since_ms > 0 &&
           now_ms >= ladder->errand_since_ms + WORK_WEDGE_MS &&
           waiting->longest_ms >= WORK_WEDGE_MS;
}

/* Has an errand run if one is wanted, and none is under way. */
static void send_errand(struct ladder *ladder, const struct waiting *waiting, uint64_t now_ms)
{
    if (py_errand_is_under_way(PY_ERRAND_OVERDUE)) {
        if (ladder->errand_since_ms > 0 && now_ms >= ladder->errand_since_ms + STACKS_MS &&
            !ladder->is_wedge_logged) {
            ladder->is_wedge_logged = true;
            py_stacks_log_from_outside(ladder->activities, "requests take too long");
        }
        return;
    }
    ladder->errand_since_ms = 0;
    ladder->is_wedge_logged = false;
    if (!waiting->is_errand_wanted)
        return;
    ladder->errand_since_ms = now_ms;
    py_errand_start(PY_ERRAND_OVERDUE);
}

bool ladder_is_wedged(const struct ladder *ladder)
{
    return ladder->errand_since_ms > 0 && ladder->is_wedge_logged;
}

bool ladder_step(struct ladder *ladder, uint64_t now_ms)
{
    bool must_retire = false;
    if (ladder->entries == NULL)
        return false;
    for (unsigned i = 0; i < ladder->activities->count; i++)
        must_retire = see_to(ladder, i, now_ms) || must_retire;
    struct waiting waiting = look_at_waits(ladder, now_ms);
    ladder->is_hurried = waiting.is_work_wanted;
    send_errand(ladder, &waiting, now_ms);
    if (!must_retire && !ladder->is_retired && is_wedged(ladder, &waiting, now_ms)) {
        log_error("gil-held",
                  "no thread could take the GIL for %d s, and requests wait for it: C code of an "
                  "extension does not release it; the process is retired",
                  WORK_WEDGE_MS / 1000);
        must_retire = true;
    }
    bool is_news = must_retire && !ladder->is_retired;
    ladder->is_retired = ladder->is_retired || must_retire;
    return is_news;
}

uint64_t ladder_wait_ms(const struct ladder *ladder, uint64_t now_ms, uint64_t wait_ms)
{
    struct work_view view;
    if (ladder->entries == NULL)
        return wait_ms;
    if (ladder->is_gone_watched && wait_ms > GONE_TICK_MS)
        wait_ms = GONE_TICK_MS;
    if (ladder->is_hurried && wait_ms > HURRY_MS)
        wait_ms = HURRY_MS;
    /* A request that begins meanwhile is not due before that. */
    if (ladder->limits.slow_ms > 0 && ladder->limits.slow_ms < wait_ms)
        wait_ms = ladder->limits.slow_ms;
    if (ladder->limits.timeout_ms > 0 && ladder->limits.timeout_ms < wait_ms)
        wait_ms = ladder->limits.timeout_ms;
    for (unsigned i = 0; i < ladder->activities->count; i++)
        if (work_look(&ladder->activities->items[i].work, &view))
            wait_ms = work_wait_ms(&ladder->entries[i], &ladder->limits, &view, now_ms, wait_ms);
    return wait_ms;
}
