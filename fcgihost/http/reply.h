/* A response on its way to the peer: what may still be sent of it, and when its end. */
#ifndef FCGIHOST_REPLY_H
#define FCGIHOST_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct request;

/* Is less of the body there than Content-Length declares? */
bool reply_is_short(const struct request *request);
/* RFC 9110, section 6.4.1: to HEAD, and with status 204 and 304, no body is sent, whatever the
 * application gives. */
bool reply_is_bodyless(const struct request *request);
/* Is all of the body there that may be sent? false before there is a status. */
bool reply_is_whole(const struct request *request);
/* Pieces of the body. Sends the head first if that has not left; with is_last, and when the
 * response is whole, the end too, unless that is withheld. What goes beyond the declared length is
 * held back and counted. 0, or -1 when the peer is gone. Without the GIL, or with it and
 * request->send_wait, which gives it up. Who calls it has entered. */
int reply_send(struct request *request, const struct iovec *pieces, size_t count, bool is_last);
/* The last pieces, when no thread of the application can send any more. */
int reply_send_last(struct request *request, const struct iovec *pieces, size_t count);
/* Sends what was withheld, if anything was. 0, or -1 when the peer is gone. */
int reply_send_end(struct request *request);
/* Text for the web server's error log, where the protocol has a way for it, the response has not
 * ended, and no other thread is sending; control characters are escaped. What comes before the head
 * is held back until that has left: nginx takes it for a part of the head, which has to fit in
 * 4 KiB, and answers with 502. */
void reply_send_error(struct request *request, const char *text, size_t text_bytes);
/* The whole of a short answer of the host's own, as text/plain. */
int reply_send_page(struct request *request, const char *status, const char *text);

#endif
