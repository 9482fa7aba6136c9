/* Which file a descriptor of the host's is, as the application may close it, with os.closerange()
 * say, and have another file with its number. */
#ifndef FCGIHOST_DESCRIPTOR_FILE_H
#define FCGIHOST_DESCRIPTOR_FILE_H

#include <stdbool.h>
#include <sys/types.h>

struct descriptor_file {
    dev_t device;
    ino_t inode; /* 0: it could not be told */
};

struct descriptor_file descriptor_file_of(int fd);
/* Is fd closed, or another file's? No, where that can't be told. Those of one kind that have no
 * name, such as eventfd's and epoll's, are one file. Any thread. */
bool descriptor_file_is_lost(struct descriptor_file file, int fd);

#endif
