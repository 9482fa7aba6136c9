/* Sending to a non-blocking socket, with a deadline for each wait. */
#include "net/socket_io.h"

#include "base/clock.h"
#include "net/input.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { SEND_BUFFER_BYTES = 1 << 20, LOOK_MS = 1000 /* between two questions to is_unwanted */ };

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

uint64_t socket_queued(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

/* Has the peer been waited for during a whole period, and taken too little in it? */
static bool is_too_slow(struct socket_pace *pace, int fd)
{
    if (pace->waited_ms < SOCKET_RATE_MS)
        return false;
    uint64_t queued = socket_queued(fd),
             taken = socket_taken(pace->sent_bytes, pace->queued_bytes, queued);
    enum socket_speed speed = socket_judge(taken, pace->min_rate, pace->waited_ms);
    if (speed != SOCKET_FAST_ENOUGH)
        return speed == SOCKET_TOO_SLOW;
    pace->waited_ms = pace->sent_bytes = 0;
    pace->queued_bytes = queued;
    return false;
}

/* How long the next poll() may take. */
static uint64_t next_wait_ms(const struct socket_pace *pace, uint64_t left_ms,
                             const struct socket_wait *wait)
{
    uint64_t now_ms = clock_ms();
    uint64_t period_left_ms = SOCKET_RATE_MS - pace->waited_ms % SOCKET_RATE_MS;
    if (pace->min_rate > 0 && period_left_ms < left_ms)
        left_ms = period_left_ms;
    if (pace->is_unwanted != NULL && left_ms > LOOK_MS)
        left_ms = LOOK_MS;
    if (wait == NULL || wait->end_ms == 0)
        return left_ms;
    uint64_t until_end_ms = wait->end_ms > now_ms ? wait->end_ms - now_ms : 0;
    return until_end_ms < left_ms ? until_end_ms : left_ms;
}

/* The wait was in vain so far: is it over? Of a Unix socket, poll() says nothing before the peer
 * has taken three quarters of the buffer. */
static bool is_over(struct socket_pace *pace, int fd, const struct socket_wait *wait,
                    uint64_t *left_ms, uint64_t *queued)
{
    uint64_t now_queued = socket_queued(fd);
    if (now_queued < *queued)
        *left_ms = pace->timeout_ms;
    *queued = now_queued;
    return *left_ms == 0 || (wait != NULL && wait->end_ms > 0 && clock_ms() >= wait->end_ms);
}

static int wait_writable(int fd, struct socket_pace *pace, struct socket_wait *wait,
                         struct input *input)
{
    uint64_t left_ms = pace->timeout_ms, queued = socket_queued(fd);
    if (wait != NULL)
        wait->before(wait);
    if (pace->waited_ms == 0) {
        pace->sent_bytes = 0;
        pace->queued_bytes = queued;
    }
    for (;;) {
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        if (input != NULL)
            pollfd.events |= POLLIN;
        uint64_t before_ms = clock_ms();
        int ready = poll(&pollfd, 1, (int)next_wait_ms(pace, left_ms, wait));
        uint64_t took_ms = clock_ms() - before_ms;
        pace->waited_ms += took_ms;
        left_ms -= took_ms < left_ms ? took_ms : left_ms;
        if (ready < 0 && errno != EINTR)
            return -1;
        bool was_too_slow = is_too_slow(pace, fd);
        if (ready > 0 && (pollfd.revents & ~POLLIN) != 0 && !was_too_slow)
            return 0;
        if (ready > 0 && input != NULL && !take_in(input, fd))
            input = NULL;
        if (pace->is_unwanted != NULL && pace->is_unwanted(pace->owner)) {
            errno = ECONNRESET;
            return -1;
        }
        if (was_too_slow || is_over(pace, fd, wait, &left_ms, &queued)) {
            errno = ETIMEDOUT;
            return -1;
        }
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

int socket_send_paced(int fd, struct iovec *pieces, size_t count, struct socket_pace *pace,
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
                                   wait_writable(fd, pace, wait, input) == 0))
                continue;
            return -1;
        }
        pass(&pieces, &count, (size_t)sent);
        pace->sent_bytes += (uint64_t)sent;
    }
    return 0;
}

int socket_send(int fd, struct iovec *pieces, size_t count, uint64_t timeout_ms,
                struct socket_wait *wait, struct input *input)
{
    struct socket_pace pace = {.timeout_ms = timeout_ms};
    return socket_send_paced(fd, pieces, count, &pace, wait, input);
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
