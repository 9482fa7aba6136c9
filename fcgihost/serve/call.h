/* --call: one request without any web server. */
#ifndef FCGIHOST_CALL_H
#define FCGIHOST_CALL_H

#include "config/command_line.h"
#include "config/config.h"

/* Serves the request that the command line describes with the loaded application, and prints the
 * CGI response on response_fd. Returns the program's exit code: 0 if the status is below 500. On
 * the main thread, without the GIL. */
int call_run(const struct command_line *command_line, const struct config *config, int response_fd);

#endif
