/* Serving one request: by the host itself, or through the application. */
#ifndef FCGIHOST_SERVE_H
#define FCGIHOST_SERVE_H

#include "embed/py_wsgi.h"
#include "http/route.h"
#include "threads/activity.h"
#include "threads/pace.h"
#include "threads/readiness.h"

#include <stdatomic.h>
#include <stdbool.h>

struct request;

/* What a thread serves requests with. */
struct server {
    const struct config *config; /* for [status]; NULL: plain CGI, --call */
    const struct route_table *routes;
    struct readiness *readiness;
    struct activity *activity;
    struct pace_runner runner;
    struct python_thread *python;
    atomic_ullong *requests;          /* begun by all threads so far; NULL: nobody counts */
    unsigned long long request_limit; /* the supervisor is woken when there are so many; 0: never */
};

/* Chooses what serves the request. A request that the host answers itself, before any Python: true,
 * it has been answered. Without the GIL, here and below. */
bool serve_refuse(struct server *server, struct request *request);
/* It has waited for a thread for longer than queue_time_ms: 503. */
void serve_refuse_late(struct server *server, struct request *request, uint64_t queue_time_ms);
/* What it needs has not been loaded: 503. */
void serve_refuse_unloaded(struct server *server, struct request *request);
/* Answers one that was not refused, through the application. */
enum py_wsgi_outcome serve_request(struct server *server, struct request *request);

#endif
