/* What a manager's workers counted that have ended, so that sums over all workers never get
 * smaller. What a worker has counted since the manager last asked it is lost with it. The control
 * thread's. */
#ifndef FCGIHOST_STATUS_PAST_H
#define FCGIHOST_STATUS_PAST_H

#include "status/figures.h"

/* A round: this for each worker, and then past_end_round. process: what the worker has told, which
 * is remembered; or if it is silent, what is known of it, which gets what it told before. */
void past_see(struct process_figures *process, bool is_silent);
/* Those that were not seen in this round have ended. Their sum, with those of earlier rounds. */
void past_end_round(struct counters_totals *totals, unsigned long long *log_dropped);

#endif
