/* Who asked the manager for a reload over its control socket, and how it ended. */
#ifndef FCGIHOST_RELOAD_H
#define FCGIHOST_RELOAD_H

#include <stdbool.h>

/* From here on the control thread takes requests. wake_fd: an eventfd that is written to with each.
 * Main thread, before the control thread is started. */
void reload_open(int wake_fd);
/* Has somebody asked since the last call? The manager's loop. */
bool reload_take(void);
/* Workers are being replaced for what reload_take has told of, … */
void reload_begin(void);
/* … or not, and why: what is under way for others goes on. */
void reload_refuse(const char *text);
/* How everything ended that reload_take has told of; text: one line for people. */
void reload_end(bool is_done, const char *text);

#endif
