/* The worker processes that the manager has started: their channels, boards and ends. */
#ifndef FCGIHOST_CREW_H
#define FCGIHOST_CREW_H

#include "base/channel.h"
#include "base/handover.h"
#include "config/settings.h"
#include "life/worker_message.h"
#include "manager/worker_plan.h"
#include "net/listener_set.h"
#include "threads/board.h"

#include <stdbool.h>

/* What workers of one generation are started with. */
struct crew_outfit {
    const struct config *config;
    struct listener_set listeners;
    struct listener_set status; /* the manager's own, of [status] listen */
};

struct crew_member {
    int channel_fd; /* -1: no process */
    int board_fd;
    struct board *board;
};

struct crew {
    struct crew_member members[WORKER_PLAN_WORKERS_MAX]; /* at the same places as plan's */
    struct handover_bytes
        startup[WORKER_PLAN_PLACES_MAX]; /* for the next worker at that place, which
                                       tries what this one could not load; heap */
};

void crew_init(struct crew *crew);
/* The configuration and the listeners, as a handover. is_managers: for the manager itself, with the
 * sockets' files, which workers must not remove. listeners is NULL when out of memory; free it. */
struct handover crew_describe_outfit(const struct crew_outfit *outfit, bool is_managers);
/* Starts the program as a worker. 0, or -1 with the reason in the log. */
int crew_start(struct crew *crew, struct worker_plan *plan, const struct worker_plan_action *action,
               const struct crew_outfit *outfit, uint64_t now_ms);
/* For a manager that executes itself anew: what the next program must know of the workers, which
 * all serve. Free members with free(). NULL: out of memory. */
struct handover_member *crew_describe(const struct crew *crew, const struct worker_plan *plan,
                                      size_t *count);
/* Takes over workers that a predecessor has described. */
void crew_take_over(struct crew *crew, struct worker_plan *plan,
                    const struct handover_member *members, size_t count);
/* Tell a worker to accept connections, and to drain. */
void crew_let_accept(struct crew *crew, int worker);
void crew_retire(struct crew *crew, int worker, int heir);
/* The worker's next message, if there is one. Descriptors that come with it are closed. */
enum channel_event crew_receive(struct crew *crew, int worker, struct channel_message *message);
/* Keeps a copy of what the next attempt to load must know. */
void crew_keep_startup(struct crew *crew, unsigned place, const uint8_t *data, size_t bytes);
/* All that it has counted, also when it has ended. false: it has no board that can be read. */
bool crew_sum_counters(const struct crew *crew, int worker, struct counters_totals *totals);
/* "GET /a (3.2 s) and GET /b (0.1 s)": what it was serving; "" if nothing. */
void crew_describe_requests(struct crew *crew, int worker, uint64_t now_ms, char *text,
                            size_t text_bytes);
/* The worker has exited: closes and frees what belonged to it. */
void crew_forget(struct crew *crew, int worker);

#endif
