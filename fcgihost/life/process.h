/* What is set up for the process before Python starts: descriptors, user, umask,
 * folder, pid file. */
#ifndef FCGIHOST_PROCESS_H
#define FCGIHOST_PROCESS_H

#include "base/handover.h"
#include "config/config.h"
#include "config/config_error.h"
#include "life/privileges.h"

/* Opens /dev/null where descriptor 0, 1 or 2 is closed, so that no socket gets one of these
 * numbers. Call it before anything opens a descriptor. */
void process_open_standard(void);
/* Ignores SIGPIPE and SIGXFSZ: the write fails with an error instead. */
void process_ignore_signals(void);
/* Moves standard output to the descriptor that is returned, for the response alone; what is printed
 * afterwards goes to standard error. -1 with errno. */
int process_take_stdout(void);
/* Allows as many open files as the configuration needs, as far as the hard limit lets it; if that
 * is too low, one line in the log says so, unless is_told. */
void process_raise_descriptors(const struct config *config, bool is_told);
/* Takes on what [server] says: user, group, umask, directory; checks temporary. Main thread, before
 * Python starts and once sockets, log and pid file are open. 0, or -1 with a message. */
int process_become(const struct config *config, const struct privileges *privileges,
                   struct config_error *error);

/* Call it once the sockets are open: then a second host, which fails to open them, does not
 * overwrite the first one's file. 0, or -1 with a message. */
int process_write_pid_file(const struct config *config, struct config_error *error);
/* The file is emptied where this user can't remove it. */
void process_remove_pid_file(const struct config *config);
/* The descriptors of files that root opened, for the program that is executed anew. */
struct handover_root_files process_root_files(void);
/* Takes them over. Before the log is opened. */
void process_take_root_files(const struct handover_root_files *files);

#endif
