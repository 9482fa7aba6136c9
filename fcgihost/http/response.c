/* A response's head, checked. */
#include "http/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_BYTES = 512 };

static const char out_of_memory[] = "out of memory";

char *response_make_room(struct response *response, size_t at, size_t n)
{
    if (response->head_bytes + n > response->head_capacity) {
        size_t capacity = response->head_capacity > 0 ? response->head_capacity : HEAD_BYTES;
        while (capacity < response->head_bytes + n)
            capacity *= 2;
        char *head = realloc(response->head, capacity);
        if (head == NULL)
            return NULL;
        response->head = head;
        response->head_capacity = capacity;
    }
    char *room = response->head + at;
    memmove(room + n, room, response->head_bytes - at);
    response->head_bytes += n;
    return room;
}

bool response_append(struct response *response, const char *bytes, size_t n)
{
    char *room = response_make_room(response, response->head_bytes, n);
    if (room != NULL)
        memcpy(room, bytes, n);
    return room != NULL;
}

/* What a byte may be part of. */
enum { IS_TOKEN = 1, IS_CONTROL = 2 };

/* Tokens: RFC 9110, section 5.6.2. Control characters but the tab, which header values may hold. */
static const unsigned char classes[256] = {
    [0x00 ... 0x08] = IS_CONTROL,
    [0x0a ... 0x1f] = IS_CONTROL,
    [0x7f] = IS_CONTROL,
    ['a' ... 'z'] = IS_TOKEN,
    ['A' ... 'Z'] = IS_TOKEN,
    ['0' ... '9'] = IS_TOKEN,
    ['!'] = IS_TOKEN,
    ['#' ... '\''] = IS_TOKEN,
    ['*' ... '+'] = IS_TOKEN,
    ['-' ... '.'] = IS_TOKEN,
    ['^' ... '`'] = IS_TOKEN,
    ['|'] = IS_TOKEN,
    ['~'] = IS_TOKEN,
};

static bool has_control(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (classes[(unsigned char)bytes[i]] == IS_CONTROL)
            return true;
    return false;
}

/* How many digits bytes begins with. */
static size_t count_digits(const char *bytes, size_t n)
{
    size_t count = 0;
    while (count < n && bytes[count] >= '0' && bytes[count] <= '9')
        count++;
    return count;
}

const char *response_set_status(struct response *response, const char *status, size_t bytes)
{
    if (bytes < 4 || count_digits(status, bytes) != 3 || status[3] != ' ')
        return "a status is three digits, a space and a reason, as in \"200 OK\"";
    if (status[0] < '2')
        return "a status below 200 can't be sent by an application behind a web server";
    if (has_control(status, bytes) || memchr(status, '\t', bytes) != NULL)
        return "control character in the status";
    response_reset(response);
    if (!response_append(response, "Status: ", 8) || !response_append(response, status, bytes) ||
        !response_append(response, "\r\n", 2))
        return out_of_memory;
    response->status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
    return NULL;
}

static bool is_token(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (classes[(unsigned char)bytes[i]] != IS_TOKEN)
            return false;
    return n > 0;
}

/* PEP 3333 keeps hop-by-hop headers (RFC 2616, section 13.5.1) from applications; Status is CGI's
 * own. */
static bool is_servers(const char *name, size_t n)
{
    static const struct {
        const char *name;
        size_t bytes;
    } names[] = {
        {"connection", 10},
        {"keep-alive", 10},
        {"proxy-authenticate", 18},
        {"proxy-authorization", 19},
        {"te", 2},
        {"trailers", 8},
        {"trailer", 7},
        {"upgrade", 7},
        {"transfer-encoding", 17},
        {"status", 6},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i].bytes == n && strncasecmp(names[i].name, name, n) == 0)
            return true;
    return false;
}

static const char *declare_length(struct response *response, const char *value, size_t n)
{
    if (response->content_length >= 0)
        return "Content-Length twice";
    if (n == 0 || n > 18 || count_digits(value, n) < n)
        return "Content-Length is not a number";
    response->content_length = 0;
    for (size_t i = 0; i < n; i++)
        response->content_length = response->content_length * 10 + (value[i] - '0');
    return NULL;
}

const char *response_add_header(struct response *response, const char *name, size_t name_bytes,
                                const char *value, size_t value_bytes)
{
    if (!is_token(name, name_bytes))
        return "a header name is made of letters, digits and !#$%&'*+-.^_`|~";
    if (has_control(value, value_bytes))
        return "control character in the header's value";
    if (is_servers(name, name_bytes))
        return "this header belongs to the web server, an application must not set it";
    if (name_bytes == 14 && strncasecmp(name, "content-length", 14) == 0) {
        const char *reason = declare_length(response, value, value_bytes);
        if (reason != NULL)
            return reason;
    }
    /* HAProxy 2.6 lets the last of Status and Location decide, and takes Location for a 302. */
    bool is_location = name_bytes == 8 && strncasecmp(name, "location", 8) == 0;
    size_t at = is_location ? 0 : response->head_bytes;
    char *line = response_make_room(response, at, name_bytes + value_bytes + 4);
    if (line == NULL)
        return out_of_memory;
    memcpy(line, name, name_bytes);
    memcpy(line + name_bytes, ": ", 2);
    memcpy(line + name_bytes + 2, value, value_bytes);
    memcpy(line + name_bytes + 2 + value_bytes, "\r\n", 2);
    return NULL;
}

void response_reset(struct response *response)
{
    char *head = response->head;
    size_t capacity = response->head_capacity;
    char *held = response->held;
    size_t held_bytes = response->held_bytes;
    *response = (struct response){.head = head,
                                  .head_capacity = capacity,
                                  .content_length = -1,
                                  .held = held,
                                  .held_bytes = held_bytes};
}

void response_drop_held(struct response *response)
{
    free(response->held);
    response->held = NULL;
    response->held_bytes = 0;
}

void response_clear(struct response *response)
{
    free(response->head);
    free(response->held);
    *response = (struct response){.content_length = -1};
}

bool response_is_over(const struct response *response)
{
    return response->is_ended || response->is_peer_gone || response->is_abandoned;
}

void response_set_page(struct response *response, const char *status, const char *text)
{
    char number[24];
    int digits = snprintf(number, sizeof(number), "%zu", strlen(text));
    unsigned retry_after_s = response->retry_after_s > 0 ? response->retry_after_s : 1;
    response_set_status(response, status, strlen(status));
    response->is_hosts_own = true;
    response_add_header(response, "Content-Type", 12, "text/plain; charset=utf-8", 25);
    response_add_header(response, "Content-Length", 14, number, (size_t)digits);
    if (response->status != 503)
        return;
    digits = snprintf(number, sizeof(number), "%u", retry_after_s);
    response_add_header(response, "Retry-After", 11, number, (size_t)digits);
}
