/* A worker process's end of what connects it with its manager. Used by the supervisor thread alone,
 * but for what says otherwise. */
#ifndef FCGIHOST_MANAGER_LINK_H
#define FCGIHOST_MANAGER_LINK_H

#include "base/channel.h"
#include "base/handover.h"
#include "connection/poller.h"
#include "life/worker_message.h"
#include "threads/board.h"

#include <stdatomic.h>
#include <stdbool.h>

struct manager_link {
    bool is_managed;
    struct handover_worker worker; /* as the manager gave it */
    struct board *board;           /* NULL: none */
    int heir_fd;                   /* to the worker that takes the idle connections; -1: none */
    int inherit_fd; /* from the one whose idle connections this one takes; -1: none */
    struct worker_report reported;
    bool is_idle_told;
    unsigned idle_ticks; /* since it was told */
    bool is_retired;                /* by the manager */
    struct channel_message message; /* room for the one that is being read */
};

/* Of a process without a manager too: then nothing here has an effect. Main thread. */
void manager_link_init(struct manager_link *link);
/* Before there are worker threads: a successor accepts nothing until it has loaded, as others
 * serve. */
void manager_link_prepare(struct manager_link *link, struct poller *poller);
/* Tells how the start is going, if that has changed. */
void manager_link_report(struct manager_link *link, const struct worker_report *report);
/* Whether it has been idle for [limits] idle. Tells it if that has changed, and now and then, for a
 * manager that has executed itself anew. To be called on each tick. */
void manager_link_tell_idle(struct manager_link *link, bool is_idle);
/* What its start waits for. */
void manager_link_tell_start(struct manager_link *link, const struct worker_start *start);
/* Its Python answers. */
void manager_link_tell_alive(struct manager_link *link);
/* Asks to be replaced, or that the host stops; startup: for WISH_HEAL. */
void manager_link_ask(struct manager_link *link, enum worker_wish wish, const char *reason,
                      struct handover_bytes startup);

enum manager_link_event {
    LINK_NOTHING,
    LINK_ACCEPT,  /* take connections, loaded or not */
    LINK_RETIRE,  /* drain; link->heir_fd is there or -1 */
    LINK_INHERIT, /* connections may come: call manager_link_inherit now and then */
    LINK_GONE,    /* the manager has died: drain and exit */
};

/* What the manager says; to be called until it says LINK_NOTHING. */
enum manager_link_event manager_link_receive(struct manager_link *link);
/* Gives every connection without a running request to the heir. After poller_begin_handover. false:
 * there is none any more, and they have to be closed in order. */
bool manager_link_bequeath(struct manager_link *link, struct poller *poller);
/* Takes what the predecessor has given. */
void manager_link_inherit(struct manager_link *link, struct poller *poller);

#endif
