/* Opens, replaces and removes files without following another user's links. */
#include "base/own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MAX_LINKS = 40, NEW_FILE_TRIES = 8 };

/* Where a path leads: a folder, and a name in it. */
struct place {
    int folder_fd;
    char name[NAME_MAX + 1];
    bool is_magic; /* the name is a link of /proc, to what no path leads to */
    char rest[2 * PATH_MAX];
};

static bool is_trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid();
}

/* Root follows root's links only. Other users follow anybody's, as open(2) does, except in folders
 * that everybody can write to. */
static bool is_safe(const struct stat *folder, uid_t owner)
{
    return is_trusted(owner) || (geteuid() != 0 && (folder->st_mode & S_IWOTH) == 0);
}

static int fail_with(int number)
{
    errno = number;
    return -1;
}

static void close_keeping_errno(int fd)
{
    int number = errno;
    if (fd >= 0)
        close(fd);
    errno = number;
}

static int enter(struct place *place, int fd)
{
    if (fd < 0)
        return -1;
    close_keeping_errno(place->folder_fd);
    place->folder_fd = fd;
    return 0;
}

/* Starts over at "/" if the rest of the path is absolute. */
static int enter_root(struct place *place)
{
    if (place->rest[0] != '/')
        return 0;
    return enter(place, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Takes the first name off the rest. 0, or -1 with errno. */
static int take_name(struct place *place, bool *is_last)
{
    const char *start = place->rest + strspn(place->rest, "/");
    size_t length = strcspn(start, "/");
    if (length > NAME_MAX)
        return fail_with(ENAMETOOLONG);
    memcpy(place->name, start, length);
    place->name[length] = '\0';
    start += length;
    *is_last = start[strspn(start, "/")] == '\0';
    if (length == 0 || (*is_last && *start == '/'))
        return fail_with(EISDIR);
    memmove(place->rest, start, strlen(start) + 1);
    return 0;
}

/* fd: of the link itself. Its text comes in front of the rest. */
static int follow(struct place *place, int fd)
{
    char text[PATH_MAX], rest[sizeof(place->rest)];
    ssize_t n = readlinkat(fd, "", text, sizeof(text) - 1);
    if (n < 0)
        return -1;
    text[n] = '\0';
    int length = snprintf(rest, sizeof(rest), "%s%s", text, place->rest);
    if (length >= (int)sizeof(rest))
        return fail_with(ENAMETOOLONG);
    memcpy(place->rest, rest, (size_t)length + 1);
    return enter_root(place);
}

/* The name is a link, or the last one. 1: it leads on; 0: the place is found; -1 with errno. */
static int look_at(struct place *place, bool is_last)
{
    struct stat status, folder;
    struct statfs system;
    int fd = openat(place->folder_fd, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return is_last && errno == ENOENT ? 0 : -1;
    int result = fstat(fd, &status) < 0 || fstat(place->folder_fd, &folder) < 0 ? -1 : 0;
    if (result == 0 && S_ISLNK(status.st_mode)) {
        place->is_magic = is_last && fstatfs(fd, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
        if (!is_safe(&folder, status.st_uid))
            result = fail_with(ELOOP);
        else if (!place->is_magic)
            result = follow(place, fd) < 0 ? -1 : 1;
    } else if (result == 0 && !is_last) {
        result = fail_with(ENOTDIR);
    }
    close_keeping_errno(fd);
    return result;
}

static int step(struct place *place, bool is_last)
{
    if (!is_last) {
        int fd =
            openat(place->folder_fd, place->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            return enter(place, fd) < 0 ? -1 : 1;
        if (errno != ENOTDIR && errno != ELOOP)
            return -1;
    }
    return look_at(place, is_last);
}

/* Closed by place_clear, in any case. */
static int place_find(struct place *place, const char *path)
{
    place->is_magic = false;
    place->folder_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (strlen(path) >= sizeof(place->rest))
        return fail_with(ENAMETOOLONG);
    snprintf(place->rest, sizeof(place->rest), "%s", path);
    if (place->folder_fd < 0 || enter_root(place) < 0)
        return -1;
    for (int i = 0; i < MAX_LINKS + PATH_MAX / 2; i++) {
        bool is_last;
        int result = take_name(place, &is_last) < 0 ? -1 : step(place, is_last);
        if (result <= 0)
            return result;
    }
    return fail_with(ELOOP);
}

static void place_clear(struct place *place)
{
    close_keeping_errno(place->folder_fd);
    place->folder_fd = -1;
}

/* Is it a file that another user may have put there, to have the host write to it? */
static int check_file(const struct place *place, int fd)
{
    struct stat file, folder;
    if (place->is_magic)
        return 0;
    if (fstat(fd, &file) < 0 || fstat(place->folder_fd, &folder) < 0)
        return -1;
    bool is_open_to_all = (folder.st_mode & S_IWOTH) != 0;
    bool is_anothers = geteuid() == 0 && (!is_trusted(folder.st_uid) || folder.st_mode & S_IWGRP);
    if (!S_ISREG(file.st_mode))
        return 0;
    if (file.st_nlink > 1 && (is_open_to_all || is_anothers))
        return fail_with(EMLINK);
    return is_open_to_all && !is_trusted(file.st_uid) ? fail_with(EPERM) : 0;
}

static int open_place(const struct place *place, int flags, mode_t mode)
{
    int fd = openat(place->folder_fd, place->name,
                    flags | O_CLOEXEC | (place->is_magic ? 0 : O_NOFOLLOW), mode);
    if (fd >= 0 && check_file(place, fd) < 0) {
        close_keeping_errno(fd);
        fd = -1;
    }
    return fd;
}

int own_file_open(const char *path, int flags, mode_t mode)
{
    struct place place;
    int fd = place_find(&place, path) < 0 ? -1 : open_place(&place, flags, mode);
    place_clear(&place);
    return fd;
}

static int write_text(int fd, const char *text)
{
    size_t length = strlen(text);
    ssize_t n = write(fd, text, length);
    if (n >= 0 && (size_t)n < length)
        return fail_with(ENOSPC);
    return n < 0 ? -1 : 0;
}

/* What there is already: a device, or a file in a folder where this user can't make one. */
static int write_in_place(const struct place *place, const char *text)
{
    int fd = open_place(place, O_WRONLY | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    struct stat status;
    int result = fstat(fd, &status);
    if (result == 0 && S_ISREG(status.st_mode))
        result = ftruncate(fd, 0);
    if (result == 0)
        result = write_text(fd, text);
    close_keeping_errno(fd);
    return result;
}

/* name: of the new file. Its descriptor, or -1 with errno. */
static int make_beside(const struct place *place, char name[NAME_MAX + 1])
{
    for (int i = 0; i < NEW_FILE_TRIES; i++) {
        unsigned chance = 0;
        (void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
        snprintf(name, NAME_MAX + 1, ".%.200s.%08x", place->name, chance);
        int fd = openat(place->folder_fd, name,
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static int replace_place(const struct place *place, const char *text)
{
    char name[NAME_MAX + 1];
    struct stat status;
    int is_there = fstatat(place->folder_fd, place->name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there && (place->is_magic || !S_ISREG(status.st_mode)))
        return write_in_place(place, text);
    int fd = make_beside(place, name);
    if (fd < 0)
        return is_there && errno == EACCES ? write_in_place(place, text) : -1;
    int result = write_text(fd, text);
    if (close(fd) < 0)
        result = -1;
    if (result == 0)
        result = renameat(place->folder_fd, name, place->folder_fd, place->name);
    if (result < 0) {
        int number = errno;
        unlinkat(place->folder_fd, name, 0);
        errno = number;
    }
    return result;
}

int own_file_replace(const char *path, const char *text)
{
    struct place place;
    int result = place_find(&place, path) < 0 ? -1 : replace_place(&place, text);
    place_clear(&place);
    return result;
}

/* A device is never removed, whatever is read from it. */
static bool has_text(const struct place *place, const char *text)
{
    char found[64];
    struct stat status;
    int fd = open_place(place, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return false;
    ssize_t n =
        fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? read(fd, found, sizeof(found)) : -1;
    close_keeping_errno(fd);
    return n > 0 && (size_t)n == strlen(text) && memcmp(found, text, (size_t)n) == 0;
}

void own_file_remove(const char *path, const char *text)
{
    struct place place;
    if (place_find(&place, path) == 0 && !place.is_magic && has_text(&place, text))
        unlinkat(place.folder_fd, place.name, 0);
    place_clear(&place);
}

const char *own_file_refusal(int number)
{
    if (number == ELOOP)
        return "another user's symbolic link leads there";
    if (number == EMLINK)
        return "it has several hard links, and another user may have made one";
    if (number == EPERM)
        return "it belongs to another user, or may not be changed";
    return NULL;
}
