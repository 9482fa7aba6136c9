/* What a manager's workers counted that have ended, so that sums over all workers never get
 * smaller. Callers hold one lock, the collector's. */
#ifndef FCGIHOST_STATUS_ENDED_WORKERS_H
#define FCGIHOST_STATUS_ENDED_WORKERS_H

#include "status/figures.h"

/* A round: this for each worker, and then ended_workers_end_round. process: what the worker has
 * told, which is remembered; or if it is silent, what is known of it, which gets what it told
 * before. */
void ended_workers_see(struct process_figures *process, bool is_silent);
/* A worker has ended. totals: all that it has counted, or NULL if only that is known which it told
 * when it was last seen. */
void ended_workers_end(long pid, const struct counters_totals *totals);
/* Those that were not seen in this round have ended. The sum of all that have. */
void ended_workers_end_round(struct counters_totals *totals, unsigned long long *log_dropped);

#endif
