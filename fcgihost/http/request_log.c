/* What the log says about a request. */
#include "http/request_log.h"

#include "base/log.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_id.h"

#include <stdio.h>
#include <string.h>

static void warn(struct request *request, const struct log_topic *topic, const char *what)
{
    char text[REQUEST_TEXT_BYTES];
    request_describe(request, text, sizeof(text));
    log_about(LOG_LEVEL_WARNING, topic, "%s: %s", text, what);
}

void request_log(struct request *request, const char *event, const char *what)
{
    warn(request, &(struct log_topic){.event = event, .request_id = request_id(request)}, what);
}

void request_log_refusal(struct request *request, const char *event, const char *what)
{
    warn(
        request,
        &(struct log_topic){.event = event, .request_id = request_id(request), .is_gathered = true},
        what);
}

bool request_log_admit(struct request *request, size_t *n)
{
    char name[REQUEST_TEXT_BYTES];
    request_describe(request, name, sizeof(name));
    unsigned long long cost = *n + strlen(name) + REQUEST_LOG_LINE_BYTES,
                       before = atomic_fetch_add(&request->logged_bytes, cost);
    if (before + cost <= REQUEST_LOG_BYTES)
        return true;
    bool is_first = before <= REQUEST_LOG_BYTES;
    request_log_tell_full(request, is_first);
    unsigned long long left = is_first ? REQUEST_LOG_BYTES - before : 0;
    *n = left < *n ? (size_t)left : *n;
    return is_first;
}

/* Where the line ends that begins at text, newline included. */
static const char *end_of_line(const char *text, const char *end)
{
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    return newline != NULL ? newline + 1 : end;
}

size_t request_log_count_output(struct request *request, const char *text, size_t n, bool *is_first)
{
    const char *end = text + n, *kept = text;
    unsigned long long cost = n;
    for (const char *at = text; at < end; at = end_of_line(at, end))
        cost += REQUEST_LOG_LINE_BYTES;
    unsigned long long before = atomic_fetch_add(&request->logged_bytes, cost),
                       left = before <= REQUEST_LOG_BYTES ? REQUEST_LOG_BYTES - before : 0;
    *is_first = before <= REQUEST_LOG_BYTES && cost > left;
    if (cost <= left)
        return n;
    while (kept < end && left > REQUEST_LOG_LINE_BYTES) {
        size_t bytes = (size_t)(end_of_line(kept, end) - kept);
        left -= REQUEST_LOG_LINE_BYTES;
        bytes = bytes < left ? bytes : (size_t)left;
        kept += bytes;
        left -= bytes;
    }
    return (size_t)(kept - text);
}

void request_log_tell_full(struct request *request, bool is_first)
{
    log_count_dropped();
    if (is_first)
        request_log(request, "request-log-full",
                    "it has logged 16 MiB, as much as a request may: what follows is dropped");
}

void request_log_end(struct request *request)
{
    unsigned long long logged = atomic_exchange(&request->logged_bytes, 0);
    char text[96];
    if (logged <= REQUEST_LOG_BYTES)
        return;
    snprintf(text, sizeof(text), "%llu bytes that it logged beyond 16 MiB were dropped",
             logged - REQUEST_LOG_BYTES);
    request_log(request, "request-log-full", text);
}

static const char *value_or(const struct request *request, const char *name, const char *otherwise)
{
    const char *value = request_value(request, name);
    return value != NULL ? value : otherwise;
}

/* Finds the path and the query as the client sent them; some web servers send no REQUEST_URI. */
static void find_target(struct request *request, struct log_access *access)
{
    const char *uri = request_value(request, "REQUEST_URI"), *query;
    if (uri == NULL) {
        const char *script_name = value_or(request, "SCRIPT_NAME", ""),
                   *path_info = value_or(request, "PATH_INFO", "");
        size_t n = strlen(script_name) + strlen(path_info) + 1;
        char *joined = arena_alloc(&request->arena, n);
        if (joined != NULL)
            snprintf(joined, n, "%s%s", script_name, path_info);
        access->path = joined != NULL ? joined : "-";
        access->path_bytes = strlen(access->path);
        query = value_or(request, "QUERY_STRING", "");
        access->query = *query != '\0' ? query : NULL;
    } else {
        access->path = uri;
        access->path_bytes = strcspn(uri, "?#");
        query = uri + access->path_bytes;
        access->query = *query == '?' ? query + 1 : NULL;
    }
    access->query_bytes = access->query != NULL ? strlen(access->query) : 0;
}

static uint64_t time_between(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? to_us - from_us : 0;
}

/* Bytes of the body that were sent, about: lost_bytes includes the protocol's framing. */
static uint64_t sent_bytes(const struct request *request)
{
    uint64_t body = request->response.body_bytes, lost = request->outbox.lost_bytes;
    if (reply_is_bodyless(request))
        return 0;
    return body > lost ? body - lost : 0;
}

void request_log_access(struct request *request, bool with_query)
{
    const struct request_times *times = &request->times;
    const struct response *response = &request->response;
    struct log_access access = {
        .method = value_or(request, "REQUEST_METHOD", "-"),
        .status = response->status,
        .body_bytes = sent_bytes(request),
        .duration_us = time_between(times->ready_us, times->ended_us),
        .wait_us = time_between(times->ready_us, times->begun_us),
    };
    find_target(request, &access);
    if (!with_query)
        access.query = NULL;
    log_access(request_id(request), &access);
}
