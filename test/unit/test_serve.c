/* What serves one request: the host's own answers, and the call of the application with what is
 * counted, shown and logged around it. What it calls only writes down that it was called.
 *
 * links: serve.c error_page.c */
#include "unit.h"

#include <errno.h>

#include "http/error_page.h"
#include "http/meta_variables.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_log.h"
#include "serve/serve.h"
#include "status/endpoints.h"

uint64_t request_hash_keys[REQUEST_HASH_KEYS];

static struct config config;
static struct route_table routes;
static struct readiness readiness;
static struct activity activity;
static struct request request;
static struct server server;
static const struct path_route route;
static atomic_ullong requests;
static enum meta_result prepared;         /* what meta_prepare says */
static const struct path_routes *used;    /* those it was given */
static bool asks_authorizer, is_status;   /* the request is for an authorizer, for the status */
static bool is_short, is_application_500; /* what the application does */
static enum py_wsgi_outcome outcome;
static const char *parameters[8]; /* names and values in turn */
static char told[1024];

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, "|", sizeof(told) - strlen(told) - 1);
}

static void expect_told(const char *expected)
{
    assert_string_equal(told, expected);
    told[0] = '\0';
}

/* Fakes */

const struct param *request_find_hashed(const struct request *asked, const char *name,
                                        size_t name_bytes, uint32_t hash)
{
    static struct param param;
    (void)asked, (void)name_bytes, (void)hash;
    for (size_t i = 0; i + 1 < COUNT(parameters) && parameters[i] != NULL; i += 2)
        if (strcmp(parameters[i], name) == 0) {
            param = (struct param){.name = name, .value = parameters[i + 1]};
            return &param;
        }
    return NULL;
}

const char *request_id(struct request *identified)
{
    (void)identified;
    tell("id");
    return "1";
}

bool endpoints_for_host(const struct config *asked, struct request *answered)
{
    assert_ptr_equal(asked, &config);
    (void)answered;
    return is_status;
}

enum meta_result meta_prepare(struct request *read, const struct path_routes *given)
{
    used = given;
    if (prepared == META_FINE)
        read->route = &route;
    return prepared;
}

bool meta_asks_authorizer(const struct request *asked)
{
    (void)asked;
    return asks_authorizer;
}

void turn_policy_pass(struct turn_policy_runner *runner)
{
    assert_ptr_equal(runner, &server.runner);
    tell("pass");
}

int reply_send_page(struct request *answered, const char *status, const char *text)
{
    answered->response.status = atoi(status);
    answered->response.is_hosts_own = true;
    tell(text);
    return 0;
}

bool reply_is_short(const struct request *asked)
{
    (void)asked;
    return is_short;
}

void request_log(struct request *logged, const char *event, const char *text)
{
    (void)logged;
    tell(event);
    tell(text);
}

void request_log_refusal(struct request *logged, const char *event, const char *text)
{
    (void)logged;
    tell(event);
    tell(text);
}

void readiness_wake(const struct readiness *woken)
{
    assert_ptr_equal(woken, &readiness);
    tell("wake");
}

unsigned readiness_seconds_to_attempt(const struct readiness *asked)
{
    assert_ptr_equal(asked, &readiness);
    return 7;
}

void activity_begin(struct activity *begun, struct request *served)
{
    assert_ptr_equal(begun, &activity);
    assert_ptr_equal(served, &request);
    tell("begin");
}

void activity_end_application(struct activity *ended)
{
    assert_ptr_equal(ended, &activity);
    tell("end-application");
}

void activity_end(struct activity *ended)
{
    assert_ptr_equal(ended, &activity);
    tell("end");
}

enum py_wsgi_outcome py_wsgi_serve(struct python_thread *thread, struct turn_policy_runner *runner,
                                   struct request *served)
{
    (void)thread;
    tell("application");
    runner->application_began_us = 4711;
    served->response.status = is_application_500 ? 500 : 200;
    return outcome;
}

void py_wsgi_release_gil(struct python_thread *thread)
{
    (void)thread;
    tell("release-gil");
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&request, 0, sizeof(request));
    memset(parameters, 0, sizeof(parameters));
    atomic_store(&requests, 0);
    request.role = ROLE_RESPONDER;
    server = (struct server){.config = &config,
                             .routes = &routes,
                             .readiness = &readiness,
                             .activity = &activity,
                             .requests = &requests};
    prepared = META_FINE;
    used = NULL;
    asks_authorizer = is_status = is_short = is_application_500 = false;
    outcome = PY_WSGI_SERVED;
    told[0] = '\0';
    return 0;
}

static void set_parameter(size_t place, const char *name, const char *value)
{
    parameters[2 * place] = name;
    parameters[2 * place + 1] = value;
}

static void test_a_request_for_an_application_is_not_refused(void **state)
{
    (void)state;
    assert_false(serve_refuse(&server, &request));
    assert_ptr_equal(request.route, &route);
    assert_ptr_equal(used, &routes.roles[ROLE_RESPONDER]);
    expect_told("");
}

static void test_a_request_that_was_parked_keeps_the_route_it_had(void **state)
{
    (void)state;
    request.route = &route;
    is_status = true;
    prepared = META_NOT_MOUNTED;
    assert_false(serve_refuse(&server, &request));
    assert_null(used);
}

static void test_the_status_comes_before_any_route(void **state)
{
    (void)state;
    is_status = true;
    assert_true(serve_refuse(&server, &request));
    assert_null(used);
}

static void test_plain_cgi_has_no_status(void **state)
{
    (void)state;
    server.config = NULL;
    is_status = true;
    assert_false(serve_refuse(&server, &request));
}

/* A request of another role must not get the page of a responder that happens to be mounted. */
static void test_a_question_for_an_authorizer_is_asked_of_authorizers_alone(void **state)
{
    (void)state;
    asks_authorizer = true;
    assert_false(serve_refuse(&server, &request));
    assert_true(request.is_question);
    assert_int_equal(request.role, ROLE_AUTHORIZER);
    assert_ptr_equal(used, &routes.roles[ROLE_AUTHORIZER]);
}

/* 404 would read as "no such page", and nginx's auth_request would answer 500. */
static void test_a_question_without_an_authorizer_is_forbidden_and_says_what_to_set(void **state)
{
    (void)state;
    asks_authorizer = true;
    prepared = META_NOT_MOUNTED;
    set_parameter(0, "SCRIPT_NAME", "/auth");
    set_parameter(1, "PATH_INFO", "/x");
    assert_true(serve_refuse(&server, &request));
    expect_told("authorizer-missing|403: the web server asks for an authorizer (FCGI_ROLE) at "
                "/auth/x, where none is mounted: set that path as mount in the [application] "
                "section of the authorizer|pass|No authorizer is configured for this path.\n|");
    assert_int_equal(request.response.status, 403);
}

static void
test_the_message_about_an_authorizer_takes_the_document_uri_where_no_path_came(void **state)
{
    (void)state;
    asks_authorizer = true;
    prepared = META_NOT_MOUNTED;
    set_parameter(0, "DOCUMENT_URI", "/doc");
    assert_true(serve_refuse(&server, &request));
    assert_non_null(strstr(told, "at /doc, where"));
}

static void test_paths_of_any_length_fit_the_message_about_an_authorizer(void **state)
{
    (void)state;
    static char path[4096];
    memset(path, 'a', sizeof(path) - 1);
    asks_authorizer = true;
    prepared = META_NOT_MOUNTED;
    set_parameter(0, "SCRIPT_NAME", path);
    set_parameter(1, "PATH_INFO", path);
    assert_true(serve_refuse(&server, &request));
    assert_non_null(strstr(told, "section of the authorizer|"));
}

static void test_what_can_not_be_served_is_answered_with_its_page(void **state)
{
    (void)state;
    static const struct {
        enum meta_result prepared;
        int status;
        const char *event;
        bool must_close;
    } rows[] = {
        {META_NOT_MOUNTED, 404, "path-not-mounted|", false},
        {META_BAD_LENGTH, 400, "request-bad-length|", true}, /* where its body ends is unknown */
        {META_TOO_LARGE, 413, "request-body-too-large|", false},
        {META_NO_MEMORY, 500, "", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        set_up(NULL);
        prepared = rows[i].prepared;
        assert_true(serve_refuse(&server, &request));
        assert_int_equal(request.response.status, rows[i].status);
        assert_int_equal(request.must_close, rows[i].must_close);
        assert_memory_equal(told, rows[i].event, strlen(rows[i].event));
        assert_non_null(strstr(told, "pass|")); /* the peer may read slowly: others go on */
    }
}

static void test_a_request_without_parameters_is_the_web_servers_fault(void **state)
{
    (void)state;
    prepared = META_NO_METHOD;
    assert_true(serve_refuse(&server, &request));
    assert_int_equal(request.response.status, 500);
    assert_non_null(strstr(told, "include fastcgi_params"));
}

static void test_a_request_with_an_empty_method_is_the_clients_fault(void **state)
{
    (void)state;
    prepared = META_NO_METHOD;
    set_parameter(0, "REQUEST_METHOD", "");
    assert_true(serve_refuse(&server, &request));
    assert_int_equal(request.response.status, 400);
}

static void test_a_body_that_could_not_be_received_is_answered_without_the_application(void **state)
{
    (void)state;
    static const struct {
        enum body_failure failure;
        int number, status;
        const char *reason;
    } rows[] = {
        {BODY_TOO_LARGE, 0, 413, "413: its body is larger than [limits] request_body|"},
        {BODY_HAS_NO_ROOM, ENOSPC, 503, "in a temporary file: no space left ("},
        {BODY_HAS_NO_ROOM, EACCES, 503, "in a temporary file: Permission denied ("},
        {BODY_WAS_CUT, ECONNRESET, 400, "400: its body was cut short|"},
        {BODY_WAS_CUT, ETIMEDOUT, 400, "400: its body did not arrive within [limits] io_timeout"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        set_up(NULL);
        request.body_failure = rows[i].failure;
        request.body_errno = rows[i].number;
        assert_true(serve_refuse(&server, &request));
        assert_int_equal(request.response.status, rows[i].status);
        assert_non_null(strstr(told, rows[i].reason));
    }
}

static void test_an_application_that_is_not_loaded_is_tried_again_when_it_may_be(void **state)
{
    (void)state;
    serve_refuse_unloaded(&server, &request);
    assert_int_equal(request.response.status, 503);
    assert_int_equal(request.response.retry_after_s, 7);
}

static void test_who_waited_too_long_is_to_come_again_after_as_long_rounded_up(void **state)
{
    (void)state;
    serve_refuse_late(&server, &request, 1001);
    assert_int_equal(request.response.status, 503);
    assert_int_equal(request.response.retry_after_s, 2);
    serve_refuse_late(&server, &request, 1000);
    assert_int_equal(request.response.retry_after_s, 1);
}

/* Other threads log the identifier as soon as they see the request. */
static void test_a_request_is_identified_then_shown_then_served(void **state)
{
    (void)state;
    assert_int_equal(serve_request(&server, &request), PY_WSGI_SERVED);
    expect_told("id|begin|application|end|");
    assert_int_equal(atomic_load(&requests), 1);
    assert_int_equal(request.times.begun_us, 4711);
}

static void test_the_supervisor_is_woken_once_by_the_last_request_of_its_limit(void **state)
{
    (void)state;
    server.request_limit = 2;
    serve_request(&server, &request);
    assert_null(strstr(told, "wake"));
    serve_request(&server, &request);
    assert_non_null(strstr(told, "wake"));
    told[0] = '\0';
    serve_request(&server, &request);
    assert_null(strstr(told, "wake"));
}

static void test_where_nothing_is_counted_requests_are_served(void **state)
{
    (void)state;
    server.requests = NULL;
    assert_int_equal(serve_request(&server, &request), PY_WSGI_SERVED);
    outcome = PY_WSGI_WITHDRAWN;
    assert_int_equal(serve_request(&server, &request), PY_WSGI_WITHDRAWN);
}

static void test_a_request_that_was_withdrawn_is_not_counted_and_not_touched(void **state)
{
    (void)state;
    outcome = PY_WSGI_WITHDRAWN;
    is_short = is_application_500 = true;
    assert_int_equal(serve_request(&server, &request), PY_WSGI_WITHDRAWN);
    expect_told("id|begin|application|end-application|"); /* the watch has called activity_end */
    assert_int_equal(atomic_load(&requests), 0);
    assert_int_equal(request.times.begun_us, 0);
}

static void test_who_finds_nothing_to_log_keeps_the_gil_that_the_application_left(void **state)
{
    (void)state;
    outcome = PY_WSGI_SERVED_WITH_GIL;
    assert_int_equal(serve_request(&server, &request), PY_WSGI_SERVED_WITH_GIL);
    expect_told("id|begin|application|end|");
}

/* No line is written while the GIL is held. */
static void test_the_gil_is_released_before_anything_is_logged(void **state)
{
    (void)state;
    outcome = PY_WSGI_SERVED_WITH_GIL;
    is_application_500 = true;
    assert_int_equal(serve_request(&server, &request), PY_WSGI_SERVED);
    expect_told("id|begin|application|end|release-gil|response-error|500: returned by the "
                "application|");
}

static void test_an_error_page_of_the_host_is_not_blamed_on_the_application(void **state)
{
    (void)state;
    is_application_500 = true;
    request.response.is_hosts_own = true;
    serve_request(&server, &request);
    expect_told("id|begin|application|end|");
}

static void test_a_response_of_the_wrong_length_is_logged(void **state)
{
    (void)state;
    request.response.excess_bytes = 1;
    serve_request(&server, &request);
    assert_non_null(strstr(told, "response-length-wrong|the application sent more"));
    set_up(NULL);
    is_short = true;
    serve_request(&server, &request);
    assert_non_null(strstr(told, "response-length-wrong|the application sent less"));
}

static void test_a_short_response_has_another_cause_if_peer_or_application_broke_off(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        set_up(NULL);
        is_short = true;
        request.response.is_peer_gone = i == 0;
        request.response.is_abandoned = i == 1;
        request.response.is_failed = i == 2;
        serve_request(&server, &request);
        expect_told("id|begin|application|end|");
    }
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_for_an_application_is_not_refused),
        TEST(test_a_request_that_was_parked_keeps_the_route_it_had),
        TEST(test_the_status_comes_before_any_route),
        TEST(test_plain_cgi_has_no_status),
        TEST(test_a_question_for_an_authorizer_is_asked_of_authorizers_alone),
        TEST(test_a_question_without_an_authorizer_is_forbidden_and_says_what_to_set),
        TEST(test_the_message_about_an_authorizer_takes_the_document_uri_where_no_path_came),
        TEST(test_paths_of_any_length_fit_the_message_about_an_authorizer),
        TEST(test_what_can_not_be_served_is_answered_with_its_page),
        TEST(test_a_request_without_parameters_is_the_web_servers_fault),
        TEST(test_a_request_with_an_empty_method_is_the_clients_fault),
        TEST(test_a_body_that_could_not_be_received_is_answered_without_the_application),
        TEST(test_an_application_that_is_not_loaded_is_tried_again_when_it_may_be),
        TEST(test_who_waited_too_long_is_to_come_again_after_as_long_rounded_up),
        TEST(test_a_request_is_identified_then_shown_then_served),
        TEST(test_the_supervisor_is_woken_once_by_the_last_request_of_its_limit),
        TEST(test_where_nothing_is_counted_requests_are_served),
        TEST(test_a_request_that_was_withdrawn_is_not_counted_and_not_touched),
        TEST(test_who_finds_nothing_to_log_keeps_the_gil_that_the_application_left),
        TEST(test_the_gil_is_released_before_anything_is_logged),
        TEST(test_an_error_page_of_the_host_is_not_blamed_on_the_application),
        TEST(test_a_response_of_the_wrong_length_is_logged),
        TEST(test_a_short_response_has_another_cause_if_peer_or_application_broke_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
