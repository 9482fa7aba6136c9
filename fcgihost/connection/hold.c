/* Who has a connection: epoll, or the worker that serves it. */
#include "connection/hold.h"

bool hold_is_free(const struct hold *hold)
{
    return atomic_load(&hold->state) == HOLD_FREE;
}

static bool change(struct hold *hold, unsigned *from, enum hold_state to)
{
    return atomic_compare_exchange_strong(&hold->state, from, to);
}

bool hold_take(struct hold *hold)
{
    unsigned state = HOLD_FREE;
    while (!change(hold, &state, state == HOLD_FREE ? HOLD_OWNED : HOLD_PENDING))
        if (state != HOLD_FREE && state != HOLD_OWNED)
            return false;
    return state == HOLD_FREE;
}

bool hold_seize(struct hold *hold)
{
    return change(hold, &(unsigned){HOLD_FREE}, HOLD_OWNED);
}

bool hold_give(struct hold *hold)
{
    return change(hold, &(unsigned){HOLD_OWNED}, HOLD_FREE);
}

void hold_look(struct hold *hold)
{
    change(hold, &(unsigned){HOLD_PENDING}, HOLD_OWNED);
}

void hold_leave(struct hold *hold)
{
    unsigned state = HOLD_OWNED;
    while (state != HOLD_GONE && !change(hold, &state, HOLD_FREE))
        continue;
}

void hold_bury(struct hold *hold)
{
    atomic_store(&hold->state, HOLD_GONE);
}
