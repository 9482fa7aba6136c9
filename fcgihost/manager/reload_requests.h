/* Who asked the manager for a reload over its control socket, and how it ended. */
#ifndef FCGIHOST_RELOAD_REQUESTS_H
#define FCGIHOST_RELOAD_REQUESTS_H

#include <stdbool.h>

/* From now on the control thread accepts requests for a reload; each one is written to wake_fd, an
 * eventfd. Main thread, before the control thread is started. */
void reload_requests_open(int wake_fd);
/* Has a reload been asked for since the last call? This and the rest: the manager's loop. */
bool reload_requests_take(void);
/* Workers are being replaced for the requests that reload_requests_take has told of, … */
void reload_requests_begin(void);
/* … or they are not, and why. A reload that was already under way goes on. */
void reload_requests_refuse(const char *text);
/* How all requests ended that reload_requests_take has told of; text: one line for people. */
void reload_requests_end(bool is_done, const char *text);

#endif
