/* The signals that the host handles: they stop it, reopen its log, or log its stacks. */
#ifndef FCGIHOST_SIGNALS_H
#define FCGIHOST_SIGNALS_H

#include "life/supervisor.h"

/* Installs the handlers, which tell supervisor, and unblocks the signals: those that arrived while
 * the process was being replaced are handled now. Main thread, before any other is started. The
 * supervisor must exist until the process exits. */
void signals_init(struct supervisor *supervisor);

/* Installs the handlers again, over those that an application has set; a warning names each that
 * is lost. Python runs its own handlers on the main thread alone, and that waits in C. Any thread;
 * no effect before signals_init (plain CGI, --call). */
void signals_reinstall(void);

#endif
