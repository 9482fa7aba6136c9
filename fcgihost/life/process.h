/* What the process takes on before Python starts: descriptors, umask, folder, pid file. */
#ifndef FCGIHOST_PROCESS_H
#define FCGIHOST_PROCESS_H

#include "config/config_error.h"
#include "config/settings.h"

/* Opens /dev/null where descriptor 0, 1 or 2 is closed, so that no socket gets its number. First of
 * all. */
void process_open_standard(void);
/* A peer that is gone, a file that is full: errors to be seen, no signals. */
void process_ignore_signals(void);
/* What was standard output, for a response; from here on what anybody prints goes to standard
 * error. -1 with errno. */
int process_take_stdout(void);
/* umask, directory. 0, or -1 with one line. */
int process_apply(const struct config *config, struct config_error *error);
/* Once the sockets are open: a second start that fails leaves the first one's file alone. 0, or -1
 * with one line. */
int process_write_pid_file(const struct config *config, struct config_error *error);
void process_remove_pid_file(const struct config *config);

#endif
