/* What the manager's workers ask and tell over their channels. */
#include "base/clock.h"
#include "base/log.h"
#include "manager/manager_internal.h"
#include "status/collector.h"

#include <stdio.h>
#include <string.h>

static void take_report(struct manager *manager, int worker)
{
    struct worker_report report;
    if (manager->message.bytes != sizeof(report))
        return;
    memcpy(&report, manager->message.data, sizeof(report));
    manager->has_served = manager->has_served || report.is_loaded != 0;
    bool is_required = manager_outfit(manager, worker)->config->require;
    bool is_refused = report.failed_applications > 0 || (is_required && report.failed_imports > 0);
    worker_plan_report(
        &manager->plan, worker,
        &(struct worker_plan_report){.is_loaded = report.is_loaded != 0,
                                     .is_refused = is_refused,
                                     .is_settled = report.is_settled != 0,
                                     .failed_applications = report.failed_applications,
                                     .failed_imports = report.failed_imports});
}

/* Every worker tells of the same change: only the first one counts. */
static void reload_code(struct manager *manager, struct worker_request *request)
{
    request->reason[sizeof(request->reason) - 1] = '\0';
    if (manager->plan.is_stopping || strcmp(manager->code_change, request->reason) == 0)
        return;
    memcpy(manager->code_change, request->reason, sizeof(manager->code_change));
    const char *why = strstr(request->reason, ": "); /* before it stands what tells changes apart */
    log_info("reload-begins", "reload: %s: the workers will be replaced, one by one",
             why != NULL ? why + 2 : request->reason);
    manager_notify_tell_reload();
    worker_plan_roll(&manager->plan, clock_ms());
}

/* The worker's reason need not end with a NUL. */
static enum restart_reason name_limit(const char *reason)
{
    static const struct {
        const char *text;
        enum restart_reason restart;
    } limits[] = {{"[limits] requests", RESTART_REQUESTS},
                  {"[limits] lifetime", RESTART_LIFETIME},
                  {"[limits] memory", RESTART_MEMORY},
                  {"[limits] request_time", RESTART_TIMEOUT}};
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        if (strncmp(reason, limits[i].text, strlen(limits[i].text)) == 0)
            return limits[i].restart;
    return RESTART_RELOAD; /* fcgihost.restart() */
}

static void take_request(struct manager *manager, int worker)
{
    struct worker_request request;
    const struct channel_message *message = &manager->message;
    if (message->bytes < sizeof(request))
        return;
    memcpy(&request, message->data, sizeof(request));
    if (request.wish == WISH_SHUTDOWN) {
        manager_stop(manager, "fcgihost.shutdown()", false);
    } else if (request.wish == WISH_LIMIT) {
        manager->limit[worker] = name_limit(request.reason);
        worker_plan_ask(&manager->plan, worker, REPLACE_LIMIT);
    } else if (request.wish == WISH_HEAL) {
        worker_processes_keep_startup(&manager->processes, manager->plan.workers[worker].place,
                                      message->data + sizeof(request),
                                      message->bytes - sizeof(request));
        worker_plan_ask(&manager->plan, worker, REPLACE_HEAL);
    } else if (request.wish == WISH_RELOAD) {
        reload_code(manager, &request);
    }
}

static void take_start(struct manager *manager)
{
    struct worker_start start;
    if (manager->message.bytes != sizeof(start))
        return;
    memcpy(&start, manager->message.data, sizeof(start));
    manager_notify_tell_start(&manager->notify, &manager->plan, &start);
}

static void take_idleness(struct manager *manager, int worker)
{
    const struct channel_message *message = &manager->message;
    uint32_t is_idle = 0;
    if (message->bytes == sizeof(is_idle))
        memcpy(&is_idle, message->data, sizeof(is_idle));
    manager->plan.workers[worker].is_idle = is_idle != 0;
}

/* The whole host stops: [limits] idle is for where something starts it again, like systemd. */
void manager_stop_if_idle(struct manager *manager)
{
    char why[64];
    if (manager->plan.is_stopping || !worker_plan_is_idle(&manager->plan))
        return;
    uint64_t idle_ms = rollout_outfit(&manager->rollout, false)->config->idle_ms;
    snprintf(why, sizeof(why), "[limits] idle: no request for %g s", (double)idle_ms / 1000);
    collector_count_restart(RESTART_IDLE);
    manager_stop(manager, why, false);
}

void manager_read_messages(struct manager *manager, int worker)
{
    while (worker_processes_receive(&manager->processes, worker, &manager->message) ==
           CHANNEL_MESSAGE)
        if (manager->message.kind == WORKER_REPORTS)
            take_report(manager, worker);
        else if (manager->message.kind == WORKER_ASKS)
            take_request(manager, worker);
        else if (manager->message.kind == WORKER_IDLES)
            take_idleness(manager, worker);
        else if (manager->message.kind == WORKER_STARTS)
            take_start(manager);
        else if (manager->message.kind == WORKER_LIVES)
            manager_notify_hear(&manager->notify, worker, clock_ms());
}
