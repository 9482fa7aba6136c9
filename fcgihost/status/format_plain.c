/* The figures as lines for a terminal. */
#include "status/formats.h"

#include <math.h>

/* What comes from outside can't move a terminal's cursor, nor begin a line of its own. */
static void put_safe(struct strbuf *text, const char *string)
{
    while (*string != '\0') {
        unsigned char byte = (unsigned char)*string;
        size_t n = text_utf8_bytes(string);
        bool is_control = byte < 0x20 || byte == 0x7f ||
                          (n == 2 && byte == 0xc2 && (unsigned char)string[1] < 0xa0); /* C1 */
        if (n == 0 || is_control) {
            for (size_t i = 0; i < (n > 0 ? n : 1); i++)
                strbuf_format(text, "\\x%02x", (unsigned char)string[i]);
            string += n > 0 ? n : 1;
            continue;
        }
        strbuf_put_bytes(text, string, n);
        string += n;
    }
}

static void put_duration(struct strbuf *text, double seconds)
{
    unsigned long s = (unsigned long)seconds;
    if (s < 60)
        strbuf_format(text, "%.1f s", seconds);
    else if (s < 3600)
        strbuf_format(text, "%lu min %lu s", s / 60, s % 60);
    else if (s < 86400)
        strbuf_format(text, "%lu h %lu min", s / 3600, s / 60 % 60);
    else
        strbuf_format(text, "%lu d %lu h", s / 86400, s / 3600 % 24);
}

static void put_program(struct strbuf *text, const char *what,
                        const struct program_figures *program, const struct figures *figures)
{
    double next_s = program_next_attempt_s(program, figures);
    strbuf_format(text, "%-13s", what);
    put_safe(text, program->name);
    if (program->has_mount) {
        strbuf_put(text, " at ");
        put_safe(text, program->mount);
    }
    strbuf_format(text, ": %s", program_state_name(program->state));
    if (program->state == PROGRAM_LOADED && isfinite(program->loaded_in_s))
        strbuf_format(text, " in %.1f s", program->loaded_in_s);
    if (program->attempts > 1 || program->state == PROGRAM_FAILED)
        strbuf_format(text, ", attempt %u", program->attempts);
    if (isfinite(next_s)) {
        strbuf_put(text, ", next in ");
        put_duration(text, next_s);
    }
    strbuf_put(text,
               program->is_outdated ? ", but its code has changed and can't be loaded\n" : "\n");
    if (program->last_error[0] != '\0' &&
        (program->state != PROGRAM_LOADED || program->is_outdated)) {
        strbuf_put(text, "             ");
        put_safe(text, program->last_error);
        strbuf_put(text, "\n");
    }
}

static void put_programs(struct strbuf *text, const char *what, enum program_kind kind,
                         const struct figures *figures)
{
    struct program_figures program;
    for (size_t i = 0; figures_program(figures, kind, i, &program); i++)
        put_program(text, what, &program, figures);
}

static void put_resource(struct strbuf *text, const struct item_figures *item, double seconds)
{
    strbuf_format(text, ": %s", item->state);
    if (isfinite(seconds)) {
        strbuf_put(text, ", tried again after ");
        put_duration(text, seconds);
    }
    if (item->detail[0] != '\0') {
        strbuf_put(text, ": ");
        put_safe(text, item->detail);
    }
}

static void put_pool(struct strbuf *text, const struct item_figures *item, double seconds)
{
    strbuf_format(text, ": %u of %u in use, %u idle", item->in_use, item->size, item->idle);
    if (item->waiting > 0)
        strbuf_format(text, ", %u waiting", item->waiting);
    if (isfinite(seconds)) {
        strbuf_put(text, ", the oldest lease for ");
        put_duration(text, seconds);
    }
}

static void put_lock(struct strbuf *text, const struct item_figures *item, double seconds)
{
    strbuf_put(text, item->pid > 0 ? ": held by " : ": held by another process");
    put_safe(text, item->detail);
    if (isfinite(seconds)) {
        strbuf_put(text, " for ");
        put_duration(text, seconds);
    }
    if (item->waiting > 0)
        strbuf_format(text, ", %u waiting", item->waiting);
}

static void put_scope(struct strbuf *text, const struct item_figures *item, double seconds)
{
    (void)seconds;
    strbuf_format(text, ": %u", item->size);
}

static void put_items(struct strbuf *text, const struct process_figures *process,
                      const struct figures *figures)
{
    static const char *const names[ITEM_KINDS] = {"resource", "pool", "lock", "cleanups"};
    static void (*const put[ITEM_KINDS])(struct strbuf *, const struct item_figures *,
                                         double) = {put_resource, put_pool, put_lock, put_scope};
    for (size_t i = 0; i < process->item_count; i++) {
        const struct item_figures *item = &process->items[i];
        if (item->kind == ITEM_CLEANUPS && item->size == 0)
            continue;
        strbuf_format(text, "  %-11s", names[item->kind]);
        put_safe(text, item->name);
        put[item->kind](text, item, item_seconds(process, item, figures));
        strbuf_put(text, "\n");
    }
    if (process->items_left_out > 0)
        strbuf_format(text, "  and %u more resources, pools or locks\n", process->items_left_out);
}

static void put_restarts(struct strbuf *text, const struct figures *figures)
{
    bool is_any = false;
    for (int i = 0; i < FIGURES_REASONS; i++) {
        if (figures->restarts[i] == 0)
            continue;
        strbuf_format(text, "%s %s %llu", is_any ? "," : "restarts    ", figures_reasons[i],
                      figures->restarts[i]);
        is_any = true;
    }
    if (is_any)
        strbuf_put(text, "\n");
}

static void put_threads(struct strbuf *text, const struct process_figures *process)
{
    for (size_t i = 0; i < process->thread_count; i++) {
        const struct thread_figures *thread = &process->threads[i];
        if (!thread->is_busy)
            continue;
        strbuf_format(text, "  thread %u for ", thread->number);
        put_duration(text, thread->seconds);
        strbuf_put(text, ": ");
        put_safe(text, thread->request);
        strbuf_put(text, "\n");
    }
}

static void put_sums(struct strbuf *text, const struct figures *figures)
{
    struct figures_sums sums;
    figures_sum(figures, &sums);
    const unsigned long long *by_class = sums.totals.by_class;
    strbuf_format(text,
                  "requests     %llu, %u in flight, %zu waiting (2xx %llu, 3xx %llu, 4xx %llu, "
                  "5xx %llu)\n",
                  sums.totals.requests, sums.in_flight, sums.waiting, by_class[1], by_class[2],
                  by_class[3], by_class[4]);
    if (sums.sending > 0)
        strbuf_format(text, "             %u of those in flight are being sent, without a thread\n",
                      sums.sending);
    strbuf_format(text, "threads      %u of %zu busy, %u at most\n", sums.threads_busy,
                  sums.threads, sums.threads_busiest);
    strbuf_format(text, "connections  %zu open, %zu idle\n", sums.open, sums.idle);
    if (sums.log_dropped > 0)
        strbuf_format(text, "log          %llu messages could not be written\n", sums.log_dropped);
}

void format_plain(struct strbuf *text, const struct figures *figures)
{
    strbuf_format(text, "fcgihost %s, Python %s: %s, up ", figures->version, figures->python,
                  figures->state);
    put_duration(text, (double)figures->up_ms / 1e3);
    strbuf_put(text, "\n");
    for (size_t i = 0; i < figures->listener_count; i++) {
        const struct listener_figures *listener = &figures->listeners[i];
        strbuf_put(text, "listener     ");
        put_safe(text, listener->address);
        if (listener->queued >= 0)
            strbuf_format(text, ", %ld of %u queued", listener->queued, listener->backlog);
        strbuf_put(text, "\n");
    }
    put_sums(text, figures);
    put_restarts(text, figures);
    put_programs(text, "application", PROGRAM_APPLICATION, figures);
    put_programs(text, "import", PROGRAM_IMPORT, figures);
    for (size_t i = 0; i < figures->process_count; i++) {
        const struct process_figures *process = figures->processes[i];
        strbuf_format(text, "process      %ld %s, %.1f MiB, %llu requests\n", process->pid,
                      process->state, (double)process->rss_bytes / (1 << 20),
                      process->totals.requests);
        put_threads(text, process);
        put_items(text, process, figures);
    }
}
