/* Sends a response: how much of it may still be sent, and when to send its end. */
#ifndef FCGIHOST_REPLY_H
#define FCGIHOST_REPLY_H

#include "http/error_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct request;

/* The response can't be completed: the connection is closed so that the peer can tell, as far as
 * the protocol lets it. Over SCGI the connection's end is the response's too: over TCP it is reset.
 */
void reply_break_off(struct request *request);
/* Has the application given less of a body than its Content-Length declares? */
bool reply_is_short(const struct request *request);
/* No body is sent for HEAD, 204 and 304, even if the application gives one (RFC 9110, section
 * 6.4.1). */
bool reply_is_bodyless(const struct request *request);
/* Has the application given all of the body that may be sent? false before there is a status. */
bool reply_is_whole(const struct request *request);
/* Sends pieces of the body, preceded by the head if that has not been sent, and followed by the
 * response's end with is_last or when the response is whole, unless the end must be withheld. Bytes
 * beyond Content-Length are not sent, but counted. 0, or -1: the peer is gone. The caller has
 * called response_enter; it does not hold the GIL, or request->send_wait is set, which releases it.
 */
int reply_send(struct request *request, const struct iovec *pieces, size_t count, bool is_last);
/* The last pieces; no thread of the application may still send. Enters by itself. */
int reply_send_last(struct request *request, const struct iovec *pieces, size_t count);
/* Sends what was withheld, if anything was. 0, or -1 when the peer is gone. */
int reply_send_end(struct request *request);
/* Sends text to the web server's error log, if the protocol can, the response has not ended, and no
 * other thread is sending; control characters are escaped. Until the head is sent the text is held
 * back: nginx counts it as part of the head, and answers 502 if both exceed its buffer. */
void reply_send_error(struct request *request, const char *text, size_t text_bytes);
/* Sends a whole short text/plain response of the host's own. */
int reply_send_page(struct request *request, const char *status, const char *text);
static inline int reply_send_error_page(struct request *request, enum error_page page)
{
    return reply_send_page(request, error_page_status(page), error_page_text(page));
}

#endif
