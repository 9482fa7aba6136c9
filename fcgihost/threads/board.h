/* What a worker process shows its manager: a small piece of shared memory for each worker.
 *
 * The manager reads it for its log and the status only, never to decide anything, and each worker
 * has memory of its own: one that writes rubbish harms nobody. F_SEAL_SHRINK keeps the memory from
 * shrinking under the reader.
 *
 *     offset  bytes
 *          0      4  BOARD_VERSION
 *          4      4  threads, at most BOARD_THREADS_MAX
 *          8      8  requests begun so far
 *         16     48  unused, 0
 *         64    256  for each thread: changes (8 bytes, odd during a write), since_ms (8 bytes,
 *                    CLOCK_MONOTONIC; 0: idle), "GET /path" (240 bytes, ends with NUL)
 *      65344    320  struct counters of the watch
 *      65664    320  for each thread: struct counters. They outlive the worker, however it dies */
#ifndef FCGIHOST_BOARD_H
#define FCGIHOST_BOARD_H

#include "threads/counters.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BOARD_VERSION = 2, BOARD_THREADS_MAX = 255, BOARD_TEXT_BYTES = 240 };

struct board_thread {
    atomic_ullong changes;
    atomic_ullong since_ms;
    char text[BOARD_TEXT_BYTES];
};

struct board {
    atomic_uint version;
    atomic_uint threads;
    atomic_ullong requests;
    uint8_t unused[48];
    struct board_thread thread[BOARD_THREADS_MAX];
    struct counters spare, counters[BOARD_THREADS_MAX];
};

_Static_assert(sizeof(struct board_thread) == 256 && sizeof(struct counters) == 320 &&
                   offsetof(struct board, spare) == 64 + 255 * 256 &&
                   sizeof(struct board) == 64 + 255 * 256 + 256 * 320,
               "the layout is what the comment says");

/* A reader's copy of what one thread is doing. */
struct board_entry {
    uint64_t since_ms;
    char text[BOARD_TEXT_BYTES]; /* printable */
};

/* Creates the memory and maps it. Its descriptor, or -1 with errno. */
int board_open(struct board **board);
/* Maps memory that another process has created. NULL with errno. */
struct board *board_map(int fd);
void board_unmap(struct board *board);

/* Called by the thread itself when it begins to serve a request, and with text NULL when it has
 * finished. */
void board_set(struct board_thread *thread, const char *text, uint64_t since_ms);
/* false: the thread is idle, or what it wrote can't be read. Any process. */
bool board_get(struct board *board, unsigned thread, struct board_entry *entry);
/* How many threads it describes. */
unsigned board_threads(struct board *board);
/* The sum of what these threads have counted. Any process; also when the worker has ended. */
void board_sum(struct board *board, struct counters_totals *totals);

#endif
