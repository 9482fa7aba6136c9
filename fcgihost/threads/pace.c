/* How long the application takes, and so when a thread lets the next one wait for a request. */
#include "threads/pace.h"

#include "base/clock.h"

#include <sys/resource.h>

enum {
    SLOW_APPLICATION_US = 100, /* while others could be served */
    SLOW_WEIGHT = 16,          /* of a slow request, against 1 of each that is not; … */
    SLOW_WEIGHT_MAX = 64,      /* … one alone may only have been preempted */
};

void pace_init(struct pace *pace)
{
    turn_init(&pace->turn);
    atomic_init(&pace->slowness, 0);
}

void pace_destroy(struct pace *pace)
{
    turn_destroy(&pace->turn);
}

void pace_offer_turn(struct pace_runner *runner)
{
    if (runner->has_turn)
        turn_offer(&runner->pace->turn, runner->number);
}

void pace_pass_turn(struct pace_runner *runner)
{
    if (runner->has_turn) {
        runner->has_turn = false;
        turn_pass(&runner->pace->turn, runner->number);
    }
}

static struct pace_switches count_switches(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) < 0)
        return (struct pace_switches){0, 0};
    return (struct pace_switches){usage.ru_nvcsw, usage.ru_nivcsw};
}

/* It took long, but only as others had the processor, perhaps the web server: meanwhile it had the
 * GIL, so no other thread could have served. With nginx on the same core this is worth 3 of 120 µs.
 */
static bool was_only_preempted(const struct pace_runner *runner)
{
    struct pace_switches now = count_switches(), before = runner->switches_before;
    return now.involuntary != before.involuntary && now.voluntary == before.voluntary;
}

void pace_begin_application(struct pace_runner *runner)
{
    unsigned slowness = atomic_load_explicit(&runner->pace->slowness, memory_order_relaxed);
    runner->is_suspected = slowness > 0;
    if (runner->is_suspected)
        runner->switches_before = count_switches();
    runner->application_began_us = clock_us();
    if (slowness > SLOW_WEIGHT)
        pace_pass_turn(runner);
    else if (runner->has_turn)
        turn_offer(&runner->pace->turn, runner->number);
}

/* When two threads count at the same time, one of both is lost: no harm. */
void pace_end_application(struct pace_runner *runner)
{
    atomic_uint *slowness = &runner->pace->slowness;
    unsigned before = atomic_load_explicit(slowness, memory_order_relaxed), after = before;
    runner->application_us = clock_us() - runner->application_began_us;
    if (runner->application_us <= SLOW_APPLICATION_US ||
        (runner->is_suspected && was_only_preempted(runner)))
        after = before > 0 ? before - 1 : 0;
    else if (before <= SLOW_WEIGHT_MAX - SLOW_WEIGHT)
        after = before + SLOW_WEIGHT;
    if (after != before)
        atomic_store_explicit(slowness, after, memory_order_relaxed);
}

void pace_take_turn(struct pace_runner *runner)
{
    struct turn *turn = &runner->pace->turn;
    if (!runner->has_turn || !turn_reclaim(turn, runner->number))
        turn_take(turn, runner->number);
    runner->has_turn = true;
}
