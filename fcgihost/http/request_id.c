/* The identifier of a request. */
#include "http/request_id.h"

#include "http/request.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

static const char hex[] = "0123456789abcdef";
static atomic_ullong next_number;

int request_id_seed(void)
{
    unsigned long long seed;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return -1;
    atomic_store(&next_number, seed);
    return 0;
}

static const char *sent_id(const struct request *request)
{
    const struct param *param = request_find(request, "HTTP_X_REQUEST_ID");
    if (param == NULL || param->value_bytes == 0 || param->value_bytes > REQUEST_ID_BYTES_MAX)
        return NULL;
    for (uint32_t i = 0; i < param->value_bytes; i++)
        if (param->value[i] <= ' ' || param->value[i] > '~')
            return NULL;
    return param->value;
}

static bool is_hex(const char *text, size_t n)
{
    return strspn(text, hex) >= n;
}

/* "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"; later versions may go on with "-". */
static bool is_traceparent(const char *text, size_t n)
{
    enum { BYTES = 2 + 1 + REQUEST_ID_TRACE_BYTES + 1 + 16 + 1 + 2 };
    bool is_first_version = strncmp(text, "00-", 3) == 0;
    return n >= BYTES && (n == BYTES || (!is_first_version && text[BYTES] == '-')) &&
           is_hex(text, 2) && strncmp(text, "ff", 2) != 0 && text[2] == '-' &&
           is_hex(text + 3, REQUEST_ID_TRACE_BYTES) && text[35] == '-' && is_hex(text + 36, 16) &&
           text[52] == '-' && is_hex(text + 53, 2) &&
           strspn(text + 3, "0") < REQUEST_ID_TRACE_BYTES;
}

static const char *trace_id(struct request *request)
{
    const struct param *param = request_find(request, "HTTP_TRACEPARENT");
    if (param == NULL || !is_traceparent(param->value, param->value_bytes))
        return NULL;
    char *id = arena_alloc(&request->arena, REQUEST_ID_TRACE_BYTES + 1);
    if (id == NULL)
        return NULL;
    memcpy(id, param->value + 3, REQUEST_ID_TRACE_BYTES);
    id[REQUEST_ID_TRACE_BYTES] = '\0';
    return id;
}

/* Each number once (splitmix64), in an order that nobody guesses: a client can't name another's. */
static uint64_t next_random(void)
{
    uint64_t x = atomic_fetch_add_explicit(&next_number, 0x9e3779b97f4a7c15u, memory_order_relaxed);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static const char *made_id(struct request *request)
{
    char *id = arena_alloc(&request->arena, REQUEST_ID_MADE_BYTES + 1);
    if (id == NULL)
        return "out-of-memory";
    uint64_t number = next_random();
    for (int i = REQUEST_ID_MADE_BYTES - 1; i >= 0; i--, number >>= 4)
        id[i] = hex[number & 0xf];
    id[REQUEST_ID_MADE_BYTES] = '\0';
    return id;
}

const char *request_id(struct request *request)
{
    if (request->id != NULL)
        return request->id;
    const char *id = sent_id(request);
    if (id == NULL)
        id = trace_id(request);
    return request->id = id != NULL ? id : made_id(request);
}
