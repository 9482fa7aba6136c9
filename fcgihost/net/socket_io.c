/* Sending to a non-blocking socket, with a deadline for each wait. */
#include "net/socket_io.h"

#include "base/clock.h"
#include "net/input.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

enum { SEND_BUFFER_BYTES = 1 << 20 };

static bool take_what_is_there(struct input *input, int fd)
{
    if (input_available(input) == input->capacity) {
        size_t capacity = 2 * input->capacity;
        if (input->capacity >= SOCKET_KEPT_BYTES || input_own(input, capacity) < 0)
            return false;
    }
    long n = input_receive(input, fd);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* The peer may have to send before it reads on: receives as much as there is room for. false: there
 * is no room left, or the application is reading. */
static bool take_in(struct input *input, int fd)
{
    if (!input_enter(input))
        return false;
    bool has_room = input->drop != NULL ? input->drop(input->owner) : take_what_is_there(input, fd);
    input_leave(input);
    return has_room;
}

/* A Unix socket's buffer is 208 KiB by default, and poll() reports room when three quarters of it
 * are free: 1 MiB takes seven waits with two context switches each, 100 of 400 µs. The kernel
 * allows at most net.core.wmem_max. TCP's buffers grow by themselves. */
static void enlarge_buffer(int fd)
{
    int domain, bytes = SEND_BUFFER_BYTES;
    socklen_t domain_bytes = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) == 0 && domain == AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static int wait_writable(int fd, uint64_t timeout_ms, struct socket_wait *wait, struct input *input)
{
    if (wait != NULL)
        wait->before(wait);
    if (wait != NULL && wait->end_ms > 0) {
        uint64_t now_ms = clock_ms(), left_ms = wait->end_ms > now_ms ? wait->end_ms - now_ms : 0;
        timeout_ms = left_ms < timeout_ms ? left_ms : timeout_ms;
    }
    for (;;) {
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        if (input != NULL)
            pollfd.events |= POLLIN;
        int ready = poll(&pollfd, 1, (int)timeout_ms);
        if (ready > 0 && (pollfd.revents & ~POLLIN) != 0)
            return 0;
        if (ready > 0 && input != NULL && !take_in(input, fd))
            input = NULL;
        if (ready == 0)
            errno = ETIMEDOUT;
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return -1;
    }
}

/* So many bytes of the pieces have been sent. */
static void pass(struct iovec **pieces, size_t *count, size_t sent)
{
    while (*count > 0 && sent >= (*pieces)->iov_len) {
        sent -= (*pieces)->iov_len;
        (*pieces)++;
        (*count)--;
    }
    if (*count > 0) {
        (*pieces)->iov_base = (char *)(*pieces)->iov_base + sent;
        (*pieces)->iov_len -= sent;
    }
}

int socket_send(int fd, struct iovec *pieces, size_t count, uint64_t timeout_ms,
                struct socket_wait *wait, struct input *input)
{
    bool is_enlarged = false;
    while (count > 0) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN && !is_enlarged) {
            enlarge_buffer(fd);
            is_enlarged = true;
            continue;
        }
        if (sent < 0) {
            if (errno == EINTR || ((errno == EAGAIN || errno == ENOBUFS) &&
                                   wait_writable(fd, timeout_ms, wait, input) == 0))
                continue;
            return -1;
        }
        pass(&pieces, &count, (size_t)sent);
    }
    return 0;
}

/* false: it is not waited for any longer. */
static bool wait_briefly(int fd, unsigned wait_ms, unsigned *patience_ms, struct socket_wait *wait)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    uint64_t before_ms = clock_ms();
    if (*patience_ms == 0)
        return false;
    if (wait != NULL)
        wait->before(wait);
    int ready = poll(&pollfd, 1, (int)(wait_ms < *patience_ms ? wait_ms : *patience_ms));
    uint64_t took_ms = clock_ms() - before_ms;
    *patience_ms -= took_ms < *patience_ms ? (unsigned)took_ms : *patience_ms;
    if (ready == 0)
        *patience_ms = 0; /* it is not one that soon goes on */
    return ready > 0;
}

int socket_send_some(int fd, struct iovec **pieces, size_t *count, unsigned wait_ms,
                     unsigned *patience_ms, struct socket_wait *wait)
{
    bool is_enlarged = false;
    while (*count > 0) {
        struct msghdr message = {.msg_iov = *pieces, .msg_iovlen = *count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            pass(pieces, count, (size_t)sent);
        } else if (errno == EAGAIN && !is_enlarged) {
            enlarge_buffer(fd);
            is_enlarged = true;
        } else if (errno == EAGAIN || errno == ENOBUFS) {
            if (!wait_briefly(fd, wait_ms, patience_ms, wait))
                return 0;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}
