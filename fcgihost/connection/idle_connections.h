/* How long connections are kept on which nothing comes, and which of them is closed when there is
 * no room for new ones.
 *
 * A connection that is kept between two requests has no deadline: it is the web server that closes
 * it, or a lack of room, or the drain. Any other has one, until which its peer must send something.
 * What is closed here is shut down for reading: the thread that gets its event finds the end of the
 * stream, and closes it. */
#ifndef FCGIHOST_IDLE_CONNECTIONS_H
#define FCGIHOST_IDLE_CONNECTIONS_H

#include "base/clock.h"
#include "connection/connection.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct poller;

/* For poller_watch: by when, in clock_ms(), the peer must send something; 0: it is kept without
 * limit. The calling worker owns the connection. */
static inline uint64_t idle_deadline(const struct connection *connection, uint64_t io_timeout_ms)
{
    uint64_t deadline_ms = atomic_load(&connection->deadline_ms);
    if (!connection_has_begun(connection) && connection->served > 0)
        return 0;
    if (connection->request != NULL && connection->request->peer_deadline_ms != 0)
        return connection->request->peer_deadline_ms;
    /* The whole head must arrive by the first deadline: more bytes do not extend it. */
    if (connection->request == NULL && deadline_ms != 0)
        return deadline_ms;
    return clock_ms() + io_timeout_ms;
}

/* Closes connections on which nothing has come: kept idle ones, with is_every also those that are
 * new, and those whose request is answered but not all of its body there. */
void poller_close_idle(struct poller *poller, bool is_every);

#endif
