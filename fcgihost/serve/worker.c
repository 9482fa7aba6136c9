/* The worker threads: each waits its turn, takes a request that is ready, and serves it. */
#include "serve/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "embed/py_wsgi.h"
#include "http/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Until when the peer must send something. */
static uint64_t next_deadline(const struct connection *connection, uint64_t io_timeout_ms)
{
    uint64_t deadline_ms = atomic_load(&connection->deadline_ms);
    if (!connection_has_begun(connection) && connection->served > 0)
        return 0;
    if (connection->is_answered)
        return connection->request->drain_deadline_ms;
    /* A head must be whole in time, however slowly its bytes trickle in. */
    if (connection->request == NULL && deadline_ms != 0)
        return deadline_ms;
    return clock_ms() + io_timeout_ms;
}

static void close_connection(struct worker *worker, struct connection *connection)
{
    const char *refusal = connection->refusal;
    if (atomic_load(&connection->is_expired) && connection_has_begun(connection))
        refusal = "the peer did not send the rest of its request within [limits] io_timeout";
    if (refusal != NULL) {
        py_wsgi_release_gil(worker->server.python);
        log_warning("connection closed: %s", refusal);
    }
    if (connection->request != NULL) {
        connection->request->ops->release(connection->request);
        receiver_give_request(&worker->receiver, connection->request);
    }
    poller_close(worker->pool->poller, connection);
}

/* Its request came before what it needs was loaded, and may wait without a thread. */
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
    if (connection_keep_request(connection) == CONNECTION_CLOSE) {
        close_connection(worker, connection);
        return;
    }
    poller_park(pool->poller, connection);
    /* Meanwhile it may have been loaded, or the end have begun. */
    if (readiness_has(pool->readiness, route->application) ||
        atomic_load(&pool->poller->is_draining))
        poller_unpark(pool->poller);
}

static void begin_serving(struct worker *worker, struct request *request)
{
    struct request_times *times = &request->times;
    times->taken_us = times->begun_us = clock_us(); /* until the application begins */
    if (times->ready_us == 0)
        times->ready_us = times->taken_us;
    activities_enter(&worker->pool->activities);
}

static void end_serving(struct worker *worker, struct request *request)
{
    request->times.ended_us = clock_us();
    counters_count(&worker->server.activity->counters, request->response.status, &request->times);
    activities_leave(&worker->pool->activities);
}

static void serve_connection(struct worker *worker, struct connection *connection)
{
    if (connection->is_answered)
        pace_pass_turn(&worker->server.runner); /* the peer may go on sending for long */
    enum connection_step step = connection_advance(&worker->receiver, connection);
    while (step == CONNECTION_READY) {
        struct request *request = connection->request;
        begin_serving(worker, request);
        if (!serve_refuse(&worker->server, request)) {
            if (must_park(worker->pool, connection)) {
                activities_leave(&worker->pool->activities);
                park(worker, connection);
                return;
            }
            serve_request(&worker->server, request);
        }
        end_serving(worker, request);
        connection->park_end_ms = 0;
        pace_offer_turn(&worker->server.runner); /* much of the body may be left */
        step = connection_finish_request(&worker->receiver, connection);
        if (step == CONNECTION_READY)
            py_wsgi_release_gil(worker->server.python);
    }
    uint64_t deadline_ms = next_deadline(connection, worker->pool->config->io_timeout_ms);
    if (step == CONNECTION_CLOSE || poller_watch(worker->pool->poller, connection, deadline_ms) < 0)
        close_connection(worker, connection);
    py_wsgi_release_gil(worker->server.python);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct worker_pool *pool = worker->pool;
    char name[16];
    snprintf(name, sizeof(name), "fcgihost-%u", worker->server.runner.number % 1000);
    pthread_setname_np(pthread_self(), name);
    worker->server.python = py_wsgi_enter_thread();
    if (worker->server.python == NULL) {
        log_error("worker %u: no Python thread state: out of memory", worker->server.runner.number);
        atomic_fetch_sub(&pool->running, 1);
        return NULL;
    }
    struct connection *connection;
    do {
        pace_take_turn(&worker->server.runner);
        connection = poller_next(pool->poller);
        if (connection != NULL)
            serve_connection(worker, connection);
    } while (connection != NULL);
    pace_pass_turn(&worker->server.runner);
    py_wsgi_leave_thread(worker->server.python);
    atomic_fetch_sub(&pool->running, 1);
    return NULL;
}

static int start_worker(struct worker *worker)
{
    if (receiver_init(&worker->receiver) < 0)
        return -1;
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error != 0) {
        errno = error;
        return -1;
    }
    worker->server.activity->thread = worker->thread;
    atomic_fetch_add(&worker->pool->running, 1);
    return 0;
}

static void prepare_worker(struct worker_pool *pool, unsigned i)
{
    struct worker *worker = &pool->workers[i];
    worker->pool = pool;
    worker->receiver = (struct receiver){.config = pool->config,
                                         .gate_limits = &pool->gate_limits,
                                         .routes = &pool->routes,
                                         .is_draining = &pool->poller->is_draining,
                                         .is_handing_over = &pool->poller->is_handing_over};
    worker->server = (struct server){.routes = &pool->routes,
                                     .readiness = pool->readiness,
                                     .activity = &pool->activities.items[i],
                                     .runner = {.pace = &pool->pace, .number = i + 1},
                                     .requests = &pool->requests,
                                     .request_limit = pool->request_limit};
}

int worker_pool_start(struct worker_pool *pool)
{
    const struct config *config = pool->config;
    pool->gate_limits = (struct gate_limits){.head_bytes = config->request_head_bytes,
                                             .max_connections = config->backlog,
                                             .roles = pool->routes.role_bits};
    pace_init(&pool->pace);
    pool->workers = calloc(config->threads, sizeof(*pool->workers));
    if (pool->workers == NULL || activities_init(&pool->activities, config->threads) < 0)
        return -1;
    for (unsigned i = 0; i < config->threads; i++) {
        prepare_worker(pool, i);
        if (pool->board != NULL && i < BOARD_THREADS_MAX) {
            pool->activities.items[i].board = &pool->board->thread[i];
            atomic_store(&pool->board->threads, i + 1);
        }
        if (start_worker(&pool->workers[i]) < 0)
            return -1;
        pool->activities.count++;
    }
    return 0;
}

bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms)
{
    while (atomic_load(&pool->running) > 0) {
        if (clock_ms() >= deadline_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    for (unsigned i = 0; i < pool->activities.count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        receiver_clear(&pool->workers[i].receiver);
    }
    /* The activities stay: who asks what threads do may come until Python's end. */
    route_table_clear(&pool->routes);
    pace_destroy(&pool->pace);
    return true;
}
