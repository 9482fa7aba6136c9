/* The control socket's file. */
#include "status/control_socket.h"

#include "base/log.h"
#include "config/config_error.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16, CONNECT_S = 1 };

static socklen_t fill_address(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, strlen(path) + 1);
    return (socklen_t)sizeof(*address);
}

int control_socket_connect(const char *path)
{
    struct sockaddr_un address;
    socklen_t bytes = fill_address(&address, path);
    struct timeval timeout = {.tv_sec = CONNECT_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) /* a host that is stopped accepts nobody, and its queue gets full */
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, bytes) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Both must say so: in another PID namespace the number means nothing. */
static bool is_dead(long pid, const char *path)
{
    if (kill((pid_t)pid, 0) == 0 || errno != ESRCH)
        return false;
    int fd = control_socket_connect(path);
    if (fd >= 0)
        close(fd);
    return fd < 0 && errno == ECONNREFUSED;
}

static void remove_stale(const char *folder)
{
    DIR *entries = opendir(folder);
    struct dirent *entry;
    char path[CONTROL_PATH_BYTES];
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        long pid = identity_control_pid(entry->d_name);
        if (pid > 0 && identity_control_path(folder, pid, path) && is_dead(pid, path))
            unlink(path);
    }
    if (entries != NULL)
        closedir(entries);
}

/* Nobody else may put a file there in our place. */
static bool is_safe(const char *folder)
{
    struct stat status;
    if (stat(folder, &status) < 0 || !S_ISDIR(status.st_mode))
        return false;
    return (status.st_uid == 0 || status.st_uid == geteuid()) && (status.st_mode & 022) == 0;
}

/* -1 with errno. Bound under another name, which then takes the place of a predecessor's file: the
 * process may have been executed anew with the same number. Nobody can connect before listen(). */
static int bind_at(const char *path)
{
    char temporary[CONTROL_PATH_BYTES];
    struct sockaddr_un address;
    int n = snprintf(temporary, sizeof(temporary), "%s.new", path);
    if (n < 0 || n >= (int)sizeof(temporary)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    socklen_t bytes = fill_address(&address, temporary);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    unlink(temporary);
    bool is_bound = bind(fd, (struct sockaddr *)&address, bytes) == 0;
    if (is_bound && chmod(temporary, 0600) == 0 && listen(fd, BACKLOG) == 0 &&
        rename(temporary, path) == 0)
        return fd;
    int error = errno;
    if (is_bound)
        unlink(temporary);
    close(fd);
    errno = error;
    return -1;
}

static bool open_in(const char *folder, void *context)
{
    struct control_socket *opened = context;
    if (geteuid() == 0 && strcmp(folder, "/run/fcgihost") == 0)
        mkdir(folder, 0755);
    if (!is_safe(folder) || !identity_control_path(folder, (long)getpid(), opened->path))
        return false;
    opened->fd = bind_at(opened->path);
    if (opened->fd >= 0)
        remove_stale(folder);
    return opened->fd >= 0;
}

void control_socket_open(struct control_socket *opened)
{
    *opened = (struct control_socket){.fd = -1};
    if (!identity_each_folder(open_in, opened))
        log_info("control-socket-missing",
                 "no control socket, so fcgihost --status can't ask this host: this user can write "
                 "neither to $RUNTIME_DIRECTORY nor to /run/fcgihost nor to $XDG_RUNTIME_DIR");
}

static bool is_folder_safe(const char *path)
{
    char folder[CONTROL_PATH_BYTES];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return is_safe(folder);
}

void control_socket_heal(struct control_socket *opened)
{
    struct stat status;
    if (opened->fd < 0 || opened->path[0] == '\0')
        return;
    if (lstat(opened->path, &status) == 0) {
        opened->is_missed = false;
        return;
    }
    if (errno != ENOENT)
        return;
    errno = 0;
    int fd = is_folder_safe(opened->path) ? bind_at(opened->path) : -1;
    const char *why = errno != 0 ? config_error_describe(errno) : "others may write to its folder";
    if (fd >= 0) {
        close(opened->fd);
        opened->fd = fd;
    }
    if (fd >= 0)
        log_info("control-socket-made-again",
                 "control socket \"%s\": it was removed, and is made again", opened->path);
    else if (!opened->is_missed)
        log_warning(
            "control-socket-removed",
            "control socket \"%s\": it was removed, and can't be made again yet: %s: until then "
            "fcgihost --status can't ask this host",
            opened->path, why);
    opened->is_missed = fd < 0;
}

void control_socket_close(struct control_socket *opened)
{
    if (opened->fd < 0)
        return;
    if (opened->path[0] != '\0')
        unlink(opened->path);
    close(opened->fd);
    opened->fd = -1;
}

bool control_socket_admits(int peer_fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    return getsockopt(peer_fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}
