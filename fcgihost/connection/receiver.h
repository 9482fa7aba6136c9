/* What a thread receives requests with: its buffer, a request to be used again, the limits. */
#ifndef FCGIHOST_RECEIVER_H
#define FCGIHOST_RECEIVER_H

#include "config/config.h"
#include "http/route.h"
#include "protocol/gate.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;
struct sender;
struct spool_store;

struct receiver {
    const struct config *config;
    const struct gate_limits *gate_limits;
    const struct route_table *routes;
    struct spool_store *store; /* for bodies that are taken in; NULL: only in memory */
    struct sender *sender; /* of what peers don't take of responses; NULL: they are waited for */
    uint8_t *buffer;
    size_t buffer_bytes;
    struct request *spare; /* to be used again; or NULL */
    /* Of the poller that its connections come from. */
    const atomic_bool *is_draining;     /* no connection is kept any more */
    bool speaks_http;                   /* plain HTTP too, for the status */
    const atomic_bool *is_handing_over; /* what comes next is the next process's */
};

/* Makes the buffer, large enough for a head and what of a body comes before a thread is given to
 * the request. The other members are the caller's to set. 0, or -1 when out of memory. */
int receiver_init(struct receiver *receiver);
void receiver_clear(struct receiver *receiver);
/* NULL when out of memory. */
struct request *receiver_take_request(struct receiver *receiver);
void receiver_give_request(struct receiver *receiver, struct request *request);

#endif
