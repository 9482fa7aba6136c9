/* Who has a connection: epoll, or the worker that serves it. A kept connection stays armed in epoll
 * while it is served, so that an event may come for one that a worker owns; it is left to that
 * worker, which must look at the connection once more before epoll can have it. */
#ifndef FCGIHOST_HOLD_H
#define FCGIHOST_HOLD_H

#include <stdatomic.h>
#include <stdbool.h>

enum hold_state {
    HOLD_OWNED,   /* by a worker, or by a queue that holds it for one; the state of a new one */
    HOLD_FREE,    /* epoll has it: it is its who takes its next event */
    HOLD_PENDING, /* owned, and an event has come meanwhile */
    HOLD_GONE,    /* it is closed: events are stale */
};

struct hold {
    atomic_uint state;
};

bool hold_is_free(const struct hold *hold);
/* An event has come. true: the caller owns the connection from now on; false: its owner will see
 * to the event, or nobody needs to. By the thread that has the turn. */
bool hold_take(struct hold *hold);
/* Takes a free one without an event. false: it is not free. Any thread. */
bool hold_seize(struct hold *hold);
/* By the owner. false: something has come, and the caller still owns it. */
bool hold_give(struct hold *hold);
/* By the owner, before it looks at the connection once more: events until now are seen to. */
void hold_look(struct hold *hold);
/* By the owner: gives the connection back whatever has come, which is left to another process. */
void hold_leave(struct hold *hold);
/* It is closed. By the owner, or by who knows that it has none. */
void hold_bury(struct hold *hold);

#endif
