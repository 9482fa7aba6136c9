/* Does what the plan wants done: starts, retires, stops and kills workers, and ends a roll. */
#include "base/clock.h"
#include "base/log.h"
#include "life/reexec.h"
#include "manager/manager_internal.h"
#include "manager/reload_requests.h"
#include "status/collector.h"
#include "status/control.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>

static void start_worker(struct manager *manager, const struct worker_plan_action *action,
                         uint64_t now_ms)
{
    struct worker_plan *plan = &manager->plan;
    if (worker_processes_start(&manager->processes, plan, action,
                               manager_outfit(manager, action->worker), now_ms) < 0) {
        worker_plan_exited(plan, action->worker, now_ms);
        worker_processes_forget(&manager->processes, action->worker);
    }
}

/* After a roll to a new program file the manager executes it as well, since the messages of a later
 * version may differ. Returns if it can't be executed. */
static void execute_anew(struct manager *manager)
{
    static const atomic_bool never;
    const struct worker_outfit *outfit = rollout_outfit(&manager->rollout, false);
    struct handover handover = worker_processes_describe_outfit(outfit, true);
    collector_hand_over(&handover.status);
    handover.members =
        worker_processes_describe(&manager->processes, &manager->plan, &handover.member_count);
    if (handover.members == NULL || handover.listeners == NULL)
        errno = ENOMEM;
    else
        reexec_run(&handover, &never);
    log_error("manager-not-renewed",
              "the manager can't execute its new program: %s: it goes on with the old one",
              config_error_describe(errno));
    handover_clear(&handover);
    manager_block_signals();
}

static void finish_roll(struct manager *manager)
{
    const struct worker_outfit *next = rollout_outfit(&manager->rollout, true);
    if (control_use(next->config, &next->status) < 0)
        log_warning("reload-status-kept",
                    "[status] listen, path and ping stay as they were: out of memory or "
                    "descriptors: reload again");
    rollout_succeed(&manager->rollout);
    manager->plan.end_ms = manager_end_ms(rollout_outfit(&manager->rollout, false)->config);
    log_info("reload-done", "reload: all workers have been replaced");
    reload_requests_end(true, "all workers have been replaced");
    manager_notify_tell_reloaded(&manager->notify, "serving: all workers have been replaced");
    if (reexec_is_program_changed())
        execute_anew(manager);
}

/* pid: of the worker that could not load; 0: that could not even be started. */
static void fail_roll(struct manager *manager, long pid)
{
    worker_plan_resize(&manager->plan, rollout_fail(&manager->rollout)->processes);
    if (pid > 0)
        log_error(
            "reload-failed",
            "reload: worker %ld could not load what the old ones serve: they stay, and this one is "
            "stopped: fix the errors above, and reload again",
            pid);
    else
        log_error("reload-failed", "reload: no new worker could be started: the old ones stay: fix "
                                   "the error above, and reload again");
    reload_requests_end(
        false, "a new worker could not load the application: the old ones stay, and the log "
               "says why");
    manager_notify_tell_reloaded(&manager->notify,
                                 "serving with the old workers: a new one could not load");
}

/* Otherwise it would never accept, or would serve on beside its successor until it is killed. It
 * drains, and the plan sees it exit. One that has closed its end has just died, as its exit tells.
 */
static void end_untold(struct manager *manager, int worker)
{
    if (errno != EPIPE && errno != ECONNRESET)
        log_error("worker-unreachable",
                  "worker %ld can't be told what to do next: %s: it is ended in order",
                  (long)manager->plan.workers[worker].pid, config_error_describe(errno));
    manager_signal(manager, worker, SIGTERM);
}

static void perform(struct manager *manager, const struct worker_plan_action *action,
                    uint64_t now_ms)
{
    struct worker_plan *plan = &manager->plan;
    long pid = action->worker != WORKER_PLAN_NOBODY ? (long)plan->workers[action->worker].pid : 0;
    switch (action->kind) {
    case ACTION_NONE:
        break;
    case ACTION_START:
        start_worker(manager, action, now_ms);
        break;
    case ACTION_ACCEPT:
        if (worker_processes_let_accept(&manager->processes, action->worker) < 0)
            end_untold(manager, action->worker);
        break;
    case ACTION_RETIRE:
        if (action->reason == REPLACE_ROLL)
            collector_count_restart(RESTART_RELOAD);
        else if (action->reason == REPLACE_LIMIT)
            collector_count_restart(manager->limit[action->worker]);
        if (worker_processes_retire(&manager->processes, action->worker, action->heir) < 0)
            end_untold(manager, action->worker);
        break;
    case ACTION_STOP:
        manager_signal(manager, action->worker, plan->is_quick ? SIGQUIT : SIGTERM);
        break;
    case ACTION_KILL:
        manager_signal(manager, action->worker, SIGKILL);
        break;
    case ACTION_ROLL_DONE:
        finish_roll(manager);
        break;
    case ACTION_ROLL_FAILED:
        fail_roll(manager, pid);
        break;
    case ACTION_REPLACE_FAILED:
        if (action->reason == REPLACE_LIMIT)
            log_error(
                "worker-not-replaced",
                "worker %ld, which was to replace another one, could not load: the old one goes on "
                "serving, and the next attempt comes later",
                pid);
        break;
    }
}

void manager_act(struct manager *manager)
{
    struct worker_plan_action action;
    do {
        uint64_t now_ms = clock_ms();
        action = worker_plan_next(&manager->plan, now_ms);
        perform(manager, &action, now_ms);
    } while (action.kind != ACTION_NONE);
}
