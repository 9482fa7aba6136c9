/* Unix sockets: exactly one process gets a path, however many start at the same time. */
#include "net/listener_unix.h"

#include "base/clock.h"
#include "base/user.h"
#include "config/config_load.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    WHY_SIZE = 256,
    LOCK_NAME_SIZE = sizeof(((struct listener *)0)->path) + sizeof(".lock"),
    LOCK_MS = 5000,
    LOCK_LOOK_MS = 5
};

/* "folder owned by root": why permission is denied. */
static void describe_folder(const char *path, char owner[WHY_SIZE])
{
    char folder[sizeof(((struct listener *)0)->path)];
    struct stat status;
    const struct passwd *entry;
    char *slash;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof(folder), ".");
    else
        slash[slash == folder] = '\0';
    if (stat(folder, &status) < 0) {
        snprintf(owner, WHY_SIZE, "its folder can't be accessed");
        return;
    }
    entry = getpwuid(status.st_uid);
    if (entry != NULL)
        snprintf(owner, WHY_SIZE, "folder owned by %s", entry->pw_name);
    else
        snprintf(owner, WHY_SIZE, "folder owned by user %lu", (unsigned long)status.st_uid);
}

static int describe_unix(const struct listener *listener, const struct address *address, int number,
                         struct config_error *error)
{
    char owner[WHY_SIZE];

    if (number == EACCES || number == EPERM) {
        describe_folder(address->path, owner);
        return listener_fail(error, listener,
                             "permission denied (%s): make the socket in a folder that this "
                             "user may write to",
                             owner);
    }
    if (number == ENOENT)
        return listener_fail(error, listener, "its folder does not exist: make it first");
    if (number == ENOTDIR)
        return listener_fail(error, listener, "its folder is a file: use another path");
    if (number == EROFS)
        return listener_fail(error, listener, "read-only file system: use a path below /run");
    if (number == EADDRINUSE) {
        return listener_fail(error, listener,
                             "in use: stop the program that listens there, or use another address");
    }
    return listener_fail(error, listener, "%s", config_error_describe(number));
}

/* 1: a process listens; 0: none does any more; -1 with errno. */
static int is_live(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result;
    int number;

    if (fd < 0)
        return -1;
    result = connect(fd, (const struct sockaddr *)&address->sockaddr, address->sockaddr_bytes);
    number = errno;
    close(fd);
    errno = number;
    if (result == 0 || number == EAGAIN)
        return 1;
    return number == ECONNREFUSED ? 0 : -1;
}

/* Removes the socket file of a process that died; refuses anything else at that path. */
static int make_room(const struct listener *listener, const struct address *address,
                     struct config_error *error)
{
    struct stat before;
    struct stat now;
    int live;

    if (lstat(address->path, &before) < 0)
        return errno == ENOENT ? 0 : describe_unix(listener, address, errno, error);
    if (!S_ISSOCK(before.st_mode)) {
        return listener_fail(error, listener,
                             "the path exists and is not a socket: remove it, or use another path");
    }
    live = is_live(address);
    if (live > 0) {
        return listener_fail(error, listener,
                             "in use: stop the program that listens there, or use another path");
    }
    if (live < 0 && errno == EACCES) {
        return listener_fail(error, listener,
                             "another user's socket is in the way: remove it, or use another path");
    }
    if (live < 0 && errno != ENOENT) {
        return listener_fail(error, listener,
                             "a socket is in the way (%s): remove it, or use another path",
                             config_error_describe(errno));
    }
    /* Another process may have replaced it meanwhile: its socket is not ours to remove. */
    if (lstat(address->path, &now) == 0 &&
        (now.st_dev != before.st_dev || now.st_ino != before.st_ino))
        return listener_fail(error, listener, "in use: another program has just opened it");
    if (unlink(address->path) < 0 && errno != ENOENT)
        return describe_unix(listener, address, errno, error);
    return 0;
}

/* Sets owner and group first and the mode last: until then only the owner can connect. */
static int set_access(const struct listener *listener, const struct config *config,
                      struct config_error *error)
{
    struct user owner = {.uid = (uid_t)-1};
    gid_t group = (gid_t)-1;

    if (config->socket_owner != NULL && user_find(config->socket_owner, &owner) < 0) {
        if (errno != ENOENT)
            return listener_fail(error, listener, "[server] socket_owner: can't be looked up: %s",
                                 config_error_describe(errno));
        listener_fail(
            error, listener,
            "[server] socket_owner: \"%s\" is not a user here: write an existing name or number",
            config->socket_owner);
        return config_blame(config, "server", "socket_owner", error);
    }
    if (config->socket_group != NULL && user_find_group(config->socket_group, &group) < 0) {
        if (errno != ENOENT)
            return listener_fail(error, listener, "[server] socket_group: can't be looked up: %s",
                                 config_error_describe(errno));
        listener_fail(
            error, listener,
            "[server] socket_group: \"%s\" is not a group here: write an existing name or number",
            config->socket_group);
        return config_blame(config, "server", "socket_group", error);
    }
    if ((config->socket_owner != NULL || config->socket_group != NULL) &&
        lchown(listener->path, owner.uid, group) < 0) {
        return listener_fail(error, listener,
                             "[server] socket_owner, socket_group: %s: only root can give a socket "
                             "to another user, or to a group that it is not in",
                             config_error_describe(errno));
    }
    if (chmod(listener->path, config->socket_mode) < 0)
        return listener_fail(error, listener, "[server] socket_mode: %s",
                             config_error_describe(errno));
    return 0;
}

/* bind(2), and remembers which file that made. */
static int bind_socket(struct listener *listener, const struct address *address,
                       const struct config *config)
{
    mode_t mask = umask(~(config->socket_mode & S_IRWXU) & 0777);
    int result =
        bind(listener->fd, (const struct sockaddr *)&address->sockaddr, address->sockaddr_bytes);
    int number = errno;
    struct stat status;

    umask(mask);
    errno = number;
    if (result < 0 || address->path[0] == '\0')
        return result;
    if (lstat(address->path, &status) < 0) {
        number = errno;
        unlink(address->path); /* nobody else has it, as we have its lock */
        errno = number;
        return -1;
    }
    snprintf(listener->path, sizeof(listener->path), "%s", address->path);
    listener->path_device = status.st_dev;
    listener->path_inode = status.st_ino;
    return 0;
}

static int open_socket(struct listener *listener, const struct address *address,
                       const struct config *config, struct config_error *error)
{
    bool has_file = address->path[0] != '\0';

    if (has_file && make_room(listener, address, error) < 0)
        return -1;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0 || bind_socket(listener, address, config) < 0)
        return describe_unix(listener, address, errno, error);
    if (has_file && set_access(listener, config, error) < 0)
        return -1;
    if (listen(listener->fd, (int)config->backlog) < 0)
        return describe_unix(listener, address, errno, error);
    return 0;
}

/* The lock of a path: a file beside it, there only while a process opens the socket. Between
 * bind(2) and listen(2) a socket looks like one whose process has died. */

static void make_lock_name(const struct address *address, char name[LOCK_NAME_SIZE])
{
    snprintf(name, LOCK_NAME_SIZE, "%s.lock", address->path);
}

/* Is the locked file the one that others will find? */
static bool is_in_place(int fd, const char *name)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && lstat(name, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

/* A descriptor; -1 with EAGAIN: another process has it; -1 with another errno: there can be none.
 */
static int try_lock(const char *name)
{
    int fd = open(name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        if (errno != EWOULDBLOCK && errno != EINTR)
            errno = ENOLCK;
        else
            errno = EAGAIN;
    else if (is_in_place(fd, name))
        return fd;
    else
        errno = EAGAIN; /* its holder has removed it meanwhile */
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

/* As try_lock, for a while. */
static int wait_for_lock(const char *name)
{
    uint64_t deadline_ms = clock_ms() + LOCK_MS;
    int fd;

    while ((fd = try_lock(name)) < 0 && errno == EAGAIN && clock_ms() < deadline_ms)
        nanosleep(&(struct timespec){.tv_nsec = LOCK_LOOK_MS * 1000000L}, NULL);
    return fd;
}

/* A file that is not empty is no lock of ours: it happens to have the name. */
static void unlock(int fd, const char *name)
{
    struct stat status;

    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0)
        unlink(name);
    close(fd);
}

int listener_open_unix(struct listener *listener, const struct address *address,
                       const struct config *config, struct config_error *error)
{
    char name[LOCK_NAME_SIZE];
    int lock;
    int result;

    if (address->path[0] == '\0')
        return open_socket(listener, address, config, error);
    make_lock_name(address, name);
    lock = wait_for_lock(name);
    if (lock < 0 && errno == EAGAIN) {
        return listener_fail(error, listener,
                             "in use: another process is opening it, and has held %s for %d s",
                             name, LOCK_MS / 1000);
    }
    /* Where no file can be made, bind(2) has the better message. */
    result = open_socket(listener, address, config, error);
    unlock(lock, name);
    return result;
}
