/* How long the manager waits before it starts a worker again. */
#include "manager/restart_delay.h"

static uint64_t begin(struct restart_delay *delay, uint64_t min_ms, uint64_t max_ms,
                      uint64_t now_ms)
{
    uint64_t next_ms = delay->last_ms > 0 ? 2 * delay->last_ms : min_ms;
    delay->last_ms = next_ms < max_ms ? next_ms : max_ms;
    delay->until_ms = now_ms + delay->last_ms;
    return delay->last_ms;
}

uint64_t restart_delay_died(struct restart_delay *delay, uint64_t started_ms, uint64_t now_ms)
{
    if (now_ms < started_ms + RESTART_YOUNG_MS)
        return begin(delay, RESTART_DELAY_MIN_MS, RESTART_DELAY_MAX_MS, now_ms);
    *delay = (struct restart_delay){.until_ms = now_ms};
    return 0;
}

void restart_delay_not_replaced(struct restart_delay *delay, uint64_t now_ms)
{
    begin(delay, REPLACEMENT_DELAY_MIN_MS, REPLACEMENT_DELAY_MAX_MS, now_ms);
}
