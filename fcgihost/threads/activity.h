/* What each thread serves, for others who ask: the log, the application, the status. */
#ifndef FCGIHOST_ACTIVITY_H
#define FCGIHOST_ACTIVITY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct request;

/* Of one thread. */
struct activity {
    pthread_t thread;
    pthread_mutex_t mutex;
    const struct request *served; /* with the mutex held; NULL: none */
    uint64_t since_ms;
};

/* Of all threads that serve. */
struct activities {
    struct activity *items;
    unsigned count;
};

/* "GET /a/b", and for how long. */
struct activity_report {
    pthread_t thread;
    uint64_t age_ms;
    char request[256];
};

void activity_init(struct activity *activity);
/* The thread itself, when it begins to serve and when it has served. */
void activity_begin(struct activity *activity, const struct request *request);
void activity_end(struct activity *activity);
/* false: it serves no request. Any thread may ask, with or without the GIL. */
bool activity_get(struct activity *activity, struct activity_report *report);

#endif
