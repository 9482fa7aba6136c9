/* What the manager tells the status of itself and its workers. */
#include "base/clock.h"
#include "base/log.h"
#include "interpreter/py_interpreter.h"
#include "life/reexec.h"
#include "manager/manager_internal.h"
#include "status/collector.h"
#include "status/control.h"

#include <errno.h>

static const char *state_of(const struct planned_worker *worker)
{
    return worker->state == WORKER_STARTING  ? "starting"
           : worker->state == WORKER_SERVING ? "serving"
                                             : "draining";
}

void manager_tell_status(struct manager *manager)
{
    static struct worker_note notes[WORKER_PLAN_WORKERS_MAX];
    const struct worker_plan *plan = &manager->plan;
    size_t count = 0;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        const struct planned_worker *worker = &plan->workers[i];
        if (worker->state != WORKER_NONE && worker->pid > 0)
            notes[count++] = (struct worker_note){.pid = (long)worker->pid,
                                                  .place = worker->place + 1,
                                                  .generation = worker->generation,
                                                  .state = state_of(worker)};
    }
    collector_set_workers(notes, count, plan->served_generation);
    const struct worker_outfit *outfit = rollout_outfit(&manager->rollout, false);
    collector_set_listeners(&outfit->listeners, outfit->config->backlog);
    collector_set_state(plan->is_stopping              ? "draining"
                        : worker_plan_is_serving(plan) ? "serving"
                                                       : "starting");
}

bool manager_start_status(struct manager *manager, const struct config *config)
{
    struct config_error error;
    collector_init(config, py_interpreter_version(), clock_real_us(), clock_ms());
    if (reexec_predecessor() != NULL)
        collector_resume(&reexec_predecessor()->status);
    manager_tell_status(manager);
    if (rollout_open_status(&manager->rollout, &error) < 0) {
        log_fail("start-failed", error.message);
        return false;
    }
    if (control_start(config, &rollout_outfit(&manager->rollout, false)->status, CONTROL_MANAGER) ==
        0)
        return true;
    log_error("start-failed", "can't start: control thread: %s", config_error_describe(errno));
    return false;
}
