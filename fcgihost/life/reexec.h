/* Executes the program anew in this process: same pid, and everything else as at the first start.
 */
#ifndef FCGIHOST_REEXEC_H
#define FCGIHOST_REEXEC_H

#include "base/handover.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* First in main, before anything is changed: remembers arguments, environment, folder, umask,
 * limits, signals and descriptors, and reads what a predecessor handed over. 0, or -1 with errno.
 */
int reexec_init(char **argv);
/* What the predecessor handed over, for as long as the process runs; NULL: this is a first start.
 */
const struct handover *reexec_predecessor(void);

/* Restores the signal mask of the first start; the handlers must be installed. Returns the signals
 * that arrived too late for the predecessor, 1 << number each. */
uint64_t reexec_accept_signals(void);
/* For signal handlers: passes the signal on to the next program, in case this one is past handling
 * it. */
void reexec_note_signal(int number);

/* Closes the descriptors that were reserved, so that stopping and executing anew can open some even
 * if the application or its clients have used up all others. Main thread or supervisor. */
void reexec_make_room(void);

/* Is the program's file another one than this process executes? */
bool reexec_is_program_changed(void);
/* Starts the program as it is now as a child process, with what this one was started with and what
 * handover names; its descriptors stay open here. The child's process id, or -1 with errno, also
 * when the program can't be executed. */
pid_t reexec_spawn(struct handover *handover);
/* Starts the program as it is now with --check as a child process: as this one was started, without
 * input or output; its messages go where this one's went at first. modules: what it imports
 * besides, as entry.start_up_once() reads it. The child's process id, which the caller reaps; or -1
 * with errno. It is killed when the calling thread ends: main thread. */
pid_t reexec_check(const char *modules);
/* Executes the program anew, as it was started, and with what is in handover. Children of this
 * process are killed if its start failed and is tried again, otherwise handed over. Returns only on
 * failure, with errno (ECANCELED: *is_cancelled is true). Any thread may call it; exec() ends the
 * others. */
void reexec_run(struct handover *handover, const atomic_bool *is_cancelled);

#endif
