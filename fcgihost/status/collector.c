/* What the status knows of this process: what it was told, and what it looks up. */
#include "status/collector.h"

#include "base/clock.h"
#include "base/log.h"
#include "build_facts.h"
#include "config/config_application.h"
#include "status/queue_length.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const figures_reasons[FIGURES_REASONS] = {"requests", "lifetime", "memory", "idle",
                                                      "reload",   "crash",    "timeout"};

static struct {
    const struct config *config;
    const char *python;
    uint64_t started_us;
    _Atomic(const char *) state;
    _Atomic(struct poller *) poller;
    _Atomic(const struct activities *) activities;

    pthread_mutex_t mutex; /* guards the rest; held for copies of texts alone */
    struct program_figures *applications, *imports;
    size_t application_count, import_count;
    struct item_figures items[FIGURES_ITEMS_MAX];
    size_t item_count;
} told = {.state = "starting", .mutex = PTHREAD_MUTEX_INITIALIZER};

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

void collector_init(const struct config *config, const char *python_version, uint64_t started_us)
{
    size_t imports = config->imports.count;
    told.config = config;
    told.python = python_version;
    told.started_us = started_us;
    told.application_count = config->application_count;
    told.import_count = imports < FIGURES_IMPORTS_MAX ? imports : FIGURES_IMPORTS_MAX;
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
        program->began_ms = clock_ms();
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
        program->loaded_in_s = (double)(clock_ms() - program->began_ms) / 1000;
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
        copy(program->last_error, sizeof(program->last_error), error);
        program->next_attempt_ms =
            isfinite(delay_s) && delay_s >= 0 ? clock_ms() + (uint64_t)(delay_s * 1000) : 0;
    }
    pthread_mutex_unlock(&told.mutex);
}

/* With the mutex held. The place of the item, or item_count. */
static size_t find_item(enum item_kind kind, unsigned long long id)
{
    size_t i = 0;
    while (i < told.item_count && (told.items[i].kind != kind || told.items[i].id != id))
        i++;
    return i;
}

void collector_put_item(enum item_kind kind, unsigned long long id, const char *json)
{
    if (strlen(json) >= FIGURES_ITEM_BYTES)
        return; /* cut it would be no JSON */
    pthread_mutex_lock(&told.mutex);
    size_t i = find_item(kind, id);
    if (i < FIGURES_ITEMS_MAX) {
        struct item_figures *item = &told.items[i];
        *item = (struct item_figures){.kind = kind, .id = id, .told_ms = clock_ms()};
        copy(item->json, sizeof(item->json), json);
        if (i == told.item_count)
            told.item_count++;
    }
    pthread_mutex_unlock(&told.mutex);
}

void collector_remove_item(enum item_kind kind, unsigned long long id)
{
    pthread_mutex_lock(&told.mutex);
    size_t i = find_item(kind, id);
    if (i < told.item_count) {
        told.item_count--;
        memmove(&told.items[i], &told.items[i + 1], (told.item_count - i) * sizeof(told.items[0]));
    }
    pthread_mutex_unlock(&told.mutex);
}

/* The collector */

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void collect_thread(struct thread_figures *thread, struct activity *activity,
                           unsigned number)
{
    struct activity_report report;
    *thread = (struct thread_figures){.number = number, .is_busy = activity_get(activity, &report)};
    if (!thread->is_busy)
        return;
    copy(thread->request, sizeof(thread->request), report.request);
    thread->seconds = (double)report.age_ms / 1000;
}

static void collect_board(struct process_figures *process)
{
    pthread_mutex_lock(&told.mutex);
    process->application_count = told.application_count;
    process->import_count = told.import_count;
    process->item_count = told.item_count;
    memcpy(process->applications, told.applications,
           told.application_count * sizeof(*told.applications));
    memcpy(process->imports, told.imports, told.import_count * sizeof(*told.imports));
    memcpy(process->items, told.items, told.item_count * sizeof(*told.items));
    pthread_mutex_unlock(&told.mutex);
}

/* NULL: out of memory. */
static struct process_figures *collect_process(void)
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
    process->rss_bytes = resident_bytes();
    process->generation = 1;
    process->log_dropped = log_dropped();
    process->oldest_waiting_s = NAN;
    collect_board(process);
    if (poller != NULL)
        process->connections_open = poller_connection_count(poller);
    if (activities == NULL)
        return process;
    activities_sum(activities, &process->totals);
    process->threads_busiest = atomic_load(&activities->busiest);
    process->thread_count = threads;
    for (unsigned i = 0; i < threads; i++) {
        collect_thread(&process->threads[i], &activities->items[i], i + 1);
        process->threads_busy += process->threads[i].is_busy;
    }
    if (process->connections_open > process->threads_busy)
        process->connections_idle = process->connections_open - process->threads_busy;
    return process;
}

static void collect_listeners(struct figures *figures)
{
    struct poller *poller = atomic_load(&told.poller);
    size_t count = poller != NULL ? poller->listener_count : 0;
    figures->listeners = calloc(count + 1, sizeof(*figures->listeners));
    if (figures->listeners == NULL)
        return;
    figures->listener_count = count;
    for (size_t i = 0; i < count; i++) {
        struct listener_figures *listener = &figures->listeners[i];
        copy(listener->address, sizeof(listener->address), poller_listener_name(poller, i));
        listener->queued = queue_length(poller_listener_fd(poller, i));
        listener->backlog = told.config->backlog;
    }
}

struct figures *collect_figures(void)
{
    struct figures *figures = calloc(1, sizeof(*figures));
    struct process_figures *process = figures != NULL ? collect_process() : NULL;
    if (process == NULL) {
        free(figures);
        return NULL;
    }
    *figures = (struct figures){
        .version = FCGIHOST_VERSION,
        .python = told.python,
        .state = collector_state(),
        .started_us = told.started_us,
        .now_us = clock_real_us(),
        .now_ms = clock_ms(),
        .generation = 1,
        .processes = calloc(1, sizeof(*figures->processes)),
    };
    if (figures->processes == NULL) {
        free(process);
        free(figures);
        return NULL;
    }
    figures->processes[figures->process_count++] = process;
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
