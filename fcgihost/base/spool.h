/* Bytes that wait: the first ones in memory, what does not fit there in an unnamed temporary file.
 * First in, first out. One thread at a time. */
#ifndef FCGIHOST_SPOOL_H
#define FCGIHOST_SPOOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the files of all spools are, and how much they hold together; and so of their memory. Any
 * thread. */
struct spool_store {
    const char *folder;
    uint64_t limit;
    atomic_ullong used;
    uint64_t memory_limit; /* beyond it a spool's bytes go to its file at once; 0: none */
    atomic_ullong memory_used;
};

/* Zeroed, it is empty. */
struct spool {
    struct spool_store *store;
    size_t memory_max; /* so much of it may be in memory */
    uint8_t *memory;
    size_t begin, end, capacity;
    bool has_file;
    int fd;
    off_t file_begin, file_end; /* what of the file comes behind the memory */
};

/* Empties it. store: NULL, there is no file for what is beyond memory_max. */
void spool_begin(struct spool *spool, struct spool_store *store, size_t memory_max);
/* 0; or -1 with errno, and nothing of it was taken: ENOSPC, the files of all spools are as large as
 * they may be; ENOMEM; or what the file system says. */
int spool_append(struct spool *spool, const void *bytes, size_t n);
/* The next bytes, which stay there until spool_take. Their number, 0 when it is empty, -1 with
 * errno. */
long spool_peek(struct spool *spool, const uint8_t **bytes);
void spool_take(struct spool *spool, size_t n);
/* Reads up to n bytes, out of a file without another copy. Their number, or -1 with errno. */
long spool_read(struct spool *spool, void *buffer, size_t n);
/* Becomes what another process has filled: memory, of malloc(), and behind it the file, unless fd
 * is -1; it then owns both. No store counts it yet. */
void spool_adopt(struct spool *spool, uint8_t *memory, size_t memory_bytes, int fd,
                 off_t file_begin, off_t file_end);
/* An adopted one is now counted by store, which may be NULL; from is empty then. */
void spool_move(struct spool *to, struct spool *from, struct spool_store *store, size_t memory_max);
/* Gives back what it holds. */
void spool_clear(struct spool *spool);

static inline uint64_t spool_bytes(const struct spool *spool)
{
    return spool->end - spool->begin + (uint64_t)(spool->file_end - spool->file_begin);
}

static inline bool spool_is_in_file(const struct spool *spool)
{
    return spool->file_end > spool->file_begin;
}

#endif
