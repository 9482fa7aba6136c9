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
    json_unsigned(json, "in_flight", sums->in_flight);
    json_unsigned(json, "sending", sums->sending);
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
    json_bool(json, "reload_failed", program->is_outdated);
    json_number(json, "next_attempt_seconds", program_next_attempt_s(program, figures));
    json_number(json, "loaded_in_seconds", program->loaded_in_s);
    json_end_object(json);
}

static void put_programs(struct json *json, const char *key, enum program_kind kind,
                         const struct figures *figures)
{
    struct program_figures program;
    json_begin_array(json, key);
    for (size_t i = 0; figures_program(figures, kind, i, &program); i++)
        put_program(json, &program, figures, kind == PROGRAM_APPLICATION);
    json_end_array(json);
}

/* "": null. */
static void put_optional(struct json *json, const char *key, const char *text)
{
    json_string(json, key, text[0] != '\0' ? text : NULL);
}

static void put_resource(struct json *json, const struct item_figures *item, double seconds)
{
    json_string(json, "state", item->state);
    put_optional(json, "last_error", item->detail);
    json_number(json, "retry_in_seconds", seconds);
}

static void put_pool(struct json *json, const struct item_figures *item, double seconds)
{
    json_unsigned(json, "size", item->size);
    json_unsigned(json, "in_use", item->in_use);
    json_unsigned(json, "idle", item->idle);
    json_unsigned(json, "waiting", item->waiting);
    json_number(json, "oldest_lease_seconds", seconds);
}

static void put_lock(struct json *json, const struct item_figures *item, double seconds)
{
    json_string(json, "state", item->state);
    json_number(json, "holder_pid", item->pid > 0 ? (double)item->pid : NAN);
    put_optional(json, "holder_thread", item->detail);
    json_number(json, "held_seconds", seconds);
    json_unsigned(json, "waiting", item->waiting);
}

static void put_scope(struct json *json, const struct item_figures *item, double seconds)
{
    (void)seconds;
    json_unsigned(json, "registered", item->size);
}

/* What Python told, of each process. */
static void put_items(struct json *json, const char *key, enum item_kind kind,
                      const struct figures *figures)
{
    static void (*const put[ITEM_KINDS])(struct json *, const struct item_figures *,
                                         double) = {put_resource, put_pool, put_lock, put_scope};
    json_begin_array(json, key);
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct process_figures *process = figures->processes[i];
        for (size_t j = 0; j < process->item_count; j++) {
            const struct item_figures *item = &process->items[j];
            if (item->kind != kind)
                continue;
            json_begin_object(json, NULL);
            json_string(json, "name", item->name);
            json_unsigned(json, "pid", (unsigned long long)process->pid);
            put[kind](json, item, item_seconds(process, item, figures));
            json_number(json, "age_seconds", items_age_s(process, figures));
            json_end_object(json);
        }
    }
    json_end_array(json);
}

static void put_cleanups(struct json *json, const struct figures *figures)
{
    unsigned long long registered = 0;
    double age_s = NAN; /* of the oldest */
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct process_figures *process = figures->processes[i];
        age_s = larger_known(age_s, items_age_s(process, figures));
        for (size_t j = 0; j < process->item_count; j++)
            if (process->items[j].kind == ITEM_CLEANUPS)
                registered += process->items[j].size;
    }
    json_begin_object(json, "cleanups");
    json_number(json, "registered", isnan(age_s) ? NAN : (double)registered);
    put_items(json, "scopes", ITEM_CLEANUPS, figures);
    json_number(json, "age_seconds", age_s);
    json_end_object(json);
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
    json_string(json, "version", figures->version);
    json_string(json, "python", figures->python);
    json_string(json, "state", figures->state);
    json_moment(json, "started", figures->started_us);
    json_number(json, "uptime_seconds", (double)figures->up_ms / 1e3);
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

void format_json(struct strbuf *text, const struct figures *figures)
{
    struct json json = {.text = text};
    json_begin_object(&json, NULL);
    put_host(&json, figures);
    put_listeners(&json, figures);
    put_sums(&json, figures);
    put_programs(&json, "applications", PROGRAM_APPLICATION, figures);
    put_programs(&json, "imports", PROGRAM_IMPORT, figures);
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
    strbuf_put(text, "\n");
}
