/* One listening socket: who owns it, and how it is closed. Only files that this process made are
 * removed. */
#include "net/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A forked child of the application inherits the listeners, and must not remove the socket's file.
 */
static pid_t creator_pid;

int listener_fail(struct config_error *error, const struct listener *listener, const char *format,
                  ...)
{
    char why[CONFIG_MESSAGE_SIZE / 2];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    return config_error_set(error, "listen \"%s\": %s", listener->name, why);
}

void listener_own_files(void)
{
    creator_pid = getpid();
}

struct handover_listener listener_describe(const struct listener *listener)
{
    return (struct handover_listener){.fd = listener->fd,
                                      .kind = listener->kind,
                                      .is_tcp = listener->is_tcp,
                                      .is_inherited = listener->is_inherited,
                                      .name = listener->name,
                                      .path = listener->path,
                                      .path_device = listener->path_device,
                                      .path_inode = listener->path_inode};
}

void listener_unlink(struct listener *listener)
{
    struct stat status;

    if (listener->path[0] == '\0')
        return;
    if (creator_pid == getpid() && lstat(listener->path, &status) == 0 &&
        status.st_dev == listener->path_device && status.st_ino == listener->path_inode)
        unlink(listener->path);
    listener->path[0] = '\0';
}

bool listener_tells_loss(struct listener *listener)
{
    struct stat status;
    bool is_there = lstat(listener->path, &status) == 0;
    bool is_lost =
        listener->path[0] != '\0' &&
        (is_there ? status.st_dev != listener->path_device || status.st_ino != listener->path_inode
                  : errno == ENOENT || errno == ENOTDIR);
    bool is_news = is_lost && !listener->is_loss_told;
    listener->is_loss_told = is_lost;
    return is_news;
}

/* Has the process a descriptor of the socket? -1: it can't be seen. */
static int holds_socket(const char *pid, ino_t inode)
{
    char path[64], link[64], wanted[64];
    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    snprintf(wanted, sizeof(wanted), "socket:[%llu]", (unsigned long long)inode);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        ssize_t n = readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1);
        link[n < 0 ? 0 : n] = '\0';
        result = strcmp(link, wanted) == 0;
    }
    closedir(folder);
    return result;
}

/* Web servers that make a socket for one process and keep no copy. The descriptors of a process
 * that has changed its user can't be seen, but its name can. */
static bool closes_its_copy(const char *pid)
{
    static const char *const spawners[] = {"apache2", "httpd", "lighttpd"};
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(name, sizeof(name), file) != NULL)
        name[strcspn(name, "\n")] = '\0';
    fclose(file);
    for (size_t i = 0; i < sizeof(spawners) / sizeof(*spawners); i++)
        if (strcmp(name, spawners[i]) == 0)
            return true;
    return false;
}

/* The program that started this one, its siblings, or systemd may have the inherited socket too. Of
 * the processes that can't be looked into only the parent is likely to. */
enum listener_owner listener_find_owner(const struct listener *listener)
{
    struct stat status;
    if (!listener->is_inherited)
        return LISTENER_OURS;
    DIR *processes = opendir("/proc");
    if (processes == NULL || fstat(listener->fd, &status) < 0) {
        if (processes != NULL)
            closedir(processes);
        return LISTENER_UNKNOWN;
    }
    enum listener_owner owner = LISTENER_OURS;
    struct dirent *entry;
    while (owner != LISTENER_SHARED && (entry = readdir(processes)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || pid == (long)getpid())
            continue;
        int held = holds_socket(entry->d_name, status.st_ino);
        if (held > 0)
            owner = LISTENER_SHARED;
        else if (held < 0 && pid == (long)getppid() && !closes_its_copy(entry->d_name))
            owner = LISTENER_UNKNOWN;
    }
    closedir(processes);
    return owner;
}

bool listener_is_spawners(const struct listener *listener)
{
    return listener->fd >= 0 && listener->is_inherited && strcmp(listener->name, "fd:0") == 0 &&
           getppid() > 1 && listener_find_owner(listener) == LISTENER_OURS;
}

void listener_refuse(const struct listener *listener)
{
    /* On TCP it would drop the connections that are queued; there, closing refuses. */
    if (!listener->is_tcp)
        shutdown(listener->fd, SHUT_RD);
}

void listener_close(struct listener *listener)
{
    /* Before it stops listening, so that no other host takes the file for a stale one. */
    listener_unlink(listener);
    if (listener->fd >= 0) {
        close(listener->fd);
        listener->fd = -1;
    }
}
