/* Each thread's counters of the requests it served, for the status page. */
#ifndef FCGIHOST_COUNTERS_H
#define FCGIHOST_COUNTERS_H

#include "http/request.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
    COUNTERS_CLASSES = 5, /* 1xx to 5xx */
    COUNTERS_BOUNDS = 14,
};

/* The upper bounds of the histograms' buckets, ascending. One more bucket takes what is longer. */
extern const uint64_t counters_bounds_us[COUNTERS_BOUNDS];

struct counters_histogram {
    atomic_ullong buckets[COUNTERS_BOUNDS + 1]; /* not cumulative */
    atomic_ullong sum_us;
};

/* The counters of one thread, which alone writes them; any thread may read, at any time. So
 * counting takes neither a lock nor a locked instruction, and the alignment keeps threads off each
 * other's cache lines. A reader may see a request in one counter and not yet in the next. */
struct counters {
    _Alignas(64) atomic_ullong by_class[COUNTERS_CLASSES]; /* responses, by status / 100 - 1 */
    struct counters_histogram wait;     /* the wait for a thread: from ready to begun */
    struct counters_histogram duration; /* from ready until the response was sent */
    atomic_ullong gil_wait_us;          /* the part of wait with a request, but no GIL */
    atomic_ullong slow, timeouts;       /* requests beyond slow_request and beyond request_time */
};

/* A copy or a sum of threads' counters. */
struct counters_totals {
    unsigned long long requests, by_class[COUNTERS_CLASSES], gil_wait_us, slow, timeouts;
    struct counters_total_histogram {
        unsigned long long buckets[COUNTERS_BOUNDS + 1], count, sum_us;
    } wait, duration;
};

/* Called by the thread that owns the counters. */
static inline void counters_add(atomic_ullong *counter, uint64_t n)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

/* A request has been answered with that status. Called by the thread that owns the counters. */
void counters_count(struct counters *counters, int status, const struct request_times *times);
/* Adds a thread's counters to the totals, which start at zero. Any thread. */
void counters_sum(const struct counters *counters, struct counters_totals *totals);
void counters_add_totals(struct counters_totals *sum, const struct counters_totals *totals);

#endif
