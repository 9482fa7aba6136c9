/* Serves one request: by the host itself, or through the application. */
#ifndef FCGIHOST_SERVE_H
#define FCGIHOST_SERVE_H

#include "embed/py_wsgi.h"
#include "http/route.h"
#include "threads/activity.h"
#include "threads/readiness.h"
#include "threads/turn_policy.h"

#include <stdatomic.h>
#include <stdbool.h>

struct request;

/* What a thread needs to serve requests. */
struct server {
    const struct config *config; /* for [status]; NULL for plain CGI and --call */
    const struct route_table *routes;
    struct readiness *readiness;
    struct activity *activity;
    struct turn_policy_runner runner;
    struct python_thread *python;
    atomic_ullong *requests; /* number of requests that all threads have begun; NULL: not counted */
    unsigned long long request_limit; /* at this number the supervisor is woken; 0: never */
};

/* Chooses the request's route, and answers it if the host can do so without Python. true: it was
 * answered. Without the GIL, here and below. */
bool serve_refuse(struct server *server, struct request *request);
/* Answers 503: the request has waited longer than queue_time_ms for a thread. */
void serve_refuse_late(struct server *server, struct request *request, uint64_t queue_time_ms);
/* Answers 503: its application has not been loaded. */
void serve_refuse_unloaded(struct server *server, struct request *request);
/* Serves a request through the application. */
enum py_wsgi_outcome serve_request(struct server *server, struct request *request);

#endif
