/* A thread's means to receive requests. */
#include "connection/receiver.h"

#include "http/request.h"

#include <stdlib.h>

enum { BUFFER_SLACK_BYTES = 16 << 10 /* record headers and padding beside a body's bytes */ };

int receiver_init(struct receiver *receiver)
{
    size_t head_bytes = receiver->config->request_head_bytes;
    receiver->buffer_bytes = head_bytes + REQUEST_PREFETCH_BYTES + BUFFER_SLACK_BYTES;
    receiver->buffer = malloc(receiver->buffer_bytes);
    return receiver->buffer != NULL ? 0 : -1;
}

void receiver_clear(struct receiver *receiver)
{
    free(receiver->buffer);
    request_free(receiver->spare);
}

struct request *receiver_take_request(struct receiver *receiver)
{
    struct request *request = receiver->spare;
    receiver->spare = NULL;
    return request != NULL ? request : request_new();
}

void receiver_give_request(struct receiver *receiver, struct request *request)
{
    if (receiver->spare != NULL) {
        request_free(request);
        return;
    }
    request_reset(request);
    receiver->spare = request;
}
