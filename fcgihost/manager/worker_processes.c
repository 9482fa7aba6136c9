/* The worker processes, as the manager has started them. */
#include "manager/worker_processes.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/config_error.h"
#include "life/reexec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void worker_processes_init(struct worker_processes *processes)
{
    memset(processes, 0, sizeof(*processes));
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        processes->members[i] = (struct worker_process){.channel_fd = -1, .board_fd = -1};
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void worker_processes_forget(struct worker_processes *processes, int worker)
{
    struct worker_process *member = &processes->members[worker];
    close_descriptor(&member->channel_fd);
    close_descriptor(&member->board_fd);
    scoreboard_unmap(member->board);
    member->board = NULL;
}

static struct handover_file describe_file(const struct config *config)
{
    const struct config_kept *kept = &config->kept;
    if (kept->is_set)
        return (struct handover_file){
            .path = kept->path,
            .text = {.data = (const uint8_t *)kept->text, .bytes = kept->bytes}};
    return (struct handover_file){
        .path = config->file,
        .text = {.data = (const uint8_t *)config->file_text, .bytes = config->file_bytes}};
}

struct handover worker_processes_describe_outfit(const struct worker_outfit *outfit,
                                                 bool is_managers)
{
    const struct listener_set *set = &outfit->listeners;
    const struct config *config = outfit->config;
    struct handover handover = {.file = describe_file(config),
                                .environment = {.path = config->environment_file,
                                                .text = {(const uint8_t *)config->environment_text,
                                                         config->environment_bytes}},
                                .started_us = clock_real_us(),
                                .started_ms = clock_ms(),
                                .listeners = calloc(set->count, sizeof(*handover.listeners)),
                                .listener_count = set->count};
    for (size_t i = 0; handover.listeners != NULL && i < set->count; i++) {
        handover.listeners[i] = listener_describe(&set->items[i]);
        if (!is_managers) {
            handover.listeners[i].is_inherited = true;
            handover.listeners[i].path = "";
        }
    }
    return handover;
}

static pid_t spawn(struct worker_processes *processes, const struct planned_worker *worker,
                   int channel_fd, int board_fd, const struct worker_outfit *outfit, bool is_heal)
{
    struct handover handover = worker_processes_describe_outfit(outfit, false);
    handover.worker = (struct handover_worker){.is_set = true,
                                               .place = worker->place + 1,
                                               .generation = worker->generation,
                                               .channel_fd = channel_fd,
                                               .board_fd = board_fd};
    if (is_heal && processes->startup[worker->place].data != NULL) {
        handover.startup = processes->startup[worker->place];
        handover.is_start_again = true;
    }
    pid_t pid = -1;
    errno = ENOMEM;
    if (handover.listeners != NULL)
        pid = reexec_spawn(&handover);
    free(handover.listeners);
    return pid;
}

int worker_processes_start(struct worker_processes *processes, struct worker_plan *plan,
                           const struct worker_plan_action *action,
                           const struct worker_outfit *outfit, uint64_t now_ms)
{
    struct worker_process *member = &processes->members[action->worker];
    int ends[2] = {-1, -1};
    pid_t pid = -1;
    member->board_fd = scoreboard_open(&member->board);
    if (member->board_fd >= 0 && channel_open(ends) == 0)
        pid = spawn(processes, &plan->workers[action->worker], ends[1], member->board_fd, outfit,
                    action->reason == REPLACE_HEAL);
    int error = errno;
    member->channel_fd = ends[0];
    close_descriptor(&ends[1]);
    if (pid < 0) {
        log_error("worker-not-started", "a worker can't be started: %s",
                  config_error_describe(error));
        return -1;
    }
    worker_plan_started(plan, action->worker, pid, now_ms);
    return 0;
}

struct handover_member *worker_processes_describe(const struct worker_processes *processes,
                                                  const struct worker_plan *plan, size_t *count)
{
    struct handover_member *members = calloc(worker_plan_count(plan) + 1, sizeof(*members));
    *count = 0;
    for (int i = 0; members != NULL && i < WORKER_PLAN_WORKERS_MAX; i++) {
        const struct planned_worker *worker = &plan->workers[i];
        if (worker->state != WORKER_SERVING)
            continue;
        members[(*count)++] =
            (struct handover_member){.pid = (uint64_t)worker->pid,
                                     .place = worker->place,
                                     .generation = worker->generation,
                                     .started_ms = worker->started_ms,
                                     .failed_applications = worker->report.failed_applications,
                                     .failed_imports = worker->report.failed_imports,
                                     .channel_fd = processes->members[i].channel_fd,
                                     .board_fd = processes->members[i].board_fd};
    }
    return members;
}

void worker_processes_take_over(struct worker_processes *processes, struct worker_plan *plan,
                                const struct handover_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct handover_member *member = &members[i];
        int slot =
            worker_plan_adopt(plan, (pid_t)member->pid, (unsigned)member->place,
                              (unsigned)member->generation, member->started_ms,
                              &(struct worker_plan_report){
                                  .is_loaded = true,
                                  .is_settled = true,
                                  .failed_applications = (unsigned)member->failed_applications,
                                  .failed_imports = (unsigned)member->failed_imports});
        if (slot == WORKER_PLAN_NOBODY)
            continue;
        processes->members[slot] =
            (struct worker_process){.channel_fd = member->channel_fd,
                                    .board_fd = member->board_fd,
                                    .board = scoreboard_map(member->board_fd)};
    }
}

static int tell(struct worker_processes *processes, int worker, enum worker_message kind, int fd)
{
    return channel_send(processes->members[worker].channel_fd, kind, NULL, 0, &fd, fd >= 0);
}

int worker_processes_let_accept(struct worker_processes *processes, int worker)
{
    return tell(processes, worker, MANAGER_ACCEPT, -1);
}

int worker_processes_retire(struct worker_processes *processes, int worker, int heir)
{
    int ends[2] = {-1, -1};
    bool has_heir = heir != WORKER_PLAN_NOBODY && channel_open(ends) == 0 &&
                    tell(processes, heir, MANAGER_INHERIT, ends[0]) == 0;
    if (heir != WORKER_PLAN_NOBODY && !has_heir)
        log_warning("handover-lost",
                    "no channel for idle connections can be made between two workers: %s: they are "
                    "closed",
                    config_error_describe(errno));
    int result = tell(processes, worker, MANAGER_RETIRE, has_heir ? ends[1] : -1), error = errno;
    close_descriptor(&ends[0]);
    close_descriptor(&ends[1]);
    errno = error;
    return result;
}

enum channel_event worker_processes_receive(struct worker_processes *processes, int worker,
                                            struct channel_message *message)
{
    if (processes->members[worker].channel_fd < 0)
        return CHANNEL_EMPTY;
    enum channel_event event = channel_receive(processes->members[worker].channel_fd, message);
    if (event == CHANNEL_MESSAGE)
        channel_close_descriptors(message);
    if (event == CHANNEL_CLOSED) /* it exits: SIGCHLD tells the rest */
        close_descriptor(&processes->members[worker].channel_fd);
    return event;
}

void worker_processes_keep_startup(struct worker_processes *processes, unsigned place,
                                   const uint8_t *data, size_t bytes)
{
    struct handover_bytes *startup = &processes->startup[place];
    uint8_t *copy = bytes > 0 ? malloc(bytes) : NULL;
    free((void *)(uintptr_t)startup->data);
    *startup = (struct handover_bytes){NULL, 0};
    if (copy == NULL)
        return;
    memcpy(copy, data, bytes);
    *startup = (struct handover_bytes){copy, bytes};
}

bool worker_processes_sum_counters(const struct worker_processes *processes, int worker,
                                   struct counters_totals *totals)
{
    struct scoreboard *board = processes->members[worker].board;
    if (board != NULL)
        scoreboard_sum(board, totals);
    return board != NULL;
}

void worker_processes_describe_requests(struct worker_processes *processes, int worker,
                                        uint64_t now_ms, char *text, size_t text_bytes)
{
    struct scoreboard *board = processes->members[worker].board;
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; board != NULL && i < scoreboard_threads(board) && used < text_bytes; i++) {
        struct scoreboard_entry entry;
        if (!scoreboard_get(board, i, &entry))
            continue;
        double seconds = entry.since_ms < now_ms ? (double)(now_ms - entry.since_ms) / 1000 : 0;
        int n = snprintf(text + used, text_bytes - used, "%s%s (%.1f s)", used > 0 ? " and " : "",
                         entry.text, seconds);
        used += n > 0 ? (size_t)n : 0;
    }
}
