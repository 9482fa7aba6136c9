/* What the formats share. */
#include "status/formats.h"

#include <math.h>
#include <string.h>

double larger_known(double a, double b)
{
    return isnan(a) || b > a ? b : a;
}

void figures_sum(const struct figures *figures, struct figures_sums *sums)
{
    *sums = (struct figures_sums){.oldest_waiting_s = NAN,
                                  .totals = figures->ended,
                                  .log_dropped = figures->ended_log_dropped};
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct process_figures *process = figures->processes[i];
        counters_add_totals(&sums->totals, &process->totals);
        sums->threads_busy += process->threads_busy;
        sums->threads_busiest += process->threads_busiest;
        sums->sending += process->responses_sending;
        sums->threads += process->thread_count;
        sums->waiting += process->requests_waiting;
        sums->open += process->connections_open;
        sums->idle += process->connections_idle;
        sums->max += process->connections_max;
        sums->log_dropped += process->log_dropped;
        sums->oldest_waiting_s = larger_known(sums->oldest_waiting_s, process->oldest_waiting_s);
    }
    sums->in_flight = sums->threads_busy + sums->sending;
}

/* Whose programs are listed. NULL: nobody knows any. */
static const struct process_figures *find_newest(const struct figures *figures)
{
    const struct process_figures *newest = NULL;
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct process_figures *process = figures->processes[i];
        if (process->application_count + process->import_count > 0 &&
            (newest == NULL || process->generation > newest->generation))
            newest = process;
    }
    return newest;
}

/* NULL: there are not so many. */
static const struct program_figures *program_at(const struct process_figures *process,
                                                enum program_kind kind, size_t index)
{
    if (kind == PROGRAM_APPLICATION)
        return index < process->application_count ? &process->applications[index] : NULL;
    return index < process->import_count ? &process->imports[index] : NULL;
}

static bool is_same(const struct program_figures *one, const struct program_figures *other)
{
    return strcmp(one->name, other->name) == 0 && strcmp(one->mount, other->mount) == 0;
}

/* Does it only get ready to take the place of another process, which serves? */
static bool is_preparing(const struct figures *figures, const struct process_figures *process,
                         const struct program_figures *program)
{
    if (strcmp(process->state, "starting") != 0 || program->state == PROGRAM_FAILED)
        return false;
    for (size_t i = 0; i < figures->process_count; i++)
        if (figures->processes[i]->place == process->place &&
            strcmp(figures->processes[i]->state, "serving") == 0)
            return true;
    return false;
}

static int badness(const struct program_figures *program)
{
    return program->state == PROGRAM_FAILED ? 2 : program->state != PROGRAM_LOADED;
}

static void merge_program(struct program_figures *sum, const struct program_figures *program)
{
    bool is_worse = badness(program) > badness(sum) || (program->is_outdated && !sum->is_outdated);
    sum->is_outdated |= program->is_outdated;
    if (badness(program) > badness(sum)) {
        sum->state = program->state;
        sum->next_attempt_ms = program->next_attempt_ms;
    }
    if (program->last_error[0] != '\0' && (is_worse || sum->last_error[0] == '\0'))
        memcpy(sum->last_error, program->last_error, sizeof(sum->last_error));
    if (badness(program) == badness(sum) && program->next_attempt_ms != 0 &&
        (sum->next_attempt_ms == 0 || program->next_attempt_ms < sum->next_attempt_ms))
        sum->next_attempt_ms = program->next_attempt_ms;
    if (program->attempts > sum->attempts)
        sum->attempts = program->attempts;
    if (program->generation > sum->generation)
        sum->generation = program->generation;
    sum->loaded_in_s = larger_known(sum->loaded_in_s, program->loaded_in_s);
}

bool figures_program(const struct figures *figures, enum program_kind kind, size_t index,
                     struct program_figures *sum)
{
    const struct process_figures *newest = find_newest(figures);
    const struct program_figures *listed = newest != NULL ? program_at(newest, kind, index) : NULL;
    if (listed == NULL)
        return false;
    *sum = *listed;
    bool is_counted = !is_preparing(figures, newest, listed);
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct program_figures *program = program_at(figures->processes[i], kind, index);
        if (figures->processes[i] == newest || program == NULL || !is_same(program, listed) ||
            is_preparing(figures, figures->processes[i], program))
            continue;
        if (is_counted)
            merge_program(sum, program);
        else
            *sum = *program;
        is_counted = true;
    }
    return true;
}

bool figures_missing(const struct figures *figures, struct program_figures *missing)
{
    struct program_figures program;
    bool is_any = false;
    for (int kind = PROGRAM_IMPORT; kind >= PROGRAM_APPLICATION; kind--)
        for (size_t i = 0; figures_program(figures, (enum program_kind)kind, i, &program); i++)
            if (program.is_required && badness(&program) > (is_any ? badness(missing) : 0)) {
                *missing = program;
                is_any = true;
            }
    return is_any;
}

double items_age_s(const struct process_figures *process, const struct figures *figures)
{
    if (process->items_told_ms == 0)
        return NAN;
    return figures->now_ms > process->items_told_ms
               ? (double)(figures->now_ms - process->items_told_ms) / 1000
               : 0;
}

double item_seconds(const struct process_figures *process, const struct item_figures *item,
                    const struct figures *figures)
{
    double age_s = items_age_s(process, figures);
    if (isnan(item->seconds))
        return NAN;
    if (item->kind == ITEM_RESOURCE)
        return item->seconds > age_s ? item->seconds - age_s : 0;
    return item->seconds + age_s;
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
