/* The states of the process, what makes it stop, and the deadline of each step. Pure: the caller
 * passes in the time and what it sees, and carries out the action that is returned. */
#ifndef FCGIHOST_LIFECYCLE_H
#define FCGIHOST_LIFECYCLE_H

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lifecycle_state {
    LIFECYCLE_STARTING, /* the application, or a required import, has not been loaded */
    LIFECYCLE_SERVING,
    LIFECYCLE_DRAINING, /* requests in flight may finish */
    LIFECYCLE_CLEANING, /* cleanups, atexit functions, Py_FinalizeEx */
    LIFECYCLE_STOPPED,
};

/* Why the process stops. */
enum lifecycle_reason {
    REASON_NONE,
    REASON_SIGTERM,
    REASON_SIGINT,
    REASON_SIGUSR1,
    REASON_SIGQUIT, /* stop without the drain */
    REASON_REQUESTS,
    REASON_LIFETIME,
    REASON_MEMORY,
    REASON_IDLE,
    REASON_REQUEST_TIME, /* a request, or the GIL, is stuck */
    REASON_SHUTDOWN,     /* fcgihost.shutdown() */
    REASON_RESTART,      /* fcgihost.restart() */
    REASON_SIGNALLED,    /* a stopping signal to one worker, which its manager did not send */
    REASON_RELOAD,       /* [reload] mode = process, without a manager: code changed, and loads */
    REASON_STARTUP,      /* on_failure = exit */
    REASON_RETIRED,      /* the manager says so: another worker has taken its place */
    REASON_ORPHANED,     /* the manager has died */
    REASON_DESCRIPTORS,  /* the application has closed those of the host: no drain either */
    REASON_RETRY, /* a start failed before anything was served; the next needs a fresh interpreter
                   */
};

struct lifecycle {
    enum lifecycle_state state;
    enum lifecycle_reason reason;
    unsigned long long request_limit; /* 0: none */
    uint64_t lifetime_end_ms;         /* 0: never */
    uint64_t memory_bytes;            /* 0: no limit */
    uint64_t idle_ms;                 /* 0: never stops for being idle */
    unsigned long long idle_requests; /* view.requests when … */
    uint64_t idle_since_ms;           /* … it was last not idle */
    bool is_idle;                     /* it has been idle for idle_ms */
    uint64_t drain_timeout_ms, cleanup_timeout_ms;
    uint64_t deadline_ms; /* of the current state, draining or cleaning */
    bool is_managed;      /* set by the caller: a manager decides when a limit ends the process */
    enum lifecycle_reason
        told;        /* the reason that the manager has been told; REASON_NONE: none yet */
    bool is_cut_off; /* requests did not finish in time */
};

/* What the caller sees at each step. */
struct lifecycle_view {
    uint64_t now_ms;
    enum lifecycle_reason
        asked; /* by a signal or the application; REASON_NONE: not asked to stop */
    unsigned long long requests; /* begun so far */
    uint64_t resident_bytes;     /* 0: not checked this time */
    size_t connections;          /* that the drain waits for */
    size_t busy;                 /* connections with a request; only looked at with idle_ms */
    bool is_loaded;              /* requests can be served */
    bool is_python_finalized;
};

/* What the caller must do now; each is returned once. */
enum lifecycle_action {
    LIFECYCLE_NOTHING,
    LIFECYCLE_ASK,   /* tell the manager why another process should take the place, and serve on */
    LIFECYCLE_DRAIN, /* stop accepting, tell the application */
    LIFECYCLE_CLEAN, /* cut off what is unfinished, let the main thread clean up */
    LIFECYCLE_EXIT,  /* Python is finalized */
    LIFECYCLE_EXIT_ANYWAY, /* it was not in time: exit whatever it is doing */
};

/* chance: a random number, for [limits] requests_jitter. */
void lifecycle_init(struct lifecycle *lifecycle, const struct config *config, uint64_t now_ms,
                    uint64_t chance);
/* Call it on each tick, until it returns one of the two exits. */
enum lifecycle_action lifecycle_step(struct lifecycle *lifecycle,
                                     const struct lifecycle_view *view);
/* "starting", "serving", "draining", "cleaning". */
const char *lifecycle_state_name(enum lifecycle_state state);
/* "SIGTERM", "[limits] requests", "fcgihost.shutdown()". */
const char *lifecycle_reason_name(enum lifecycle_reason reason);

#endif
