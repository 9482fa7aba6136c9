/* What a worker process shows its manager: a small piece of shared memory for each worker.
 *
 * The manager reads it for its log and the status only, never to decide anything, and each worker
 * has memory of its own: one that writes rubbish harms nobody. F_SEAL_SHRINK keeps the memory from
 * shrinking under the reader.
 *
 *     offset  bytes
 *          0      4  SCOREBOARD_VERSION
 *          4      4  threads, at most SCOREBOARD_THREADS_MAX
 *          8      8  requests begun so far
 *         16     48  unused, 0
 *         64    256  for each thread: changes (8 bytes, odd during a write), since_ms (8 bytes,
 *                    CLOCK_MONOTONIC; 0: idle), "GET /path" (240 bytes, ends with NUL)
 *      65344    320  struct counters of the watch
 *      65664    320  for each thread: struct counters. They outlive the worker, however it dies */
#ifndef FCGIHOST_SCOREBOARD_H
#define FCGIHOST_SCOREBOARD_H

#include "threads/counters.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCOREBOARD_VERSION = 2, SCOREBOARD_THREADS_MAX = 255, SCOREBOARD_TEXT_BYTES = 240 };

struct scoreboard_thread {
    atomic_ullong changes;
    atomic_ullong since_ms;
    char text[SCOREBOARD_TEXT_BYTES];
};

struct scoreboard {
    atomic_uint version;
    atomic_uint threads;
    atomic_ullong requests;
    uint8_t unused[48];
    struct scoreboard_thread thread[SCOREBOARD_THREADS_MAX];
    struct counters spare, counters[SCOREBOARD_THREADS_MAX];
};

_Static_assert(sizeof(struct scoreboard_thread) == 256 && sizeof(struct counters) == 320 &&
                   offsetof(struct scoreboard, spare) == 64 + 255 * 256 &&
                   sizeof(struct scoreboard) == 64 + 255 * 256 + 256 * 320,
               "the layout is what the comment says");

/* A reader's copy of what one thread is doing. */
struct scoreboard_entry {
    uint64_t since_ms;
    char text[SCOREBOARD_TEXT_BYTES]; /* printable */
};

/* Creates the memory and maps it. Its descriptor, or -1 with errno. */
int scoreboard_open(struct scoreboard **board);
/* Maps memory that another process has created. NULL with errno. */
struct scoreboard *scoreboard_map(int fd);
void scoreboard_unmap(struct scoreboard *board);

/* Called by the thread itself when it begins to serve a request, and with text NULL when it has
 * finished. */
void scoreboard_set(struct scoreboard_thread *thread, const char *text, uint64_t since_ms);
/* false: the thread is idle, or what it wrote can't be read. Any process. */
bool scoreboard_get(struct scoreboard *board, unsigned thread, struct scoreboard_entry *entry);
/* How many threads it describes. */
unsigned scoreboard_threads(struct scoreboard *board);
/* The sum of what these threads have counted. Any process; also when the worker has ended. */
void scoreboard_sum(struct scoreboard *board, struct counters_totals *totals);

#endif
