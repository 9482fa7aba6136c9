/* How many connections wait in the kernel, of real sockets.
 *
 * links: queue_length.c */
#include "unit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "status/queue_length.h"

enum { CLIENTS = 5, BACKLOG = 16 };

/* On an address that the kernel chooses, which it gets. */
static int listen_on(int family, struct sockaddr_storage *address, socklen_t *bytes)
{
    *address = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
    *bytes = family == AF_UNIX   ? sizeof(sa_family_t)
             : family == AF_INET ? sizeof(struct sockaddr_in)
                                 : sizeof(struct sockaddr_in6);
    if (family == AF_INET)
        ((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, *bytes) < 0 || listen(fd, BACKLOG) < 0) {
        close(fd);
        return -1; /* no IPv6 on this machine */
    }
    *bytes = sizeof(*address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, bytes), 0);
    return fd;
}

static void assert_counts(int family)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    int clients[CLIENTS], fd = listen_on(family, &address, &bytes), other;
    if (fd < 0 && family == AF_INET6)
        skip();
    assert_true(fd >= 0);
    assert_int_equal(queue_length(fd), 0);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, bytes), 0);
    }
    while (queue_length(fd) < CLIENTS) /* over TCP connect() returns before the server has it */
        usleep(1000);
    assert_int_equal(queue_length(fd), CLIENTS);
    int again = dup(fd);
    assert_int_equal(queue_length(again), CLIENTS);
    close(again);
    assert_true((other = accept(fd, NULL, NULL)) >= 0);
    assert_int_equal(queue_length(fd), CLIENTS - 1);
    close(other);
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
    close(fd);
}

static void test_who_waits_on_a_unix_socket_is_counted(void **state)
{
    (void)state;
    assert_counts(AF_UNIX);
}

static void test_who_waits_on_an_ipv4_socket_is_counted(void **state)
{
    (void)state;
    assert_counts(AF_INET);
}

static void test_who_waits_on_an_ipv6_socket_is_counted(void **state)
{
    (void)state;
    assert_counts(AF_INET6);
}

static void test_what_has_no_queue_is_unknown(void **state)
{
    (void)state;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC), closed = dup(file),
        netlink = socket(AF_NETLINK, SOCK_RAW, 0), pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    close(closed);
    assert_int_equal(queue_length(file), -1);
    assert_int_equal(queue_length(closed), -1);
    assert_int_equal(queue_length(-1), -1);
    assert_int_equal(queue_length(netlink), -1);
    assert_int_equal(queue_length(pipe_fds[0]), -1);
    close(file);
    close(netlink);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_looking_leaves_no_descriptor(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t bytes;
    int fd = listen_on(AF_UNIX, &address, &bytes), before = dup(fd), after;
    close(before);
    for (int i = 0; i < 10; i++)
        assert_int_equal(queue_length(fd), 0);
    after = dup(fd);
    assert_int_equal(after, before);
    close(after);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits_on_a_unix_socket_is_counted),
        cmocka_unit_test(test_who_waits_on_an_ipv4_socket_is_counted),
        cmocka_unit_test(test_who_waits_on_an_ipv6_socket_is_counted),
        cmocka_unit_test(test_what_has_no_queue_is_unknown),
        cmocka_unit_test(test_looking_leaves_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
