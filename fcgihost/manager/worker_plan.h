/* Which worker processes there are, and what the manager does next: who is started, replaced,
 * retired or killed, and when. Pure: it is told the time and what happened, and returns actions.
 *
 * Each worker has a place, 1 to processes. A place has at most one current worker, which serves,
 * and one successor, which loads. Only one replacement is under way at a time, from the start of
 * the successor until the predecessor has exited. */
#ifndef FCGIHOST_WORKER_PLAN_H
#define FCGIHOST_WORKER_PLAN_H

#include "manager/restart_delay.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    WORKER_PLAN_PLACES_MAX = 256,
    WORKER_PLAN_WORKERS_MAX = 2 * WORKER_PLAN_PLACES_MAX + 2,
    WORKER_PLAN_SUPERSEDED_MS =
        30000, /* how long a successor may go on loading after a newer roll */
    WORKER_PLAN_NOBODY = -1,
};

enum worker_plan_state {
    WORKER_NONE,     /* the slot is free */
    WORKER_STARTING, /* has not loaded what requests need */
    WORKER_SERVING,
    WORKER_RETIRING, /* was told to drain; another one serves in its place */
    WORKER_STOPPING, /* was told to stop: with the host, or as a successor that is not wanted */
};

/* What a worker tells of its start. */
struct worker_plan_report {
    bool is_loaded;  /* an application is, and each required import */
    bool is_refused; /* one of these was tried, and could not be loaded */
    bool is_settled; /* everything has been tried at least once */
    unsigned failed_applications, failed_imports;
};

/* Why a worker is replaced by another one. */
enum worker_plan_reason {
    REPLACE_NOT,
    REPLACE_ROLL,  /* SIGHUP, --reload */
    REPLACE_LIMIT, /* it asked: requests, lifetime, memory, restart() */
    REPLACE_HEAL,  /* it asked: what it could not load may load in another process */
    REPLACE_SCALE, /* there are fewer places now */
};

struct planned_worker {
    enum worker_plan_state state;
    pid_t pid;
    unsigned place;      /* from 0 */
    unsigned generation; /* of the configuration and code that it was started with */
    bool is_successor;
    bool is_accepting; /* was told to take connections */
    bool is_told, is_killed;
    bool is_idle;                     /* it has had no request for [limits] idle */
    uint64_t started_ms, deadline_ms; /* deadline: it must have exited; 0: none */
    struct worker_plan_report report;
    enum worker_plan_reason wanted; /* why it asks to be replaced */
};

struct worker_plan_place {
    int current, successor;         /* slots in workers, or WORKER_PLAN_NOBODY */
    enum worker_plan_reason reason; /* of the replacement */
    struct restart_delay start;     /* of a vacant place */
    struct restart_delay retry;     /* of the next attempt to replace */
};

enum worker_plan_roll { ROLL_NONE, ROLL_RUNNING, ROLL_DONE, ROLL_FAILED };

enum worker_plan_action_kind {
    ACTION_NONE,
    ACTION_START,  /* worker's slot is taken: call worker_plan_started, or worker_plan_exited if it
                      can't be */
    ACTION_ACCEPT, /* tell it to take connections, loaded or not */
    ACTION_RETIRE, /* tell it to drain, its idle connections go to heir, or WORKER_PLAN_NOBODY */
    ACTION_STOP,   /* SIGTERM */
    ACTION_KILL,   /* SIGKILL: it did not end in time */
    ACTION_ROLL_DONE,
    ACTION_ROLL_FAILED,    /* worker: the successor that could not load */
    ACTION_REPLACE_FAILED, /* likewise, of one that was to replace a worker which asked for it */
};

struct worker_plan_action {
    enum worker_plan_action_kind kind;
    int worker;
    int heir;
    enum worker_plan_reason reason;
};

struct worker_plan {
    struct planned_worker workers[WORKER_PLAN_WORKERS_MAX];
    struct worker_plan_place places[WORKER_PLAN_PLACES_MAX];
    unsigned place_count;
    unsigned generation;            /* the last roll's; the first start is 1 */
    unsigned served_generation;     /* of the last roll that succeeded */
    enum worker_plan_roll roll;     /* the last one's state */
    struct worker_plan_action news; /* what worker_plan_next returns first */
    uint64_t end_ms; /* how long a worker may take to end: drain, cleanup, and a little more */
    bool is_stopping, is_quick;
};

void worker_plan_init(struct worker_plan *plan, unsigned places, uint64_t end_ms);
/* The next action to take. Call it until it returns ACTION_NONE, after each of the calls below and
 * when worker_plan_timeout_ms has passed. */
struct worker_plan_action worker_plan_next(struct worker_plan *plan, uint64_t now_ms);
/* When to call worker_plan_next again if nothing happens. UINT64_MAX: never. */
uint64_t worker_plan_timeout_ms(const struct worker_plan *plan, uint64_t now_ms);

/* Tell what happened. worker: a slot. */
void worker_plan_started(struct worker_plan *plan, int worker, pid_t pid, uint64_t now_ms);
/* Adds a worker that already serves, for a manager that has executed itself anew. Its slot, or
 * WORKER_PLAN_NOBODY. */
int worker_plan_adopt(struct worker_plan *plan, pid_t pid, unsigned place, unsigned generation,
                      uint64_t started_ms, const struct worker_plan_report *report);
void worker_plan_report(struct worker_plan *plan, int worker,
                        const struct worker_plan_report *report);
void worker_plan_ask(struct worker_plan *plan, int worker, enum worker_plan_reason reason);
/* Returns the delay until another one is started in its place; UINT64_MAX: none is. */
uint64_t worker_plan_exited(struct worker_plan *plan, int worker, uint64_t now_ms);
/* Begins to replace all workers, also those of a roll that is under way. */
void worker_plan_roll(struct worker_plan *plan, uint64_t now_ms);
void worker_plan_resize(struct worker_plan *plan, unsigned places);
/* is_quick: as by SIGQUIT, without a drain. */
void worker_plan_stop(struct worker_plan *plan, bool is_quick);

size_t worker_plan_count(const struct worker_plan *plan);
bool worker_plan_is_serving(const struct worker_plan *plan);
/* Are all workers idle? false if there are none. */
bool worker_plan_is_idle(const struct worker_plan *plan);

#endif
