/* The supervisor thread: signals, deadlines, and the end. It never takes the GIL, so that nothing
 * that Python does can keep it from its work. */
#ifndef FCGIHOST_SUPERVISOR_H
#define FCGIHOST_SUPERVISOR_H

#include "event.h"
#include "poller.h"

#include <pthread.h>
#include <stdbool.h>

enum {
    DRAIN_TIMEOUT_MS = 5000,   /* requests in flight get that long after a signal to stop */
    CLEANUP_TIMEOUT_MS = 2000, /* Python's own end gets that long */
};

struct supervisor {
    const struct config *config;
    struct poller *poller;
    pthread_t thread;
    int event_fd;         /* signals and the poller write to it */
    bool has_cut_off;     /* connections did not finish in time */
    struct event stop;    /* the requests are over: the main thread has to end Python */
    struct event is_done; /* and has done so */
};

/* Makes the event descriptor and takes the signals over: SIGTERM, SIGINT and SIGUSR1 stop the
 * process, SIGHUP opens the log again. 0, or -1 with errno. */
int supervisor_init(struct supervisor *supervisor, const struct config *config);
int supervisor_start(struct supervisor *supervisor, struct poller *poller);
/* Takes the signals over again, from an application that set handlers while it was loaded: the main
 * thread, which alone runs Python's, does not come back to Python. */
void supervisor_take_signals(void);
/* The main thread's last word: Python has ended. Ends the thread. */
void supervisor_finish(struct supervisor *supervisor);

#endif
