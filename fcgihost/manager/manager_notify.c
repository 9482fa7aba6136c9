/* What the service manager (systemd) hears of a manager and its workers; and its watchdog. */
#include "manager/manager_notify.h"

#include "config/config_application.h"
#include "life/sd_notify.h"

#include <stdio.h>

enum { FEEDS = 4, /* of the watchdog, in its time */ AFTER_END_MS = 5000 };

void manager_notify_tell_start(const struct manager_notify *notify, const struct worker_plan *plan,
                               const struct worker_start *start)
{
    char text[sizeof(start->text)];
    if (plan->is_stopping || (notify->is_ready && worker_plan_is_serving(plan)))
        return;
    snprintf(text, sizeof(text), "%.*s", (int)sizeof(start->text) - 1, start->text);
    sd_notify_starting(text, start->extend_ms);
}

static void tell_ready(struct manager_notify *notify, const struct config *config)
{
    char applications[512], text[700];
    config_describe_applications(config, applications, sizeof(applications));
    snprintf(text, sizeof(text), "serving %s with %u process%s of %u thread%s", applications,
             config->processes, config->processes == 1 ? "" : "es", config->threads,
             config->threads == 1 ? "" : "s");
    notify->is_ready = true;
    sd_notify_ready(text);
}

void manager_notify_tell(struct manager_notify *notify, const struct worker_plan *plan,
                         const struct config *config, uint64_t now_ms)
{
    sd_notify_again();
    if (!notify->is_ready && worker_plan_is_serving(plan))
        tell_ready(notify, config);
    if (sd_notify_watchdog_ms() > 0 &&
        now_ms >= notify->alive_ms + sd_notify_watchdog_ms() / FEEDS) {
        notify->alive_ms = now_ms;
        sd_notify_alive();
    }
}

void manager_notify_tell_reload(void)
{
    sd_notify_reloading("replacing the workers, one by one");
}

void manager_notify_tell_reloaded(const struct manager_notify *notify, const char *how)
{
    if (notify->is_ready)
        sd_notify_ready(how);
}

void manager_notify_tell_stop(const char *why, uint64_t end_ms)
{
    char text[200];
    snprintf(text, sizeof(text), "stopping: %s", why);
    sd_notify_stopping(text, end_ms + AFTER_END_MS);
}

void manager_notify_hear(struct manager_notify *notify, int worker, uint64_t now_ms)
{
    notify->answered_ms[worker] = now_ms;
}

void manager_notify_forget(struct manager_notify *notify, int worker)
{
    notify->answered_ms[worker] = 0;
}

int manager_notify_find_silent(struct manager_notify *notify, const struct worker_plan *plan,
                               uint64_t now_ms)
{
    uint64_t limit_ms = sd_notify_watchdog_ms();
    for (int i = 0; limit_ms > 0 && i < WORKER_PLAN_WORKERS_MAX; i++) {
        if (plan->workers[i].state != WORKER_SERVING || notify->answered_ms[i] == 0 ||
            now_ms < notify->answered_ms[i] + limit_ms)
            continue;
        manager_notify_forget(notify, i);
        return i;
    }
    return WORKER_PLAN_NOBODY;
}

uint64_t manager_notify_wait_ms(uint64_t wait_ms)
{
    uint64_t most_ms = sd_notify_watchdog_ms() / FEEDS;
    return most_ms > 0 && most_ms < wait_ms ? most_ms : wait_ms;
}
