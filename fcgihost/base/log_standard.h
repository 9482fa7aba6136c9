/* Descriptors 1 and 2 lead to the log, whatever it is: what an application prints, what its
 * children say, the last words of a crash. */
#ifndef FCGIHOST_LOG_STANDARD_H
#define FCGIHOST_LOG_STANDARD_H

/* Where the log is not standard error, or is JSON: both descriptors become a pipe to a small
 * process of their own, which makes whole messages of the lines. It reads to the pipe's end, so
 * that it has what a dying host said last. Before there are threads. 0, or -1 with errno. */
int log_standard_take(void);
/* As the process was started, before it executes another program. */
void log_standard_give_back(void);
/* The standard error that the process was started with. */
int log_standard_error(void);

#endif
