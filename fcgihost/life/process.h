/* What is set up for the process before Python starts: descriptors, umask, folder, pid file. */
#ifndef FCGIHOST_PROCESS_H
#define FCGIHOST_PROCESS_H

#include "config/config_error.h"
#include "config/settings.h"

/* Opens /dev/null where descriptor 0, 1 or 2 is closed, so that no socket gets one of these
 * numbers. Call it before anything opens a descriptor. */
void process_open_standard(void);
/* SIGPIPE and SIGXFSZ: the write fails with an error instead. */
void process_ignore_signals(void);
/* Moves standard output to the descriptor that is returned, for the response alone; what is printed
 * afterwards goes to standard error. -1 with errno. */
int process_take_stdout(void);
/* Applies [server] umask and directory. 0, or -1 with a message. */
int process_apply(const struct config *config, struct config_error *error);
/* Call it once the sockets are open: then a second host, which fails to open them, does not
 * overwrite the first one's file. 0, or -1 with a message. */
int process_write_pid_file(const struct config *config, struct config_error *error);
void process_remove_pid_file(const struct config *config);

#endif
