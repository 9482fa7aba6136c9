/* Which file a descriptor is. */
#include "base/descriptor_file.h"

#include <errno.h>
#include <sys/stat.h>

struct descriptor_file descriptor_file_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return (struct descriptor_file){0};
    return (struct descriptor_file){.device = status.st_dev, .inode = status.st_ino};
}

bool descriptor_file_is_lost(struct descriptor_file file, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return errno == EBADF; /* else it is there */
    return file.inode != 0 && (status.st_dev != file.device || status.st_ino != file.inode);
}
