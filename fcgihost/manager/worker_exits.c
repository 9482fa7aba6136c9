/* How the manager's workers ended: for the log, for the status, and for the next ones. */
#include "base/log.h"
#include "manager/manager_internal.h"
#include "status/collector.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static void describe_end(int status, char *text, size_t text_bytes)
{
    if (WIFSIGNALED(status))
        snprintf(text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, text_bytes, "exited with code %d", WEXITSTATUS(status));
}

static void describe_restart(uint64_t delay_ms, char *text, size_t text_bytes)
{
    if (delay_ms == UINT64_MAX)
        text[0] = '\0';
    else if (delay_ms == 0)
        snprintf(text, text_bytes, "; another one is started");
    else
        snprintf(text, text_bytes, "; another one is started in %g s", (double)delay_ms / 1000);
}

static void log_end(struct manager *manager, int worker, const struct planned_worker *before,
                    int status, uint64_t delay_ms, uint64_t now_ms)
{
    char end[96], restart[64], requests[1024];
    bool is_wanted = before->state == WORKER_RETIRING || before->state == WORKER_STOPPING;
    describe_end(status, end, sizeof(end));
    describe_restart(delay_ms, restart, sizeof(restart));
    worker_processes_describe_requests(&manager->processes, worker, now_ms, requests,
                                       sizeof(requests));
    if (is_wanted && WIFEXITED(status)) {
        log_debug("worker-ended", "worker %ld %s", (long)before->pid, end);
        return;
    }
    log_error("worker-died", "worker %ld %s%s, %.1f s after its start%s%s%s", (long)before->pid,
              end, before->is_killed ? " (by the manager: it did not end in time)" : "",
              (double)(now_ms - before->started_ms) / 1000,
              requests[0] != '\0' ? ", while it served " : "", requests, restart);
}

static void take_end(struct manager *manager, int worker, int status, uint64_t now_ms)
{
    struct planned_worker before = manager->plan.workers[worker];
    struct counters_totals totals;
    bool is_known = worker_processes_sum_counters(&manager->processes, worker, &totals);
    collector_worker_ended((long)before.pid, is_known ? &totals : NULL);
    manager_read_messages(manager, worker); /* what it sent before it exited */
    uint64_t delay_ms = worker_plan_exited(&manager->plan, worker, now_ms);
    bool is_start_refused =
        WIFEXITED(status) && WEXITSTATUS(status) == MANAGER_EXIT_STARTUP && !manager->has_served;
    log_end(manager, worker, &before, status, is_start_refused ? UINT64_MAX : delay_ms, now_ms);
    if (before.state == WORKER_STARTING || before.state == WORKER_SERVING)
        collector_count_restart(RESTART_CRASH);
    worker_processes_forget(&manager->processes, worker);
    manager_notify_forget(&manager->notify, worker);
    bool is_clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (manager->plan.is_stopping && !is_clean)
        manager->is_cut_off = true;
    if (is_start_refused) {
        manager->is_startup_bad = true;
        manager_stop(manager, "[startup] on_failure = exit", false);
    }
}

void manager_reap(struct manager *manager, uint64_t now_ms)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        const struct planned_worker *worker = &manager->plan.workers[i];
        int status;
        if (worker->state != WORKER_NONE && worker->pid > 0 &&
            waitpid(worker->pid, &status, WNOHANG) == worker->pid)
            take_end(manager, i, status, now_ms);
    }
}
