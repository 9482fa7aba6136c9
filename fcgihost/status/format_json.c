/* The figures as JSON: every name is there, what is unknown is null. */
#include "status/formats.h"
#include "status/json.h"

#include <math.h>
#include <string.h>

static void put_listeners(struct json *json, const struct figures *figures)
{
    json_begin_array(json, "listeners");
    for (size_t i = 0; i < figures->listener_count; i++) {
        const struct listener_figures *listener = &figures->listeners[i];
        json_begin_object(json, NULL);
        json_string(json, "address", listener->address);
        json_number(json, "queued", listener->queued >= 0 ? (double)listener->queued : NAN);
        json_unsigned(json, "backlog", listener->backlog);
        json_end_object(json);
    }
    json_end_array(json);
}

static void put_requests(struct json *json, const struct figures_sums *sums)
{
    static const char *const classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
    json_begin_object(json, "requests");
    json_unsigned(json, "total", sums->totals.requests);
    json_unsigned(json, "in_flight", sums->threads_busy);
    json_unsigned(json, "waiting", sums->waiting);
    json_number(json, "oldest_waiting_seconds", sums->oldest_waiting_s);
    json_begin_object(json, "by_status");
    for (int i = 1; i < COUNTERS_CLASSES; i++)
        json_unsigned(json, classes[i], sums->totals.by_class[i]);
    json_end_object(json);
    json_unsigned(json, "slow", sums->totals.slow);
    json_unsigned(json, "timeouts", sums->totals.timeouts);
    json_end_object(json);
}

static void put_program(struct json *json, const struct program_figures *program,
                        const struct figures *figures, bool is_application)
{
    json_begin_object(json, NULL);
    json_string(json, "name", program->name);
    if (is_application)
        json_string(json, "mount", program->has_mount ? program->mount : NULL);
    json_bool(json, "required", program->is_required);
    json_string(json, "state", program_state_name(program->state));
    json_unsigned(json, "generation", program->generation);
    json_unsigned(json, "attempts", program->attempts);
    json_string(json, "last_error", program->last_error[0] != '\0' ? program->last_error : NULL);
    json_number(json, "next_attempt_seconds", program_next_attempt_s(program, figures));
    json_number(json, "loaded_in_seconds", program->loaded_in_s);
    json_end_object(json);
}

static void put_programs(struct json *json, const char *key, const struct program_figures *programs,
                         size_t count, const struct figures *figures, bool are_applications)
{
    json_begin_array(json, key);
    for (size_t i = 0; i < count; i++)
        put_program(json, &programs[i], figures, are_applications);
    json_end_array(json);
}

static double age_s(const struct item_figures *item, const struct figures *figures)
{
    return figures->now_ms > item->told_ms ? (double)(figures->now_ms - item->told_ms) / 1000 : 0;
}

static void put_item(struct json *json, const char *key, const struct item_figures *item,
                     const struct figures *figures)
{
    json_begin_object(json, key);
    text_put(json->text, item->json);
    json->needs_comma = item->json[0] != '\0';
    json_number(json, "age_seconds", age_s(item, figures));
    json_end_object(json);
}

static void put_items(struct json *json, const char *key, enum item_kind kind,
                      const struct figures *figures)
{
    json_begin_array(json, key);
    for (size_t i = 0; i < figures->process_count; i++)
        for (size_t j = 0; j < figures->processes[i]->item_count; j++)
            if (figures->processes[i]->items[j].kind == kind)
                put_item(json, NULL, &figures->processes[i]->items[j], figures);
    json_end_array(json);
}

static void put_cleanups(struct json *json, const struct figures *figures)
{
    for (size_t i = 0; i < figures->process_count; i++)
        for (size_t j = 0; j < figures->processes[i]->item_count; j++)
            if (figures->processes[i]->items[j].kind == ITEM_CLEANUPS) {
                put_item(json, "cleanups", &figures->processes[i]->items[j], figures);
                return;
            }
    json_null(json, "cleanups");
}

static void put_thread(struct json *json, const struct thread_figures *thread)
{
    const char *path = strchr(thread->request, ' ');
    char method[sizeof(thread->request)];
    size_t n = path != NULL ? (size_t)(path - thread->request) : 0;
    memcpy(method, thread->request, n);
    method[n] = '\0';
    json_begin_object(json, NULL);
    json_unsigned(json, "number", thread->number);
    json_string(json, "state", thread->is_busy ? "busy" : "idle");
    json_string(json, "method", thread->is_busy ? method : NULL);
    json_string(json, "path", thread->is_busy && path != NULL ? path + 1 : NULL);
    json_number(json, "seconds", thread->is_busy ? thread->seconds : NAN);
    json_string(json, "request_id", thread->request_id[0] != '\0' ? thread->request_id : NULL);
    json_end_object(json);
}

static void put_process(struct json *json, const struct process_figures *process)
{
    json_begin_object(json, NULL);
    json_unsigned(json, "pid", (unsigned long long)process->pid);
    json_string(json, "state", process->state);
    json_moment(json, "started", process->started_us);
    json_unsigned(json, "requests", process->totals.requests);
    json_number(json, "rss_bytes", process->rss_bytes > 0 ? (double)process->rss_bytes : NAN);
    json_unsigned(json, "generation", process->generation);
    json_begin_array(json, "threads");
    for (size_t i = 0; i < process->thread_count; i++)
        put_thread(json, &process->threads[i]);
    json_end_array(json);
    json_end_object(json);
}

static void put_host(struct json *json, const struct figures *figures)
{
    double uptime_s = figures->now_us > figures->started_us
                          ? (double)(figures->now_us - figures->started_us) / 1e6
                          : 0;
    json_string(json, "version", figures->version);
    json_string(json, "python", figures->python);
    json_string(json, "state", figures->state);
    json_moment(json, "started", figures->started_us);
    json_number(json, "uptime_seconds", uptime_s);
    json_unsigned(json, "generation", figures->generation);
}

static void put_sums(struct json *json, const struct figures *figures)
{
    struct figures_sums sums;
    figures_sum(figures, &sums);
    put_requests(json, &sums);
    json_begin_object(json, "threads");
    json_unsigned(json, "total", sums.threads);
    json_unsigned(json, "busy", sums.threads_busy);
    json_unsigned(json, "max_busy", sums.threads_busiest);
    json_end_object(json);
    json_begin_object(json, "connections");
    json_unsigned(json, "open", sums.open);
    json_unsigned(json, "idle", sums.idle);
    json_number(json, "max", sums.max > 0 ? (double)sums.max : NAN);
    json_end_object(json);
    json_begin_object(json, "log");
    json_unsigned(json, "dropped", sums.log_dropped);
    json_end_object(json);
}

void format_json(struct text *text, const struct figures *figures)
{
    struct json json = {.text = text};
    static const struct process_figures none;
    const struct process_figures *first =
        figures->process_count > 0 ? figures->processes[0] : &none;
    json_begin_object(&json, NULL);
    put_host(&json, figures);
    put_listeners(&json, figures);
    put_sums(&json, figures);
    put_programs(&json, "applications", first->applications, first->application_count, figures,
                 true);
    put_programs(&json, "imports", first->imports, first->import_count, figures, false);
    put_items(&json, "resources", ITEM_RESOURCE, figures);
    put_items(&json, "pools", ITEM_POOL, figures);
    put_items(&json, "locks", ITEM_LOCK, figures);
    put_cleanups(&json, figures);
    json_begin_object(&json, "restarts");
    for (int i = 0; i < FIGURES_REASONS; i++)
        json_unsigned(&json, figures_reasons[i], figures->restarts[i]);
    json_end_object(&json);
    json_begin_array(&json, "processes");
    for (size_t i = 0; i < figures->process_count; i++)
        put_process(&json, figures->processes[i]);
    json_end_array(&json);
    json_end_object(&json);
    text_put(text, "\n");
}
