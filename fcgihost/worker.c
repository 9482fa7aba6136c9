/* The worker threads: each waits its turn, takes a request that is ready, and serves it. */
#include "worker.h"

#include "clock.h"
#include "log.h"
#include "meta_variables.h"
#include "py_wsgi.h"
#include "supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    SLOW_APPLICATION_US = 100,     /* while others could be served */
    SLOW_WEIGHT = 16,              /* of a slow request, against 1 of each that is not; … */
    SLOW_WEIGHT_MAX = 64,          /* … one alone may only have been preempted */
    BUFFER_SLACK_BYTES = 16 << 10, /* record headers and padding beside a body's bytes */
};

struct request *worker_take_request(struct worker *worker)
{
    struct request *request = worker->spare;
    worker->spare = NULL;
    return request != NULL ? request : request_new();
}

void worker_give_request(struct worker *worker, struct request *request)
{
    if (worker->spare != NULL) {
        request_free(request);
        return;
    }
    request_reset(request);
    worker->spare = request;
}

void worker_pass_turn(struct worker *worker)
{
    if (worker->has_turn) {
        worker->has_turn = false;
        turn_pass(&worker->pool->turn, worker->number);
    }
}

static struct worker_switches count_switches(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) < 0)
        return (struct worker_switches){0, 0};
    return (struct worker_switches){usage.ru_nvcsw, usage.ru_nivcsw};
}

/* It took long, but only as others had the processor, perhaps the web server: meanwhile it had the
 * GIL, so no other thread could have served. With nginx on the same core this is worth 3 of 120 µs.
 */
static bool was_only_preempted(const struct worker *worker)
{
    struct worker_switches now = count_switches(), before = worker->switches_before;
    return now.forced != before.forced && now.own == before.own;
}

void worker_begin_application(struct worker *worker)
{
    unsigned slowness = atomic_load_explicit(&worker->pool->slowness, memory_order_relaxed);
    worker->is_suspected = slowness > 0;
    if (worker->is_suspected)
        worker->switches_before = count_switches();
    worker->application_began_us = clock_us();
    if (slowness > SLOW_WEIGHT)
        worker_pass_turn(worker);
    else if (worker->has_turn)
        turn_offer(&worker->pool->turn, worker->number);
}

/* When two threads count at the same time, one of both is lost: no harm. */
void worker_end_application(struct worker *worker)
{
    atomic_uint *slowness = &worker->pool->slowness;
    unsigned before = atomic_load_explicit(slowness, memory_order_relaxed), after = before;
    worker->application_us = clock_us() - worker->application_began_us;
    if (worker->application_us <= SLOW_APPLICATION_US ||
        (worker->is_suspected && was_only_preempted(worker)))
        after = before > 0 ? before - 1 : 0;
    else if (before <= SLOW_WEIGHT_MAX - SLOW_WEIGHT)
        after = before + SLOW_WEIGHT;
    if (after != before)
        atomic_store_explicit(slowness, after, memory_order_relaxed);
}

/* Waits for it, unless it was offered and nobody took it. */
static void take_turn(struct worker *worker)
{
    struct turn *turn = &worker->pool->turn;
    if (!worker->has_turn || !turn_reclaim(turn, worker->number))
        turn_take(turn, worker->number);
    worker->has_turn = true;
}

/* The peer may be slow to take it: others wait for requests meanwhile. */
static void send_page(struct request *request, const char *status, const char *text)
{
    worker_pass_turn(request->worker);
    response_send_page(request, status, text);
}

static void refuse_unmounted(struct request *request)
{
    const char *script_name = request_value(request, "SCRIPT_NAME"),
               *path_info = request_value(request, "PATH_INFO"),
               *document_uri = request_value(request, "DOCUMENT_URI");
    char reason[512];
    if (!request->is_question) {
        request_log(request, "404: the path is below no [application] mount");
        send_page(request, "404 Not Found", "Nothing is here.\n");
        return;
    }
    if (script_name == NULL && path_info == NULL)
        script_name = document_uri;
    snprintf(
        reason, sizeof(reason),
        "403: the web server asks for an authorizer (FCGI_ROLE) at %.200s%.200s, where none is "
        "mounted: set that path as mount in the [application] section of the authorizer",
        script_name != NULL ? script_name : "", path_info != NULL ? path_info : "");
    request_log(request, reason);
    send_page(request, "403 Forbidden", "Nobody is here who could allow this.\n");
}

static const struct path_routes *find_routes(struct worker *worker, struct request *request)
{
    if (meta_asks_authorizer(request)) {
        request->role = ROLE_AUTHORIZER;
        request->is_question = true;
    }
    return &worker->pool->routes.roles[request->role];
}

/* A request that the host answers itself, before any Python. true: it has been answered. */
static bool refuse_request(struct worker *worker, struct request *request)
{
    if (request->route != NULL)
        return false; /* it was parked since */
    switch (meta_prepare(request, find_routes(worker, request))) {
    case META_FINE:
        return false;
    case META_NO_METHOD:
        request_log(
            request,
            "no REQUEST_METHOD was sent: the web server passes no parameters (nginx wants `include "
            "fastcgi_params;`)");
        send_page(request, "500 Internal Server Error",
                  "The web server passes no request parameters.\n");
        return true;
    case META_BAD_LENGTH:
        request_log(request, "400: CONTENT_LENGTH is not a number");
        send_page(request, "400 Bad Request", "Content-Length is not a number.\n");
        request->must_close = true;
        return true;
    case META_TOO_LARGE:
        request_log(request, "413: its body is larger than [limits] request_body");
        send_page(request, "413 Request Entity Too Large", "The request's body is too large.\n");
        return true;
    case META_NOT_MOUNTED:
        refuse_unmounted(request);
        return true;
    case META_NO_MEMORY:
        break;
    }
    send_page(request, "500 Internal Server Error", "Out of memory.\n");
    return true;
}

/* For those who ask what the thread does; and counts. */
static void begin_serving(struct worker *worker, const struct request *request)
{
    struct worker_pool *pool = worker->pool;
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&worker->mutex);
    worker->served = request;
    worker->since_ms = now_ms;
    pthread_mutex_unlock(&worker->mutex);
    unsigned long long number = atomic_fetch_add(&pool->requests, 1) + 1;
    if (number == pool->request_limit)
        supervisor_wake(pool->supervisor);
}

static void end_serving(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    worker->served = NULL;
    pthread_mutex_unlock(&worker->mutex);
}

bool worker_get_activity(struct worker *worker, struct worker_activity *activity)
{
    activity->thread = worker->thread;
    pthread_mutex_lock(&worker->mutex);
    const struct request *request = worker->served;
    if (request != NULL) {
        request_describe(request, activity->request, sizeof(activity->request));
        activity->age_ms = clock_ms() - worker->since_ms;
    }
    pthread_mutex_unlock(&worker->mutex);
    return request != NULL;
}

static void refuse_unloaded(struct worker *worker, struct request *request)
{
    struct supervisor *supervisor = worker->pool->supervisor;
    request_log(request, "503: what it needs has not been loaded: see the errors above");
    request->response.retry_after_s = supervisor_seconds_to_attempt(supervisor);
    send_page(request, "503 Service Unavailable",
              "The application is not ready. Please try again.\n");
}

static bool is_loaded(struct worker_pool *pool, const struct path_route *route)
{
    return atomic_load(&pool->loaded) >> route->application & 1;
}

static void serve(struct worker *worker, struct request *request)
{
    if (!is_loaded(worker->pool, request->route)) {
        refuse_unloaded(worker, request);
        return;
    }
    begin_serving(worker, request);
    py_wsgi_serve(worker, request);
    end_serving(worker);
    const struct response *response = &request->response;
    const char *wrong = NULL;
    if (response->excess_bytes > 0)
        wrong = "the application sent more than its Content-Length: the rest was held back";
    else if (!response->is_peer_gone && !response->is_abandoned && !response->is_failed &&
             response_is_short(request))
        wrong = "the application sent less than its Content-Length: the connection is closed";
    if (wrong != NULL) {
        py_wsgi_let_go(worker);
        request_log(request, wrong);
    }
}

void worker_serve(struct worker *worker, struct request *request)
{
    request->worker = worker;
    if (!refuse_request(worker, request))
        serve(worker, request);
}

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
        py_wsgi_let_go(worker);
        log_warning("connection closed: %s", refusal);
    }
    if (connection->request != NULL) {
        connection->request->ops->release(connection->request);
        worker_give_request(worker, connection->request);
    }
    poller_close(worker->pool->poller, connection);
}

/* Its request came before what it needs was loaded, and may wait without a thread. */
static bool must_park(struct worker_pool *pool, struct connection *connection)
{
    if (is_loaded(pool, connection->request->route) || pool->config->request_wait_ms == 0 ||
        atomic_load(&pool->poller->is_draining))
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
    if (is_loaded(pool, route) || atomic_load(&pool->poller->is_draining))
        poller_unpark(pool->poller);
}

static void serve_connection(struct worker *worker, struct connection *connection)
{
    enum connection_step step = connection_advance(worker, connection);
    while (step == CONNECTION_READY) {
        struct request *request = connection->request;
        request->worker = worker;
        if (!refuse_request(worker, request)) {
            if (must_park(worker->pool, connection)) {
                park(worker, connection);
                return;
            }
            serve(worker, request);
        }
        connection->park_end_ms = 0;
        if (worker->has_turn)
            turn_offer(&worker->pool->turn, worker->number); /* much of the body may be left */
        step = connection_finish_request(worker, connection);
        if (step == CONNECTION_READY)
            py_wsgi_let_go(worker);
    }
    uint64_t deadline_ms = next_deadline(connection, worker->pool->config->io_timeout_ms);
    if (step == CONNECTION_CLOSE || poller_watch(worker->pool->poller, connection, deadline_ms) < 0)
        close_connection(worker, connection);
    py_wsgi_let_go(worker);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct worker_pool *pool = worker->pool;
    char name[16];
    snprintf(name, sizeof(name), "fcgihost-%u", worker->number % 1000);
    pthread_setname_np(pthread_self(), name);
    if (py_wsgi_enter_thread(worker) < 0) {
        log_error("worker %u: no Python thread state: out of memory", worker->number);
        atomic_fetch_sub(&pool->running, 1);
        return NULL;
    }
    struct connection *connection;
    do {
        take_turn(worker);
        connection = poller_next(pool->poller);
        if (connection != NULL)
            serve_connection(worker, connection);
    } while (connection != NULL);
    worker_pass_turn(worker);
    py_wsgi_leave_thread(worker);
    atomic_fetch_sub(&pool->running, 1);
    return NULL;
}

static int start_worker(struct worker *worker)
{
    size_t head_bytes = worker->pool->config->request_head_bytes;
    worker->buffer_bytes = head_bytes + REQUEST_PREFETCH_BYTES + BUFFER_SLACK_BYTES;
    worker->buffer = malloc(worker->buffer_bytes);
    if (worker->buffer == NULL)
        return -1;
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error != 0) {
        errno = error;
        return -1;
    }
    atomic_fetch_add(&worker->pool->running, 1);
    return 0;
}

int worker_pool_start(struct worker_pool *pool)
{
    const struct config *config = pool->config;
    pool->gate_limits = (struct gate_limits){.head_bytes = config->request_head_bytes,
                                             .max_connections = config->backlog,
                                             .roles = pool->routes.role_bits};
    turn_init(&pool->turn);
    pool->workers = calloc(config->threads, sizeof(*pool->workers));
    if (pool->workers == NULL)
        return -1;
    for (unsigned i = 0; i < config->threads; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->number = i + 1;
        pthread_mutex_init(&worker->mutex, NULL);
        if (start_worker(worker) < 0)
            return -1;
        pool->count++;
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
    for (unsigned i = 0; i < pool->count; i++) {
        struct worker *worker = &pool->workers[i];
        pthread_join(worker->thread, NULL);
        free(worker->buffer);
        request_free(worker->spare);
    }
    /* The workers stay: who asks what they do may come until Python's end. */
    route_table_clear(&pool->routes);
    turn_destroy(&pool->turn);
    return true;
}
