/* What workers that have ended have counted. */
#include "status/ended_workers.h"

#include <stddef.h>

enum { WORKERS_MAX = 1024 };

static struct worker {
    long pid;
    bool is_seen; /* in this round */
    struct counters_totals totals;
    unsigned long long log_dropped;
} workers[WORKERS_MAX];
static size_t worker_count;

static struct counters_totals ended;
static unsigned long long ended_log_dropped;

static void end(const struct worker *worker)
{
    counters_add_totals(&ended, &worker->totals);
    ended_log_dropped += worker->log_dropped;
}

/* NULL: there are too many. */
static struct worker *find(long pid)
{
    for (size_t i = 0; i < worker_count; i++)
        if (workers[i].pid == pid)
            return &workers[i];
    if (worker_count == WORKERS_MAX)
        return NULL;
    workers[worker_count] = (struct worker){.pid = pid};
    return &workers[worker_count++];
}

void ended_workers_see(struct process_figures *process, bool is_silent)
{
    struct worker *worker = find(process->pid);
    if (worker == NULL)
        return;
    worker->is_seen = true;
    if (is_silent) {
        process->totals = worker->totals;
        process->log_dropped = worker->log_dropped;
        return;
    }
    if (process->totals.requests < worker->totals.requests)
        end(worker); /* another process, that got its number */
    worker->totals = process->totals;
    worker->log_dropped = process->log_dropped;
}

void ended_workers_end(long pid, const struct counters_totals *totals)
{
    struct worker worker = {.pid = pid}, *known = find(pid);
    if (known != NULL) {
        worker = *known;
        *known = workers[--worker_count];
    }
    if (totals != NULL && totals->requests >= worker.totals.requests)
        worker.totals = *totals;
    end(&worker);
}

void ended_workers_end_round(struct counters_totals *totals, unsigned long long *log_dropped)
{
    for (size_t i = worker_count; i-- > 0;) {
        if (workers[i].is_seen) {
            workers[i].is_seen = false;
            continue;
        }
        end(&workers[i]);
        workers[i] = workers[--worker_count]; /* which was looked at already */
    }
    *totals = ended;
    *log_dropped = ended_log_dropped;
}
