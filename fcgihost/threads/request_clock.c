/* How long each thread has been running application code for a request, and what is due then. */
#include "threads/request_clock.h"

enum { DUE_BITS = 4, DUE_MASK = (1 << DUE_BITS) - 1 };

static void set(atomic_ullong *value, unsigned long long to)
{
    atomic_store_explicit(value, to, memory_order_release);
}

static unsigned long long get(const atomic_ullong *value)
{
    return atomic_load_explicit(value, memory_order_acquire);
}

void request_clock_begin(struct request_clock *work, uint64_t now_ms)
{
    set(&work->since_ms,
        now_ms); /* before the serial: a reader that sees the new serial sees this too */
    set(&work->serial, atomic_load_explicit(&work->serial, memory_order_relaxed) + 1);
    atomic_store_explicit(&work->phase, REQUEST_CLOCK_GIL, memory_order_release);
}

void request_clock_enter(struct request_clock *work)
{
    atomic_store_explicit(&work->phase, REQUEST_CLOCK_RUNS, memory_order_release);
}

void request_clock_leave(struct request_clock *work)
{
    atomic_store_explicit(&work->phase, REQUEST_CLOCK_IDLE, memory_order_release);
}

bool request_clock_look(const struct request_clock *work, struct request_clock_view *view)
{
    unsigned phase = atomic_load_explicit(&work->phase, memory_order_acquire);
    if (phase == REQUEST_CLOCK_IDLE)
        return false;
    *view = (struct request_clock_view){.serial = get(&work->serial),
                                        .since_ms = get(&work->since_ms),
                                        .phase = (enum request_clock_phase)phase};
    /* Not if another piece of work has begun meanwhile: that is looked at next time. */
    return atomic_load_explicit(&work->phase, memory_order_acquire) == phase &&
           get(&work->serial) == view->serial;
}

static bool is_over(uint64_t limit_ms, uint64_t age_ms)
{
    return limit_ms > 0 && age_ms >= limit_ms;
}

unsigned request_clock_step(struct request_clock_entry *entry,
                            const struct request_clock_limits *limits,
                            const struct request_clock_view *view, uint64_t now_ms)
{
    uint64_t age_ms = now_ms > view->since_ms ? now_ms - view->since_ms : 0;
    unsigned due = 0;
    if (entry->serial != view->serial)
        *entry = (struct request_clock_entry){.serial = view->serial};
    if (is_over(limits->slow_ms, age_ms))
        due |= REQUEST_CLOCK_SLOW;
    if (view->is_client_gone)
        due |= REQUEST_CLOCK_GONE;
    if (is_over(limits->timeout_ms, age_ms))
        due |= REQUEST_CLOCK_TIMEOUT;
    if ((entry->due & REQUEST_CLOCK_TIMEOUT) &&
        now_ms >= entry->timed_out_ms + REQUEST_CLOCK_GRACE_MS)
        due |= REQUEST_CLOCK_RETIRE;
    due &= ~entry->due;
    entry->due |= due;
    if (due & REQUEST_CLOCK_TIMEOUT)
        entry->timed_out_ms = now_ms;
    return due;
}

static uint64_t until(uint64_t at_ms, uint64_t now_ms, uint64_t wait_ms)
{
    if (at_ms <= now_ms)
        return 0;
    return at_ms - now_ms < wait_ms ? at_ms - now_ms : wait_ms;
}

uint64_t request_clock_wait_ms(const struct request_clock_entry *entry,
                               const struct request_clock_limits *limits,
                               const struct request_clock_view *view, uint64_t now_ms,
                               uint64_t wait_ms)
{
    unsigned due = entry->serial == view->serial ? entry->due : 0;
    if (limits->slow_ms > 0 && !(due & REQUEST_CLOCK_SLOW))
        wait_ms = until(view->since_ms + limits->slow_ms, now_ms, wait_ms);
    if (limits->timeout_ms > 0 && !(due & REQUEST_CLOCK_TIMEOUT))
        wait_ms = until(view->since_ms + limits->timeout_ms, now_ms, wait_ms);
    if ((due & REQUEST_CLOCK_TIMEOUT) && !(due & REQUEST_CLOCK_RETIRE))
        wait_ms = until(entry->timed_out_ms + REQUEST_CLOCK_GRACE_MS, now_ms, wait_ms);
    return wait_ms;
}

static unsigned due_of(unsigned long long noted, unsigned long long serial)
{
    return noted >> DUE_BITS == serial ? (unsigned)(noted & DUE_MASK) : 0;
}

void request_clock_want(struct request_clock *work, unsigned long long serial, unsigned due)
{
    set(&work->wanted, serial << DUE_BITS | due_of(get(&work->wanted), serial) | due);
}

unsigned request_clock_wanted(const struct request_clock *work)
{
    unsigned long long serial = get(&work->serial);
    return due_of(get(&work->wanted), serial) & ~due_of(get(&work->done), serial);
}

void request_clock_set_done(struct request_clock *work, unsigned due)
{
    unsigned long long serial = get(&work->serial);
    set(&work->done, serial << DUE_BITS | due_of(get(&work->done), serial) | due);
}
