/* What the service manager (systemd) hears of a manager and its workers; and its watchdog. */
#include "manager/herald.h"

#include "config/config_application.h"
#include "life/notify.h"

#include <stdio.h>

enum { FEEDS = 4, /* of the watchdog, in its time */ AFTER_END_MS = 5000 };

void herald_tell_start(const struct herald *herald, const struct worker_plan *plan,
                       const struct worker_start *start)
{
    char text[sizeof(start->text)];
    if (plan->is_stopping || (herald->is_ready && worker_plan_is_serving(plan)))
        return;
    snprintf(text, sizeof(text), "%.*s", (int)sizeof(start->text) - 1, start->text);
    notify_starting(text, start->extend_ms);
}

static void tell_ready(struct herald *herald, const struct config *config)
{
    char applications[512], text[700];
    config_describe_applications(config, applications, sizeof(applications));
    snprintf(text, sizeof(text), "serving %s with %u process%s of %u thread%s", applications,
             config->processes, config->processes == 1 ? "" : "es", config->threads,
             config->threads == 1 ? "" : "s");
    herald->is_ready = true;
    notify_ready(text);
}

void herald_tell(struct herald *herald, const struct worker_plan *plan, const struct config *config,
                 uint64_t now_ms)
{
    notify_again();
    if (!herald->is_ready && worker_plan_is_serving(plan))
        tell_ready(herald, config);
    if (notify_watchdog_ms() > 0 && now_ms >= herald->alive_ms + notify_watchdog_ms() / FEEDS) {
        herald->alive_ms = now_ms;
        notify_alive();
    }
}

void herald_tell_reload(void)
{
    notify_reloading("replacing the workers, one by one");
}

void herald_tell_reloaded(const struct herald *herald, const char *how)
{
    if (herald->is_ready)
        notify_ready(how);
}

void herald_tell_stop(const char *why, uint64_t end_ms)
{
    char text[200];
    snprintf(text, sizeof(text), "stopping: %s", why);
    notify_stopping(text, end_ms + AFTER_END_MS);
}

void herald_hear(struct herald *herald, int worker, uint64_t now_ms)
{
    herald->answered_ms[worker] = now_ms;
}

void herald_forget(struct herald *herald, int worker)
{
    herald->answered_ms[worker] = 0;
}

int herald_find_silent(struct herald *herald, const struct worker_plan *plan, uint64_t now_ms)
{
    uint64_t limit_ms = notify_watchdog_ms();
    for (int i = 0; limit_ms > 0 && i < WORKER_PLAN_WORKERS_MAX; i++) {
        if (plan->workers[i].state != WORKER_SERVING || herald->answered_ms[i] == 0 ||
            now_ms < herald->answered_ms[i] + limit_ms)
            continue;
        herald_forget(herald, i);
        return i;
    }
    return WORKER_PLAN_NOBODY;
}

uint64_t herald_wait_ms(uint64_t wait_ms)
{
    uint64_t most_ms = notify_watchdog_ms() / FEEDS;
    return most_ms > 0 && most_ms < wait_ms ? most_ms : wait_ms;
}
