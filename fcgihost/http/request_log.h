/* What the log says about a request. */
#ifndef FCGIHOST_REQUEST_LOG_H
#define FCGIHOST_REQUEST_LOG_H

#include <stdbool.h>

struct request;

/* Logs a warning, "GET /path: what"; event: as log_warning. Without the GIL. */
void request_log(struct request *request, const char *event, const char *what);
/* Writes its line of the access log. Called once it has been answered, without the GIL. */
void request_log_access(struct request *request, bool with_query);

#endif
