/* What os.fork() in the application changes: the child must not answer requests, and as it has a
 * copy of each connection, closing one takes shutdown(). */
#ifndef FCGIHOST_FORK_H
#define FCGIHOST_FORK_H

#include <stdbool.h>

/* Watches for forks from now on. Once, early. */
void fork_init(void);
/* Is this process a forked child of the host? */
bool fork_is_child(void);
/* Has the host forked? Then a child may hold copies of its connections. */
bool fork_has_happened(void);

#endif
