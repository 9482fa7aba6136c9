/* A worker: waits its turn, takes a request that is ready, and serves it. */
#include "serve/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "connection/idle_connections.h"
#include "embed/py_wsgi.h"
#include "http/request.h"
#include "http/request_id.h"
#include "http/request_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int worker_init(struct worker *worker, struct worker_pool *pool, unsigned number,
                struct activity *activity)
{
    memset(worker, 0, sizeof(*worker));
    worker->pool = pool;
    worker->receiver = (struct receiver){.config = pool->config,
                                         .gate_limits = &pool->gate_limits,
                                         .routes = &pool->routes,
                                         .store = &pool->store,
                                         .sender = &pool->sender,
                                         .is_draining = &pool->poller->is_draining,
                                         .is_handing_over = &pool->poller->is_handing_over};
    worker->server = (struct server){.config = pool->config,
                                     .routes = &pool->routes,
                                     .readiness = pool->readiness,
                                     .activity = activity,
                                     .runner = {.pace = &pool->pace, .number = number},
                                     .requests = &pool->requests,
                                     .request_limit = pool->request_limit};
    pthread_mutex_init(&worker->withdrawal, NULL);
    return receiver_init(&worker->receiver);
}

void worker_clear(struct worker *worker)
{
    receiver_clear(&worker->receiver);
    pthread_mutex_destroy(&worker->withdrawal);
}

static bool is_watch(const struct worker *worker)
{
    return worker == &worker->pool->watch;
}

static struct counters *counters_of(struct worker *worker)
{
    return is_watch(worker) ? worker->pool->activities.spare : worker->server.activity->counters;
}

static void close_connection(struct worker *worker, struct connection *connection)
{
    const char *refusal = connection->refusal;
    if (atomic_load(&connection->is_expired) && connection_has_begun(connection))
        refusal = "the peer did not send the rest of its request within [limits] io_timeout";
    if (refusal != NULL) {
        if (!is_watch(worker))
            py_wsgi_release_gil(worker->server.python);
        log_about(LOG_LEVEL_WARNING,
                  &(struct log_topic){.event = "connection-closed",
                                      .request_id = connection->request != NULL
                                                        ? request_id(connection->request)
                                                        : NULL,
                                      .is_gathered = true},
                  "connection closed: %s", refusal);
    }
    if (connection->request != NULL) {
        if (connection->request->after != NULL && !is_watch(worker))
            py_wsgi_end_sent(worker->server.python, connection->request);
        connection->request->ops->release(connection->request);
        receiver_give_request(&worker->receiver, connection->request);
        connection->request = NULL; /* the connection may be freed later than it is closed */
    }
    poller_close(worker->pool->poller, connection);
}

/* Must the request wait, without a thread, for its application to be loaded? */
static bool must_park(struct worker_pool *pool, struct connection *connection)
{
    if (readiness_has(pool->readiness, connection->request->route->application) ||
        pool->config->request_wait_ms == 0 || atomic_load(&pool->poller->is_draining))
        return false;
    uint64_t now_ms = clock_ms();
    if (connection->park_end_ms == 0)
        connection->park_end_ms = now_ms + pool->config->request_wait_ms;
    return now_ms < connection->park_end_ms;
}

static void park(struct worker *worker, struct connection *connection)
{
    struct worker_pool *pool = worker->pool;
    const struct path_route *route = connection->request->route;
    connection->request->times.ready_us = 0; /* the wait for a thread has not begun */
    if (connection_keep_request(connection) == CONNECTION_CLOSE) {
        close_connection(worker, connection);
        return;
    }
    poller_park(pool->poller, connection);
    /* Meanwhile the application may have been loaded, or the drain begun. */
    if (readiness_has(pool->readiness, route->application) ||
        atomic_load(&pool->poller->is_draining))
        poller_unpark(pool->poller);
}

/* Leaves the request to the next thread that is free. */
static void put_into_queue(struct worker *worker, struct connection *connection)
{
    if (connection_keep_request(connection) == CONNECTION_CLOSE)
        close_connection(worker, connection);
    else
        poller_queue(worker->pool->poller, connection);
}

static bool is_overdue(const struct worker *worker, const struct request *request)
{
    uint64_t queue_time_us = worker->pool->config->queue_time_ms * 1000;
    return queue_time_us > 0 && request->times.taken_us > request->times.ready_us + queue_time_us;
}

enum fate { ANSWERED, ANSWERED_WITH_GIL, PARKED, QUEUED, WITHDRAWN };

static void begin_request(struct worker *worker, struct request *request)
{
    struct request_times *times = &request->times;
    times->taken_us = times->begun_us = clock_us(); /* begun_us: until the application begins */
    if (times->ready_us == 0)
        times->ready_us = times->taken_us;
    if (is_watch(worker)) {
        /* The watch waits for no peer, even if that can't take a short answer at once. */
        request->io_timeout_ms = 0;
        request->outbox.patience_ms = 0;
    } else
        activities_enter(&worker->pool->activities);
}

/* Counts and logs the request, once its response has been sent or has failed. */
static void record(struct worker *worker, struct request *request)
{
    bool was_too_slow = request->outbox.error == ETIMEDOUT,
         with_access = worker->pool->config->log_access,
         has_logged = atomic_load_explicit(&request->logged_bytes, memory_order_relaxed) > 0;
    request->times.ended_us = clock_us();
    counters_count(counters_of(worker), request->response.status, &request->times);
    if (!was_too_slow && !with_access && !has_logged)
        return;
    if (!is_watch(worker))
        py_wsgi_release_gil(worker->server.python);
    if (was_too_slow)
        request_log_refusal(
            request, "connection-closed",
            "connection closed: the peer did not take the rest of its response within [limits] "
            "io_timeout, or more slowly than min_rate");
    if (has_logged)
        request_log_end(request);
    if (with_access)
        request_log_access(request, worker->pool->config->log_access_query);
}

static void end_request(struct worker *worker, struct connection *connection, enum fate fate)
{
    if (!is_watch(worker))
        activities_leave(&worker->pool->activities);
    if (fate == WITHDRAWN)
        return; /* the watch may have freed it */
    struct request *request = connection->request;
    request->io_timeout_ms = worker->pool->config->io_timeout_ms;
    if (fate != ANSWERED && fate != ANSWERED_WITH_GIL)
        return;
    if (!atomic_load_explicit(&request->outbox.is_used, memory_order_relaxed))
        record(worker, request);
}

/* Serves the request through the application. */
static enum fate serve(struct worker *worker, struct connection *connection)
{
    if (!connection->request->is_body_here)
        poller_mute(worker->pool->poller, connection);
    worker->entering = connection;
    atomic_store_explicit(&worker->entering_ready_us, connection->request->times.ready_us,
                          memory_order_relaxed);
    switch (serve_request(&worker->server, connection->request)) {
    case PY_WSGI_SERVED_WITH_GIL:
        return ANSWERED_WITH_GIL;
    case PY_WSGI_WITHDRAWN:
        pthread_mutex_lock(&worker->withdrawal); /* until the watch is done with the buffer */
        pthread_mutex_unlock(&worker->withdrawal);
        return WITHDRAWN;
    case PY_WSGI_SERVED:
        break;
    }
    return ANSWERED;
}

static enum fate decide(struct worker *worker, struct connection *connection)
{
    struct request *request = connection->request;
    if (request->body_failure == BODY_WAS_CUT && atomic_load(&worker->pool->poller->is_cut)) {
        request->response.is_peer_gone = true; /* by the end of the drain: nothing can be sent */
        return ANSWERED;
    }
    if (serve_refuse(&worker->server, request))
        return ANSWERED;
    if (must_park(worker->pool, connection))
        return PARKED;
    if (is_overdue(worker, request)) {
        serve_refuse_late(&worker->server, request, worker->pool->config->queue_time_ms);
        return ANSWERED;
    }
    if (!readiness_has(worker->pool->readiness, request->route->application)) {
        serve_refuse_unloaded(&worker->server, request);
        return ANSWERED;
    }
    return is_watch(worker) ? QUEUED : serve(worker, connection);
}

static enum fate handle(struct worker *worker, struct connection *connection)
{
    begin_request(worker, connection->request);
    enum fate fate = decide(worker, connection);
    end_request(worker, connection, fate);
    if (fate == PARKED)
        park(worker, connection);
    else if (fate == QUEUED)
        put_into_queue(worker, connection);
    return fate;
}

/* Counts it before another thread can have it. */
static enum connection_rest leave_rest(struct worker *worker, struct connection *connection)
{
    atomic_uint *sending = &worker->pool->activities.sending;
    if (!atomic_load_explicit(&connection->request->outbox.is_used, memory_order_relaxed))
        return CONNECTION_REST_NONE;
    atomic_fetch_add(sending, 1);
    enum connection_rest rest = connection_leave_rest(connection);
    if (rest != CONNECTION_REST_WAITS)
        atomic_fetch_sub(sending, 1);
    return rest;
}

/* The application has returned: what the peer has not taken is sent without this thread. */
static enum connection_step finish(struct worker *worker, struct connection *connection,
                                   bool *is_gone)
{
    switch (leave_rest(worker, connection)) {
    case CONNECTION_REST_WAITS:
        *is_gone = true;
        return CONNECTION_WAIT;
    case CONNECTION_REST_SENT:
        if (connection->request->after != NULL)
            py_wsgi_end_sent(worker->server.python, connection->request);
        record(worker, connection->request);
        return connection_advance(&worker->receiver, connection);
    case CONNECTION_REST_NONE:
        break;
    }
    return connection_finish_request(&worker->receiver, connection);
}

/* The sender has sent the response: does what Python put off until then. false: this is the watch,
 * so it was left to a worker. */
static bool end_sent(struct worker *worker, struct connection *connection)
{
    struct request *request = connection->request;
    if (request->after != NULL && is_watch(worker)) {
        poller_queue(worker->pool->poller, connection);
        return false;
    }
    if (request->after != NULL) {
        turn_policy_pass(&worker->server.runner);
        py_wsgi_end_sent(worker->server.python, request);
    }
    record(worker, request);
    atomic_fetch_sub(&worker->pool->activities.sending, 1);
    return true;
}

/* true: something more has come. */
static bool serve_what_came(struct worker *worker, struct connection *connection)
{
    enum fate fate = ANSWERED;
    bool is_gone = false;
    if (connection->is_answered)
        turn_policy_pass(&worker->server.runner); /* the peer may send for a long time */
    else if (connection->request != NULL)
        turn_policy_offer(&worker->server.runner); /* reading the body from disk may block */
    enum connection_step step = connection_advance(&worker->receiver, connection);
    while (step == CONNECTION_READY) {
        fate = handle(worker, connection);
        if (fate != ANSWERED && fate != ANSWERED_WITH_GIL)
            return false;
        connection->park_end_ms = 0;
        turn_policy_offer(&worker->server.runner); /* dropping the rest of the body may take time */
        step = finish(worker, connection, &is_gone);
        if ((step == CONNECTION_READY || is_gone) && fate == ANSWERED_WITH_GIL)
            py_wsgi_release_gil(worker->server.python);
        if (is_gone)
            return false;
    }
    uint64_t deadline_ms = idle_deadline(connection, worker->pool->config->io_timeout_ms);
    int watched = -1;
    if (step != CONNECTION_CLOSE)
        watched = poller_watch(worker->pool->poller, connection, deadline_ms);
    if (watched < 0)
        close_connection(worker, connection);
    if (fate == ANSWERED_WITH_GIL)
        py_wsgi_release_gil(worker->server.python);
    return watched > 0;
}

void worker_serve(struct worker *worker, struct connection *connection)
{
    if (connection->is_sending && !end_sent(worker, connection))
        return;
    while (serve_what_came(worker, connection))
        if (poller_has_ready(worker->pool->poller)) { /* those that wait come first */
            poller_queue(worker->pool->poller, connection);
            return;
        }
}

struct connection *worker_withdraw(struct worker *worker, uint64_t before_us)
{
    struct turn_policy_runner *runner = &worker->server.runner;
    struct connection *connection = NULL;
    if (atomic_load(&runner->entry) != TURN_POLICY_ENTERING ||
        atomic_load_explicit(&worker->entering_ready_us, memory_order_relaxed) > before_us)
        return NULL;
    pthread_mutex_lock(&worker->withdrawal);
    if (turn_policy_withdraw(runner)) {
        connection = worker->entering;
        activity_end(worker->server.activity);
        if (connection_keep_request(connection) == CONNECTION_CLOSE)
            connection->refusal = "a waiting request can't be stored: out of memory";
    }
    pthread_mutex_unlock(&worker->withdrawal);
    return connection;
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    struct worker_pool *pool = worker->pool;
    char name[16];
    snprintf(name, sizeof(name), "fcgihost-%u", worker->server.runner.number % 1000);
    pthread_setname_np(pthread_self(), name);
    worker->server.python = py_wsgi_enter_thread(worker->server.activity);
    if (worker->server.python == NULL) {
        log_error("start-failed", "worker %u: no Python thread state: out of memory",
                  worker->server.runner.number);
        atomic_fetch_sub(&pool->running, 1);
        return NULL;
    }
    struct connection *connection;
    do {
        turn_policy_take(&worker->server.runner);
        connection = poller_next(pool->poller);
        if (connection != NULL)
            worker_serve(worker, connection);
    } while (connection != NULL);
    turn_policy_pass(&worker->server.runner);
    py_wsgi_leave_thread(worker->server.python);
    atomic_fetch_sub(&pool->running, 1);
    return NULL;
}
