/* How many connections wait in the kernel to be accepted from a listening socket. */
#ifndef FCGIHOST_STATUS_QUEUE_LENGTH_H
#define FCGIHOST_STATUS_QUEUE_LENGTH_H

/* -1: unknown, or fd is closed. Never blocks. */
long queue_length(int fd);

#endif
