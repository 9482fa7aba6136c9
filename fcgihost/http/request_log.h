/* What the log says of a request. */
#ifndef FCGIHOST_REQUEST_LOG_H
#define FCGIHOST_REQUEST_LOG_H

#include <stdbool.h>

struct request;

/* Logs a warning, "GET /path: what"; event: as log_warning. Without the GIL. */
void request_log(struct request *request, const char *event, const char *what);
/* It has been answered, and its times are known: a line of the access log. Without the GIL. */
void request_log_access(struct request *request, bool with_query);

#endif
