/* What the log says of a request. */
#ifndef FCGIHOST_REQUEST_LOG_H
#define FCGIHOST_REQUEST_LOG_H

struct request;

/* Logs a warning, "GET /path: what"; event: as log_warning. Without the GIL. */
void request_log(struct request *request, const char *event, const char *what);

#endif
