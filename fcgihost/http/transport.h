/* What a wire format must be able to do: FastCGI, SCGI and plain CGI behind one table. */
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
    HEAD_MORE,    /* keep what is there, wait for more */
    HEAD_WHOLE,   /* request is filled in; input.pos stands behind the head */
    HEAD_REFUSED, /* close the connection; connection->refusal says why, NULL: nothing to say */
};

enum body_state { BODY_CONTENT, BODY_END, BODY_CUT, BODY_WAIT };

/* Called by the worker that owns the connection; with the GIL held, a send where send_wait is set,
 * and looks at a body that do not wait. */
struct transport_ops {
    const char *name;
    /* Looks at what the connection has received. On HEAD_WHOLE connection->request holds the
     * parameters. */
    enum head_state (*begin)(struct receiver *receiver, struct connection *connection);
    /* Is enough of the body here that the application need not wait for the peer? Never blocks. */
    bool (*is_body_here)(struct request *request);
    /* The next piece of the body: *content, *content_bytes (use it up with take_body). Waits for it
     * until deadline_ms (clock_ms()), whatever else the peer sends meanwhile; 0: does not wait,
     * BODY_WAIT says that nothing is there. BODY_CUT: errno. */
    enum body_state (*next_body)(struct request *request, uint64_t deadline_ms,
                                 const uint8_t **content, size_t *content_bytes);
    void (*take_body)(struct request *request, size_t bytes);
    /* Sends a piece of the response; with is_last its end too. 0, or -1 with errno: the peer is
     * gone. */
    int (*send)(struct request *request, const struct iovec *pieces, size_t count, bool is_last);
    /* Sends text to the web server's error log, where the protocol can. 0 or -1 with errno. */
    int (*send_error)(struct request *request, const char *text, size_t text_bytes);
    /* FastCGI's filters: the body that next_body shows is FCGI_DATA from now on. */
    void (*begin_data)(struct request *request);
    /* Has the peer aborted the request, its connection standing? NULL: the protocol knows no such
     * thing. Never blocks. */
    bool (*is_abandoned)(const struct request *request);
    /* Gives back what begin took. */
    void (*release)(struct request *request);
};

extern const struct transport_ops fastcgi_transport, scgi_transport, cgi_transport;

#endif
