/* What the formats share. */
#include "status/formats.h"

#include <math.h>

static void add_totals(struct counters_totals *sum, const struct counters_totals *totals)
{
    sum->requests += totals->requests;
    sum->gil_wait_us += totals->gil_wait_us;
    sum->slow += totals->slow;
    sum->timeouts += totals->timeouts;
    for (int i = 0; i < COUNTERS_CLASSES; i++)
        sum->by_class[i] += totals->by_class[i];
    for (int i = 0; i <= COUNTERS_BOUNDS; i++) {
        sum->wait.buckets[i] += totals->wait.buckets[i];
        sum->duration.buckets[i] += totals->duration.buckets[i];
    }
    sum->wait.count += totals->wait.count;
    sum->wait.sum_us += totals->wait.sum_us;
    sum->duration.count += totals->duration.count;
    sum->duration.sum_us += totals->duration.sum_us;
}

void figures_sum(const struct figures *figures, struct figures_sums *sums)
{
    *sums = (struct figures_sums){.oldest_waiting_s = NAN};
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct process_figures *process = figures->processes[i];
        add_totals(&sums->totals, &process->totals);
        sums->threads_busy += process->threads_busy;
        sums->threads_busiest += process->threads_busiest;
        sums->threads += process->thread_count;
        sums->waiting += process->requests_waiting;
        sums->open += process->connections_open;
        sums->idle += process->connections_idle;
        sums->max += process->connections_max;
        sums->log_dropped += process->log_dropped;
        if (isnan(sums->oldest_waiting_s) || process->oldest_waiting_s > sums->oldest_waiting_s)
            sums->oldest_waiting_s = process->oldest_waiting_s;
    }
}

const char *program_state_name(enum program_state state)
{
    return state == PROGRAM_LOADED ? "loaded" : state == PROGRAM_FAILED ? "failed" : "loading";
}

double program_next_attempt_s(const struct program_figures *program, const struct figures *figures)
{
    if (program->next_attempt_ms == 0)
        return NAN;
    if (program->next_attempt_ms <= figures->now_ms)
        return 0;
    return (double)(program->next_attempt_ms - figures->now_ms) / 1000;
}
