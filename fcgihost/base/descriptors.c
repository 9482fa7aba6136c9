/* Which descriptor numbers connections may use, and that only the standard streams use 0 to 2. */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ROOM_PART = 8, ROOM_MAX = 64 }; /* an eighth is left, at most 64 */

int descriptors_find_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    int count = (int)limit.rlim_cur, room = count / ROOM_PART;
    return count - (room < ROOM_MAX ? room : ROOM_MAX);
}

bool descriptors_are_left(int fd, int limit)
{
    int probe = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (probe >= 0)
        close(probe);
    return probe >= 0 && probe < limit;
}

int descriptors_above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), number = errno;
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, fd) < 0) /* which closes fd, and leaves no moment between */
        close(fd);
    if (null > STDERR_FILENO)
        close(null);
    errno = number;
    return moved;
}

void descriptors_plug_standard(void)
{
    static bool was_closed[STDERR_FILENO + 1];
    bool is_lower_left = false; /* open() would take that one */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        bool is_closed = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
        if (is_closed && was_closed[fd] && !is_lower_left) {
            int null = open("/dev/null", O_RDWR);
            if (null > STDERR_FILENO) /* another thread was faster */
                close(null);
            is_closed = false;
        }
        was_closed[fd] = is_closed;
        is_lower_left |= is_closed;
    }
}
