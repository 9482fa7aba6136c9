/* Numbers of descriptors: which connections may have, and which nobody but the standard streams. */
#ifndef FCGIHOST_DESCRIPTORS_H
#define FCGIHOST_DESCRIPTORS_H

#include <stdbool.h>

/* Connections get numbers below it; what is left below RLIMIT_NOFILE is the application's, which
 * could else import and open nothing while clients wait for it. */
int descriptors_find_limit(void);
/* Is there a number below limit? fd: any one that is open. */
bool descriptors_are_left(int fd, int limit);
/* The descriptor, moved if it is 0, 1 or 2: an application may have closed those, and prints there.
 * fd may be -1. -1 with errno; then it is closed. */
int descriptors_above_standard(int fd);

#endif
