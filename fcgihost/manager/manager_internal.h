/* Shared by the manager's own files only. All of it is called by the manager's loop. */
#ifndef FCGIHOST_MANAGER_INTERNAL_H
#define FCGIHOST_MANAGER_INTERNAL_H

#include "base/channel.h"
#include "config/config.h"
#include "life/worker_message.h"
#include "manager/manager_notify.h"
#include "manager/rollout.h"
#include "manager/worker_plan.h"
#include "manager/worker_processes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MANAGER_EXIT_STARTUP = 4 /* exit code of [startup] on_failure = exit, a worker's as well */
};

struct manager {
    struct worker_plan plan;
    struct worker_processes processes;
    struct rollout rollout;
    struct manager_notify notify;
    int signal_fd;
    int reload_fd; /* an eventfd: a reload was asked for over the control socket */
    unsigned char
        limit[WORKER_PLAN_WORKERS_MAX]; /* enum restart_reason, of a worker that asked for it */
    bool has_served;                    /* a worker has loaded the application */
    bool is_startup_bad;                /* no worker ever will: on_failure = exit */
    bool is_cut_off;                    /* a worker had to cut something off, or was killed */
    char code_change[sizeof(((struct worker_request *)NULL)->reason)]; /* the latest one told */
    struct channel_message message;
};

/* manager.c */
/* Stops all workers; is_quick: without a drain. why: for the log. */
void manager_stop(struct manager *manager, const char *why, bool is_quick);
/* Blocks the signals that the loop reads from signal_fd, in this thread and those that it starts.
 */
void manager_block_signals(void);
/* How long a worker may take to stop. */
uint64_t manager_end_ms(const struct config *config);
void manager_signal(struct manager *manager, int worker, int number);
/* The configuration and sockets that the worker was started with. */
const struct worker_outfit *manager_outfit(const struct manager *manager, int worker);

/* manager_messages.c */
/* Does what the worker asks and tells, until there is no further message. */
void manager_read_messages(struct manager *manager, int worker);
/* Stops the whole host if no worker has had a request for [limits] idle. */
void manager_stop_if_idle(struct manager *manager);

/* worker_exits.c */
/* Takes note of every worker that has exited. */
void manager_reap(struct manager *manager, uint64_t now_ms);

/* manager_actions.c */
/* Does what the plan wants done, until it wants nothing. */
void manager_act(struct manager *manager);

/* manager_status.c */
/* Tells the status which workers there are. Cheap enough for each turn of the loop. */
void manager_tell_status(struct manager *manager);
/* Starts the control thread. false: the log says why. */
bool manager_start_status(struct manager *manager, const struct config *config);

#endif
