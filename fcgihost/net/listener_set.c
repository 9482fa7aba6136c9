/* Opens the listening sockets that the configuration names, or takes over inherited ones. */
#include "net/listener_set.h"

#include "net/listener_unix.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_SYSTEMD_FD = 3 };

/* Inherited sockets */

/* 0, or -1 with errno: not a socket, or not one that listens for streams. */
static int check_listening(int fd)
{
    socklen_t size = sizeof(int);
    int type;
    int is_listening;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return -1;
    size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0)
        return -1;
    if (type != SOCK_STREAM || !is_listening) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

/* Moves the socket away from descriptor 0 and leaves /dev/null there: the application and its
 * children may read from stdin, or close it. */
static int free_stdin(int *fd)
{
    int moved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int result = moved < 0 || null < 0 ? -1 : dup2(null, STDIN_FILENO);

    if (null >= 0)
        close(null);
    *fd = moved;
    return result;
}

static int adopt(struct listener *listener, int fd, struct config_error *error)
{
    struct sockaddr_storage name = {0};
    socklen_t name_bytes = sizeof(name);
    int flags;

    if (check_listening(fd) < 0) {
        if (errno == EBADF) {
            return listener_fail(error, listener,
                                 "descriptor %d is not open: the program that starts "
                                 "fcgihost must pass it on",
                                 fd);
        }
        if (errno == ENOTSOCK)
            return listener_fail(error, listener,
                                 "descriptor %d is not a socket: pass a listening one", fd);
        return listener_fail(error, listener,
                             "descriptor %d is not a listening stream socket: pass one on "
                             "which listen() was called",
                             fd);
    }
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &name_bytes) < 0 ||
        (fd == STDIN_FILENO ? free_stdin(&fd) : fcntl(fd, F_SETFD, FD_CLOEXEC)) < 0)
        return listener_fail(error, listener, "%s", config_error_describe(errno));
    listener->fd = fd;
    listener->kind = ADDRESS_DESCRIPTOR;
    listener->is_tcp = name.ss_family == AF_INET || name.ss_family == AF_INET6;
    listener->is_inherited = true;
    return 0;
}

/* TCP */

static int describe_tcp(const struct listener *listener, int number, struct config_error *error)
{
    if (number == EADDRINUSE) {
        return listener_fail(error, listener,
                             "in use: stop the program that listens there, or use another port");
    }
    if (number == EACCES) {
        return listener_fail(error, listener,
                             "permission denied: ports below 1024 are for root, use a higher one");
    }
    if (number == EADDRNOTAVAIL) {
        return listener_fail(error, listener,
                             "not an address of this machine: use one that \"ip address\" shows");
    }
    if (number == EAFNOSUPPORT)
        return listener_fail(error, listener, "this machine has no IPv6: use an IPv4 address");
    return listener_fail(error, listener, "%s", config_error_describe(number));
}

static int open_tcp(struct listener *listener, const struct address *address,
                    const struct config *config, struct config_error *error)
{
    const struct sockaddr *sockaddr = (const struct sockaddr *)&address->sockaddr;
    int yes = 1;
    int fd = socket(sockaddr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return describe_tcp(listener, errno, error);
    listener->fd = fd;
    listener->is_tcp = true;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
        (sockaddr->sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) < 0) ||
        bind(fd, sockaddr, address->sockaddr_bytes) < 0 || listen(fd, (int)config->backlog) < 0)
        return describe_tcp(listener, errno, error);
    return 0;
}

/* The set */

/* NULL when out of memory. */
static struct listener *add(struct listener_set *set, const char *name)
{
    struct listener *items = realloc(set->items, (set->count + 1) * sizeof(*items));
    struct listener *listener;

    if (items == NULL)
        return NULL;
    set->items = items;
    listener = &items[set->count++];
    *listener = (struct listener){.fd = -1};
    snprintf(listener->name, sizeof(listener->name), "%s", name);
    return listener;
}

static const struct listener *find(const struct listener_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i].name, name) == 0)
            return &set->items[i];
    return NULL;
}

static int open_address(struct listener_set *set, const char *text, const struct config *config,
                        struct config_error *error)
{
    struct address address;
    const char *reason;
    struct listener *listener;

    if (address_parse(text, &address, &reason) < 0)
        return config_error_set(error, "listen \"%s\": %s", text, reason);
    if (find(set, text) != NULL)
        return config_error_set(error, "listen \"%s\": given twice: leave one out", text);
    listener = add(set, text);
    if (listener == NULL)
        return config_error_set(error, "listen \"%s\": out of memory", text);
    listener->kind = address.kind;
    switch (address.kind) {
    case ADDRESS_UNIX:
        listener_own_files();
        return listener_open_unix(listener, &address, config, error);
    case ADDRESS_TCP:
        return open_tcp(listener, &address, config, error);
    case ADDRESS_DESCRIPTOR:
        break;
    }
    return adopt(listener, address.descriptor, error);
}

static int open_inherited(struct listener_set *set, int fd, struct config_error *error)
{
    char name[16];
    struct listener *listener;

    snprintf(name, sizeof(name), "fd:%d", fd);
    listener = add(set, name);
    if (listener == NULL)
        return config_error_set(error, "listen \"%s\": out of memory", name);
    return adopt(listener, fd, error);
}

/* How many sockets systemd passed to this process; 0: none; -1: LISTEN_FDS can't be read. */
static int count_systemd_sockets(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    char *end;
    long number;

    if (pid == NULL || count == NULL)
        return 0;
    number = strtol(pid, &end, 10);
    if (end == pid || *end != '\0' || number != (long)getpid())
        return 0;
    number = strtol(count, &end, 10);
    return end != count && *end == '\0' && number >= 0 && number <= 1024 ? (int)number : -1;
}

/* So that children of the application don't take them for theirs. */
static void forget_systemd(void)
{
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static int open_systemd(struct listener_set *set, struct config_error *error)
{
    int count = count_systemd_sockets();

    if (count < 0) {
        return config_error_set(error,
                                "listen: LISTEN_FDS is \"%s\", not a number: leave it to "
                                "systemd, or give --listen ADDRESS",
                                getenv("LISTEN_FDS"));
    }
    for (int fd = FIRST_SYSTEMD_FD; fd < FIRST_SYSTEMD_FD + count; fd++)
        if (open_inherited(set, fd, error) < 0)
            return -1;
    forget_systemd();
    return 0;
}

static int open_unconfigured(struct listener_set *set, struct config_error *error)
{
    if (check_listening(STDIN_FILENO) == 0)
        return open_inherited(set, STDIN_FILENO, error);
    if (open_systemd(set, error) < 0)
        return -1;
    if (set->count == 0) {
        return config_error_set(error,
                                "[server] listen: no address to listen on, and descriptor 0 is not "
                                "a listening socket: give --listen unix:PATH or --listen "
                                "HOST:PORT, or start it from a web server, spawn-fcgi or systemd");
    }
    return 0;
}

int listener_open_all(struct listener_set *set, const struct config *config,
                      struct config_error *error)
{
    int result = 0;

    *set = (struct listener_set){0};
    for (size_t i = 0; result == 0 && i < config->listen.count; i++)
        result = open_address(set, config->listen.items[i], config, error);
    if (config->listen.count == 0)
        result = open_unconfigured(set, error);
    if (result < 0)
        listener_close_all(set);
    return result;
}

static int share(struct listener_set *set, const struct listener *known, struct config_error *error)
{
    if (find(set, known->name) != NULL)
        return config_error_set(error, "listen \"%s\": given twice: leave one out", known->name);
    struct listener *listener = add(set, known->name);
    if (listener == NULL)
        return config_error_set(error, "listen \"%s\": out of memory", known->name);
    *listener = *known;
    return 0;
}

static const struct listener *find_either(const struct listener_set *set,
                                          const struct listener_set *more, const char *name)
{
    const struct listener *found = find(set, name);
    return found == NULL && more != NULL ? find(more, name) : found;
}

static int open_again(struct listener_set *set, const struct config_list *addresses,
                      const struct listener_set *open, const struct listener_set *more,
                      const struct config *config, struct config_error *error)
{
    int result = 0;

    *set = (struct listener_set){0};
    for (size_t i = 0; result == 0 && i < addresses->count; i++) {
        const char *address = addresses->items[i];
        const struct listener *known = find_either(open, more, address);
        result =
            known != NULL ? share(set, known, error) : open_address(set, address, config, error);
    }
    return result;
}

int listener_open_again(struct listener_set *set, const struct listener_set *open,
                        const struct listener_set *more, const struct config *config,
                        struct config_error *error)
{
    int result = open_again(set, &config->listen, open, more, config, error);
    for (size_t i = 0; result == 0 && config->listen.count == 0 && i < open->count; i++)
        result = share(set, &open->items[i], error);
    if (result < 0)
        listener_close_others(set, open, more);
    return result;
}

int listener_open_status_again(struct listener_set *set, const struct listener_set *open,
                               const struct listener_set *more, const struct config *config,
                               struct config_error *error)
{
    int result = open_again(set, &config->status_listen, open, more, config, error);
    if (result < 0)
        listener_close_others(set, open, more);
    return result;
}

void listener_close_others(struct listener_set *set, const struct listener_set *kept,
                           const struct listener_set *more)
{
    for (size_t i = 0; i < set->count; i++)
        if (find_either(kept, more, set->items[i].name) == NULL)
            listener_close(&set->items[i]);
    free(set->items);
    *set = (struct listener_set){0};
}

int listener_open_status(struct listener_set *set, const struct config *config,
                         struct config_error *error)
{
    *set = (struct listener_set){0};
    for (size_t i = 0; i < config->status_listen.count; i++)
        if (open_address(set, config->status_listen.items[i], config, error) < 0) {
            listener_close_all(set);
            return -1;
        }
    return 0;
}

int listener_take_over(struct listener_set *set, const struct handover *handover,
                       struct config_error *error)
{
    *set = (struct listener_set){0};
    listener_own_files(); /* this process made them, before it executed itself anew */
    for (size_t i = 0; i < handover->listener_count; i++) {
        const struct handover_listener *left = &handover->listeners[i];
        struct listener *listener = add(set, left->name);
        if (listener == NULL) {
            listener_close_all(set);
            return config_error_set(error, "listen \"%s\": out of memory", left->name);
        }
        listener->fd = left->fd;
        listener->kind = (enum address_kind)left->kind;
        listener->is_tcp = left->is_tcp;
        listener->is_inherited = left->is_inherited;
        snprintf(listener->path, sizeof(listener->path), "%s", left->path);
        listener->path_device = (dev_t)left->path_device;
        listener->path_inode = (ino_t)left->path_inode;
    }
    if (set->count == 0)
        return config_error_set(error, "listen: no socket was handed over");
    if (set->items[0].is_inherited && count_systemd_sockets() > 0)
        forget_systemd();
    return 0;
}

void listener_close_all(struct listener_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        listener_close(&set->items[i]);
    free(set->items);
    *set = (struct listener_set){0};
}
