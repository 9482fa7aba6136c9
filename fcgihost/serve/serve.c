/* Serves one request: by the host itself, or through the application. */
#include "serve/serve.h"

#include "http/meta_variables.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_id.h"
#include "http/request_log.h"
#include "protocol/record.h"
#include "status/endpoints.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The peer may read slowly: lets another thread wait for requests. */
static void send_page(struct server *server, struct request *request, enum error_page page)
{
    turn_policy_pass(&server->runner);
    reply_send_error_page(request, page);
}

static void refuse_unmounted(struct server *server, struct request *request)
{
    const char *script_name = request_value(request, "SCRIPT_NAME"),
               *path_info = request_value(request, "PATH_INFO"),
               *document_uri = request_value(request, "DOCUMENT_URI");
    char reason[640];
    if (!request->is_question) {
        request_log_refusal(request, "path-not-mounted",
                            "404: no [application] mount matches the path");
        send_page(server, request, ERROR_PAGE_NOT_MOUNTED);
        return;
    }
    if (script_name == NULL && path_info == NULL)
        script_name = document_uri;
    snprintf(
        reason, sizeof(reason),
        "403: the web server asks for an authorizer (FCGI_ROLE) at %.200s%.200s, where none is "
        "mounted: set that path as mount in the [application] section of the authorizer",
        script_name != NULL ? script_name : "", path_info != NULL ? path_info : "");
    request_log_refusal(request, "authorizer-missing", reason);
    send_page(server, request, ERROR_PAGE_NO_AUTHORIZER);
}

static void refuse_too_large(struct server *server, struct request *request)
{
    request_log_refusal(request, "request-body-too-large",
                        "413: its body is larger than [limits] request_body");
    send_page(server, request, ERROR_PAGE_BODY_TOO_LARGE);
}

static const struct path_routes *find_routes(const struct server *server, struct request *request)
{
    if (meta_asks_authorizer(request)) {
        request->role = ROLE_AUTHORIZER;
        request->is_question = true;
    }
    return &server->routes->roles[request->role];
}

/* Answers a request whose body could not be received. Always true. */
static bool refuse_body(struct server *server, struct request *request)
{
    if (request->body_failure == BODY_TOO_LARGE) {
        refuse_too_large(server, request);
    } else if (request->body_failure == BODY_HAS_NO_ROOM) {
        char reason[256];
        snprintf(reason, sizeof(reason),
                 "503: no room for its body in a temporary file: %s ([server] temporary, [limits] "
                 "temporary_space)",
                 request->body_errno == ENOSPC ? "no space left" : strerror(request->body_errno));
        request_log_refusal(request, "request-body-no-room", reason);
        send_page(server, request, ERROR_PAGE_NO_ROOM);
    } else {
        request_log_refusal(request, "request-body-cut",
                            request->is_aborted
                                ? "400: the web server aborted it before its body had arrived"
                            : request->body_errno == ETIMEDOUT
                                ? "400: its body did not arrive within [limits] io_timeout, or "
                                  "more slowly than min_rate"
                                : "400: its body was cut short");
        send_page(server, request, ERROR_PAGE_BODY_CUT);
    }
    return true;
}

/* None at all is the web server's fault, an empty one the client's. */
static void refuse_without_method(struct server *server, struct request *request)
{
    if (request_value(request, "REQUEST_METHOD") != NULL) {
        request_log_refusal(request, "request-without-method", "400: REQUEST_METHOD is empty");
        send_page(server, request, ERROR_PAGE_NO_METHOD);
        return;
    }
    request_log_refusal(request, "request-without-method",
                        "no REQUEST_METHOD was sent: the web server passes no parameters (nginx "
                        "needs `include fastcgi_params;`)");
    send_page(server, request, ERROR_PAGE_NO_PARAMETERS);
}

bool serve_refuse(struct server *server, struct request *request)
{
    if (request->route != NULL)
        return false; /* it was parked, after its route had been chosen */
    if (server->config != NULL && endpoints_for_host(server->config, request))
        return true;
    switch (meta_prepare(request, find_routes(server, request))) {
    case META_FINE:
        return request->body_failure != BODY_FINE && refuse_body(server, request);
    case META_NO_METHOD:
        refuse_without_method(server, request);
        return true;
    case META_BAD_LENGTH:
        request_log_refusal(request, "request-bad-length", "400: CONTENT_LENGTH is not a number");
        send_page(server, request, ERROR_PAGE_BAD_LENGTH);
        request->must_close = true;
        return true;
    case META_TOO_LARGE:
        refuse_too_large(server, request);
        return true;
    case META_NOT_MOUNTED:
        refuse_unmounted(server, request);
        return true;
    case META_NO_MEMORY:
        break;
    }
    send_page(server, request, ERROR_PAGE_NO_MEMORY);
    return true;
}

/* For [limits] requests, which counts requests as they begin. */
static void count(struct server *server)
{
    if (server->requests == NULL)
        return;
    unsigned long long number = atomic_fetch_add(server->requests, 1) + 1;
    if (number == server->request_limit)
        readiness_wake(server->readiness);
}

void serve_refuse_unloaded(struct server *server, struct request *request)
{
    request_log(request, "application-not-loaded",
                "503: its application has not been loaded: see the errors above");
    request->response.retry_after_s = readiness_seconds_to_attempt(server->readiness);
    send_page(server, request, ERROR_PAGE_NOT_LOADED);
}

void serve_refuse_late(struct server *server, struct request *request, uint64_t queue_time_ms)
{
    request_log_refusal(request, "request-waited-too-long",
                        "503: it waited for a thread for longer than [limits] queue_time");
    request->response.retry_after_s = (unsigned)((queue_time_ms + 999) / 1000);
    send_page(server, request, ERROR_PAGE_WAITED_TOO_LONG);
}

/* What to log about a request that has been answered; NULL: nothing. */
static const char *find_fault(const struct request *request)
{
    const struct response *response = &request->response;
    if (response->excess_bytes > 0)
        return "the application sent more than its Content-Length: the rest was dropped";
    if (!response->is_peer_gone && !response->is_abandoned && !response->is_failed &&
        reply_is_short(request))
        return "the application sent less than its Content-Length: the connection is closed";
    return NULL;
}

static void log_own_error(struct request *request)
{
    char text[64];
    snprintf(text, sizeof(text), "%d: returned by the application", request->response.status);
    request_log(request, "response-error", text);
}

enum py_wsgi_outcome serve_request(struct server *server, struct request *request)
{
    request_id(request); /* before other threads see the request */
    activity_begin(server->activity, request);
    count(server);
    enum py_wsgi_outcome outcome = py_wsgi_serve(server->python, &server->runner, request);
    if (outcome == PY_WSGI_WITHDRAWN) { /* the watch has withdrawn it, and called activity_end() */
        activity_end_application(server->activity); /* ends the wait for the GIL */
        if (server->requests != NULL)
            atomic_fetch_sub(server->requests, 1);
        return outcome;
    }
    activity_end(server->activity);
    request->times.begun_us = server->runner.application_began_us;
    const char *fault = find_fault(request);
    bool is_error = request->response.status >= 500 && !request->response.is_hosts_own;
    if (fault == NULL && !is_error)
        return outcome;
    py_wsgi_release_gil(server->python);
    if (fault != NULL)
        request_log(request, "response-length-wrong", fault);
    if (is_error)
        log_own_error(request);
    return PY_WSGI_SERVED;
}
