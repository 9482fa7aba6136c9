/* Which applications have been loaded. */
#include "threads/readiness.h"

#include "base/clock.h"

#include <sys/eventfd.h>

bool readiness_has(const struct readiness *readiness, unsigned application)
{
    return atomic_load(&readiness->loaded) >> application & 1;
}

void readiness_add(struct readiness *readiness, unsigned application)
{
    atomic_fetch_or(&readiness->loaded, 1ull << application);
    readiness_wake(readiness);
}

unsigned readiness_seconds_to_attempt(const struct readiness *readiness)
{
    uint64_t at_ms = atomic_load(&readiness->next_attempt_ms), now_ms = clock_ms();
    return at_ms > now_ms + 1000 ? (unsigned)((at_ms - now_ms + 999) / 1000) : 1;
}

void readiness_wake(const struct readiness *readiness)
{
    if (readiness->wake_fd >= 0)
        eventfd_write(readiness->wake_fd, 1);
}

void readiness_report(struct readiness *readiness, unsigned untried, unsigned failed_applications,
                      unsigned failed_imports)
{
    atomic_store(&readiness->failed_applications, failed_applications);
    atomic_store(&readiness->failed_imports, failed_imports);
    atomic_store(&readiness->untried, untried);
    readiness_wake(readiness);
}
