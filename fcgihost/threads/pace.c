/* Decides when a thread that has found a request lets the next one lead. */
#include "threads/pace.h"

#include "base/clock.h"

void pace_init(struct pace *pace)
{
    turn_init(&pace->turn);
    atomic_init(&pace->weighted_us, 0);
}

void pace_destroy(struct pace *pace)
{
    turn_destroy(&pace->turn);
}

void pace_take_turn(struct pace_runner *runner)
{
    struct turn *turn = &runner->pace->turn;
    if (!runner->has_turn || !turn_reclaim(turn, runner->number))
        turn_take(turn, runner->number);
    runner->has_turn = true;
}

void pace_offer_turn(struct pace_runner *runner)
{
    if (runner->has_turn)
        turn_offer(&runner->pace->turn, runner->number, TURN_TO_ANY);
}

void pace_pass_turn(struct pace_runner *runner)
{
    if (runner->has_turn) {
        runner->has_turn = false;
        turn_pass(&runner->pace->turn, runner->number);
    }
}

void pace_await_gil(struct pace_runner *runner)
{
    atomic_store_explicit(&runner->entry, PACE_ENTERING, memory_order_release);
    if (runner->has_turn)
        turn_offer(&runner->pace->turn, runner->number, TURN_TO_WATCH);
}

bool pace_withdraw(struct pace_runner *runner)
{
    int entry = PACE_ENTERING;
    return atomic_compare_exchange_strong(&runner->entry, &entry, PACE_WITHDRAWN);
}

bool pace_begin_application(struct pace_runner *runner)
{
    if (atomic_exchange(&runner->entry, PACE_ENTERED) == PACE_WITHDRAWN)
        return false;
    unsigned weighted_us = atomic_load_explicit(&runner->pace->weighted_us, memory_order_relaxed);
    runner->is_slow = weighted_us > PACE_SLOW_US * PACE_WEIGHT;
    runner->application_began_us = clock_us();
    if (runner->is_slow)
        pace_pass_turn(runner);
    else
        pace_offer_turn(runner);
    return true;
}

/* If two threads update it at the same time one update may be lost: it is only a mean. */
void pace_end_application(struct pace_runner *runner)
{
    atomic_uint *weighted_us = &runner->pace->weighted_us;
    uint64_t took_us = clock_us() - runner->application_began_us;
    unsigned counted_us = took_us < PACE_MOST_US ? (unsigned)took_us : PACE_MOST_US,
             before_us = atomic_load_explicit(weighted_us, memory_order_relaxed);
    atomic_store_explicit(weighted_us, before_us - before_us / PACE_WEIGHT + counted_us,
                          memory_order_relaxed);
}
