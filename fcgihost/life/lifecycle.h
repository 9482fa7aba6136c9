/* The life of the process: starting, serving, draining, cleaning, over; what ends it, and when each
 * part of the end is due. Pure: it is told the time, and knows no thread. */
#ifndef FCGIHOST_LIFECYCLE_H
#define FCGIHOST_LIFECYCLE_H

#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lifecycle_state {
    LIFECYCLE_STARTING, /* the application, or a required import, has not been loaded */
    LIFECYCLE_SERVING,
    LIFECYCLE_DRAINING, /* requests in flight finish */
    LIFECYCLE_CLEANING, /* cleanups, atexit functions, Python's own end */
    LIFECYCLE_STOPPED,
};

/* Why the process ends. */
enum lifecycle_reason {
    REASON_NONE,
    REASON_SIGTERM,
    REASON_SIGINT,
    REASON_SIGUSR1,
    REASON_SIGQUIT, /* without the drain */
    REASON_REQUESTS,
    REASON_LIFETIME,
    REASON_MEMORY,
    REASON_SHUTDOWN, /* fcgihost.shutdown() */
    REASON_RESTART,  /* fcgihost.restart() */
    REASON_STARTUP,  /* on_failure = exit */
    REASON_RETRY,   /* a start failed before anything was served: the next one wants a fresh interpreter */
};

struct lifecycle {
    enum lifecycle_state state;
    enum lifecycle_reason reason;
    unsigned long long request_limit; /* 0: none */
    uint64_t lifetime_end_ms;         /* 0: never */
    uint64_t memory_bytes;            /* 0: no limit */
    uint64_t drain_timeout_ms, cleanup_timeout_ms;
    uint64_t deadline_ms; /* of the state that it is in: draining or cleaning */
    bool is_cut_off;      /* requests did not finish in time */
};

/* What the one who drives it sees. */
struct lifecycle_view {
    uint64_t now_ms;
    enum lifecycle_reason asked; /* somebody wants the process to end; or REASON_NONE */
    unsigned long long requests; /* begun so far */
    uint64_t resident_bytes;     /* 0: not looked at */
    size_t connections;          /* still open */
    bool is_loaded;              /* what requests need has been loaded */
    bool is_python_finalized;
};

/* What is to be done now, once. */
enum lifecycle_action {
    LIFECYCLE_NOTHING,
    LIFECYCLE_DRAIN,   /* accept no more, tell the application */
    LIFECYCLE_CLEAN,   /* cut off what is left, let the main thread end Python */
    LIFECYCLE_EXIT,   /* Python has ended */
    LIFECYCLE_EXIT_ANYWAY, /* it did not in time: leave whatever it is doing */
};

/* chance: any number, for [limits] requests_jitter. */
void lifecycle_init(struct lifecycle *lifecycle, const struct config *config, uint64_t now_ms,
                    uint64_t chance);
/* To be called until it says LEAVE or GIVE_UP. */
enum lifecycle_action lifecycle_step(struct lifecycle *lifecycle,
                                     const struct lifecycle_view *view);
/* "starting", "serving", "draining", "cleaning". */
const char *lifecycle_state_name(enum lifecycle_state state);
/* "SIGTERM", "[limits] requests", "fcgihost.shutdown()". */
const char *lifecycle_reason_name(enum lifecycle_reason reason);

#endif
