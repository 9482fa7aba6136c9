/* The manager process: owns the sockets, keeps the workers, and runs no Python. */
#ifndef FCGIHOST_MANAGER_H
#define FCGIHOST_MANAGER_H

#include "config/config.h"

/* Serves with [server] processes workers until a signal stops it. The log is open. argv: for
 * SIGHUP, which reads the configuration anew. The program's exit code. Main thread, before any
 * other. */
int manager_run(char **argv, const struct config *config);

#endif
