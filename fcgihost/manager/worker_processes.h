/* The worker processes that the manager has started: their channels, boards and ends. */
#ifndef FCGIHOST_WORKER_PROCESSES_H
#define FCGIHOST_WORKER_PROCESSES_H

#include "base/channel.h"
#include "base/handover.h"
#include "config/config.h"
#include "life/worker_message.h"
#include "manager/worker_plan.h"
#include "net/listener_set.h"
#include "threads/scoreboard.h"

#include <stdbool.h>

/* What workers of one generation are started with. */
struct worker_outfit {
    const struct config *config;
    struct listener_set listeners;
    struct listener_set status; /* the manager's own, of [status] listen */
};

struct worker_process {
    int channel_fd; /* -1: no process */
    int board_fd;
    struct scoreboard *board;
};

struct worker_processes {
    struct worker_process members[WORKER_PLAN_WORKERS_MAX]; /* at the same places as plan's */
    /* For the next worker at each place, which tries what this one could not load; on the heap. */
    struct handover_bytes startup[WORKER_PLAN_PLACES_MAX];
};

void worker_processes_init(struct worker_processes *processes);
/* The configuration and the listeners, as a handover. is_managers: for the manager itself, with the
 * sockets' files, which workers must not remove. listeners is NULL when out of memory; free it. */
struct handover worker_processes_describe_outfit(const struct worker_outfit *outfit,
                                                 bool is_managers);
/* Starts the program as a worker. 0, or -1 with the reason in the log. */
int worker_processes_start(struct worker_processes *processes, struct worker_plan *plan,
                           const struct worker_plan_action *action,
                           const struct worker_outfit *outfit, uint64_t now_ms);
/* For a manager that executes itself anew: what the next program must know of the workers, which
 * all serve. Free members with free(). NULL: out of memory. */
struct handover_member *worker_processes_describe(const struct worker_processes *processes,
                                                  const struct worker_plan *plan, size_t *count);
/* Takes over workers that a predecessor has described. */
void worker_processes_take_over(struct worker_processes *processes, struct worker_plan *plan,
                                const struct handover_member *members, size_t count);
/* Tell a worker to accept connections, and to drain. 0, or -1 with errno: it has not been told. One
 * that can't have its heir drains without, and its idle connections are closed. */
int worker_processes_let_accept(struct worker_processes *processes, int worker);
int worker_processes_retire(struct worker_processes *processes, int worker, int heir);
/* The worker's next message, if there is one. Descriptors that come with it are closed. */
enum channel_event worker_processes_receive(struct worker_processes *processes, int worker,
                                            struct channel_message *message);
/* Keeps a copy of what the next attempt to load must know. */
void worker_processes_keep_startup(struct worker_processes *processes, unsigned place,
                                   const uint8_t *data, size_t bytes);
/* All that it has counted, also when it has ended. false: it has no board that can be read. */
bool worker_processes_sum_counters(const struct worker_processes *processes, int worker,
                                   struct counters_totals *totals);
/* "GET /a (3.2 s) and GET /b (0.1 s)": what it was serving; "" if nothing. */
void worker_processes_describe_requests(struct worker_processes *processes, int worker,
                                        uint64_t now_ms, char *text, size_t text_bytes);
/* The worker has exited: closes and frees what belonged to it. */
void worker_processes_forget(struct worker_processes *processes, int worker);

#endif
