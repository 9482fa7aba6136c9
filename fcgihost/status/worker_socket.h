/* How a manager gets the figures of its workers: over a socket without a file, as a worker may not
 * write to the run-time directory. Both run the same program; the manager checks what it gets. */
#ifndef FCGIHOST_STATUS_WORKER_SOCKET_H
#define FCGIHOST_STATUS_WORKER_SOCKET_H

#include "status/figures.h"

/* A worker's, and its manager's for its workers: the descriptor, listening, or -1 with errno. */
int worker_socket_open(void);
/* The bytes of the figures; free with free(). */
size_t worker_figures_bytes(const struct process_figures *process);
/* A worker's: what its manager says of all workers, in a format that endpoints.c knows. NULL: it
 * does not give a whole answer within half a second. Free with free(). Any thread. */
char *worker_ask_manager(const char *format, size_t *bytes);
/* Asks the worker, which has half a second to answer. NULL: it does not. Free with free(). The
 * control thread. */
struct process_figures *worker_fetch_figures(long pid);

#endif
