/* Sending to a non-blocking socket, with a deadline for each wait. */
#ifndef FCGIHOST_SOCKET_IO_H
#define FCGIHOST_SOCKET_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Sends all pieces (and uses the array up). 0, or -1 with errno; ETIMEDOUT when the peer took
 * nothing for timeout_ms. */
int socket_send(int fd, struct iovec *pieces, size_t count, uint64_t timeout_ms);

#endif
