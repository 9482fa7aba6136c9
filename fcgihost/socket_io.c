/* Sending to a non-blocking socket, with a deadline for each wait. */
#include "socket_io.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static int wait_writable(int fd, uint64_t timeout_ms, struct socket_wait *wait)
{
    if (wait != NULL)
        wait->before(wait);
    for (;;) {
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        int ready = poll(&pollfd, 1, (int)timeout_ms);
        if (ready > 0)
            return 0;
        if (ready == 0)
            errno = ETIMEDOUT;
        if (ready == 0 || errno != EINTR)
            return -1;
    }
}

int socket_send(int fd, struct iovec *pieces, size_t count, uint64_t timeout_ms,
                struct socket_wait *wait)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR ||
                ((errno == EAGAIN || errno == ENOBUFS) && wait_writable(fd, timeout_ms, wait) == 0))
                continue;
            return -1;
        }
        size_t left = (size_t)sent;
        while (count > 0 && left >= pieces->iov_len) {
            left -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (count > 0) {
            pieces->iov_base = (char *)pieces->iov_base + left;
            pieces->iov_len -= left;
        }
    }
    return 0;
}
