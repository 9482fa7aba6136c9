/* Messages with descriptors between two processes of the host. */
#include "base/channel.h"

#include "base/descriptors.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
};

int channel_open(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

int channel_send(int fd, uint32_t kind, const void *data, size_t bytes, const int *fds,
                 size_t fd_count)
{
    struct iovec parts[] = {{&kind, sizeof(kind)}, {(void *)(uintptr_t)data, bytes}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    union control control;
    if (bytes > CHANNEL_BYTES_MAX || fd_count > CHANNEL_FDS_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(item), fds, sizeof(int) * fd_count);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static void take_descriptors(struct msghdr *header, struct channel_message *message)
{
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL;
         item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(message->fds, CMSG_DATA(item), count * sizeof(int));
        message->fd_count = count;
        for (size_t i = 0; i < count; i++)
            message->fds[i] = descriptors_above_standard(message->fds[i]);
    }
}

enum channel_event channel_receive(int fd, struct channel_message *message)
{
    for (;;) {
        union control control;
        struct iovec parts[] = {{&message->kind, sizeof(message->kind)},
                                {message->data, sizeof(message->data)}};
        struct msghdr header = {.msg_iov = parts,
                                .msg_iovlen = 2,
                                .msg_control = control.bytes,
                                .msg_controllen = sizeof(control.bytes)};
        message->fd_count = 0;
        ssize_t n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? CHANNEL_EMPTY : CHANNEL_CLOSED;
        take_descriptors(&header, message);
        if (n == 0) { /* the end, or an empty message, which looks the same but for descriptors */
            channel_close_descriptors(message);
            return CHANNEL_CLOSED;
        }
        if ((size_t)n >= sizeof(message->kind) && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
            message->bytes = (size_t)n - sizeof(message->kind);
            return CHANNEL_MESSAGE;
        }
        channel_close_descriptors(message);
    }
}

void channel_close_descriptors(struct channel_message *message)
{
    for (size_t i = 0; i < message->fd_count; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    message->fd_count = 0;
}
