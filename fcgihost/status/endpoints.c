/* Answers requests for the status and the ping. */
#include "status/endpoints.h"

#include "config/config.h"
#include "http/path_info.h"
#include "http/reply.h"
#include "http/request.h"
#include "status/collector.h"
#include "status/formats.h"
#include "status/identity.h"
#include "status/worker_socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct format {
    const char *name, *content_type;
    void (*write)(struct strbuf *text, const struct figures *figures);
};

static const struct format formats[] = {
    {"html", "text/html; charset=utf-8", format_page},
    {"json", "application/json", format_json},
    {"prometheus", "text/plain; version=0.0.4; charset=utf-8", format_prometheus},
    {"text", "text/plain; charset=utf-8", format_plain},
};

enum { FORMAT_HTML, FORMAT_JSON, FORMAT_PROMETHEUS, FORMAT_TEXT, FORMAT_COUNT };

static const struct endpoints_reload *the_reload;

void endpoints_use_reload(const struct endpoints_reload *reload)
{
    the_reload = reload;
}

static bool is_worker;

void endpoints_as_worker(bool is_it)
{
    is_worker = is_it;
}

static void add_header(struct response *response, const char *name, const char *value)
{
    response_add_header(response, name, strlen(name), value, strlen(value));
}

static void send_body(struct request *request, const char *status, const char *content_type,
                      const char *body, size_t n)
{
    struct response *response = &request->response;
    char length[24];
    snprintf(length, sizeof(length), "%zu", n);
    response_set_status(response, status, strlen(status));
    add_header(response, "Content-Type", content_type);
    add_header(response, "Content-Length", length);
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    if (content_type == formats[FORMAT_HTML].content_type)
        add_header(response, "Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                   "connect-src 'self'; img-src data:; frame-ancestors 'none'");
    if (response->status == 503)
        add_header(response, "Retry-After", "1");
    struct iovec piece = {.iov_base = (void *)(uintptr_t)body, .iov_len = n};
    reply_send_last(request, &piece, 1);
}

static void send_text(struct request *request, const char *status, const char *text)
{
    send_body(request, status, formats[FORMAT_TEXT].content_type, text, strlen(text));
}

/* "json" of "a=b&format=json". NULL: no such format. */
static const struct format *choose_format(const char *query, int by_default)
{
    for (const char *p = query; p != NULL && *p != '\0'; p += strcspn(p, "&"), p += *p == '&') {
        if (strncmp(p, "format=", 7) != 0)
            continue;
        size_t n = strcspn(p + 7, "&");
        for (int i = 0; i < FORMAT_COUNT; i++)
            if (strlen(formats[i].name) == n && memcmp(formats[i].name, p + 7, n) == 0)
                return &formats[i];
        return NULL;
    }
    return &formats[by_default];
}

/* What the manager says of all workers. false: it does not answer. */
static bool relay_status(struct request *request, const struct format *format)
{
    size_t bytes;
    char *body = is_worker ? worker_ask_manager(format->name, &bytes) : NULL;
    if (body == NULL)
        return false;
    send_body(request, "200 OK", format->content_type, body, bytes);
    free(body);
    return true;
}

static void send_status(struct request *request, int by_default)
{
    const struct format *format = choose_format(request_value(request, "QUERY_STRING"), by_default);
    if (format == NULL) {
        send_text(request, "400 Bad Request", "format is html, json, prometheus or text\n");
        return;
    }
    if (relay_status(request, format))
        return;
    struct figures *figures = collect_figures();
    struct strbuf text = {0};
    if (figures != NULL)
        format->write(&text, figures);
    if (figures == NULL || text.has_failed)
        send_text(request, "500 Internal Server Error", "Out of memory.\n");
    else
        send_body(request, "200 OK", format->content_type, text.data, text.used);
    strbuf_clear(&text);
    figures_free(figures);
}

/* "import shop.database: attempt 3 failed". No error: whoever may ping may be anybody. */
static void describe_missing(char *text, size_t text_bytes)
{
    struct figures *figures = collect_figures();
    struct program_figures missing;
    text[0] = '\0';
    if (figures != NULL && figures_missing(figures, &missing)) {
        if (missing.state == PROGRAM_FAILED)
            snprintf(text, text_bytes, ": %s: attempt %u failed", missing.name, missing.attempts);
        else
            snprintf(text, text_bytes, ": %s is being loaded", missing.name);
    }
    figures_free(figures);
}

static void send_ping(struct request *request)
{
    char reason[sizeof(((struct program_figures *)NULL)->name) + 64] = "",
                                                                 text[sizeof(reason) + 16];
    const char *state = collector_state();
    if (strcmp(state, "serving") == 0) {
        send_text(request, "200 OK", "pong\n");
        return;
    }
    if (strcmp(state, "starting") == 0)
        describe_missing(reason, sizeof(reason));
    snprintf(text, sizeof(text), "%s%s\n", state, reason);
    send_text(request, "503 Service Unavailable", text);
}

/* A worker's, for its manager. */
static void send_figures(struct request *request)
{
    struct process_figures *process = collect_process();
    if (process == NULL)
        send_text(request, "500 Internal Server Error", "Out of memory.\n");
    else
        send_body(request, "200 OK", "application/octet-stream", (const char *)process,
                  worker_figures_bytes(process));
    free(process);
}

static bool is_refused_method(struct request *request)
{
    const char *method = request_value(request, "REQUEST_METHOD");
    request->is_head = method != NULL && strcmp(method, "HEAD") == 0;
    if (method != NULL && (request->is_head || strcmp(method, "GET") == 0))
        return false;
    send_text(request, "405 Method Not Allowed", "Only GET and HEAD are answered here.\n");
    return true;
}

/* The whole path, decoded; in the request's arena. NULL: there is none, or out of memory. */
static const char *find_path(struct request *request)
{
    const char *uri = request_value(request, "REQUEST_URI");
    if (uri == NULL)
        uri = request_value(request, "DOCUMENT_URI");
    char *path = uri != NULL ? arena_alloc(&request->arena, strlen(uri) + 1) : NULL;
    if (path != NULL && path_info_decode_uri(uri, path))
        return path;
    const char *script_name = request_value(request, "SCRIPT_NAME"),
               *path_info = request_value(request, "PATH_INFO");
    size_t n = (script_name != NULL ? strlen(script_name) : 0) +
               (path_info != NULL ? strlen(path_info) : 0) + 1;
    path = arena_alloc(&request->arena, n);
    if (path != NULL)
        snprintf(path, n, "%s%s", script_name != NULL ? script_name : "",
                 path_info != NULL ? path_info : "");
    return path;
}

static bool is_path(const char *path, const char *configured)
{
    return configured != NULL && path != NULL && strcmp(path, configured) == 0;
}

bool endpoints_for_host(const struct config *config, struct request *request)
{
    if (config->status_path == NULL && config->status_ping == NULL)
        return false;
    const char *path = find_path(request);
    bool is_ping = is_path(path, config->status_ping);
    if (!is_ping && !is_path(path, config->status_path))
        return false;
    if (is_refused_method(request))
        return true;
    if (is_ping)
        send_ping(request);
    else
        send_status(request, FORMAT_HTML);
    return true;
}

/* "/reload" asks, and "/reload?3" how the one with that number ended. */
static void send_reload(struct request *request)
{
    static const char *const words[] = {"running", "done", "failed", "unknown"};
    const char *method = request_value(request, "REQUEST_METHOD"),
               *query = request_value(request, "QUERY_STRING");
    char text[700], reason[600] = "";
    if (the_reload == NULL) {
        send_text(request, "409 Conflict", "This host has no manager.\n");
        return;
    }
    if (method != NULL && strcmp(method, "POST") == 0) {
        snprintf(text, sizeof(text), "%u\n", the_reload->ask());
    } else {
        unsigned number = query != NULL ? (unsigned)strtoul(query, NULL, 10) : 0;
        enum reload_state state = the_reload->get(number, reason, sizeof(reason));
        snprintf(text, sizeof(text), "%s %s\n", words[state], reason);
    }
    send_text(request, "200 OK", text);
}

void endpoints_always(const struct endpoints_paths *paths, struct request *request, bool is_control)
{
    const char *path = find_path(request);
    if (is_control && is_path(path, "/reload")) {
        send_reload(request);
        return;
    }
    if (is_refused_method(request))
        return;
    if (is_path(path, paths->ping) || is_path(path, "/ping"))
        send_ping(request);
    else if (is_path(path, paths->status) || is_path(path, "/"))
        send_status(request, FORMAT_HTML);
    else if (is_path(path, "/metrics"))
        send_status(request, FORMAT_PROMETHEUS);
    else if (is_control && is_path(path, "/figures"))
        send_figures(request);
    else if (is_control && is_path(path, "/host"))
        send_text(request, "200 OK", identity_text());
    else
        send_text(request, "404 Not Found", "The status is at /, the ping at /ping.\n");
}
