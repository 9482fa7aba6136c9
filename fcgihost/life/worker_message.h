/* What a worker process and its manager tell each other, over the channel between them. */
#ifndef FCGIHOST_WORKER_MESSAGE_H
#define FCGIHOST_WORKER_MESSAGE_H

#include <stdint.h>

enum worker_message {
    /* The worker's. */
    WORKER_REPORTS = 1, /* struct worker_report: how its start is going, on each change */
    WORKER_ASKS = 2,    /* struct worker_request, and then what a fresh start wants to know */
    WORKER_IDLES = 3,   /* uint32_t: it has been idle for [limits] idle; 0: it is no more */
    WORKER_STARTS = 4,  /* struct worker_start: what its start waits for */
    WORKER_LIVES = 5,   /* its Python answers: for the watchdog */
    /* The manager's. */
    MANAGER_ACCEPT = 16,  /* take connections although nothing is loaded: nobody else does */
    MANAGER_RETIRE = 17,  /* drain; with a descriptor: a channel to the heir, for
                             WORKER_BEQUEATHS */
    MANAGER_INHERIT = 18, /* the other end of that channel */
    /* Between two workers. */
    WORKER_BEQUEATHS = 32, /* descriptors: memory with a struct handover as bytes, then those
                              that it names */
};

struct worker_report {
    uint32_t is_loaded;  /* an application is, and each required import */
    uint32_t is_settled; /* everything has been tried at least once */
    uint32_t failed_applications, failed_imports;
};

/* For the service manager. */
struct worker_start {
    uint64_t extend_ms; /* so much longer may the start take; 0: as long as it may anyway */
    char text[512];
};

/* What a worker wants. */
/* WISH_RELOAD: the code on the disk is no longer what the workers have loaded; the reason is the
 * same for the same change, whichever worker has seen it. */
enum worker_wish { WISH_LIMIT = 1, WISH_HEAL = 2, WISH_SHUTDOWN = 3, WISH_RELOAD = 4 };

struct worker_request {
    uint32_t wish;
    uint32_t unused;
    char reason[120]; /* for the manager's log */
};

#endif
