/* The commands that serve no connections: --check, --call, and one request as plain CGI. */
#ifndef FCGIHOST_RUN_ONCE_H
#define FCGIHOST_RUN_ONCE_H

#include "config/command_line.h"
#include "config/config.h"
#include "life/privileges.h"

/* All functions: main thread, which is the only one; they return an exit code, or exit. */

/* --check: everything that serving needs, except the sockets, which may be inherited. */
int run_once_check(const struct config *config);
/* One request: --call, or plain CGI if line is NULL. */
int run_once(const struct command_line *line, const struct config *config,
             const struct privileges *privileges);

#endif
