/* The figures in Prometheus's text exposition format, version 0.0.4. */
#include "status/formats.h"

#include <stdio.h>
#include <string.h>

static void begin(struct strbuf *text, const char *name, const char *type, const char *help)
{
    strbuf_format(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: UTF-8, with backslash, quote and newline escaped. Other control characters may
 * stand there, but nobody would expect them. */
static void put_label(struct strbuf *text, const char *value)
{
    while (*value != '\0') {
        size_t n = text_utf8_bytes(value);
        if (*value == '\\' || *value == '"')
            strbuf_format(text, "\\%c", *value);
        else if (*value == '\n')
            strbuf_put(text, "\\n");
        else if (n == 0)
            strbuf_put(text, "\xef\xbf\xbd");
        else if ((unsigned char)*value < 0x20 || *value == 0x7f)
            strbuf_put(text, "?");
        else
            strbuf_put_bytes(text, value, n);
        value += n > 0 ? n : 1;
    }
}

/* name{label="value"} number */
static void put_labelled(struct strbuf *text, const char *name, const char *label,
                         const char *value, double number)
{
    strbuf_format(text, "%s{%s=\"", name, label);
    put_label(text, value);
    strbuf_format(text, "\"} %.15g\n", number);
}

static void put_single(struct strbuf *text, const char *name, const char *type, const char *help,
                       double number)
{
    begin(text, name, type, help);
    strbuf_format(text, "%s %.15g\n", name, number);
}

static void put_histogram(struct strbuf *text, const char *name, const char *help,
                          const struct counters_total_histogram *histogram)
{
    unsigned long long count = 0;
    begin(text, name, "histogram", help);
    for (int i = 0; i < COUNTERS_BOUNDS; i++) {
        count += histogram->buckets[i];
        strbuf_format(text, "%s_bucket{le=\"%.15g\"} %llu\n", name,
                      (double)counters_bounds_us[i] / 1e6, count);
    }
    count += histogram->buckets[COUNTERS_BOUNDS];
    strbuf_format(text, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.15g\n%s_count %llu\n", name, count,
                  name, (double)histogram->sum_us / 1e6, name, count);
}

static void put_requests(struct strbuf *text, const struct figures_sums *sums)
{
    static const char *const classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
    const struct counters_totals *totals = &sums->totals;
    begin(text, "fcgihost_requests_total", "counter", "Requests answered, by class of status.");
    for (int i = 1; i < COUNTERS_CLASSES; i++)
        put_labelled(text, "fcgihost_requests_total", "status", classes[i],
                     (double)totals->by_class[i]);
    put_single(text, "fcgihost_requests_in_flight", "gauge",
               "Requests being served, until their response has left.", sums->in_flight);
    put_single(text, "fcgihost_responses_sending", "gauge",
               "Responses that still leave, without a thread: peers take them slowly.",
               sums->sending);
    put_single(text, "fcgihost_requests_waiting", "gauge", "Requests waiting for a thread.",
               (double)sums->waiting);
    put_histogram(text, "fcgihost_request_duration_seconds",
                  "From a request's arrival until its response was sent.", &totals->duration);
    put_histogram(text, "fcgihost_request_wait_seconds", "The wait of requests for a thread.",
                  &totals->wait);
    put_single(text, "fcgihost_gil_wait_seconds_total", "counter",
               "The wait of threads with a request for the GIL.",
               (double)totals->gil_wait_us / 1e6);
    put_single(text, "fcgihost_request_timeouts_total", "counter",
               "Requests that passed [limits] request_time.", (double)totals->timeouts);
}

static void put_pools(struct strbuf *text, const struct figures *figures,
                      const struct figures_sums *sums)
{
    begin(text, "fcgihost_threads", "gauge", "Application threads, by state.");
    put_labelled(text, "fcgihost_threads", "state", "busy", sums->threads_busy);
    put_labelled(text, "fcgihost_threads", "state", "idle",
                 (double)sums->threads - sums->threads_busy);
    begin(text, "fcgihost_connections", "gauge", "Open connections, by state.");
    put_labelled(text, "fcgihost_connections", "state", "idle", (double)sums->idle);
    put_labelled(text, "fcgihost_connections", "state", "active",
                 (double)(sums->open - sums->idle));
    begin(text, "fcgihost_listen_queue", "gauge", "Connections waiting in the kernel.");
    for (size_t i = 0; i < figures->listener_count; i++)
        if (figures->listeners[i].queued >= 0)
            put_labelled(text, "fcgihost_listen_queue", "address", figures->listeners[i].address,
                         (double)figures->listeners[i].queued);
}

static void put_processes(struct strbuf *text, const struct figures *figures)
{
    char place[16];
    begin(text, "fcgihost_process_starts_total", "counter",
          "Processes started, at first and again for a reason.");
    put_labelled(text, "fcgihost_process_starts_total", "reason", "start", figures->starts);
    for (int i = 0; i < FIGURES_REASONS; i++)
        put_labelled(text, "fcgihost_process_starts_total", "reason", figures_reasons[i],
                     (double)figures->restarts[i]);
    begin(text, "fcgihost_resident_memory_bytes", "gauge", "Resident memory, by worker.");
    for (size_t i = 0; i < figures->process_count; i++) {
        snprintf(place, sizeof(place), "%u", figures->processes[i]->place);
        put_labelled(text, "fcgihost_resident_memory_bytes", "worker", place,
                     (double)figures->processes[i]->rss_bytes);
    }
}

/* The same name may be given twice: samples of one name and label must be unique. */
static bool is_first(const struct figures *figures, enum program_kind kind, size_t index,
                     const char *name)
{
    struct program_figures other;
    for (int k = PROGRAM_APPLICATION; k <= (int)kind; k++)
        for (size_t i = 0; (k < (int)kind || i < index) &&
                           figures_program(figures, (enum program_kind)k, i, &other);
             i++)
            if (strcmp(other.name, name) == 0)
                return false;
    return true;
}

static void put_programs(struct strbuf *text, const struct figures *figures, const char *name,
                         bool are_attempts)
{
    struct program_figures program;
    for (int kind = PROGRAM_APPLICATION; kind <= PROGRAM_IMPORT; kind++)
        for (size_t i = 0; figures_program(figures, (enum program_kind)kind, i, &program); i++)
            if (is_first(figures, (enum program_kind)kind, i, program.name))
                put_labelled(text, name, "name", program.name,
                             are_attempts ? program.attempts : program.state == PROGRAM_LOADED);
}

void format_prometheus(struct strbuf *text, const struct figures *figures)
{
    struct figures_sums sums;
    figures_sum(figures, &sums);
    put_single(text, "fcgihost_up", "gauge", "1 while requests are served.",
               strcmp(figures->state, "serving") == 0);
    begin(text, "fcgihost_info", "gauge", "Versions of the host.");
    strbuf_put(text, "fcgihost_info{version=\"");
    put_label(text, figures->version);
    strbuf_put(text, "\",python=\"");
    put_label(text, figures->python);
    strbuf_put(text, "\"} 1\n");
    put_requests(text, &sums);
    put_pools(text, figures, &sums);
    put_processes(text, figures);
    begin(text, "fcgihost_startup_attempts_total", "counter",
          "Attempts to load an application or import.");
    put_programs(text, figures, "fcgihost_startup_attempts_total", true);
    begin(text, "fcgihost_startup_loaded", "gauge", "1 once it is loaded.");
    put_programs(text, figures, "fcgihost_startup_loaded", false);
    put_single(text, "fcgihost_log_dropped_total", "counter",
               "Messages that could not be written to the log.", (double)sums.log_dropped);
}
