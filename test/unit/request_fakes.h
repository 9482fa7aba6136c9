/* A request over a transport that keeps what it is given to send, and hands out a body in pieces.
 * It says who waits for the peer with the GIL held. After python_fixture.h. */
#ifndef FCGIHOST_TEST_REQUEST_FAKES_H
#define FCGIHOST_TEST_REQUEST_FAKES_H

#include "unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/path_info.h"
#include "http/reply.h"
#include "http/request.h"

enum { OURS, THEIRS };

static struct {
    struct bytes sent, errors;
    unsigned sends, ends;
    bool is_peer_gone; /* sending fails */
    bool is_peer_slow; /* sending waits */
    const char *body;
    size_t body_bytes, taken_bytes, piece_bytes;
    enum body_state ending; /* what follows the body */
    int error;              /* with BODY_CUT */
    bool is_body_late;      /* waits for each piece */
    unsigned waits;
    void (*on_send)(void); /* called before anything is taken; NULL: nothing */
    const char *broken_rule;
    int fds[2];
} peer;

static struct request *request;
static struct input input;
static const struct path_route route;

static inline int peer_send(struct request *sender, const struct iovec *pieces, size_t count,
                            bool is_last)
{
    if (PyGILState_Check() && sender->send_wait == NULL)
        peer.broken_rule = "sent with the GIL, which nobody can release";
    if (peer.ends > 0)
        peer.broken_rule = "sent after the end";
    if (peer.is_peer_slow && sender->send_wait != NULL) {
        sender->send_wait->before(sender->send_wait);
        if (PyGILState_Check())
            peer.broken_rule = "waited for the peer with the GIL";
    }
    if (peer.on_send != NULL)
        peer.on_send();
    peer.sends++;
    if (peer.is_peer_gone) {
        errno = EPIPE;
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        put_bytes(&peer.sent, pieces[i].iov_base, pieces[i].iov_len);
    peer.ends += is_last;
    return 0;
}

static inline int peer_send_error(struct request *sender, const char *text, size_t n)
{
    (void)sender;
    put_bytes(&peer.errors, text, n);
    return 0;
}

static inline enum body_state peer_next_body(struct request *reader, uint64_t deadline_ms,
                                             const uint8_t **content, size_t *n)
{
    (void)reader;
    if (peer.is_body_late && deadline_ms > 0 && PyGILState_Check())
        peer.broken_rule = "waited for the body with the GIL";
    if (peer.is_body_late && deadline_ms == 0)
        return BODY_WAIT;
    peer.waits += deadline_ms > 0;
    size_t left = peer.body_bytes - peer.taken_bytes;
    if (left == 0) {
        errno = peer.error;
        return peer.ending;
    }
    *content = (const uint8_t *)peer.body + peer.taken_bytes;
    *n = left < peer.piece_bytes ? left : peer.piece_bytes;
    return BODY_CONTENT;
}

static inline void peer_take_body(struct request *reader, size_t n)
{
    (void)reader;
    peer.taken_bytes += n;
}

static inline void peer_begin_data(struct request *reader)
{
    (void)reader;
    peer.body = "the file";
    peer.body_bytes = 8;
    peer.taken_bytes = 0;
}

static const struct transport_ops peer_transport = {.name = "fake",
                                                    .send = peer_send,
                                                    .send_error = peer_send_error,
                                                    .next_body = peer_next_body,
                                                    .take_body = peer_take_body,
                                                    .begin_data = peer_begin_data};

/* A body of n bytes that comes in pieces of that size; length: its Content-Length, -1: none. */
static inline void peer_has_body(const char *body, size_t n, size_t piece_bytes, int64_t length)
{
    peer.body = body;
    peer.body_bytes = n;
    peer.taken_bytes = 0;
    peer.piece_bytes = piece_bytes;
    peer.ending = BODY_END;
    request->content_length = length;
}

static inline const char *peer_got(void)
{
    put_bytes(&peer.sent, "", 1);
    peer.sent.n--;
    return (const char *)peer.sent.data;
}

static inline void set_param(const char *name, const char *value)
{
    assert_int_equal(request_add_param(request, name, strlen(name), value, strlen(value)), 0);
}

/* Another request on the same connection. */
static inline void request_begin(void)
{
    request_reset(request);
    clear_bytes(&peer.sent);
    clear_bytes(&peer.errors);
    peer.sends = peer.ends = peer.waits = 0;
    peer.is_peer_gone = peer.is_peer_slow = peer.is_body_late = false;
    peer.on_send = NULL;
    peer.error = 0;
    request->ops = &peer_transport;
    request->connection = (struct connection *)&peer; /* there is one; nobody looks into it */
    request->input = &input;
    request->fd = peer.fds[OURS];
    request->io_timeout_ms = 60000;
    request->route = &route;
    request->id = "7";
    peer_has_body("", 0, 1, -1);
}

static inline int request_set_up(void)
{
    request = request_new();
    peer.broken_rule = NULL;
    if (request == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, peer.fds) < 0)
        return -1;
    request_begin();
    return 0;
}

static inline int request_tear_down(void)
{
    request_free(request);
    request = NULL;
    close(peer.fds[OURS]);
    close(peer.fds[THEIRS]);
    clear_bytes(&peer.sent);
    clear_bytes(&peer.errors);
    if (peer.broken_rule != NULL)
        fprintf(stderr, "%s\n", peer.broken_rule);
    return peer.broken_rule != NULL ? -1 : 0;
}

#endif
