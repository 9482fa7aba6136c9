/* Which request each thread is serving, for the log, the application and the status. */
#ifndef FCGIHOST_ACTIVITY_H
#define FCGIHOST_ACTIVITY_H

#include "http/request_id.h"
#include "threads/counters.h"
#include "threads/request_clock.h"
#include "threads/scoreboard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct request;

/* What one thread is doing. */
struct activity {
    pthread_t thread;
    pthread_mutex_t mutex;
    struct request *served; /* guarded by the mutex; NULL: none */
    uint64_t since_ms;
    struct scoreboard_thread *board; /* where the manager sees it; NULL: no manager */
    struct request_clock work;       /* the part that runs in the application */
    /* Written by this thread, read by any. On the board if there is one, so that the manager can
     * still read them when the process has died. */
    struct counters *counters, own_counters;
};

/* The activities of all workers. */
struct activities {
    struct activity *items;
    unsigned count;
    struct counters *spare, own_spare; /* counters of the watch; on the board if there is one */
    atomic_uint busy, busiest; /* threads that serve a request now, and the maximum so far */
    atomic_uint sending;       /* responses that the sender sends, without a thread */
};

/* "GET /a/b", and for how long. */
struct activity_report {
    pthread_t thread;
    uint64_t age_ms;
    char request[256];
    char request_id[REQUEST_ID_BYTES_MAX + 1];
};

void activity_init(struct activity *activity);
/* Called by the thread itself: when it begins to serve a request; … */
void activity_begin(struct activity *activity, struct request *request);
/* … when the application has returned; … */
void activity_end_application(struct activity *activity);
void activity_end(struct activity *activity);
/* false: it serves no request. Any thread, with or without the GIL. */
bool activity_get(struct activity *activity, struct activity_report *report);

/* While the application runs: has the client of this piece of work (struct request_clock_view)
 * left? Never blocks. Called by the supervisor. */
bool activity_has_client_left(struct activity *activity, unsigned long long serial);

/* Allocates them for capacity threads. 0, or -1 when out of memory. */
int activities_init(struct activities *activities, unsigned capacity);
/* Called when a thread begins and ends to serve a request, for busy and busiest. */
void activities_enter(struct activities *activities);
void activities_leave(struct activities *activities);
/* The sum of all threads' counters. Any thread; never blocks. */
void activities_sum(const struct activities *activities, struct counters_totals *totals);

#endif
