/* Each thread's counters of the requests it served. */
#include "threads/counters.h"

const uint64_t counters_bounds_us[COUNTERS_BOUNDS] = {
    500,    1000,   2500,   5000,    10000,   25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 10000000, 60000000,
};

static void count_time(struct counters_histogram *histogram, uint64_t from_us, uint64_t to_us)
{
    uint64_t time_us = to_us > from_us ? to_us - from_us : 0;
    unsigned i = 0;
    while (i < COUNTERS_BOUNDS && time_us > counters_bounds_us[i])
        i++;
    counters_add(&histogram->buckets[i], 1);
    counters_add(&histogram->sum_us, time_us);
}

void counters_count(struct counters *counters, int status, const struct request_times *times)
{
    if (status >= 100 && status < 100 * (COUNTERS_CLASSES + 1))
        counters_add(&counters->by_class[status / 100 - 1], 1);
    count_time(&counters->wait, times->ready_us, times->begun_us);
    count_time(&counters->duration, times->ready_us, times->ended_us);
    if (times->begun_us > times->taken_us)
        counters_add(&counters->gil_wait_us, times->begun_us - times->taken_us);
}

static unsigned long long get(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void sum_histogram(const struct counters_histogram *histogram,
                          struct counters_total_histogram *total)
{
    for (unsigned i = 0; i <= COUNTERS_BOUNDS; i++) {
        unsigned long long n = get(&histogram->buckets[i]);
        total->buckets[i] += n;
        total->count += n;
    }
    total->sum_us += get(&histogram->sum_us);
}

void counters_sum(const struct counters *counters, struct counters_totals *totals)
{
    for (unsigned i = 0; i < COUNTERS_CLASSES; i++)
        totals->by_class[i] += get(&counters->by_class[i]);
    totals->gil_wait_us += get(&counters->gil_wait_us);
    totals->slow += get(&counters->slow);
    totals->timeouts += get(&counters->timeouts);
    sum_histogram(&counters->wait, &totals->wait);
    sum_histogram(&counters->duration, &totals->duration);
    totals->requests = totals->duration.count;
}

void counters_add_totals(struct counters_totals *sum, const struct counters_totals *totals)
{
    sum->requests += totals->requests;
    sum->gil_wait_us += totals->gil_wait_us;
    sum->slow += totals->slow;
    sum->timeouts += totals->timeouts;
    for (int i = 0; i < COUNTERS_CLASSES; i++)
        sum->by_class[i] += totals->by_class[i];
    for (int i = 0; i <= COUNTERS_BOUNDS; i++) {
        sum->wait.buckets[i] += totals->wait.buckets[i];
        sum->duration.buckets[i] += totals->duration.buckets[i];
    }
    sum->wait.count += totals->wait.count;
    sum->wait.sum_us += totals->wait.sum_us;
    sum->duration.count += totals->duration.count;
    sum->duration.sum_us += totals->duration.sum_us;
}
