/* What a process has to say to the service manager. */
#include "life/process_notify.h"

#include "base/clock.h"
#include "base/log_line.h"
#include "config/config_application.h"
#include "embed/py_task.h"
#include "life/reexec.h"
#include "life/sd_notify.h"
#include "status/collector.h"

#include <stdio.h>
#include <string.h>

enum {
    ATTEMPT_MS = 90000,    /* for the next attempt, where the last one took no longer */
    AFTER_DRAIN_MS = 5000, /* beyond the timeouts of the end, before it is killed */
    QUESTIONS = 4,         /* to Python, in the watchdog's time */
};

void process_notify_init(struct process_notify *service, const struct config *config,
                         struct manager_link *link)
{
    *service = (struct process_notify){.config = config, .link = link};
}

static void describe_next(const struct program_figures *start, uint64_t now_ms, char *text,
                          size_t text_bytes)
{
    uint64_t wait_ms = start->next_attempt_ms > now_ms ? start->next_attempt_ms - now_ms : 0;
    uint64_t at_us = clock_real_us() + wait_ms * 1000;
    struct timespec at = {.tv_sec = (time_t)(at_us / 1000000)};
    struct tm fields;
    log_line_split_time(&at, &fields);
    snprintf(text, text_bytes, ", the next one comes in %.1f s (%02d:%02d:%02d)",
             (double)wait_ms / 1000, fields.tm_hour, fields.tm_min, fields.tm_sec);
}

void process_notify_describe_start(const struct program_figures *start, uint64_t now_ms, char *text,
                                   size_t text_bytes)
{
    char next[80] = "";
    if (start->state != PROGRAM_FAILED) {
        snprintf(text, text_bytes, "%s: loading, attempt %u", start->name, start->attempts);
        return;
    }
    if (start->next_attempt_ms != 0)
        describe_next(start, now_ms, next, sizeof(next));
    snprintf(text, text_bytes, "%s: attempt %u failed%s", start->name, start->attempts, next);
}

uint64_t process_notify_extend_ms(const struct program_figures *start, uint64_t now_ms)
{
    uint64_t attempt_ms = 2 * start->tried_ms > ATTEMPT_MS ? 2 * start->tried_ms : ATTEMPT_MS;
    if (start->state != PROGRAM_FAILED || start->next_attempt_ms == 0)
        return 0;
    return attempt_ms + (start->next_attempt_ms > now_ms ? start->next_attempt_ms - now_ms : 0);
}

static void tell_start(struct process_notify *service, const struct program_figures *start,
                       uint64_t now_ms)
{
    struct worker_start message = {.extend_ms = process_notify_extend_ms(start, now_ms)};
    process_notify_describe_start(start, now_ms, message.text, sizeof(message.text));
    if (service->link->is_managed)
        manager_link_tell_start(service->link, &message);
    else
        sd_notify_starting(message.text, message.extend_ms);
}

static void describe_serving(const struct process_notify *service, char *text, size_t text_bytes)
{
    const struct config *config = service->config;
    char applications[512];
    config_describe_applications(config, applications, sizeof(applications));
    snprintf(text, text_bytes, "serving %s with %u thread%s", applications, config->threads,
             config->threads == 1 ? "" : "s");
}

static bool is_same(const struct program_figures *a, const struct program_figures *b)
{
    return a->state == b->state && a->attempts == b->attempts && strcmp(a->name, b->name) == 0;
}

/* A start that is tried again in a fresh interpreter goes on with what its predecessor has told. */
static bool is_predecessors(const struct process_notify *service,
                            const struct program_figures *start)
{
    const struct handover *predecessor = reexec_predecessor();
    return predecessor != NULL && predecessor->is_start_again &&
           service->told.state == PROGRAM_WAITING && start->state == PROGRAM_FAILED;
}

static void tell_serving(struct process_notify *service)
{
    char text[600];
    service->is_serving = true;
    describe_serving(service, text, sizeof(text));
    if (!service->link->is_managed)
        sd_notify_ready(text);
}

void process_notify_tell(struct process_notify *service, bool is_serving, uint64_t now_ms)
{
    struct program_figures start;
    sd_notify_again();
    if (is_serving && !service->is_serving)
        tell_serving(service);
    if (service->is_serving || !collector_get_start(&start) || is_same(&start, &service->told))
        return;
    bool is_news = !is_predecessors(service, &start);
    service->told = start;
    if (is_news)
        tell_start(service, &start, now_ms);
}

void process_notify_tell_reopened(const struct process_notify *service)
{
    char text[600];
    if (service->link->is_managed || !service->is_serving)
        return;
    sd_notify_reloading("opening the log again");
    describe_serving(service, text, sizeof(text));
    sd_notify_ready(text);
}

void process_notify_tell_drain(struct process_notify *service, const char *why, bool is_replaced)
{
    const struct config *config = service->config;
    char text[600];
    if (service->link->is_managed)
        return;
    if (is_replaced) {
        sd_notify_reloading(why);
        return;
    }
    snprintf(text, sizeof(text), "stopping: %s", why);
    sd_notify_stopping(text,
                       config->drain_timeout_ms + config->cleanup_timeout_ms + AFTER_DRAIN_MS);
}

void process_notify_watch(struct process_notify *service, uint64_t now_ms)
{
    if (sd_notify_watchdog_ms() == 0)
        return;
    if (service->is_question_open && !py_task_is_under_way(PY_TASK_ANSWER)) {
        service->is_question_open = false;
        if (service->link->is_managed)
            manager_link_tell_alive(service->link);
        else
            sd_notify_alive();
    }
    if (!service->is_question_open && now_ms >= service->question_ms) {
        service->is_question_open = true;
        service->question_ms = now_ms + sd_notify_watchdog_ms() / QUESTIONS;
        py_task_start(PY_TASK_ANSWER);
    }
}

uint64_t process_notify_wait_ms(uint64_t wait_ms)
{
    uint64_t most_ms = sd_notify_watchdog_ms() / QUESTIONS / 2;
    return most_ms > 0 && most_ms < wait_ms ? most_ms : wait_ms;
}
