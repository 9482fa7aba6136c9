/* What a thread does with a connection's requests: poller, transport, Python and the host's own
 * answers only write down what they are asked.
 *
 * links: worker.c turn_policy.c turn.c activity.c counters.c scoreboard.c descriptors.c
 * readiness.c request_clock.c */
#include "unit.h"

#include <errno.h>

#include <stdarg.h>

#include "base/clock.h"
#include "base/log.h"
#include "embed/py_wsgi.h"
#include "http/request.h"
#include "http/request_log.h"
#include "serve/worker.h"

static struct config config;
static struct poller poller;
static struct readiness readiness;
static struct worker_pool pool;
static struct worker worker;
static struct connection connection;
static struct request request;
static struct path_route route;
static struct transport_ops transport;
/* What connection_advance and connection_finish_request say. */
static enum connection_step steps[4];
static unsigned step;
static enum py_wsgi_outcome outcome;
static enum connection_rest rest; /* of the response */
static bool is_refused;           /* by the host, without the application */
static bool is_withdrawn_meanwhile;
static bool was_gathered;        /* the last message: peers can cause it at will */
static unsigned comes_meanwhile; /* so often something comes before a connection is given back; … */
static bool comes_as_request;    /* … it is a request */
static bool others_wait;         /* in the queue */
static char told[512];

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
}

/* Fakes */

enum connection_step connection_advance(struct receiver *receiver, struct connection *advanced)
{
    (void)receiver;
    (void)advanced;
    return steps[step++];
}

enum connection_step connection_finish_request(struct receiver *receiver,
                                               struct connection *finished)
{
    (void)receiver;
    tell("finish");
    if (steps[step] != CONNECTION_READY)
        finished->request = NULL;
    return steps[step++];
}

enum connection_step connection_keep_request(struct connection *kept)
{
    (void)kept;
    tell("keep");
    return CONNECTION_WAIT;
}

bool connection_has_begun(const struct connection *asked)
{
    return asked->request != NULL;
}

int receiver_init(struct receiver *receiver)
{
    (void)receiver;
    return 0;
}

void receiver_clear(struct receiver *receiver)
{
    (void)receiver;
}

void receiver_give_request(struct receiver *receiver, struct request *given)
{
    (void)receiver;
    (void)given;
    tell("give-request");
}

int poller_watch(struct poller *asked, struct connection *watched, uint64_t deadline_ms)
{
    (void)asked;
    (void)watched;
    tell(deadline_ms == 0 ? "watch-idle" : "watch");
    if (comes_meanwhile == 0)
        return 0;
    comes_meanwhile--;
    watched->request = comes_as_request ? &request : NULL;
    return 1;
}

void poller_mute(struct poller *asked, struct connection *muted)
{
    (void)asked;
    (void)muted;
    tell("mute");
}

void poller_park(struct poller *asked, struct connection *parked)
{
    (void)asked;
    (void)parked;
    tell("park");
}

void poller_unpark(struct poller *asked)
{
    (void)asked;
    tell("unpark");
}

bool poller_has_ready(const struct poller *asked)
{
    (void)asked;
    return others_wait;
}

void poller_queue(struct poller *asked, struct connection *queued)
{
    (void)asked;
    (void)queued;
    tell("queue");
}

void poller_close(struct poller *asked, struct connection *closed)
{
    (void)asked;
    assert_null(closed->request); /* which may be another connection's by now */
    tell("close");
}

struct connection *poller_next(struct poller *asked)
{
    (void)asked;
    return NULL;
}

bool serve_refuse(struct server *server, struct request *refused)
{
    (void)server;
    refused->route = &route;
    refused->response.status = is_refused ? 404 : 0;
    return is_refused;
}

void serve_refuse_late(struct server *server, struct request *refused, uint64_t queue_time_ms)
{
    (void)server;
    assert_int_equal(queue_time_ms, config.queue_time_ms);
    refused->response.status = 503;
    tell("late");
}

void serve_refuse_unloaded(struct server *server, struct request *refused)
{
    (void)server;
    refused->response.status = 503;
    tell("unloaded");
}

enum py_wsgi_outcome serve_request(struct server *server, struct request *served)
{
    tell("serve");
    turn_policy_await_gil(&server->runner);
    if (is_withdrawn_meanwhile)
        assert_ptr_equal(worker_withdraw(&worker, UINT64_MAX), &connection);
    assert_int_equal(turn_policy_begin_application(&server->runner), !is_withdrawn_meanwhile);
    served->response.status = 200;
    return outcome;
}

struct python_thread *py_wsgi_enter_thread(struct activity *activity)
{
    (void)activity;
    return NULL;
}

void py_wsgi_leave_thread(struct python_thread *thread)
{
    (void)thread;
}

void py_wsgi_release_gil(struct python_thread *thread)
{
    (void)thread;
    tell("release-gil");
}

enum connection_rest connection_leave_rest(struct connection *left)
{
    (void)left;
    return rest;
}

void py_wsgi_end_sent(struct python_thread *thread, struct request *sent)
{
    (void)thread;
    sent->after = NULL;
    tell("end-sent");
}

bool request_has_peer_left(struct request *asked)
{
    (void)asked;
    return false;
}

void request_describe(const struct request *described, char *text, size_t text_bytes)
{
    (void)described;
    snprintf(text, text_bytes, "GET /");
}

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    (void)level;
    va_list arguments;
    char text[200];
    was_gathered = topic->is_gathered;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    tell(text);
}

void log_error(const char *event, const char *format, ...)
{
    (void)event;
    (void)format;
}

const char *request_id(struct request *identified)
{
    (void)identified;
    return "1";
}

void request_log(struct request *logged, const char *event, const char *what)
{
    (void)logged, (void)what;
    tell(event);
}

void request_log_refusal(struct request *logged, const char *event, const char *what)
{
    request_log(logged, event, what);
}

void request_log_end(struct request *ended)
{
    (void)ended;
    tell("log-end");
}

void request_log_access(struct request *answered, bool with_query)
{
    (void)answered;
    tell(with_query ? "access with query" : "access");
}

static void release(struct request *released)
{
    (void)released;
    tell("release");
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    config.request_wait_ms = 5000;
    config.io_timeout_ms = 60000;
    memset(&poller, 0, sizeof(poller));
    readiness = (struct readiness){.loaded = 1, .wake_fd = -1};
    memset(&pool, 0, sizeof(pool));
    pool.config = &config;
    pool.poller = &poller;
    pool.readiness = &readiness;
    turn_policy_init(&pool.pace);
    transport = (struct transport_ops){.release = release};
    memset(&request, 0, sizeof(request));
    request.ops = &transport;
    request.is_body_here = true;
    comes_meanwhile = 0;
    comes_as_request = true;
    others_wait = false;
    memset(&connection, 0, sizeof(connection));
    connection.request = &request;
    steps[0] = CONNECTION_READY;
    steps[1] = CONNECTION_WAIT;
    step = 0;
    outcome = PY_WSGI_SERVED;
    rest = CONNECTION_REST_NONE;
    is_refused = is_withdrawn_meanwhile = false;
    told[0] = '\0';
    if (activities_init(&pool.activities, 1) < 0)
        return -1;
    pool.activities.count = 1;
    return worker_init(&worker, &pool, 1, &pool.activities.items[0]) < 0 ||
           worker_init(&pool.watch, &pool, TURN_WATCH, NULL) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    worker_clear(&worker);
    worker_clear(&pool.watch);
    turn_policy_destroy(&pool.pace);
    free(pool.activities.items);
    return 0;
}

static void serve_by(struct worker *by, const char *expected)
{
    worker_serve(by, &connection);
    assert_string_equal(told, expected);
    assert_int_equal(atomic_load(&pool.activities.busy), 0);
}

static struct counters_totals get_totals(void)
{
    struct counters_totals totals;
    activities_sum(&pool.activities, &totals);
    return totals;
}

static void test_a_request_is_served_and_its_connection_watched_for_the_next(void **state)
{
    (void)state;
    connection.served = 1;
    serve_by(&worker, "serve finish watch-idle ");
    assert_int_equal(get_totals().by_class[1], 1);
    assert_int_equal(atomic_load(&pool.activities.busiest), 1);
}

static void test_requests_that_came_together_are_served_one_after_the_other(void **state)
{
    (void)state;
    connection.served = 1;
    steps[1] = CONNECTION_READY;
    steps[2] = CONNECTION_CLOSE;
    serve_by(&worker, "serve finish serve finish close ");
    assert_int_equal(get_totals().requests, 2);
}

static void test_a_gil_that_is_kept_is_released_before_the_next_request_and_at_the_end(void **state)
{
    (void)state;
    connection.served = 1;
    outcome = PY_WSGI_SERVED_WITH_GIL;
    steps[1] = CONNECTION_READY;
    steps[2] = CONNECTION_WAIT;
    serve_by(&worker, "serve finish release-gil serve finish watch-idle release-gil ");
}

static void test_the_access_log_is_written_without_the_gil(void **state)
{
    (void)state;
    connection.served = 1;
    config.log_access = true;
    outcome = PY_WSGI_SERVED_WITH_GIL;
    serve_by(&worker, "serve release-gil access finish watch-idle release-gil ");
}

static void test_requests_that_the_host_answers_itself_are_in_the_access_log(void **state)
{
    (void)state;
    connection.served = 1;
    config.log_access = config.log_access_query = true;
    is_refused = true;
    serve_by(&pool.watch, "access with query finish watch-idle ");
}

static void test_what_the_peer_does_not_take_leaves_the_thread_to_others(void **state)
{
    (void)state;
    rest = CONNECTION_REST_WAITS;
    request.after = &request;
    atomic_store(&request.outbox.is_used, true);
    config.log_access = true;
    serve_by(&worker, "serve ");
    assert_int_equal(get_totals().requests, 0); /* it has not left */
    assert_int_equal(atomic_load(&pool.activities.sending), 1);
}

static void test_once_the_rest_has_left_python_does_what_waited_for_that(void **state)
{
    (void)state;
    connection.served = 1;
    connection.is_sending = true;
    request.after = &request;
    steps[0] = CONNECTION_WAIT;
    config.log_access = true;
    atomic_store(&pool.activities.sending, 1);
    serve_by(&worker, "end-sent release-gil access watch ");
    assert_int_equal(get_totals().requests, 1);
    assert_int_equal(atomic_load(&pool.activities.sending), 0);
}

static void test_what_comes_while_it_served_is_served_as_well(void **state)
{
    (void)state;
    connection.served = 1;
    comes_meanwhile = 1;
    steps[2] = CONNECTION_READY;
    steps[3] = CONNECTION_WAIT;
    outcome = PY_WSGI_SERVED_WITH_GIL;
    serve_by(&worker, "serve finish watch-idle release-gil serve finish watch-idle release-gil ");
    assert_int_equal(get_totals().requests, 2);
}

static void test_what_comes_while_it_served_waits_behind_those_in_the_queue(void **state)
{
    (void)state;
    connection.served = 1;
    comes_meanwhile = 1;
    others_wait = true;
    serve_by(&worker, "serve finish watch-idle queue ");
}

static void test_a_hang_up_that_comes_while_it_served_closes_the_connection(void **state)
{
    (void)state;
    connection.served = 1;
    comes_meanwhile = 1;
    comes_as_request = false;
    steps[2] = CONNECTION_CLOSE;
    serve_by(&worker, "serve finish watch-idle close ");
}

static void test_while_a_body_is_streamed_its_connection_is_not_watched(void **state)
{
    (void)state;
    connection.served = 1;
    request.is_body_here = false;
    serve_by(&worker, "mute serve finish watch-idle ");
}

static void test_a_peer_that_was_given_up_is_told_of(void **state)
{
    (void)state;
    connection.is_sending = true;
    request.outbox.error = ETIMEDOUT;
    steps[0] = CONNECTION_WAIT;
    serve_by(&worker, "release-gil connection-closed watch ");
}

static void test_what_has_left_before_the_application_was_done_is_finished_at_once(void **state)
{
    (void)state;
    connection.served = 1;
    rest = CONNECTION_REST_SENT;
    request.after = &request;
    atomic_store(&request.outbox.is_used, true);
    serve_by(&worker, "serve end-sent watch ");
    assert_int_equal(get_totals().requests, 1);
    assert_int_equal(atomic_load(&pool.activities.sending), 0);
}

static void test_the_watch_leaves_what_python_has_to_do_to_a_thread(void **state)
{
    (void)state;
    connection.is_sending = true;
    request.after = &request;
    atomic_store(&pool.activities.sending, 1);
    serve_by(&pool.watch, "queue ");
    assert_int_equal(atomic_load(&pool.activities.sending), 1);
}

static void test_what_a_request_logged_beyond_its_limit_is_counted_at_its_end(void **state)
{
    (void)state;
    connection.served = 1;
    atomic_store(&request.logged_bytes, 1);
    serve_by(&worker, "serve release-gil log-end finish watch-idle ");
}

static void test_an_upload_that_the_stop_has_cut_off_is_not_answered(void **state)
{
    (void)state;
    connection.served = 1;
    request.body_failure = BODY_WAS_CUT;
    is_refused = true;
    config.log_access = true;
    atomic_store(&poller.is_cut, true);
    serve_by(&worker, "release-gil access finish watch-idle ");
    assert_int_equal(request.response.status, 0);
    assert_true(request.response.is_peer_gone);
}

static void test_half_a_request_waits_for_the_rest(void **state)
{
    (void)state;
    connection.request = NULL;
    steps[0] = CONNECTION_WAIT;
    serve_by(&worker, "watch ");
    assert_int_equal(get_totals().requests, 0);
}

static void test_what_the_host_answers_itself_does_not_reach_the_application(void **state)
{
    (void)state;
    connection.served = 1;
    is_refused = true;
    serve_by(&worker, "finish watch-idle ");
    assert_int_equal(get_totals().by_class[3], 1);
}

static void test_a_refused_connection_is_closed_and_the_log_says_why(void **state)
{
    (void)state;
    steps[0] = CONNECTION_CLOSE;
    connection.refusal = "it sent TLS";
    was_gathered = false;
    serve_by(&worker, "release-gil connection closed: it sent TLS release give-request close ");
    assert_true(was_gathered);
}

static void test_what_came_before_its_application_was_loaded_is_parked(void **state)
{
    (void)state;
    readiness.loaded = 0;
    serve_by(&worker, "keep park ");
    assert_true(connection.park_end_ms > 0);
    assert_int_equal(request.times.ready_us, 0); /* it does not wait for a thread */
}

static void test_what_has_been_parked_for_long_enough_is_refused(void **state)
{
    (void)state;
    readiness.loaded = 0;
    connection.park_end_ms = 1;
    connection.served = 1;
    serve_by(&worker, "unloaded finish watch-idle ");
    assert_int_equal(connection.park_end_ms, 0);
}

static void test_what_has_waited_for_longer_than_queue_time_is_refused(void **state)
{
    (void)state;
    connection.served = 1;
    config.queue_time_ms = 1;
    request.times.ready_us = clock_us() - 2000000;
    serve_by(&worker, "late finish watch-idle ");
    assert_int_equal(get_totals().by_class[4], 1);
    assert_true(get_totals().wait.sum_us >= 2000000);
}

static void test_without_queue_time_nothing_waits_for_too_long(void **state)
{
    (void)state;
    connection.served = 1;
    request.times.ready_us = 1;
    serve_by(&worker, "serve finish watch-idle ");
}

static void test_the_watch_queues_what_needs_the_application(void **state)
{
    (void)state;
    request.io_timeout_ms = config.io_timeout_ms;
    serve_by(&pool.watch, "keep queue ");
    assert_true(request.times.ready_us > 0);
    assert_int_equal(request.io_timeout_ms, config.io_timeout_ms);
    assert_int_equal(get_totals().requests, 0);
}

static void test_the_watch_answers_what_needs_none(void **state)
{
    (void)state;
    connection.served = 1;
    is_refused = true;
    serve_by(&pool.watch, "finish watch-idle ");
    assert_int_equal(get_totals().by_class[3], 1);
    assert_int_equal(atomic_load(&pool.activities.busiest), 0); /* it is no thread that serves */
}

static void test_the_watch_refuses_what_is_late_or_not_loaded(void **state)
{
    (void)state;
    connection.served = 1;
    config.queue_time_ms = 1;
    request.times.ready_us = 1;
    serve_by(&pool.watch, "late finish watch-idle ");
    told[0] = '\0';
    connection.request = &request;
    connection.park_end_ms = 1;
    readiness.loaded = 0;
    config.queue_time_ms = 0;
    step = 0;
    serve_by(&pool.watch, "unloaded finish watch-idle ");
}

static void test_a_request_that_is_withdrawn_is_no_longer_the_workers(void **state)
{
    (void)state;
    is_withdrawn_meanwhile = true;
    outcome = PY_WSGI_WITHDRAWN;
    serve_by(&worker, "serve keep ");
    assert_int_equal(get_totals().requests, 0);
}

static void test_only_what_waits_for_the_gil_for_too_long_can_be_withdrawn(void **state)
{
    (void)state;
    assert_null(worker_withdraw(&worker, UINT64_MAX));
    worker.entering = &connection;
    atomic_store(&worker.entering_ready_us, 1000);
    turn_policy_await_gil(&worker.server.runner);
    assert_null(worker_withdraw(&worker, 999));
    assert_ptr_equal(worker_withdraw(&worker, 1000), &connection);
    assert_null(worker_withdraw(&worker, 1000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_is_served_and_its_connection_watched_for_the_next),
        TEST(test_requests_that_came_together_are_served_one_after_the_other),
        TEST(test_the_access_log_is_written_without_the_gil),
        TEST(test_requests_that_the_host_answers_itself_are_in_the_access_log),
        TEST(test_a_gil_that_is_kept_is_released_before_the_next_request_and_at_the_end),
        TEST(test_what_the_peer_does_not_take_leaves_the_thread_to_others),
        TEST(test_once_the_rest_has_left_python_does_what_waited_for_that),
        TEST(test_what_comes_while_it_served_is_served_as_well),
        TEST(test_what_comes_while_it_served_waits_behind_those_in_the_queue),
        TEST(test_a_hang_up_that_comes_while_it_served_closes_the_connection),
        TEST(test_while_a_body_is_streamed_its_connection_is_not_watched),
        TEST(test_a_peer_that_was_given_up_is_told_of),
        TEST(test_what_has_left_before_the_application_was_done_is_finished_at_once),
        TEST(test_the_watch_leaves_what_python_has_to_do_to_a_thread),
        TEST(test_what_a_request_logged_beyond_its_limit_is_counted_at_its_end),
        TEST(test_an_upload_that_the_stop_has_cut_off_is_not_answered),
        TEST(test_half_a_request_waits_for_the_rest),
        TEST(test_what_the_host_answers_itself_does_not_reach_the_application),
        TEST(test_a_refused_connection_is_closed_and_the_log_says_why),
        TEST(test_what_came_before_its_application_was_loaded_is_parked),
        TEST(test_what_has_been_parked_for_long_enough_is_refused),
        TEST(test_what_has_waited_for_longer_than_queue_time_is_refused),
        TEST(test_without_queue_time_nothing_waits_for_too_long),
        TEST(test_the_watch_queues_what_needs_the_application),
        TEST(test_the_watch_answers_what_needs_none),
        TEST(test_the_watch_refuses_what_is_late_or_not_loaded),
        TEST(test_a_request_that_is_withdrawn_is_no_longer_the_workers),
        TEST(test_only_what_waits_for_the_gil_for_too_long_can_be_withdrawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
