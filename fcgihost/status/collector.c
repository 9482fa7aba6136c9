/* What the status knows of this process: what it was told, and what it looks up. */
#include "status/collector.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "build_facts.h"
#include "config/config_application.h"
#include "status/ended_workers.h"
#include "status/queue_length.h"
#include "status/worker_socket.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const figures_reasons[FIGURES_REASONS] = {"requests", "lifetime", "memory", "idle",
                                                      "reload",   "crash",    "timeout"};

enum {
    WORKERS_MAX = 512,
    LISTENERS_MAX = 64,
    FETCH_ALL_MS = 2000, /* for the figures of all workers together */
};

static struct {
    const struct config *config;
    const char *python;
    uint64_t started_us, started_ms;
    _Atomic(const char *) state;
    _Atomic(struct poller *) poller;
    _Atomic(const struct activities *) activities;

    pthread_mutex_t mutex; /* guards the rest; held for copies of texts alone */
    struct program_figures *applications, *imports;
    size_t application_count, import_count;
    struct item_figures items[FIGURES_ITEMS_MAX];
    size_t item_count;
    unsigned items_left_out;
    uint64_t items_told_ms;
    struct worker_note workers[WORKERS_MAX];
    size_t worker_count;
    bool is_manager;
    unsigned starts;     /* of a manager: how many places there have been */
    unsigned generation; /* of a lone host: the programs that it has executed; 1 at first */
    struct listener_note {
        int fd;
        char name[160];
    } listeners[LISTENERS_MAX];
    size_t listener_count;
    unsigned backlog; /* theirs */
    atomic_ullong restarts[FIGURES_REASONS];
} told = {.state = "starting", .generation = 1, .mutex = PTHREAD_MUTEX_INITIALIZER};

static void copy(char *out, size_t out_bytes, const char *text)
{
    snprintf(out, out_bytes, "%s", text);
}

static void init_application(struct program_figures *program,
                             const struct config_application *application)
{
    copy(program->name, sizeof(program->name), config_describe_application(application));
    program->is_required = true;
    program->has_mount = application->mount != NULL;
    if (program->has_mount)
        copy(program->mount, sizeof(program->mount),
             application->mount[0] != '\0' ? application->mount : "/");
}

void collector_init(const struct config *config, const char *python_version, uint64_t started_us,
                    uint64_t started_ms)
{
    size_t imports = config->imports.count;
    told.config = config;
    told.python = python_version;
    told.started_us = started_us;
    told.started_ms = started_ms;
    told.application_count = config->application_count;
    told.import_count = imports < FIGURES_IMPORTS_MAX ? imports : FIGURES_IMPORTS_MAX;
    free(told.applications);
    free(told.imports);
    told.applications = calloc(told.application_count + 1, sizeof(*told.applications));
    told.imports = calloc(told.import_count + 1, sizeof(*told.imports));
    if (told.applications == NULL || told.imports == NULL)
        told.application_count = told.import_count = 0; /* and the status lacks them */
    for (size_t i = 0; i < told.application_count; i++) {
        init_application(&told.applications[i], &config->applications[i]);
        told.applications[i].loaded_in_s = NAN;
    }
    for (size_t i = 0; i < told.import_count; i++) {
        copy(told.imports[i].name, sizeof(told.imports[i].name), config->imports.items[i]);
        told.imports[i].is_required = config->require;
        told.imports[i].loaded_in_s = NAN;
    }
}

void collector_attach_poller(struct poller *poller)
{
    atomic_store(&told.poller, poller);
}

void collector_attach_threads(const struct activities *activities)
{
    atomic_store(&told.activities, activities);
}

void collector_set_state(const char *state)
{
    atomic_store(&told.state, state);
}

const char *collector_state(void)
{
    return atomic_load(&told.state);
}

/* With the mutex held. NULL: there are not so many. */
static struct program_figures *find_program(enum program_kind kind, size_t index)
{
    if (kind == PROGRAM_APPLICATION)
        return index < told.application_count ? &told.applications[index] : NULL;
    return index < told.import_count ? &told.imports[index] : NULL;
}

void collector_program_begins(enum program_kind kind, size_t index, unsigned attempt)
{
    pthread_mutex_lock(&told.mutex);
    struct program_figures *program = find_program(kind, index);
    if (program != NULL) {
        program->state = PROGRAM_LOADING;
        program->attempts = attempt;
        program->next_attempt_ms = 0;
        program->began_us = clock_us();
    }
    pthread_mutex_unlock(&told.mutex);
}

void collector_program_loaded(enum program_kind kind, size_t index)
{
    pthread_mutex_lock(&told.mutex);
    struct program_figures *program = find_program(kind, index);
    if (program != NULL) {
        program->state = PROGRAM_LOADED;
        program->generation++;
        program->loaded_in_s = (double)(clock_us() - program->began_us) / 1e6;
    }
    pthread_mutex_unlock(&told.mutex);
}

void collector_program_failed(enum program_kind kind, size_t index, const char *error,
                              double delay_s)
{
    pthread_mutex_lock(&told.mutex);
    struct program_figures *program = find_program(kind, index);
    if (program != NULL) {
        program->state = PROGRAM_FAILED;
        program->tried_ms = (clock_us() - program->began_us) / 1000;
        copy(program->last_error, sizeof(program->last_error), error);
        program->next_attempt_ms =
            isfinite(delay_s) && delay_s >= 0 ? clock_ms() + (uint64_t)(delay_s * 1000) : 0;
    }
    pthread_mutex_unlock(&told.mutex);
}

void collector_program_reloaded(size_t application, const char *error)
{
    pthread_mutex_lock(&told.mutex);
    struct program_figures *program = find_program(PROGRAM_APPLICATION, application);
    if (program != NULL) {
        program->is_outdated = error != NULL;
        program->generation += error == NULL;
        copy(program->last_error, sizeof(program->last_error), error != NULL ? error : "");
    }
    pthread_mutex_unlock(&told.mutex);
}

void collector_hand_over_programs(struct handover_program **programs, size_t *count)
{
    size_t all = told.import_count + told.application_count;
    *count = 0;
    *programs = calloc(all + 1, sizeof(**programs));
    for (size_t i = 0; *programs != NULL && i < all; i++) {
        bool is_import = i < told.import_count;
        size_t number = is_import ? i : i - told.import_count;
        const struct program_figures *program =
            is_import ? &told.imports[number] : &told.applications[number];
        if (program->state == PROGRAM_FAILED)
            (*programs)[(*count)++] =
                (struct handover_program){.is_import = is_import,
                                          .number = number,
                                          .attempts = program->attempts,
                                          .next_attempt_ms = program->next_attempt_ms,
                                          .error = program->last_error};
    }
}

void collector_resume_programs(const struct handover_program *programs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct program_figures *program =
            find_program(programs[i].is_import ? PROGRAM_IMPORT : PROGRAM_APPLICATION,
                         (size_t)programs[i].number);
        if (program == NULL)
            continue;
        program->state = PROGRAM_FAILED;
        program->attempts = (unsigned)programs[i].attempts;
        program->next_attempt_ms = programs[i].next_attempt_ms;
        copy(program->last_error, sizeof(program->last_error), programs[i].error);
    }
}

/* With the mutex held. */
static const struct program_figures *find_missing(const struct program_figures *programs,
                                                  size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (programs[i].is_required &&
            (programs[i].state == PROGRAM_LOADING || programs[i].state == PROGRAM_FAILED))
            return &programs[i];
    return NULL;
}

bool collector_get_start(struct program_figures *start)
{
    pthread_mutex_lock(&told.mutex);
    const struct program_figures *missing = find_missing(told.imports, told.import_count);
    if (missing == NULL)
        missing = find_missing(told.applications, told.application_count);
    if (missing != NULL)
        *start = *missing;
    pthread_mutex_unlock(&told.mutex);
    return missing != NULL;
}

void collector_set_items(const struct item_figures *items, size_t count, unsigned left_out)
{
    pthread_mutex_lock(&told.mutex);
    memcpy(told.items, items, count * sizeof(*items));
    told.item_count = count;
    told.items_left_out = left_out;
    told.items_told_ms = clock_ms();
    pthread_mutex_unlock(&told.mutex);
}

void collector_set_workers(const struct worker_note *workers, size_t count, unsigned generation)
{
    pthread_mutex_lock(&told.mutex);
    told.is_manager = true;
    told.generation = generation;
    told.worker_count = count < WORKERS_MAX ? count : WORKERS_MAX;
    for (size_t i = 0; i < told.worker_count; i++)
        if (workers[i].place > told.starts)
            told.starts = workers[i].place;
    memcpy(told.workers, workers, told.worker_count * sizeof(*workers));
    pthread_mutex_unlock(&told.mutex);
}

void collector_set_listeners(const struct listener_set *listeners, unsigned backlog)
{
    pthread_mutex_lock(&told.mutex);
    told.backlog = backlog;
    told.listener_count = listeners->count < LISTENERS_MAX ? listeners->count : LISTENERS_MAX;
    for (size_t i = 0; i < told.listener_count; i++) {
        told.listeners[i].fd = listeners->items[i].fd;
        copy(told.listeners[i].name, sizeof(told.listeners[i].name), listeners->items[i].name);
    }
    pthread_mutex_unlock(&told.mutex);
}

/* With the mutex held. NULL: there is none with that number. */
static struct worker_note *find_worker(long pid)
{
    for (size_t i = 0; i < told.worker_count; i++)
        if (told.workers[i].pid == pid)
            return &told.workers[i];
    return NULL;
}

bool collector_has_worker(long pid)
{
    pthread_mutex_lock(&told.mutex);
    bool is_there = find_worker(pid) != NULL;
    pthread_mutex_unlock(&told.mutex);
    return is_there;
}

void collector_worker_ended(long pid, const struct counters_totals *totals)
{
    pthread_mutex_lock(&told.mutex);
    struct worker_note *worker = find_worker(pid);
    if (worker != NULL)
        *worker = told.workers[--told.worker_count];
    ended_workers_end(pid, totals);
    pthread_mutex_unlock(&told.mutex);
}

void collector_count_restart(enum restart_reason reason)
{
    atomic_fetch_add(&told.restarts[reason], 1);
}

_Static_assert((int)HANDOVER_REASONS == (int)FIGURES_REASONS, "the handover has each reason");

void collector_resume(const struct handover_status *status)
{
    if (status->generation > 0)
        told.generation = (unsigned)status->generation;
    for (int i = 0; i < FIGURES_REASONS; i++)
        atomic_store(&told.restarts[i], status->restarts[i]);
}

void collector_hand_over(struct handover_status *status)
{
    pthread_mutex_lock(&told.mutex);
    status->generation = told.generation;
    pthread_mutex_unlock(&told.mutex);
    for (int i = 0; i < FIGURES_REASONS; i++)
        status->restarts[i] = atomic_load(&told.restarts[i]);
}

/* The collector */

static void collect_thread(struct thread_figures *thread, struct activity *activity,
                           unsigned number)
{
    struct activity_report report;
    *thread = (struct thread_figures){.number = number, .is_busy = activity_get(activity, &report)};
    if (!thread->is_busy)
        return;
    copy(thread->request, sizeof(thread->request), report.request);
    copy(thread->request_id, sizeof(thread->request_id), report.request_id);
    thread->seconds = (double)report.age_ms / 1000;
}

static void collect_board(struct process_figures *process)
{
    pthread_mutex_lock(&told.mutex);
    process->application_count = told.application_count;
    process->import_count = told.import_count;
    process->item_count = told.item_count;
    process->items_left_out = told.items_left_out;
    process->items_told_ms = told.items_told_ms;
    memcpy(process->applications, told.applications,
           told.application_count * sizeof(*told.applications));
    memcpy(process->imports, told.imports, told.import_count * sizeof(*told.imports));
    memcpy(process->items, told.items, told.item_count * sizeof(*told.items));
    pthread_mutex_unlock(&told.mutex);
}

static void collect_load(struct process_figures *process, struct poller *poller)
{
    struct poller_load load;
    poller_get_load(poller, &load);
    process->connections_open = load.open;
    process->connections_idle = load.idle;
    process->connections_max = load.max;
    process->requests_waiting = load.waiting + load.parked;
    if (load.waiting > 0)
        process->oldest_waiting_s = (double)load.oldest_waiting_ms / 1000;
}

struct process_figures *collect_process(void)
{
    const struct activities *activities = atomic_load(&told.activities);
    struct poller *poller = atomic_load(&told.poller);
    unsigned threads = activities != NULL ? activities->count : 0;
    struct process_figures *process =
        calloc(1, sizeof(*process) + threads * sizeof(process->threads[0]));
    if (process == NULL)
        return NULL;
    process->pid = (long)getpid();
    process->place = 1;
    copy(process->state, sizeof(process->state), collector_state());
    process->started_us = told.started_us;
    process->rss_bytes = memory_resident();
    process->generation = told.generation; /* which changes in a manager alone */
    process->log_dropped = log_dropped();
    process->oldest_waiting_s = NAN;
    collect_board(process);
    if (poller != NULL)
        collect_load(process, poller);
    if (activities == NULL)
        return process;
    activities_sum(activities, &process->totals);
    process->threads_busiest = atomic_load(&activities->busiest);
    process->responses_sending = atomic_load(&activities->sending);
    process->thread_count = threads;
    for (unsigned i = 0; i < threads; i++) {
        collect_thread(&process->threads[i], &activities->items[i], i + 1);
        process->threads_busy += process->threads[i].is_busy;
    }
    return process;
}

static void put_listener(struct figures *figures, const char *name, int fd, unsigned backlog)
{
    struct listener_figures *listener = &figures->listeners[figures->listener_count++];
    copy(listener->address, sizeof(listener->address), name);
    listener->queued = queue_length(fd);
    listener->backlog = backlog;
}

static void collect_listeners(struct figures *figures)
{
    struct poller *poller = atomic_load(&told.poller);
    size_t count = poller != NULL ? poller->listener_count : 0;
    figures->listeners = calloc(count + LISTENERS_MAX, sizeof(*figures->listeners));
    if (figures->listeners == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        put_listener(figures, poller_listener_name(poller, i), poller_listener_fd(poller, i),
                     told.config->backlog);
    pthread_mutex_lock(&told.mutex);
    for (size_t i = 0; i < told.listener_count; i++)
        put_listener(figures, told.listeners[i].name, told.listeners[i].fd, told.backlog);
    pthread_mutex_unlock(&told.mutex);
}

/* What is known of a worker that does not answer. */
static struct process_figures *describe_silent(const struct worker_note *worker)
{
    struct process_figures *process = calloc(1, sizeof(*process));
    if (process == NULL)
        return NULL;
    process->pid = worker->pid;
    copy(process->state, sizeof(process->state), worker->state);
    process->oldest_waiting_s = NAN;
    return process;
}

/* Leaves out workers that have ended since they were asked: what they counted is in already. */
static void add_past(struct figures *figures, const bool *is_silent)
{
    size_t left = 0;
    pthread_mutex_lock(&told.mutex);
    for (size_t i = 0; figures->processes != NULL && i < figures->process_count; i++) {
        struct process_figures *process = figures->processes[i];
        if (process == NULL || find_worker(process->pid) == NULL) {
            free(process);
            continue;
        }
        ended_workers_see(process, is_silent[i]);
        figures->processes[left++] = process;
    }
    figures->process_count = left;
    ended_workers_end_round(&figures->ended, &figures->ended_log_dropped);
    pthread_mutex_unlock(&told.mutex);
}

static void collect_workers(struct figures *figures)
{
    static struct worker_note workers[WORKERS_MAX]; /* the control thread's alone */
    static bool is_silent[WORKERS_MAX];
    uint64_t end_ms = clock_ms() + FETCH_ALL_MS;
    pthread_mutex_lock(&told.mutex);
    size_t count = told.worker_count;
    memcpy(workers, told.workers, count * sizeof(*workers));
    figures->generation = told.generation;
    pthread_mutex_unlock(&told.mutex);
    figures->processes = calloc(count + 1, sizeof(void *));
    for (size_t i = 0; figures->processes != NULL && i < count; i++) {
        struct process_figures *process =
            clock_ms() < end_ms ? worker_fetch_figures(workers[i].pid) : NULL;
        is_silent[i] = process == NULL;
        if (is_silent[i])
            process = describe_silent(&workers[i]);
        if (process == NULL)
            break;
        process->place = workers[i].place;
        process->generation = workers[i].generation;
        figures->processes[figures->process_count++] = process;
    }
    add_past(figures, is_silent);
}

static void collect_self(struct figures *figures)
{
    struct process_figures *process = collect_process();
    figures->processes = calloc(1, sizeof(void *));
    if (figures->processes != NULL && process != NULL)
        figures->processes[figures->process_count++] = process;
    else
        free(process);
}

struct figures *collect_figures(void)
{
    struct figures *figures = calloc(1, sizeof(*figures));
    if (figures == NULL)
        return NULL;
    uint64_t now_ms = clock_ms();
    *figures = (struct figures){
        .version = FCGIHOST_VERSION,
        .python = told.python,
        .state = collector_state(),
        .started_us = told.started_us,
        .up_ms = now_ms > told.started_ms ? now_ms - told.started_ms : 0,
        .now_ms = now_ms,
        .generation = told.generation,
    };
    for (int i = 0; i < FIGURES_REASONS; i++)
        figures->restarts[i] = atomic_load(&told.restarts[i]);
    pthread_mutex_lock(&told.mutex);
    bool is_manager = told.is_manager;
    figures->starts = is_manager ? told.starts : 1;
    pthread_mutex_unlock(&told.mutex);
    if (is_manager)
        collect_workers(figures);
    else
        collect_self(figures);
    collect_listeners(figures);
    return figures;
}

void figures_free(struct figures *figures)
{
    if (figures == NULL)
        return;
    for (size_t i = 0; i < figures->process_count; i++)
        free(figures->processes[i]);
    free(figures->processes);
    free(figures->listeners);
    free(figures);
}
