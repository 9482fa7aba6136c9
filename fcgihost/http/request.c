/* One request, independent of the protocol: its parameters, and whether its peer is still there. */
#include "http/request.h"

#include "base/clock.h"
#include "base/log_line.h"
#include "protocol/record.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { PARAM_CAPACITY = 64, PARAM_MAX = 8192, LOOK_MS = 50, PROBE_S = 5 };

/* Arbitrary values, for tests, which do not call request_seed_hash(). */
uint64_t request_hash_keys[REQUEST_HASH_KEYS] = {
    0x91b7584a2265b1f5u, 0xcd613e30d8f16adfu, 0x1027c4d1c386bbc4u, 0x1e2feb89414c343cu,
    0xc2ce6f447ed4d57bu, 0x78e510617311d8a3u, 0x612e7696a6cecc1bu, 0x35bf992dc9e9c616u,
    0x7ce42c8218072e8cu, 0xe4b06ce60741c7a8u, 0x63ca828dd5f4b3b2u, 0x9b810e766ec9d286u,
    0xc4647159c324c985u, 0xb2221a58008a05a6u, 0x442e3d437204e52du, 0xcd447e35b8b6d8feu,
    0x9755d4c13a902931u, 0x1a2b8f1ff1fd42a2u, 0x51431193e6c3f339u, 0x05b6e6e307d4bedcu,
    0xa648a7dd06839eb9u, 0x025b413f8a9a021eu, 0xe1988ad9f06c144au, 0xafbd67f9619699cfu,
};

int request_seed_hash(void)
{
    ssize_t n = getrandom(request_hash_keys, sizeof(request_hash_keys), 0);
    return n == (ssize_t)sizeof(request_hash_keys) ? 0 : -1;
}

struct request *request_new(void)
{
    struct request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return NULL;
    request->params = malloc(PARAM_CAPACITY * sizeof(*request->params));
    if (request->params == NULL) {
        free(request);
        return NULL;
    }
    request->param_capacity = PARAM_CAPACITY;
    request->fd = -1;
    request->role = ROLE_RESPONDER;
    request->content_length = -1;
    response_reset(&request->response);
    return request;
}

void request_reset(struct request *request)
{
    struct param *params = request->params;
    size_t capacity = request->param_capacity;
    struct arena arena = request->arena;
    arena_reset(&arena);
    struct response response = request->response;
    spool_clear(&request->body);
    spool_clear(&request->outbox.bytes);
    memset(request, 0, offsetof(struct request, state));
    request->params = params;
    request->param_capacity = capacity;
    request->arena = arena;
    request->fd = -1;
    request->role = ROLE_RESPONDER;
    request->content_length = -1;
    request->response = response;
    response_drop_held(&request->response);
    response_reset(&request->response);
}

void request_free(struct request *request)
{
    if (request == NULL)
        return;
    arena_free(&request->arena);
    response_clear(&request->response);
    spool_clear(&request->body);
    spool_clear(&request->outbox.bytes);
    free(request->params);
    free(request);
}

static inline struct param *find(const struct request *request, const char *name, size_t n,
                                 uint32_t hash)
{
    for (uint32_t i = request->buckets[hash % REQUEST_BUCKETS]; i != 0;
         i = request->params[i - 1].next) {
        struct param *param = &request->params[i - 1];
        if (param->hash == hash && param->name_bytes == n && memcmp(param->name, name, n) == 0)
            return param;
    }
    return NULL;
}

/* A merged value has spare capacity, so that many repetitions take linear time. */
static int join_values(struct request *request, struct param *param, const char *separator,
                       const char *value, size_t value_bytes)
{
    size_t separator_bytes = strlen(separator);
    size_t n = param->value_bytes + separator_bytes + value_bytes;
    if (n >= param->joined_capacity) {
        char *joined = arena_alloc(&request->arena, 2 * (n + 1));
        if (joined == NULL)
            return -1;
        memcpy(joined, param->value, param->value_bytes);
        param->joined = joined;
        param->joined_capacity = (uint32_t)(2 * (n + 1));
    }
    char *end = param->joined + param->value_bytes;
    memcpy(end, separator, separator_bytes);
    memcpy(end + separator_bytes, value, value_bytes + 1);
    param->value = param->joined;
    param->value_bytes = (uint32_t)n;
    return 0;
}

static int merge(struct request *request, struct param *param, const char *value,
                 size_t value_bytes)
{
    if (param->name_bytes == 11 && memcmp(param->name, "HTTP_COOKIE", 11) == 0)
        return join_values(request, param, "; ", value, value_bytes);
    if (strncmp(param->name, "HTTP_", 5) == 0 && strcmp(param->name, "HTTP_HOST") != 0)
        return join_values(request, param, ", ", value, value_bytes);
    param->value = value;
    param->value_bytes = (uint32_t)value_bytes;
    return 0;
}

/* Makes room for one more element in params. 0, or -1. */
static int grow_params(struct request *request)
{
    if (request->param_count < request->param_capacity)
        return 0;
    if (request->param_count >= PARAM_MAX) {
        errno = E2BIG;
        return -1;
    }
    struct param *params = realloc(request->params, 2 * request->param_capacity * sizeof(*params));
    if (params == NULL)
        return -1;
    request->params = params;
    request->param_capacity *= 2;
    return 0;
}

int request_add_param(struct request *request, const char *name, size_t name_bytes,
                      const char *value, size_t value_bytes)
{
    uint32_t hash = request_hash(name, name_bytes);
    uint32_t *bucket = &request->buckets[hash % REQUEST_BUCKETS];
    struct param *same = find(request, name, name_bytes, hash);
    if (same != NULL)
        return merge(request, same, value, value_bytes);
    if (grow_params(request) < 0)
        return -1;
    request->params[request->param_count++] = (struct param){.name = name,
                                                             .value = value,
                                                             .name_bytes = (uint32_t)name_bytes,
                                                             .value_bytes = (uint32_t)value_bytes,
                                                             .hash = hash,
                                                             .next = *bucket};
    *bucket = (uint32_t)request->param_count;
    return 0;
}

int request_set_param(struct request *request, const char *name, const char *value)
{
    size_t n = strlen(name);
    struct param *param = find(request, name, n, request_hash(name, n));
    if (param == NULL) {
        if (request_add_param(request, name, n, value, strlen(value)) < 0)
            return -1;
        request->params[request->param_count - 1].is_added = true;
        return 0;
    }
    if (param->sent == NULL)
        param->sent = param->value;
    param->value = value;
    param->value_bytes = (uint32_t)strlen(value);
    param->joined_capacity = 0;
    param->is_dropped = false;
    return 0;
}

const struct param *request_find_hashed(const struct request *request, const char *name,
                                        size_t name_bytes, uint32_t hash)
{
    const struct param *param = find(request, name, name_bytes, hash);
    return param != NULL && !param->is_dropped ? param : NULL;
}

int64_t request_number(const struct request *request, const char *name)
{
    const struct param *param = request_find(request, name);
    int64_t number = 0;
    if (param == NULL || param->value_bytes == 0 || param->value_bytes > 18 ||
        strspn(param->value, "0123456789") != param->value_bytes)
        return -1;
    for (const char *p = param->value; *p != '\0'; p++)
        number = number * 10 + (*p - '0');
    return number;
}

void request_describe(const struct request *request, char *text, size_t text_bytes)
{
    const char *method = request_value(request, "REQUEST_METHOD");
    const char *uri = request_value(request, "REQUEST_URI");
    struct log_line line = {.data = text, .room = text_bytes - 1};
    if (method == NULL)
        method = "-";
    if (uri == NULL)
        uri = "-";
    log_line_append_flat(&line, method, strlen(method));
    log_line_append_bytes(&line, " ", 1);
    log_line_append_flat(&line, uri, strcspn(uri, "?#"));
    text[line.used < line.room ? line.used : line.room] = '\0';
}

static bool is_tcp(int fd)
{
    int domain;
    socklen_t domain_bytes = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) == 0 && domain != AF_UNIX;
}

/* A peer that has shut down its sending side may still wait for the response. Over TCP only a
 * failing send shows that it does not. */
static bool has_left(const struct request *request, bool is_silent)
{
    struct pollfd hangup = {.fd = request->fd, .events = POLLRDHUP};
    if (poll(&hangup, 1, 0) <= 0)
        return false;
    return (hangup.revents & ~POLLRDHUP) != 0 || (is_silent && is_tcp(request->fd));
}

/* Over TCP, a peer that has closed the connection looks like one that has only shut down its
 * sending side. Its kernel can tell: it answers a keepalive probe with a reset, at the latest a
 * minute after the close. */
static void probe(int fd)
{
    int on = 1, seconds = PROBE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

bool request_has_peer_left(struct request *request)
{
    struct pollfd hangup = {.fd = request->fd, .events = POLLRDHUP};
    if (request->connection == NULL)
        return false;
    if (poll(&hangup, 1, 0) > 0) {
        if ((hangup.revents & ~POLLRDHUP) != 0) {
            request->must_close = true; /* the worker's next send will fail */
            return true;
        }
        if (!request->is_probed && is_tcp(request->fd))
            probe(request->fd);
        request->is_probed = true;
    }
    return request->ops->is_abandoned != NULL && request->ops->is_abandoned(request);
}

bool request_is_unwanted(struct request *request, bool is_silent)
{
    struct response *response = &request->response;
    uint64_t now_ms = clock_ms();
    if (response->is_peer_gone || response->is_abandoned)
        return true;
    if (request->looked_ms == 0)
        request->looked_ms = now_ms;
    if (now_ms - request->looked_ms < LOOK_MS || request->connection == NULL)
        return false;
    request->looked_ms = now_ms;
    if (has_left(request, is_silent)) {
        response->is_peer_gone = true;
        request->must_close = true;
    } else
        response->is_abandoned =
            request->ops->is_abandoned != NULL && request->ops->is_abandoned(request);
    return response->is_peer_gone || response->is_abandoned;
}

bool request_is_peer_gone(const struct request *request)
{
    struct pollfd hangup = {.fd = request->fd, .events = POLLRDHUP};
    if (request->response.is_peer_gone)
        return true;
    if (request->connection == NULL)
        return false; /* plain CGI: nobody to tell */
    if (poll(&hangup, 1, 0) > 0)
        return true; /* over TCP, the end of the peer's stream is all that can be seen */
    return request->ops->is_abandoned != NULL && request->ops->is_abandoned(request);
}
