/* What a message is about, beside its text. */
#ifndef FCGIHOST_LOG_TOPIC_H
#define FCGIHOST_LOG_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a line in the access log. */
struct log_access {
    const char *method;
    const char *path; /* as the client sent it */
    size_t path_bytes;
    const char *query; /* NULL: it does not belong into the log */
    size_t query_bytes;
    int status; /* 0: nothing was sent */
    uint64_t body_bytes, duration_us, wait_us;
};

/* Needed only during the call that gets it. */
struct log_topic {
    const char *event;      /* the message's identifier, which fcgihost-messages(7) explains */
    const char *request_id; /* NULL: it belongs to no request */
    const char *thread;     /* NULL: the calling thread's name; "": unknown */
    const struct log_access *access; /* NULL: it is no line of the access log */
    bool is_gathered; /* peers can cause it at will: log_gather.h; event is then a literal */
};

#endif
