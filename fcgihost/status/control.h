/* The control thread: answers on the control socket and on [status] listen. It takes no lock that
 * is held for long, and never the GIL, so that it answers whatever the rest of the process does. */
#ifndef FCGIHOST_STATUS_CONTROL_H
#define FCGIHOST_STATUS_CONTROL_H

#include "config/config.h"
#include "net/listener_set.h"

#include <stdbool.h>

enum control_role { CONTROL_HOST, CONTROL_MANAGER, CONTROL_WORKER };

enum { CONTROL_LISTENERS_MAX = 16 /* of [status] listen */ };

/* Opens the control socket in the run-time directory, for root and this user alone, removes those
 * that dead hosts left there, and starts the thread. status: as for control_use. Without a
 * directory for it: one info line, and no control socket. A worker's control socket has no file;
 * its manager alone asks there, and it asks its manager. 0, or -1 with errno: there is no thread.
 * Main thread, before Python starts. */
int control_start(const struct config *config, const struct listener_set *status,
                  enum control_role role);
/* From now on answers on these sockets, of which it makes copies, and with this [status] path, ping
 * and allow. 0, or -1 with errno, and nothing has changed. Main thread. */
int control_use(const struct config *config, const struct listener_set *status);
/* Ends the thread and removes the socket. Main thread. */
void control_stop(void);

#endif
