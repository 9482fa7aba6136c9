/* Descriptors 1 and 2 lead to the log, whatever it is: what an application prints, what its
 * children say, the last words of a crash. */
#ifndef FCGIHOST_LOG_STANDARD_H
#define FCGIHOST_LOG_STANDARD_H

#include <sys/stat.h>

/* Where the log is not standard error: a file becomes both descriptors; for what has to be written
 * a line at a time they become a pipe to a small process of their own, which reads it to its end,
 * so that it has what a dying host said last. Before there are threads. 0, or -1 with errno. */
int log_standard_take(void);
/* The file was opened again: also behind 1 and 2, unless the application put something else there.
 */
void log_standard_follow(const struct stat *old);
/* As the process was started, before it executes another program. */
void log_standard_give_back(void);
/* The standard error that the process was started with. */
int log_standard_error(void);

#endif
