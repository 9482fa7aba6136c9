/* Which applications have been loaded. Shared by the thread that loads them, the workers and the
 * supervisor. */
#ifndef FCGIHOST_READINESS_H
#define FCGIHOST_READINESS_H

#include <stdatomic.h>
#include <stdbool.h>

struct readiness {
    atomic_ullong loaded; /* 1 << position in the configuration, for each loaded application */
    atomic_ullong
        next_attempt_ms; /* when the main thread tries again to load; 0: no attempt is due */
    atomic_uint untried; /* start-up tasks that have not been tried yet */
    atomic_uint failed_applications, failed_imports; /* how many failed at their last attempt */
    int wake_fd; /* the supervisor's eventfd, written at each change; -1: none */
};

/* Any thread may call these. */
bool readiness_has(const struct readiness *readiness, unsigned application);
void readiness_add(struct readiness *readiness, unsigned application);
/* Seconds, at least 1, until the main thread tries again to load what failed. */
unsigned readiness_seconds_to_attempt(const struct readiness *readiness);
/* Sets the members of the same names. */
void readiness_report(struct readiness *readiness, unsigned untried, unsigned failed_applications,
                      unsigned failed_imports);
void readiness_wake(const struct readiness *readiness);

#endif
