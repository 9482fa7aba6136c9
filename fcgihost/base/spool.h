/* A queue of bytes (first in, first out): the first ones in memory, the others in an unnamed
 * temporary file. Used by one thread at a time. */
#ifndef FCGIHOST_SPOOL_H
#define FCGIHOST_SPOOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SPOOL_BLOCK_BYTES = 1 << 20, SPOOL_SPARES = 4 };

/* The folder and the total size of the files of all spools, and the total of their memory. Any
 * thread. */
struct spool_store {
    const char *folder;
    uint64_t limit;
    atomic_ullong used;
    int descriptor_limit;  /* files have numbers below it (descriptors_find_limit()); 0: any */
    uint64_t memory_limit; /* beyond it, new bytes go to files only; 0: no limit */
    atomic_ullong memory_used;
    /* Blocks of SPOOL_BLOCK_BYTES for the next spool that needs one, counted in memory_used: to
     * fault new pages in takes longer than to fill them. */
    _Atomic(uint8_t *) spares[SPOOL_SPARES];
    atomic_bool is_spare_wanted; /* one was, since the last spool_store_trim */
};

/* Frees one spare block, if none was wanted since the last call. About once a second; any thread.
 */
void spool_store_trim(struct spool_store *store);
/* Frees them all, once no spool has the store. */
void spool_store_clear(struct spool_store *store);

/* Zeroed, it is empty. */
struct spool {
    struct spool_store *store;
    size_t memory_max; /* how much may be in memory, … */
    size_t burst_max;  /* … and how much while it comes without a pause: spool_allow_burst */
    size_t pledged;    /* reserved in the file, for what is in memory beyond memory_max */
    uint8_t *memory;
    size_t begin, end, capacity;
    bool has_file;
    int fd;
    off_t file_begin, file_end; /* the unread part of the file, which follows the memory */
};

/* Empties it. store NULL: no file is used beyond memory_max. */
void spool_begin(struct spool *spool, struct spool_store *store, size_t memory_max);
/* As long as bytes come without a pause, up to burst_max of them stay in memory, if all spools
 * together use less than half of the store's. The file is opened and its space reserved all the
 * same, so that timing does not decide whether they are refused. */
void spool_allow_burst(struct spool *spool, size_t burst_max);
/* After a pause: writes what is in memory beyond memory_max to the file. 0, or -1 with errno. */
int spool_settle(struct spool *spool);
/* Nothing more will come: what is in memory stays there and needs no file. */
void spool_end_burst(struct spool *spool);
/* All or nothing: 0, or -1 with errno. ENOSPC: the files of all spools have reached their limit;
 * ENOMEM; or the file system's error. */
int spool_append(struct spool *spool, const void *bytes, size_t n);
/* The next bytes, valid until spool_take. Returns their number, 0 if the spool is empty, -1 with
 * errno. */
long spool_peek(struct spool *spool, const uint8_t **bytes);
void spool_take(struct spool *spool, size_t n);
/* Reads up to n bytes, directly from the file if it is their turn. Returns their number, or -1 with
 * errno. */
long spool_read(struct spool *spool, void *buffer, size_t n);
/* Makes it a spool that another process has filled: owns memory, from malloc(), and the file that
 * follows it (fd -1: none). No store counts them yet. */
void spool_adopt(struct spool *spool, uint8_t *memory, size_t memory_bytes, int fd,
                 off_t file_begin, off_t file_end);
/* Moves an adopted spool, counting it in store, which may be NULL; leaves from empty. */
void spool_move(struct spool *to, struct spool *from, struct spool_store *store, size_t memory_max);
/* Frees its memory and closes its file. */
void spool_clear(struct spool *spool);

static inline uint64_t spool_bytes(const struct spool *spool)
{
    return spool->end - spool->begin + (uint64_t)(spool->file_end - spool->file_begin);
}

static inline bool spool_is_in_file(const struct spool *spool)
{
    return spool->file_end > spool->file_begin;
}

/* Has spool_settle something to write? */
static inline bool spool_is_in_burst(const struct spool *spool)
{
    return !spool_is_in_file(spool) && spool->end - spool->begin > spool->memory_max;
}

#endif
