/* The order in which a process that serves starts and stops. */
#ifndef FCGIHOST_RUN_SERVER_H
#define FCGIHOST_RUN_SERVER_H

#include "config/config.h"
#include "life/privileges.h"

/* A host, or a manager's worker; it may be replaced in the same process, from which this does not
 * return. Returns an exit code, or exits with one where threads may still run. Main thread, before
 * there are others. */
int run_server(const struct config *config, const struct privileges *privileges);

#endif
