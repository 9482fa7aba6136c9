/* Sending to a non-blocking socket, with a deadline for each wait. */
#ifndef FCGIHOST_SOCKET_IO_H
#define FCGIHOST_SOCKET_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* What the caller wants called each time before its thread waits for the peer. */
struct socket_wait {
    void (*before)(struct socket_wait *wait);
    uint64_t end_ms; /* by clock_ms(), when no wait may last longer; 0: none */
};

struct input;

enum {
    SOCKET_KEPT_BYTES = 1 << 20, /* an input that has this capacity does not grow */
    SOCKET_RATE_MS = 10000,      /* the least rate is measured over so long */
    /* The kernel tells what a peer takes in steps: a Unix socket once a whole piece of 48 KiB has
     * been read, TCP once there is room for a whole segment, of 64 KiB on the loopback device. */
    SOCKET_STEP_BYTES = 64 << 10,
};

/* Sends all pieces (and uses the array up). 0, or -1 with errno; ETIMEDOUT when the peer took
 * nothing for timeout_ms. A peer that reads on only when it has sent everything (mod_fcgid) is
 * listened to while it is waited for: what it sends goes to input, which may become a heap block.
 * wait and input may be NULL. */
int socket_send(int fd, struct iovec *pieces, size_t count, uint64_t timeout_ms,
                struct socket_wait *wait, struct input *input);

/* How slowly a peer may take what is sent; zeroed but for the first two, for one after the other of
 * the sends to it. */
struct socket_pace {
    uint64_t timeout_ms; /* within which it must take something */
    uint64_t
        min_rate; /* bytes a second, in each SOCKET_RATE_MS in which it is waited for; 0: none */
    uint64_t waited_ms;    /* in this period, which is longer while it is unsure, … */
    uint64_t sent_bytes;   /* … in which so much was sent, … */
    uint64_t queued_bytes; /* … and before which so much was queued */
    /* NULL, or: does the peer say that it wants no more? Asked while it is waited for, after what
     * it sent has been received; ECONNRESET ends the send then. */
    bool (*is_unwanted)(const void *owner);
    const void *owner;
};

/* The same for one who must not take it too slowly, either. */
int socket_send_paced(int fd, struct iovec *pieces, size_t count, struct socket_pace *pace,
                      struct socket_wait *wait, struct input *input);

/* What the peer has not taken of what was sent, as the kernel counts it; 0 also: unknown. */
uint64_t socket_queued(int fd);

/* How much it took while so much was sent, at least: of a large buffer it may take much before
 * there is room for more. */
static inline uint64_t socket_taken(uint64_t sent, uint64_t queued_before, uint64_t queued)
{
    return sent + (queued_before > queued ? queued_before - queued : 0);
}

enum socket_speed { SOCKET_FAST_ENOUGH, SOCKET_UNSURE, SOCKET_TOO_SLOW };

/* Of a peer that is known to have taken so much while it was waited for. Unsure: it may have taken
 * another step that the kernel does not tell of yet. */
static inline enum socket_speed socket_judge(uint64_t taken, uint64_t min_rate, uint64_t waited_ms)
{
    uint64_t least = min_rate * waited_ms / 1000;
    if (taken >= least)
        return SOCKET_FAST_ENOUGH;
    return taken + SOCKET_STEP_BYTES >= least ? SOCKET_UNSURE : SOCKET_TOO_SLOW;
}

/* Sends what the peer takes, and waits up to wait_ms for it each time, as long as *patience_ms
 * lasts, from which that is taken. 0: *pieces and *count are what is left; -1 with errno. wait may
 * be NULL.
 */
int socket_send_some(int fd, struct iovec **pieces, size_t *count, unsigned wait_ms,
                     unsigned *patience_ms, struct socket_wait *wait);

#endif
