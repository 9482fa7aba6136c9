/* Sending to a non-blocking socket, with a deadline for each wait. */
#ifndef FCGIHOST_SOCKET_IO_H
#define FCGIHOST_SOCKET_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* What the caller wants called each time before its thread waits for the peer. */
struct socket_wait {
    void (*before)(struct socket_wait *wait);
    uint64_t end_ms; /* by clock_ms(), when no wait may last longer; 0: none */
};

struct input;

enum { SOCKET_KEPT_BYTES = 1 << 20 }; /* an input that has this capacity does not grow */

/* Sends all pieces (and uses the array up). 0, or -1 with errno; ETIMEDOUT when the peer took
 * nothing for timeout_ms. A peer that reads on only when it has sent everything (mod_fcgid) is
 * listened to while it is waited for: what it sends goes to input, which may become a heap block.
 * wait and input may be NULL. */
int socket_send(int fd, struct iovec *pieces, size_t count, uint64_t timeout_ms,
                struct socket_wait *wait, struct input *input);

/* Sends what the peer takes, and waits up to wait_ms for it each time, as long as *patience_ms
 * lasts, from which that is taken. 0: *pieces and *count are what is left; -1 with errno. wait may
 * be NULL.
 */
int socket_send_some(int fd, struct iovec **pieces, size_t *count, unsigned wait_ms,
                     unsigned *patience_ms, struct socket_wait *wait);

#endif
