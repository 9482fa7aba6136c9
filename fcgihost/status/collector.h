/* What the status knows of this process. Other parts tell it what changes; it never asks them, so
 * that it can answer while they are busy or hang. */
#ifndef FCGIHOST_STATUS_COLLECTOR_H
#define FCGIHOST_STATUS_COLLECTOR_H

#include "base/handover.h"
#include "connection/poller.h"
#include "net/listener_set.h"
#include "status/figures.h"
#include "threads/activity.h"
#include "threads/readiness.h"

/* started_us: since 1970, to be shown; started_ms: on CLOCK_MONOTONIC, to say how long ago that
 * was. Main thread, before others are started. All that is passed must exist until the process
 * exits. */
void collector_init(const struct config *config, const char *python_version, uint64_t started_us,
                    uint64_t started_ms);
/* Once they exist. Main thread. */
void collector_attach_poller(struct poller *poller);
void collector_attach_threads(const struct activities *activities);

/* "starting", "serving", "draining", "cleaning": constant text. Any thread. */
void collector_set_state(const char *state);
const char *collector_state(void);

/* Loading application or import number index begins, with this attempt. Main thread. */
void collector_program_begins(enum program_kind kind, size_t index, unsigned attempt);
/* It was loaded, and became that generation. */
void collector_program_loaded(enum program_kind kind, size_t index);
/* It failed, and is tried again after delay_s; NAN: it is not. */
void collector_program_failed(enum program_kind kind, size_t index, const char *error,
                              double delay_s);

/* Its code has changed while it is served. error: NULL: the new code is; else why it can't be
 * loaded. Any thread. */
void collector_program_reloaded(size_t application, const char *error);

/* What the start waits for: the first import that is required, or application, that is not loaded.
 * false: nothing. Any thread. */
bool collector_get_start(struct program_figures *start);

/* All that Python knows now of resources, pools, locks and cleanups, instead of what it told
 * before; count: FIGURES_ITEMS_MAX at most. left_out: how many more there are. Holds a mutex for a
 * copy: call it with or without the GIL. */
void collector_set_items(const struct item_figures *items, size_t count, unsigned left_out);

/* In a manager: which workers there are. Their figures are fetched from themselves. Main thread. */
struct worker_note {
    long pid;
    unsigned place, generation; /* the place from 1 */
    const char *state;          /* constant text, for a worker that does not answer */
};
void collector_set_workers(const struct worker_note *workers, size_t count, unsigned generation);
/* In a manager: a worker has ended, and has counted that; NULL: nobody knows. Any thread. */
void collector_worker_ended(long pid, const struct counters_totals *totals);
/* Is it a worker of this manager? Any thread. */
bool collector_has_worker(long pid);
/* In a manager: the sockets that its workers accept from. They are copied. */
void collector_set_listeners(const struct listener_set *listeners, unsigned backlog);
/* In a manager: a worker was replaced, for one of figures_reasons. Any thread. */
void collector_count_restart(enum restart_reason reason);
/* What the program before this one in the same process has counted. Before threads are started. */
void collector_resume(const struct handover_status *status);
/* What the next program in this process is to resume. */
void collector_hand_over(struct handover_status *status);
/* Applications and imports that could not be loaded: so a fresh program that tries again says so
 * until its Python has begun. The errors stay the collector's; free(programs). Once Python has
 * ended. */
void collector_hand_over_programs(struct handover_program **programs, size_t *count);
/* Before threads are started. */
void collector_resume_programs(const struct handover_program *programs, size_t count);
/* This process's own figures. NULL: out of memory. Free with free(). Any thread. */
struct process_figures *collect_process(void);

/* Collects everything; never blocks longer than a copy of a text takes. NULL: out of memory. Any
 * thread. */
struct figures *collect_figures(void);
void figures_free(struct figures *figures);

#endif
