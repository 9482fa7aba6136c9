/* The worker threads: each waits its turn, takes a request that is ready, and serves it. */
#ifndef FCGIHOST_WORKER_H
#define FCGIHOST_WORKER_H

#include "settings.h"
#include "event.h"
#include "gate.h"
#include "poller.h"
#include "route.h"
#include "turn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct supervisor;

/* Between threads, by the kernel: as this one waited, and as others were to run. */
struct worker_switches {
    long own, forced;
};

struct worker {
    struct worker_pool *pool;
    unsigned number; /* from 1 */
    pthread_t thread;
    bool has_turn; /* or had it when it offered it */

    uint8_t *buffer; /* that requests are received into */
    size_t buffer_bytes;

    struct request *spare; /* to be reused */
    struct python_thread *python;

    /* For others who ask what it does. */
    pthread_mutex_t mutex;
    const struct request *served; /* with the mutex held; NULL: none */
    uint64_t since_ms;
    uint64_t application_began_us, application_us; /* how long the last one took */
    bool is_suspected; /* of being slow: what happens to it is counted */
    struct worker_switches switches_before;
};

struct worker_pool {
    const struct config *config;
    struct poller *poller;
    struct supervisor *supervisor; /* NULL for plain CGI */
    struct gate_limits gate_limits;
    struct route_table routes;
    atomic_ullong loaded; /* 1 << place in the configuration, of each application that can serve */
    /* Of the one thread that waits for a request, until it has the GIL: so no second thread ever
     * waits for the GIL with a new request, which costs more than the request itself. */
    struct turn turn;
    atomic_uint slowness; /* the more, the more likely it is that the next request takes long */
    struct worker *workers;
    unsigned count;
    atomic_uint running;              /* threads that have not ended */
    atomic_ullong requests;           /* begun so far */
    unsigned long long request_limit; /* the supervisor is woken when there are so many; 0: never */
};

/* Starts the threads of a pool whose config, poller, supervisor and routes are set. 0, or -1 with
 * errno. */
int worker_pool_start(struct worker_pool *pool);
/* Waits for the threads, which end when the poller is told to quit, until the deadline
 * (clock_ms()). false: some did not end; then nothing is freed. */
bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms);

/* What a thread does, for people: "GET /a/b". false: it serves no request. Any thread may ask,
 * with or without the GIL. */
struct worker_activity {
    pthread_t thread;
    uint64_t age_ms;
    char request[256];
};
bool worker_get_activity(struct worker *worker, struct worker_activity *activity);

/* Answers one request, through the application or by the host itself. */
void worker_serve(struct worker *worker, struct request *request);
/* Lets the next thread wait for a request. Called before this one waits for a peer. */
void worker_pass_turn(struct worker *worker);
/* The application is about to run, with the GIL held, and has run. Lets the next thread wait for a
 * request: at once if applications have been slow lately, else if this one proves to be. */
void worker_begin_application(struct worker *worker);
void worker_end_application(struct worker *worker);
struct request *worker_take_request(struct worker *worker);
void worker_give_request(struct worker *worker, struct request *request);

#endif
