/* The process as it was started, and the program executed anew in it: same number, nothing else
 * left. */
#ifndef FCGIHOST_REEXEC_H
#define FCGIHOST_REEXEC_H

#include "base/handover.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* First of all in main, while everything is as the process was started: remembers arguments,
 * environment, folder, umask, limits, signals and descriptors, and takes what a predecessor has
 * handed over. 0, or -1 with errno. */
int reexec_init(char **argv);
/* What the predecessor has handed over; NULL: this is a first start. Its memory stays. */
const struct handover *reexec_predecessor(void);

/* The handlers of this process's signals are in place: the mask is what it was at the first start.
 * Returns the signals that came between the predecessor's last look and now, 1 << number. */
uint64_t reexec_accept_signals(void);
/* For signal handlers: the next program learns of the signal, should it come too late for this one.
 */
void reexec_note_signal(int number);

/* The process comes to its end, and is executed anew perhaps: gives back the descriptors that were
 * held for this, should the application or its clients have taken all others. */
void reexec_make_room(void);

/* Executes the program anew, with what it was started with and what handover names. Children that
 * this process has started are ended if its start is tried again, else handed over. Returns only on
 * failure, with errno (ECANCELED: *is_cancelled is true). Any thread may call it; all others
 * vanish. */
void reexec_run(struct handover *handover, const atomic_bool *is_cancelled);

#endif
