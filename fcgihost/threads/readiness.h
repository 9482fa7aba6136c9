/* What requests need has it been loaded? Between those who load, those who serve and the
 * supervisor. */
#ifndef FCGIHOST_READINESS_H
#define FCGIHOST_READINESS_H

#include <stdatomic.h>
#include <stdbool.h>

struct readiness {
    atomic_ullong loaded; /* 1 << place in the configuration, of each application that can serve */
    atomic_ullong next_attempt_ms; /* when the main thread tries to load again; 0: not waiting */
    atomic_uint untried; /* start-up tasks that have not been tried yet */
    atomic_uint failed_applications, failed_imports; /* at their last attempt */
    int wake_fd; /* an eventfd of the supervisor's: told of each change; -1: nobody is */
};

/* Any thread may call these. */
bool readiness_has(const struct readiness *readiness, unsigned application);
void readiness_add(struct readiness *readiness, unsigned application);
/* How long until the main thread tries again what could not be loaded: seconds, at least 1. */
unsigned readiness_seconds_to_attempt(const struct readiness *readiness);
/* How the start goes: see the members of the same names. */
void readiness_report(struct readiness *readiness, unsigned untried, unsigned failed_applications,
                      unsigned failed_imports);
void readiness_wake(const struct readiness *readiness);

#endif
