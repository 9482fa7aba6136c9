/* A worker process's connection to its manager: its end of the channel. Used by the supervisor
 * thread alone, unless a comment says otherwise. */
#ifndef FCGIHOST_MANAGER_LINK_H
#define FCGIHOST_MANAGER_LINK_H

#include "base/channel.h"
#include "base/handover.h"
#include "connection/poller.h"
#include "life/worker_message.h"
#include "threads/scoreboard.h"

#include <stdatomic.h>
#include <stdbool.h>

struct manager_link {
    bool is_managed;
    struct handover_worker worker; /* as the manager gave it */
    struct scoreboard *board;      /* NULL: none */
    int heir_fd;    /* channel to the heir, which takes the idle connections; -1: none */
    int inherit_fd; /* channel from the predecessor; -1: none */
    struct worker_report reported;
    bool is_idle_told;
    unsigned idle_ticks;            /* since the manager was told */
    bool is_retired;                /* by the manager */
    atomic_bool is_failure_told;    /* in the log: the last wish could not be told */
    struct channel_message message; /* the one being read */
};

/* Also in a process without a manager: then no function here has an effect. Main thread. */
void manager_link_init(struct manager_link *link);
/* Before there are worker threads: keeps a successor from accepting connections before it has
 * loaded, as other workers serve them. */
void manager_link_prepare(struct manager_link *link, struct poller *poller);
/* Tells the manager how the start is going, if that has changed. */
void manager_link_report(struct manager_link *link, const struct worker_report *report);
/* Tells the manager whether this worker has been idle for [limits] idle: when that changes, and
 * every 10 s, for a manager that has executed itself anew. To be called on each tick. */
void manager_link_tell_idle(struct manager_link *link, bool is_idle);
/* What its start waits for. */
void manager_link_tell_start(struct manager_link *link, const struct worker_start *start);
/* Its Python answers. */
void manager_link_tell_alive(struct manager_link *link);
/* Asks to be replaced, or that the host stops; startup: for WISH_HEAL. 0, or -1: the manager has
 * not been asked, which is logged if it is the first failure in a row. Any thread. */
int manager_link_ask(struct manager_link *link, enum worker_wish wish, const char *reason,
                     struct handover_bytes startup);

enum manager_link_event {
    LINK_NOTHING,
    LINK_ACCEPT,  /* take connections, loaded or not */
    LINK_RETIRE,  /* drain; link->heir_fd is set or -1 */
    LINK_INHERIT, /* a predecessor may send connections: call manager_link_inherit on each tick */
    LINK_GONE,    /* the manager has died: drain and exit */
};

/* The manager's next message; to be called until it is LINK_NOTHING. */
enum manager_link_event manager_link_receive(struct manager_link *link);
/* Gives every connection without a running request to the heir. After poller_begin_handover. false:
 * there is no heir any more, and they have to be closed one by one. */
bool manager_link_bequeath(struct manager_link *link, struct poller *poller);
/* Takes the connections that the predecessor has sent. */
void manager_link_inherit(struct manager_link *link, struct poller *poller);

#endif
