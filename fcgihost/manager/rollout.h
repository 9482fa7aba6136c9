/* The configuration and the sockets that workers are started with: those of the workers that serve,
 * and while a reload is under way those of their successors. */
#ifndef FCGIHOST_ROLLOUT_H
#define FCGIHOST_ROLLOUT_H

#include "config/config.h"
#include "config/config_error.h"
#include "manager/worker_processes.h"

#include <stdbool.h>

struct rollout {
    char **argv;
    struct worker_outfit current, next;
    struct config *configs[2]; /* on the heap; NULL: none, or that of the first start */
    bool has_next;
};

/* Opens the sockets. 0, or -1 with one line in error. */
int rollout_init(struct rollout *rollout, char **argv, const struct config *config,
                 struct config_error *error);
/* Opens those of [status] listen. 0, or -1 with one line in error. */
int rollout_open_status(struct rollout *rollout, struct config_error *error);
/* Reads the configuration anew and opens new sockets. Returns it; NULL: it is wrong, the log says
 * where, and nothing has changed. */
const struct config *rollout_begin(struct rollout *rollout);
/* All workers have the new configuration: closes the sockets that it does not name. */
void rollout_succeed(struct rollout *rollout);
/* The new configuration is dropped; returns the old one, which stays. */
const struct config *rollout_fail(struct rollout *rollout);
const struct worker_outfit *rollout_outfit(const struct rollout *rollout, bool is_next);
/* The host stops, and the status goes on: new connections are refused, and those in the queues are
 * left to the workers that still accept. */
void rollout_close(struct rollout *rollout);
void rollout_clear(struct rollout *rollout);

#endif
