/* Bytes that lie in several pieces, as sendmsg(2) takes them. */
#ifndef FCGIHOST_PIECES_H
#define FCGIHOST_PIECES_H

#include <stddef.h>
#include <sys/uio.h>

static inline size_t pieces_bytes(const struct iovec *pieces, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += pieces[i].iov_len;
    return n;
}

#endif
