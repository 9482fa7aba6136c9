/* The identifier of a request: what the log, the application and the status call it. */
#ifndef FCGIHOST_REQUEST_ID_H
#define FCGIHOST_REQUEST_ID_H

struct request;

enum { REQUEST_ID_BYTES_MAX = 128, REQUEST_ID_MADE_BYTES = 16, REQUEST_ID_TRACE_BYTES = 32 };

/* Before there are requests or threads, so that no other process makes the same ones. 0, or -1 with
 * errno. */
int request_id_seed(void);
/* The web server's X-Request-Id, if it is printable, without a space and not too long; else the
 * trace-id of a valid traceparent (W3C Trace Context); else one of our own. As long as the request;
 * always the same. Only by the thread that serves it, until others have been told of it. */
const char *request_id(struct request *request);

#endif
