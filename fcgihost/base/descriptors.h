/* Which descriptor numbers connections may use, and that only the standard streams use 0 to 2. */
#ifndef FCGIHOST_DESCRIPTORS_H
#define FCGIHOST_DESCRIPTORS_H

#include <stdbool.h>

/* Connections and temporary files use numbers below this. The rest, up to RLIMIT_NOFILE, is
 * reserved for the application, which otherwise could open and import nothing while many clients
 * are connected. */
int descriptors_find_limit(void);
/* Is a number below limit free? fd: any open descriptor; it is duplicated to find out. */
bool descriptors_are_left(int fd, int limit);
/* fd, moved to a higher number if it is 0, 1 or 2: the application may have closed a standard
 * stream, and what it prints must not go to fd. Its old number becomes /dev/null. fd may be -1. -1
 * with errno, and fd closed. */
int descriptors_above_standard(int fd);
/* Those of 0, 1 and 2 that are closed, and were at the previous call, become /dev/null, before
 * anything else gets the number. The calls are to be half a second apart, as an application that
 * closes one and opens a file expects that file to get the number: it gets another one only if a
 * call comes in between, and the previous one came while the number was closed too. One thread. */
void descriptors_plug_standard(void);

#endif
