/* The states of the process and their deadlines. */
#include "life/lifecycle.h"

void lifecycle_init(struct lifecycle *lifecycle, const struct config *config, uint64_t now_ms,
                    uint64_t chance)
{
    *lifecycle = (struct lifecycle){
        .state = LIFECYCLE_STARTING,
        .memory_bytes = config->memory_bytes,
        .idle_ms = config->idle_ms,
        .idle_since_ms = now_ms,
        .drain_timeout_ms = config->drain_timeout_ms,
        .cleanup_timeout_ms = config->cleanup_timeout_ms,
    };
    if (config->requests > 0)
        lifecycle->request_limit =
            config->requests + chance % ((uint64_t)config->requests_jitter + 1);
    if (config->lifetime_ms > 0)
        lifecycle->lifetime_end_ms =
            now_ms + config->lifetime_ms + chance % (config->lifetime_jitter_ms + 1);
}

/* A process is not idle while it tries to load; then it waits for its first request. */
static void watch_idleness(struct lifecycle *lifecycle, const struct lifecycle_view *view)
{
    if (!view->is_loaded || view->busy > 0 || view->requests != lifecycle->idle_requests) {
        lifecycle->idle_requests = view->requests;
        lifecycle->idle_since_ms = view->now_ms;
    }
    lifecycle->is_idle =
        lifecycle->idle_ms > 0 && view->now_ms >= lifecycle->idle_since_ms + lifecycle->idle_ms;
}

/* The reason to stop now, or REASON_NONE. A manager ends all workers once all of them are idle. */
static enum lifecycle_reason find_reason(const struct lifecycle *lifecycle,
                                         const struct lifecycle_view *view)
{
    if (view->asked != REASON_NONE)
        return view->asked;
    if (lifecycle->request_limit > 0 && view->requests >= lifecycle->request_limit)
        return REASON_REQUESTS;
    if (lifecycle->lifetime_end_ms > 0 && view->now_ms >= lifecycle->lifetime_end_ms)
        return REASON_LIFETIME;
    if (lifecycle->memory_bytes > 0 && view->resident_bytes >= lifecycle->memory_bytes)
        return REASON_MEMORY;
    if (lifecycle->is_idle && !lifecycle->is_managed)
        return REASON_IDLE;
    return REASON_NONE;
}

/* Does the manager decide what happens? A worker that serves nothing yet can go without a
 * successor. */
static bool is_managers(const struct lifecycle *lifecycle, enum lifecycle_reason reason,
                        bool is_loaded)
{
    if (reason == REASON_SIGNALLED)
        return is_loaded;
    return lifecycle->is_managed &&
           (reason == REASON_REQUESTS || reason == REASON_LIFETIME || reason == REASON_MEMORY ||
            reason == REASON_REQUEST_TIME || reason == REASON_RESTART || reason == REASON_SHUTDOWN);
}

static enum lifecycle_action stop_if_due(struct lifecycle *lifecycle,
                                         const struct lifecycle_view *view)
{
    watch_idleness(lifecycle, view);
    lifecycle->reason = find_reason(lifecycle, view);
    bool is_told = lifecycle->reason == REASON_NONE || lifecycle->reason == lifecycle->told;
    if (lifecycle->reason == REASON_NONE ||
        is_managers(lifecycle, lifecycle->reason, view->is_loaded)) {
        if (view->is_loaded)
            lifecycle->state = LIFECYCLE_SERVING;
        lifecycle->told = lifecycle->reason;
        return is_told ? LIFECYCLE_NOTHING : LIFECYCLE_ASK;
    }
    lifecycle->state = LIFECYCLE_DRAINING;
    lifecycle->deadline_ms = view->now_ms + lifecycle->drain_timeout_ms;
    return LIFECYCLE_DRAIN;
}

static enum lifecycle_action drain(struct lifecycle *lifecycle, const struct lifecycle_view *view)
{
    bool is_impatient = lifecycle->reason == REASON_SIGQUIT ||
                        lifecycle->reason == REASON_DESCRIPTORS || view->asked == REASON_SIGQUIT;
    if (view->connections > 0 && view->now_ms < lifecycle->deadline_ms && !is_impatient)
        return LIFECYCLE_NOTHING;
    lifecycle->is_cut_off = view->connections > 0 && !is_impatient;
    lifecycle->state = LIFECYCLE_CLEANING;
    lifecycle->deadline_ms = view->now_ms + lifecycle->cleanup_timeout_ms;
    return LIFECYCLE_CLEAN;
}

enum lifecycle_action lifecycle_step(struct lifecycle *lifecycle, const struct lifecycle_view *view)
{
    switch (lifecycle->state) {
    case LIFECYCLE_STARTING:
    case LIFECYCLE_SERVING:
        return stop_if_due(lifecycle, view);
    case LIFECYCLE_DRAINING:
        return drain(lifecycle, view);
    case LIFECYCLE_CLEANING:
        if (!view->is_python_finalized && view->now_ms < lifecycle->deadline_ms)
            return LIFECYCLE_NOTHING;
        lifecycle->state = LIFECYCLE_STOPPED;
        return view->is_python_finalized ? LIFECYCLE_EXIT : LIFECYCLE_EXIT_ANYWAY;
    case LIFECYCLE_STOPPED:
        break;
    }
    return LIFECYCLE_NOTHING;
}

const char *lifecycle_state_name(enum lifecycle_state state)
{
    static const char *const names[] = {
        [LIFECYCLE_STARTING] = "starting", [LIFECYCLE_SERVING] = "serving",
        [LIFECYCLE_DRAINING] = "draining", [LIFECYCLE_CLEANING] = "cleaning",
        [LIFECYCLE_STOPPED] = "cleaning",
    };
    return names[state];
}

const char *lifecycle_reason_name(enum lifecycle_reason reason)
{
    static const char *const names[] = {
        [REASON_NONE] = "nothing",
        [REASON_SIGTERM] = "SIGTERM",
        [REASON_SIGINT] = "SIGINT",
        [REASON_SIGUSR1] = "SIGUSR1",
        [REASON_SIGQUIT] = "SIGQUIT",
        [REASON_REQUESTS] = "[limits] requests",
        [REASON_LIFETIME] = "[limits] lifetime",
        [REASON_MEMORY] = "[limits] memory",
        [REASON_IDLE] = "[limits] idle",
        [REASON_REQUEST_TIME] = "[limits] request_time",
        [REASON_SHUTDOWN] = "fcgihost.shutdown()",
        [REASON_RESTART] = "fcgihost.restart()",
        [REASON_SIGNALLED] = "a signal to this worker",
        [REASON_RELOAD] = "[reload] mode = process",
        [REASON_STARTUP] = "[startup] on_failure = exit",
        [REASON_RETIRED] = "a successor serves",
        [REASON_ORPHANED] = "the manager has died",
        [REASON_DESCRIPTORS] = "the application has closed the host's descriptors",
        [REASON_RETRY] = "a failed start",
    };
    return names[reason];
}
