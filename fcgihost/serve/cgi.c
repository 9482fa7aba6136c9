/* Plain CGI: one request, from variables and a descriptor; its response goes to another
 * descriptor. */
#include "serve/cgi.h"

#include "base/log.h"
#include "base/spool.h"
#include "config/config_places.h"
#include "embed/py_wsgi.h"
#include "http/meta_variables.h"
#include "http/request.h"
#include "http/request_log.h"
#include "http/route.h"
#include "serve/serve.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 << 10 };

struct cgi_state {
    int body_fd, response_fd;
    uint64_t body_left;
    bool may_wait; /* next_body waits whatever its deadline */
};

static struct cgi_state *state_of(struct request *request)
{
    return (struct cgi_state *)(void *)request->state;
}

static enum body_state cgi_next_body(struct request *request, uint64_t deadline_ms,
                                     const uint8_t **content, size_t *content_bytes)
{
    struct cgi_state *state = state_of(request);
    struct input *input = request->input;
    if (deadline_ms == 0 && !state->may_wait && input_available(input) == 0)
        return BODY_WAIT;
    if (state->body_fd < 0 || state->body_left == 0)
        return BODY_END;
    if (input_available(input) == 0) {
        size_t n = state->body_left < input->capacity ? (size_t)state->body_left : input->capacity;
        ssize_t got;
        do
            got = read(state->body_fd, input->data, n);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            return BODY_CUT;
        if (got == 0)
            return BODY_END;
        input->begin = 0;
        input->end = (size_t)got;
    }
    *content = input->data + input->begin;
    *content_bytes = input_available(input);
    return BODY_CONTENT;
}

static void cgi_take_body(struct request *request, size_t bytes)
{
    request->input->begin += bytes;
    state_of(request)->body_left -= bytes;
}

static int cgi_send(struct request *request, const struct iovec *pieces, size_t count, bool is_last)
{
    (void)is_last;
    if (request->send_wait != NULL)
        request->send_wait->before(request->send_wait); /* any write may block */
    for (size_t i = 0; i < count; i++) {
        const char *bytes = pieces[i].iov_base;
        size_t left = pieces[i].iov_len;
        while (left > 0) {
            ssize_t n = write(state_of(request)->response_fd, bytes, left);
            if (n < 0 && errno != EINTR)
                return -1;
            if (n > 0) {
                bytes += n;
                left -= (size_t)n;
            }
        }
    }
    return 0;
}

static int cgi_send_error(struct request *request, const char *text, size_t text_bytes)
{
    (void)request;
    (void)text;
    (void)text_bytes;
    return 0;
}

const struct transport_ops cgi_transport = {
    .name = "CGI",
    .next_body = cgi_next_body,
    .take_body = cgi_take_body,
    .send = cgi_send,
    .send_error = cgi_send_error,
};

static int add_variables(struct request *request, char *const *variables)
{
    for (; *variables != NULL; variables++) {
        const char *separator = strchr(*variables, '=');
        size_t n = separator != NULL ? (size_t)(separator - *variables) : 0;
        if (n == 0)
            continue;
        char *name = arena_alloc(&request->arena, n + 1);
        if (name == NULL)
            return -1;
        memcpy(name, *variables, n);
        name[n] = '\0';
        if (request_add_param(request, name, n, separator + 1, strlen(separator + 1)) < 0)
            return -1;
    }
    return 0;
}

static int serve(const struct route_table *routes, struct request *request)
{
    struct readiness readiness = {.loaded = ULLONG_MAX, .wake_fd = -1};
    struct activity activity;
    activity_init(&activity);
    struct turn_policy pace = {.weighted_us = 0}; /* no other thread wants the turn */
    struct server server = {.routes = routes,
                            .readiness = &readiness,
                            .activity = &activity,
                            .runner = {.pace = &pace, .number = 1},
                            .python = py_wsgi_enter_thread(&activity)};
    if (server.python == NULL)
        return -1;
    if (!serve_refuse(&server, request))
        serve_request(&server, request);
    py_wsgi_leave_thread(server.python);
    request_log_end(request);
    return request->response.is_head_sent ? request->response.status : -1;
}

/* As a server does before it gives a request a thread: an application that does not stream is not
 * called for a body that is cut short. */
static void take_in_body(struct request *request, struct route_table *routes,
                         struct spool_store *store, size_t memory_max)
{
    if (meta_is_length_refused(request) ||
        meta_is_streamed(request, &routes->roles[ROLE_RESPONDER]))
        return;
    state_of(request)->may_wait = true;
    while (!request_take_in_body(request, store, memory_max))
        ;
    state_of(request)->may_wait = false;
}

int cgi_serve(const struct config *config, char *const *variables, int body_fd, int response_fd)
{
    static uint8_t buffer[BUFFER_BYTES];
    struct route_table routes;
    struct input input = {.data = buffer, .capacity = sizeof(buffer)};
    struct spool_store store = {.limit = config->temporary_space_bytes};
    struct request *request = request_new();
    store.folder = config_find_temporary(config);
    if (request == NULL || store.folder == NULL || route_table_init(&routes, config) < 0)
        return -1;
    request->ops = &cgi_transport;
    request->input = &input;
    request->fd = body_fd;
    *state_of(request) = (struct cgi_state){.body_fd = body_fd, .response_fd = response_fd};
    int status = -1;
    bool is_whole = add_variables(request, variables) == 0;
    if (is_whole) {
        meta_read_content_length(request, config->request_body_bytes);
        is_whole = meta_drop_body(request, &routes.roles[ROLE_RESPONDER]) == 0;
    }
    if (is_whole) {
        /* RFC 3875, section 4.2: without CONTENT_LENGTH there is no body, unless it is chunked. */
        bool is_chunked = request_value(request, "HTTP_TRANSFER_ENCODING") != NULL;
        state_of(request)->body_left = request->content_length >= 0
                                           ? (uint64_t)request->content_length
                                       : is_chunked ? UINT64_MAX
                                                    : 0;
        take_in_body(request, &routes, &store, config->body_memory_bytes);
        status = serve(&routes, request);
    }
    request_free(request);
    spool_store_clear(&store);
    free((void *)(uintptr_t)store.folder);
    route_table_clear(&routes);
    return status;
}
