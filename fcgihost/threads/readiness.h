/* Has what requests need been loaded? Shared by the thread that loads, those that serve and the
 * supervisor. */
#ifndef FCGIHOST_READINESS_H
#define FCGIHOST_READINESS_H

#include <stdatomic.h>
#include <stdbool.h>

struct readiness {
    atomic_ullong
        loaded; /* 1 << position in the configuration, for each application that is loaded */
    atomic_ullong next_attempt_ms; /* when the main thread tries to load again; 0: not waiting */
    atomic_uint untried; /* start-up tasks that have not been tried yet */
    atomic_uint failed_applications, failed_imports; /* at their last attempt */
    int wake_fd; /* the supervisor's eventfd, written at each change; -1: none */
};

/* Any thread may call these. */
bool readiness_has(const struct readiness *readiness, unsigned application);
void readiness_add(struct readiness *readiness, unsigned application);
/* How long until the main thread tries again what could not be loaded: seconds, at least 1. */
unsigned readiness_seconds_to_attempt(const struct readiness *readiness);
/* How the start is going: see the members of the same names. */
void readiness_report(struct readiness *readiness, unsigned untried, unsigned failed_applications,
                      unsigned failed_imports);
void readiness_wake(const struct readiness *readiness);

#endif
