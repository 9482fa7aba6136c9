/* The configuration and the sockets that workers are started with: those of the workers that serve,
 * and while a reload is under way those of their successors. */
#ifndef FCGIHOST_ROLLOUT_H
#define FCGIHOST_ROLLOUT_H

#include "config/config_error.h"
#include "config/settings.h"
#include "manager/crew.h"

#include <stdbool.h>

struct rollout {
    char **argv;
    struct crew_outfit current, next;
    struct config *configs[2]; /* the heap's; NULL: none, or the first start's */
    bool has_next;
};

/* Opens the sockets. 0, or -1 with one line in error. */
int rollout_init(struct rollout *rollout, char **argv, const struct config *config,
                 struct config_error *error);
/* Opens those of [status] listen. 0, or -1 with one line in error. */
int rollout_open_status(struct rollout *rollout, struct config_error *error);
/* Reads the configuration anew and opens new sockets. What it says now; NULL: it is wrong, the log
 * says where, and nothing has changed. */
const struct config *rollout_begin(struct rollout *rollout);
/* All workers are of the new configuration: sockets that it does not have are closed. */
void rollout_succeed(struct rollout *rollout);
/* The old configuration stays, and is returned. */
const struct config *rollout_fail(struct rollout *rollout);
const struct crew_outfit *rollout_outfit(const struct rollout *rollout, bool is_next);
/* The end has begun, and the status goes on: nobody finds the way in any more, and who has queued
 * up is served by those workers that still accept. */
void rollout_close(struct rollout *rollout);
void rollout_clear(struct rollout *rollout);

#endif
