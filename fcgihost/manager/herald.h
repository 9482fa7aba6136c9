/* What the service manager (systemd) hears of a manager and its workers; and its watchdog: a worker
 * whose Python no longer answers is killed, to be replaced, while the others serve on. The
 * manager's loop alone. */
#ifndef FCGIHOST_HERALD_H
#define FCGIHOST_HERALD_H

#include "config/settings.h"
#include "life/worker_message.h"
#include "manager/worker_plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct herald {
    bool is_ready;     /* some worker has served */
    uint64_t alive_ms; /* when systemd's watchdog was last fed */
    uint64_t
        answered_ms[WORKER_PLAN_WORKERS_MAX]; /* when each one's Python was last heard; 0: never */
};

/* A worker tells of its start. */
void herald_tell_start(const struct herald *herald, const struct worker_plan *plan,
                       const struct worker_start *start);
/* On each turn of the loop. */
void herald_tell(struct herald *herald, const struct worker_plan *plan, const struct config *config,
                 uint64_t now_ms);
void herald_tell_reload(void);
/* It has ended; how: for people. */
void herald_tell_reloaded(const struct herald *herald, const char *how);
void herald_tell_stop(const char *why, uint64_t end_ms);

/* The worker's Python has answered. */
void herald_hear(struct herald *herald, int worker, uint64_t now_ms);
void herald_forget(struct herald *herald, int worker);
/* A worker that serves, and has not answered for too long; WORKER_PLAN_NOBODY: there is none. Each
 * once.
 */
int herald_find_silent(struct herald *herald, const struct worker_plan *plan, uint64_t now_ms);
uint64_t herald_wait_ms(uint64_t wait_ms);

#endif
