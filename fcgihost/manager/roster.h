/* Which worker processes there are, and what the manager does next: who is started, replaced,
 * retired or killed, and when. Pure: it is told the time and what happened, and returns actions.
 *
 * Each worker has a place, 1 to processes. A place has at most one current worker, which serves,
 * and one successor, which loads. Only one replacement is under way at a time, from the start of
 * the successor until the predecessor has exited. */
#ifndef FCGIHOST_ROSTER_H
#define FCGIHOST_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    ROSTER_PLACES_MAX = 256,
    ROSTER_WORKERS_MAX = 2 * ROSTER_PLACES_MAX + 2,
    ROSTER_DELAY_MIN_MS = 100,   /* before a worker that died young is started again; doubles … */
    ROSTER_DELAY_MAX_MS = 30000, /* … up to this */
    ROSTER_YOUNG_MS = 10000,     /* a worker that dies before this age dies young: a delay */
    ROSTER_RETRY_MIN_MS = 1000,  /* between two attempts to replace a worker; doubles … */
    ROSTER_RETRY_MAX_MS = 60000,
    ROSTER_SUPERSEDED_MS = 30000, /* how long a successor may go on loading after a newer roll */
    ROSTER_NOBODY = -1,
};

enum roster_state {
    WORKER_NONE,     /* the slot is free */
    WORKER_STARTING, /* has not loaded what requests need */
    WORKER_SERVING,
    WORKER_RETIRING, /* was told to drain; another one serves in its place */
    WORKER_STOPPING, /* was told to stop: with the host, or as a successor that is not wanted */
};

/* What a worker tells of its start. */
struct roster_report {
    bool is_loaded;  /* an application is, and each required import */
    bool is_refused; /* one of these was tried, and could not be loaded */
    bool is_settled; /* everything has been tried at least once */
    unsigned failed_applications, failed_imports;
};

/* Why a worker is replaced by another one. */
enum roster_reason {
    REPLACE_NOT,
    REPLACE_ROLL,  /* SIGHUP, --reload */
    REPLACE_LIMIT, /* it asked: requests, lifetime, memory, restart() */
    REPLACE_HEAL,  /* it asked: what it could not load may load in another process */
    REPLACE_SCALE, /* there are fewer places now */
};

struct roster_worker {
    enum roster_state state;
    pid_t pid;
    unsigned place;      /* from 0 */
    unsigned generation; /* of the configuration and code that it was started with */
    bool is_successor;
    bool is_accepting; /* was told to take connections */
    bool is_told, is_killed;
    bool is_idle;                     /* it has had no request for [limits] idle */
    uint64_t started_ms, deadline_ms; /* deadline: it must have exited; 0: none */
    struct roster_report report;
    enum roster_reason wanted; /* why it asks to be replaced */
};

struct roster_place {
    int current, successor;            /* slots in workers, or ROSTER_NOBODY */
    enum roster_reason reason;         /* of the replacement */
    uint64_t start_ms, delay_ms;       /* a vacant place gets a worker then; the last delay */
    uint64_t retry_ms, retry_delay_ms; /* likewise for the next attempt to replace */
};

enum roster_roll { ROLL_NONE, ROLL_RUNNING, ROLL_DONE, ROLL_FAILED };

enum roster_action_kind {
    ACTION_NONE,
    ACTION_START, /* worker's slot is taken: call roster_started, or roster_exited if it can't be */
    ACTION_ACCEPT, /* tell it to take connections, loaded or not */
    ACTION_RETIRE, /* tell it to drain, its idle connections go to heir, or ROSTER_NOBODY */
    ACTION_STOP,   /* SIGTERM */
    ACTION_KILL,   /* SIGKILL: it did not end in time */
    ACTION_ROLL_DONE,
    ACTION_ROLL_FAILED,    /* worker: the successor that could not load */
    ACTION_REPLACE_FAILED, /* likewise, of one that was to replace a worker which asked for it */
};

struct roster_action {
    enum roster_action_kind kind;
    int worker;
    int heir;
    enum roster_reason reason;
};

struct roster {
    struct roster_worker workers[ROSTER_WORKERS_MAX];
    struct roster_place places[ROSTER_PLACES_MAX];
    unsigned place_count;
    unsigned generation;        /* the last roll's; the first start is 1 */
    unsigned served_generation; /* of the last roll that succeeded */
    enum roster_roll roll;      /* the last one's state */
    struct roster_action news;  /* what roster_next returns first */
    uint64_t end_ms; /* how long a worker may take to end: drain, cleanup, and a little more */
    bool is_stopping, is_quick;
};

void roster_init(struct roster *roster, unsigned places, uint64_t end_ms);
/* The next action to take. Call it until it returns ACTION_NONE, after each of the calls below and
 * when roster_timeout_ms has passed. */
struct roster_action roster_next(struct roster *roster, uint64_t now_ms);
/* When to call roster_next again if nothing happens. UINT64_MAX: never. */
uint64_t roster_timeout_ms(const struct roster *roster, uint64_t now_ms);

/* Tell what happened. worker: a slot. */
void roster_started(struct roster *roster, int worker, pid_t pid, uint64_t now_ms);
/* Adds a worker that already serves, for a manager that has executed itself anew. Its slot, or
 * ROSTER_NOBODY. */
int roster_adopt(struct roster *roster, pid_t pid, unsigned place, unsigned generation,
                 uint64_t started_ms, const struct roster_report *report);
void roster_report(struct roster *roster, int worker, const struct roster_report *report);
void roster_ask(struct roster *roster, int worker, enum roster_reason reason);
/* Returns the delay until another one is started in its place; UINT64_MAX: none is. */
uint64_t roster_exited(struct roster *roster, int worker, uint64_t now_ms);
/* Begins to replace all workers, also those of a roll that is under way. */
void roster_roll(struct roster *roster, uint64_t now_ms);
void roster_resize(struct roster *roster, unsigned places);
/* is_quick: as by SIGQUIT, without a drain. */
void roster_stop(struct roster *roster, bool is_quick);

size_t roster_count(const struct roster *roster);
bool roster_is_serving(const struct roster *roster);
/* Are all workers idle? false if there are none. */
bool roster_is_idle(const struct roster *roster);

#endif
