/* What each thread serves, for others who ask: the log, the application, the status. */
#ifndef FCGIHOST_ACTIVITY_H
#define FCGIHOST_ACTIVITY_H

#include "http/request_id.h"
#include "threads/board.h"
#include "threads/counters.h"
#include "threads/work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct request;

/* Of one thread. */
struct activity {
    pthread_t thread;
    pthread_mutex_t mutex;
    struct request *served; /* with the mutex held; NULL: none */
    uint64_t since_ms;
    struct board_thread *board; /* where a manager sees it; NULL: there is none */
    struct work work;           /* the application's part of it */
    struct counters counters; /* the thread's own to write, any thread's to read */
};

/* Of all threads that serve. */
struct activities {
    struct activity *items;
    unsigned count;
    struct counters spare;     /* of the thread that answers while all of them are busy */
    atomic_uint busy, busiest; /* how many threads serve a request now, and the most so far */
};

/* "GET /a/b", and for how long. */
struct activity_report {
    pthread_t thread;
    uint64_t age_ms;
    char request[256];
    char request_id[REQUEST_ID_BYTES_MAX + 1];
};

void activity_init(struct activity *activity);
/* Called by the thread itself, when it begins to serve and when it has served. */
void activity_begin(struct activity *activity, struct request *request);
/* … and in between, when the application has run. */
void activity_end_application(struct activity *activity);
void activity_end(struct activity *activity);
/* false: it serves no request. Any thread may ask, with or without the GIL. */
bool activity_get(struct activity *activity, struct activity_report *report);

/* While the application runs: has the client of that piece of work (struct work_view) left? Never
 * blocks. For the supervisor. */
bool activity_has_client_left(struct activity *activity, unsigned long long serial);

/* For capacity threads. 0, or -1 when out of memory. */
int activities_init(struct activities *activities, unsigned capacity);
/* One more thread serves a request; one fewer does. */
void activities_enter(struct activities *activities);
void activities_leave(struct activities *activities);
/* The sum of all threads' counters. Any thread; never blocks. */
void activities_sum(const struct activities *activities, struct counters_totals *totals);

#endif
