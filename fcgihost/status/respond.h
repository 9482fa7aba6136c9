/* Answers requests for the status and the ping, whichever socket they came over. Without Python. */
#ifndef FCGIHOST_STATUS_RESPOND_H
#define FCGIHOST_STATUS_RESPOND_H

#include <stdbool.h>

struct config;
struct request;

/* On the application's own sockets: true if the path is [status] path or ping; then the request has
 * been answered. The caller has the request to itself and does not hold the GIL. */
bool respond_for_host(const struct config *config, struct request *request);
/* On the status's own sockets, every request is answered: "/" and [status] path with the status,
 * "/ping" and [status] ping with the ping, "/metrics" with the status for Prometheus, "/host" with
 * what the control socket's client tells hosts apart by, others with 404. */
void respond_always(const struct config *config, struct request *request);

#endif
