/* How many connections wait in the kernel: TCP_INFO, or for a Unix socket sock_diag(7). */
#include "status/queue_length.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of a listening socket the kernel gives the length of its queue in tcpi_unacked. */
static long tcp_queue(int fd)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 ? (long)info.tcpi_unacked : -1;
}

static long parse_reply(const char *bytes, size_t n)
{
    const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)bytes;
    if (!NLMSG_OK(header, n) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -1;
    const struct unix_diag_msg *message = NLMSG_DATA(header);
    const struct rtattr *attribute = (const struct rtattr *)(message + 1);
    unsigned left = header->nlmsg_len - (unsigned)NLMSG_LENGTH(sizeof(*message));
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == UNIX_DIAG_RQLEN)
            return (long)((const struct unix_diag_rqlen *)RTA_DATA(attribute))->udiag_rqueue;
    return -1;
}

static long unix_queue(ino_t inode)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req body;
    } question = {
        .header = {.nlmsg_len = sizeof(question),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = ~0u,
                 .udiag_ino = (unsigned)inode,
                 .udiag_show = UDIAG_SHOW_RQLEN,
                 .udiag_cookie = {~0u, ~0u}},
    };
    _Alignas(struct nlmsghdr) char reply[1024];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -1;
    long queue = -1;
    if (send(fd, &question, sizeof(question), 0) == (ssize_t)sizeof(question)) {
        /* The kernel has answered when send() returns. */
        ssize_t n = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);
        queue = n > 0 ? parse_reply(reply, (size_t)n) : -1;
    }
    close(fd);
    return queue;
}

long queue_length(int fd)
{
    int family = 0;
    socklen_t bytes = sizeof(family);
    struct stat status;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes) < 0)
        return -1;
    if (family == AF_UNIX)
        return fstat(fd, &status) == 0 ? unix_queue(status.st_ino) : -1;
    return family == AF_INET || family == AF_INET6 ? tcp_queue(fd) : -1;
}
