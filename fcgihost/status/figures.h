/* The figures of the status, and nothing else: what the collector fills in and the formats read.
 *
 * A process's figures hold no pointers, so that they can lie in memory that processes share: a
 * manager collects those of its workers there, and the formats sum up. */
#ifndef FCGIHOST_STATUS_FIGURES_H
#define FCGIHOST_STATUS_FIGURES_H

#include "config/config.h"
#include "http/request_id.h"
#include "threads/counters.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FIGURES_IMPORTS_MAX = 64,
    FIGURES_ITEMS_MAX = 64, /* resources, pools, locks, cleanups; the rest is left out */
    FIGURES_REASONS = 7,
};

/* Why processes were replaced, or ended to be started again. */
enum restart_reason {
    RESTART_REQUESTS,
    RESTART_LIFETIME,
    RESTART_MEMORY,
    RESTART_IDLE,
    RESTART_RELOAD,
    RESTART_CRASH,
    RESTART_TIMEOUT,
    RESTART_NOT /* a start that is tried again replaces nothing that served */
};

/* Their names. */
extern const char *const figures_reasons[FIGURES_REASONS];

enum program_kind { PROGRAM_APPLICATION, PROGRAM_IMPORT };
enum program_state { PROGRAM_WAITING, PROGRAM_LOADING, PROGRAM_LOADED, PROGRAM_FAILED };

/* An application, or a start-up import. */
struct program_figures {
    char name[256];
    char mount[128];
    bool has_mount, is_required;
    bool is_outdated; /* its code has changed, and last_error is why that can't be loaded */
    enum program_state state;
    unsigned generation, attempts;
    char last_error[512];     /* "" : none */
    uint64_t next_attempt_ms; /* clock_ms(); 0: none is planned */
    uint64_t began_us;        /* clock_us() of the last attempt */
    uint64_t tried_ms;        /* how long the last one that failed took */
    double loaded_in_s;       /* NAN: not loaded */
};

enum item_kind { ITEM_RESOURCE, ITEM_POOL, ITEM_LOCK, ITEM_CLEANUPS, ITEM_KINDS };

/* What Python last told of a resource, a pool, a lock, or the cleanups of one lifetime. */
struct item_figures {
    enum item_kind kind;
    char name[160];
    char state[16];   /* of a resource or lock */
    char detail[256]; /* a resource's last error, the thread that holds a lock; "": none */
    long pid;         /* of a lock's holder; 0: none */
    /* NAN, or from when Python told, seconds: until a resource is tried again; since when a lock
     * has been held, or the oldest lease of a pool has been out. */
    double seconds;
    unsigned size, in_use, idle, waiting; /* of a pool; size also: how many cleanups */
};

struct thread_figures {
    unsigned number;
    bool is_busy;
    char request[256]; /* "GET /path", without the query */
    char request_id[REQUEST_ID_BYTES_MAX + 1];
    double seconds;
};

struct process_figures {
    long pid;
    unsigned place; /* of a worker, from 1 */
    char state[12];
    uint64_t started_us, rss_bytes;
    unsigned generation;
    struct counters_totals totals;
    unsigned threads_busy, threads_busiest;
    unsigned responses_sending; /* that leave without a thread */
    size_t requests_waiting;
    double oldest_waiting_s; /* NAN: none waits, or unknown */
    size_t connections_open, connections_idle, connections_max;
    unsigned long long log_dropped;
    size_t application_count, import_count, item_count;
    uint64_t items_told_ms; /* clock_ms(); 0: Python has told nothing yet */
    unsigned items_left_out;
    struct program_figures applications[CONFIG_APPLICATIONS_MAX];
    struct program_figures imports[FIGURES_IMPORTS_MAX];
    struct item_figures items[FIGURES_ITEMS_MAX];
    size_t thread_count;
    struct thread_figures threads[];
};

struct listener_figures {
    char address[160];
    long queued; /* -1: unknown */
    unsigned backlog;
};

struct figures {
    const char *version, *python;
    const char *state;
    uint64_t started_us; /* since 1970, as the clock was then: it may have been set since */
    uint64_t up_ms, now_ms;
    unsigned generation;
    unsigned long long restarts[FIGURES_REASONS];
    unsigned starts;              /* of processes that replaced none */
    struct counters_totals ended; /* of workers that have ended */
    unsigned long long ended_log_dropped;
    struct listener_figures *listeners;
    size_t listener_count;
    struct process_figures **processes;
    size_t process_count;
};

#endif
