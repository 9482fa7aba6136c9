/* The functions of a wire format: FastCGI, SCGI and plain CGI behind one table. */
#ifndef FCGIHOST_TRANSPORT_H
#define FCGIHOST_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct request;
struct connection;
struct receiver;

enum head_state {
    HEAD_MORE,    /* incomplete: wait for more */
    HEAD_WHOLE,   /* the request is filled in; the head has been consumed from the input */
    HEAD_REFUSED, /* close the connection; connection->refusal says why, NULL: nothing to log */
};

enum { TRANSPORT_PLACE_BYTES = 8 };

enum body_state { BODY_CONTENT, BODY_END, BODY_CUT, BODY_WAIT };

/* Called by the worker that owns the connection, without the GIL, except: send with the GIL held if
 * send_wait is set, and next_body and is_body_here with it if they do not block. */
struct transport_ops {
    const char *name;
    bool is_end_implied; /* closing the connection is what ends the response */
    /* Parses what the connection has received. On HEAD_WHOLE connection->request has its
     * parameters. */
    enum head_state (*begin)(struct receiver *receiver, struct connection *connection);
    /* Has the whole body, as long as content_length says, arrived? -1: is it known to be empty?
     * Never blocks. */
    bool (*is_body_here)(struct request *request);
    /* The next piece of the body: *content, *content_bytes (consume it with take_body). Blocks
     * until deadline_ms (clock_ms()), whatever else the peer sends meanwhile; 0: does not block,
     * and returns BODY_WAIT if nothing has arrived. BODY_CUT: with errno; is_aborted is set if
     * the peer has aborted the request. */
    enum body_state (*next_body)(struct request *request, uint64_t deadline_ms,
                                 const uint8_t **content, size_t *content_bytes);
    void (*take_body)(struct request *request, size_t bytes);
    /* Sends pieces of the response, with is_last its end too. 0, or -1 with errno: the peer is
     * gone, or ECONNABORTED: it has aborted the request, and waits only for its end. */
    int (*send)(struct request *request, const struct iovec *pieces, size_t count, bool is_last);
    /* Sends text to the web server's error log, where the protocol can. 0 or -1 with errno. */
    int (*send_error)(struct request *request, const char *text, size_t text_bytes);
    /* For FastCGI's filters: from now on next_body returns FCGI_DATA. */
    void (*begin_data)(struct request *request);
    /* Has the peer aborted the request without closing the connection? NULL: the protocol has no
     * abort. Never blocks. */
    bool (*is_abandoned)(const struct request *request);
    /* For a response that waits in the sender's outbox, so that it can end before its end if the
     * peer aborts the request. Called with the sender's mutex held, without the GIL; all NULL if
     * is_abandoned is. mark_unsent: of the pieces that send is passing on, the last unsent_bytes
     * have not been sent, and nothing before them is unsent. pass_unsent: these n of the unsent
     * bytes have been sent. cut_unsent: takes from the outbox, and from the pieces that were to
     * follow there, what must still be sent of them, with the request's end if that was in them,
     * and returns it, for the caller to free; *n: its length. NULL: out of memory, or the file
     * can't be read, with errno; or 0: all of it must be sent. */
    void (*mark_unsent)(struct request *request, size_t unsent_bytes);
    void (*pass_unsent)(struct request *request, const uint8_t *bytes, size_t n);
    uint8_t *(*cut_unsent)(struct request *request, const struct iovec *pieces, size_t count,
                           size_t *n);
    /* For a handover of a request whose body has partly arrived: writes bytes that, read after the
     * head, put the next process at the same position in the stream. Returns their number, at most
     * TRANSPORT_PLACE_BYTES. The next process then calls pass_taken with the length of what had
     * been received. NULL: such a request is never handed over. */
    size_t (*put_place)(const struct request *request, uint8_t *out);
    void (*pass_taken)(struct request *request, uint64_t taken_bytes);
    /* Releases what begin allocated. */
    void (*release)(struct request *request);
};

extern const struct transport_ops fastcgi_transport, scgi_transport, http_transport, cgi_transport;

#endif
