/* Decides when a thread that has found a request lets the next one lead. */
#include "threads/turn_policy.h"

#include "base/clock.h"

void turn_policy_init(struct turn_policy *pace)
{
    turn_init(&pace->turn);
    atomic_init(&pace->weighted_us, 0);
}

void turn_policy_destroy(struct turn_policy *pace)
{
    turn_destroy(&pace->turn);
}

void turn_policy_take(struct turn_policy_runner *runner)
{
    struct turn *turn = &runner->pace->turn;
    if (!runner->has_turn || !turn_reclaim(turn, runner->number))
        turn_take(turn, runner->number);
    runner->has_turn = true;
}

void turn_policy_offer(struct turn_policy_runner *runner)
{
    if (runner->has_turn)
        turn_offer(&runner->pace->turn, runner->number, TURN_TO_ANY);
}

void turn_policy_pass(struct turn_policy_runner *runner)
{
    if (runner->has_turn) {
        runner->has_turn = false;
        turn_pass(&runner->pace->turn, runner->number);
    }
}

void turn_policy_await_gil(struct turn_policy_runner *runner)
{
    atomic_store_explicit(&runner->entry, TURN_POLICY_ENTERING, memory_order_release);
    if (runner->has_turn)
        turn_offer(&runner->pace->turn, runner->number, TURN_TO_WATCH);
}

bool turn_policy_withdraw(struct turn_policy_runner *runner)
{
    int entry = TURN_POLICY_ENTERING;
    return atomic_compare_exchange_strong(&runner->entry, &entry, TURN_POLICY_WITHDRAWN);
}

bool turn_policy_begin_application(struct turn_policy_runner *runner)
{
    if (atomic_exchange(&runner->entry, TURN_POLICY_ENTERED) == TURN_POLICY_WITHDRAWN)
        return false;
    unsigned weighted_us = atomic_load_explicit(&runner->pace->weighted_us, memory_order_relaxed);
    runner->is_slow = weighted_us > TURN_POLICY_SLOW_US * TURN_POLICY_WEIGHT;
    runner->application_began_us = clock_us();
    if (runner->is_slow)
        turn_policy_pass(runner);
    else
        turn_policy_offer(runner);
    return true;
}

/* If two threads update it at the same time one update may be lost: it is only a mean. */
void turn_policy_end_application(struct turn_policy_runner *runner)
{
    atomic_uint *weighted_us = &runner->pace->weighted_us;
    uint64_t took_us = clock_us() - runner->application_began_us;
    unsigned counted_us = took_us < TURN_POLICY_MOST_US ? (unsigned)took_us : TURN_POLICY_MOST_US,
             before_us = atomic_load_explicit(weighted_us, memory_order_relaxed);
    atomic_store_explicit(weighted_us, before_us - before_us / TURN_POLICY_WEIGHT + counted_us,
                          memory_order_relaxed);
}
