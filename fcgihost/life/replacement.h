/* Whether a fresh program takes this process's place when it stops, and the handover to it. */
#ifndef FCGIHOST_REPLACEMENT_H
#define FCGIHOST_REPLACEMENT_H

#include "base/handover.h"
#include "connection/poller.h"
#include "life/lifecycle.h"
#include "status/figures.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replacement {
    const struct config *config;
    struct poller *poller;         /* NULL until the supervisor starts */
    struct handover_bytes startup; /* what the next start must know of this one; on the heap */
    const struct handover_worker *worker; /* its connection to its manager; NULL: none */
    struct handover_status status;        /* of this program */
    /* What could not be loaded, on the heap; set before replacement_run(). None at a deadline. */
    struct handover_program *programs;
    size_t program_count;
    enum restart_reason restart; /* how the replacement is counted */
    /* When the first of several attempts to start began: since 1970, and on CLOCK_MONOTONIC. */
    uint64_t started_us, started_ms;
    atomic_bool is_exit_wanted; /* by a signal, for example: the process must exit, whatever the
                                   reason to stop was */
    atomic_bool is_planned;     /* set with the drain */
    bool is_start_again;        /* the start failed, and is tried again; set with is_planned */
    atomic_flag is_begun;
};

/* Takes over the status, and when it started if an earlier attempt to start has handed it over.
 * Main thread. */
void replacement_init(struct replacement *replacement, const struct config *config);

/* The next program gets a copy of startup. -1: out of memory. Main thread, before the drain. */
int replacement_keep_startup(struct replacement *replacement, const void *startup, size_t bytes);

/* The drain begins for this reason: decides whether the process is replaced or exits. A limit must
 * not interrupt the service: a web server that started the process for a socket of its own would
 * answer with errors until it notices and starts another. Supervisor thread. */
void replacement_decide(struct replacement *replacement, enum lifecycle_reason reason);
/* On each tick: if an exit is wanted now (a signal came during the drain), takes back what was
 * decided, and drains as for an exit. Supervisor thread. */
void replacement_reconsider(struct replacement *replacement);

/* Executes the program anew if that is planned; returns 0 if it is not, or if an exit is wanted,
 * and -1 after a failure, which is logged: then nobody serves any more. The main thread calls it
 * last of all, or the supervisor at the deadline; if both do, the second blocks for ever, until
 * exec() ends it. */
int replacement_run(struct replacement *replacement);

#endif
