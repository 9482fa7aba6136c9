/* Answers requests for the status and the ping, whichever socket they came over. Without Python. */
#ifndef FCGIHOST_STATUS_ENDPOINTS_H
#define FCGIHOST_STATUS_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct request;

enum reload_state { RELOAD_RUNNING, RELOAD_DONE, RELOAD_FAILED, RELOAD_UNKNOWN };

/* How a manager takes part. Called by the control thread; none of them may block. */
struct endpoints_reload {
    unsigned (*ask)(void); /* asks for a reload; the number to ask about it with */
    enum reload_state (*get)(unsigned number, char *text, size_t text_bytes);
};

/* Before the control thread is started; NULL, as at first: there is no manager. */
void endpoints_use_reload(const struct endpoints_reload *reload);

/* is_worker: a manager knows all workers, and is asked first. Before threads serve. */
void endpoints_as_worker(bool is_worker);
/* On the application's own sockets: true if the path is [status] path or ping; then the request has
 * been answered. The caller has the request to itself and does not hold the GIL. */
bool endpoints_for_host(const struct config *config, struct request *request);
/* [status] path and ping; NULL: none. */
struct endpoints_paths {
    char *status, *ping;
};

/* On the status's own sockets, every request is answered: "/" and [status] path with the status,
 * "/ping" and [status] ping with the ping, "/metrics" with the status for Prometheus, others with
 * 404. is_control: it came over the control socket, where "/host" is answered with what its client
 * tells hosts apart by, "/figures" with a worker's figures for its manager, and at "/reload" POST
 * asks a manager for a reload, and GET how it went. */
void endpoints_always(const struct endpoints_paths *paths, struct request *request,
                      bool is_control);

#endif
