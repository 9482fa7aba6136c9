/* Messages with descriptors between two processes of the host, over a pair of sockets that keeps
 * messages apart (SOCK_SEQPACKET). No call blocks. */
#ifndef FCGIHOST_CHANNEL_H
#define FCGIHOST_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

enum { CHANNEL_BYTES_MAX = 32 << 10, CHANNEL_FDS_MAX = 250 }; /* the kernel's limit is 253 */

struct channel_message {
    uint32_t kind;
    size_t bytes;
    uint8_t data[CHANNEL_BYTES_MAX];
    int fds[CHANNEL_FDS_MAX]; /* the receiver's to close */
    size_t fd_count;
};

/* Both ends, close-on-exec and non-blocking. 0, or -1 with errno. */
int channel_open(int ends[2]);
/* 0, or -1 with errno: EAGAIN when the peer does not read, EPIPE when it is gone. */
int channel_send(int fd, uint32_t kind, const void *data, size_t bytes, const int *fds,
                 size_t fd_count);

enum channel_event { CHANNEL_MESSAGE, CHANNEL_EMPTY, CHANNEL_CLOSED };

/* The next message, if there is one. A message that is too long is dropped. */
enum channel_event channel_receive(int fd, struct channel_message *message);
/* Closes the descriptors that came with it and were not taken (set to -1). */
void channel_close_descriptors(struct channel_message *message);

#endif
