/* What the log says about a request. */
#ifndef FCGIHOST_REQUEST_LOG_H
#define FCGIHOST_REQUEST_LOG_H

#include <stdbool.h>
#include <stddef.h>

struct request;

enum {
    REQUEST_LOG_BYTES = 16 << 20, /* that the application may log in one request */
    REQUEST_LOG_LINE_BYTES = 128, /* counted for each message, beside its text and the path */
};

/* Logs a warning, "GET /path: what"; event: as log_warning. Without the GIL. */
void request_log(struct request *request, const char *event, const char *what);
/* The same for what peers can cause as often as they like (log_topic.is_gathered). */
void request_log_refusal(struct request *request, const char *event, const char *what);
/* The application logs a text of *n bytes, which becomes what of it may be written. false: nothing,
 * as the request has logged REQUEST_LOG_BYTES; the rest is counted. Any thread that uses the
 * request; without the GIL. */
bool request_log_admit(struct request *request, size_t *n);
/* The same for what it prints, n bytes, of which each line becomes a message: how many of them may
 * be written, from the first one on. Less than n: request_log_tell_full() is due. Waits for
 * nothing, so that it may have the GIL. *is_first: this output is the one that passes the bound. */
size_t request_log_count_output(struct request *request, const char *text, size_t n,
                                bool *is_first);
/* Counts a message as dropped, and says so if it is the first one. Without the GIL. */
void request_log_tell_full(struct request *request, bool is_first);
/* Logs how much was dropped, if anything was. Called once nothing more can be logged, without the
 * GIL. */
void request_log_end(struct request *request);
/* Writes its line of the access log. Called once it has been answered, without the GIL. */
void request_log_access(struct request *request, bool with_query);

#endif
