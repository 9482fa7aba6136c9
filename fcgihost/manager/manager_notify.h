/* What the service manager (systemd) hears of a manager and its workers; and its watchdog: a worker
 * whose Python no longer answers is killed, to be replaced, while the others serve on. The
 * manager's loop alone. */
#ifndef FCGIHOST_MANAGER_NOTIFY_H
#define FCGIHOST_MANAGER_NOTIFY_H

#include "config/config.h"
#include "life/worker_message.h"
#include "manager/worker_plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manager_notify {
    bool is_ready;     /* some worker has served */
    uint64_t alive_ms; /* when systemd's watchdog was last fed */
    /* When each one's Python was last heard; 0: never. */
    uint64_t answered_ms[WORKER_PLAN_WORKERS_MAX];
};

/* A worker tells of its start. */
void manager_notify_tell_start(const struct manager_notify *notify, const struct worker_plan *plan,
                               const struct worker_start *start);
/* On each turn of the loop. */
void manager_notify_tell(struct manager_notify *notify, const struct worker_plan *plan,
                         const struct config *config, uint64_t now_ms);
void manager_notify_tell_reload(void);
/* It has ended; how: for people. */
void manager_notify_tell_reloaded(const struct manager_notify *notify, const char *how);
void manager_notify_tell_stop(const char *why, uint64_t end_ms);

/* The worker's Python has answered. */
void manager_notify_hear(struct manager_notify *notify, int worker, uint64_t now_ms);
void manager_notify_forget(struct manager_notify *notify, int worker);
/* A worker that serves, and has not answered for too long; WORKER_PLAN_NOBODY: there is none. Each
 * once.
 */
int manager_notify_find_silent(struct manager_notify *notify, const struct worker_plan *plan,
                               uint64_t now_ms);
uint64_t manager_notify_wait_ms(uint64_t wait_ms);

#endif
