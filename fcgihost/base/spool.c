/* A queue of bytes: the first ones in memory, the others in an unnamed temporary file. */
#include "base/spool.h"

#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_BYTES = 4 << 10, READ_BYTES = 64 << 10 /* read from a file at once */ };

void spool_begin(struct spool *spool, struct spool_store *store, size_t memory_max)
{
    spool_clear(spool);
    spool->store = store;
    spool->memory_max = memory_max;
}

void spool_allow_burst(struct spool *spool, size_t burst_max)
{
    spool->burst_max = burst_max;
}

static void count_memory(struct spool_store *store, size_t before, size_t now)
{
    if (store != NULL)
        atomic_fetch_add(&store->memory_used, (unsigned long long)now - before);
}

/* One of SPOOL_BLOCK_BYTES; NULL: out of memory. */
static uint8_t *take_block(struct spool_store *store)
{
    for (size_t i = 0; store != NULL && i < SPOOL_SPARES; i++) {
        uint8_t *block = atomic_exchange(&store->spares[i], NULL);
        atomic_store_explicit(&store->is_spare_wanted, true, memory_order_relaxed);
        if (block != NULL) {
            count_memory(store, SPOOL_BLOCK_BYTES, 0);
            return block;
        }
    }
    return malloc(SPOOL_BLOCK_BYTES);
}

static void give_block(struct spool_store *store, uint8_t *block)
{
    for (size_t i = 0; store != NULL && i < SPOOL_SPARES; i++) {
        uint8_t *none = NULL;
        if (atomic_compare_exchange_strong(&store->spares[i], &none, block)) {
            count_memory(store, 0, SPOOL_BLOCK_BYTES);
            return;
        }
    }
    free(block);
}

static bool free_spare(struct spool_store *store)
{
    for (size_t i = 0; i < SPOOL_SPARES; i++) {
        uint8_t *block = atomic_exchange(&store->spares[i], NULL);
        if (block != NULL) {
            free(block);
            count_memory(store, SPOOL_BLOCK_BYTES, 0);
            return true;
        }
    }
    return false;
}

void spool_store_trim(struct spool_store *store)
{
    if (!atomic_exchange(&store->is_spare_wanted, false))
        free_spare(store);
}

void spool_store_clear(struct spool_store *store)
{
    while (free_spare(store))
        ;
}

static void free_memory(struct spool *spool)
{
    count_memory(spool->store, spool->capacity, 0);
    if (spool->capacity == SPOOL_BLOCK_BYTES)
        give_block(spool->store, spool->memory);
    else
        free(spool->memory);
    spool->memory = NULL;
    spool->capacity = 0;
}

static int resize(struct spool *spool, size_t capacity)
{
    bool is_block = capacity == SPOOL_BLOCK_BYTES, was_block = spool->capacity == SPOOL_BLOCK_BYTES;
    uint8_t *memory = is_block    ? take_block(spool->store)
                      : was_block ? malloc(capacity)
                                  : realloc(spool->memory, capacity);
    if (memory == NULL)
        return -1;
    if (is_block || was_block) {
        if (spool->end > 0)
            memcpy(memory, spool->memory, spool->end);
        free_memory(spool);
    }
    count_memory(spool->store, spool->capacity, capacity);
    spool->memory = memory;
    spool->capacity = capacity;
    return 0;
}

/* Many spools, each within its own limit, could together take too much memory. share: only that
 * part of it, as 2 for a half. */
static bool may_grow(const struct spool *spool, size_t capacity, unsigned share)
{
    const struct spool_store *store = spool->store;
    return store == NULL || store->memory_limit == 0 ||
           atomic_load(&store->memory_used) + capacity - spool->capacity <=
               store->memory_limit / share;
}

/* Makes room for n more bytes in memory, max in all. false: they exceed a limit, or memory is
 * exhausted. */
static bool make_room(struct spool *spool, size_t n, size_t max, unsigned share)
{
    size_t used = spool->end - spool->begin;
    if (n > max || used > max - n)
        return false;
    if (spool->begin > 0 && spool->capacity - spool->end < n) {
        memmove(spool->memory, spool->memory + spool->begin, used);
        spool->begin = 0;
        spool->end = used;
    }
    if (spool->capacity - spool->end >= n)
        return true;
    size_t capacity = spool->capacity > 0 ? spool->capacity : FIRST_BYTES;
    while (capacity < used + n)
        capacity *= 2;
    if (used + n > spool->memory_max && capacity < SPOOL_BLOCK_BYTES)
        capacity = SPOOL_BLOCK_BYTES; /* at once, as more is likely to come */
    if (capacity > max)
        capacity = max;
    return may_grow(spool, capacity, share) && resize(spool, capacity) == 0;
}

/* Not every file system has O_TMPFILE. */
static int open_named(const char *folder)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/fcgihost-XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

/* Without a name: it vanishes with its descriptor, however the process ends. */
static int open_file(const struct spool_store *store)
{
    int fd = open(store->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EMFILE && errno != ENFILE && errno != ENOSPC)
        fd = open_named(store->folder);
    fd = descriptors_above_standard(fd);
    if (fd < 0 || store->descriptor_limit == 0 || fd < store->descriptor_limit)
        return fd;
    close(fd); /* slow peers must not take what is reserved for the application */
    errno = EMFILE;
    return -1;
}

/* false: there is no space left for n more bytes. */
static bool take_space(atomic_ullong *account, uint64_t limit, size_t n)
{
    unsigned long long used = atomic_fetch_add(account, n);
    if (n <= limit && used <= limit - n)
        return true;
    atomic_fetch_sub(account, n);
    return false;
}

static int write_file(struct spool *spool, const uint8_t *bytes, size_t n)
{
    for (size_t written = 0; written < n;) {
        ssize_t now =
            pwrite(spool->fd, bytes + written, n - written, spool->file_end + (off_t)written);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0) {
            errno = now < 0 ? errno : ENOSPC;
            return -1;
        }
        written += (size_t)now;
    }
    spool->file_end += (off_t)n;
    return 0;
}

static void give_space(struct spool *spool, uint64_t n)
{
    if (spool->store != NULL)
        atomic_fetch_sub(&spool->store->used, (unsigned long long)n);
}

/* There is a file, with space for n more bytes. -1 with errno: there is not. */
static int reserve(struct spool *spool, size_t n)
{
    if (spool->store == NULL || !take_space(&spool->store->used, spool->store->limit, n)) {
        errno = ENOSPC;
        return -1;
    }
    if (!spool->has_file) {
        spool->fd = open_file(spool->store);
        spool->has_file = spool->fd >= 0;
    }
    if (spool->has_file)
        return 0;
    int error = errno;
    give_space(spool, n);
    errno = error;
    return -1;
}

static int append_to_file(struct spool *spool, const uint8_t *bytes, size_t n)
{
    if (reserve(spool, n) < 0)
        return -1;
    if (write_file(spool, bytes, n) == 0)
        return 0;
    int error = errno;
    give_space(spool, n);
    errno = error;
    return -1;
}

/* How much of what is in memory would go to the file, with n more bytes. */
static size_t beyond_memory(const struct spool *spool, size_t n)
{
    size_t used = spool->end - spool->begin + n;
    return used > spool->memory_max ? used - spool->memory_max : 0;
}

/* There is space for it, should it go there after all. */
static int pledge(struct spool *spool, size_t n)
{
    size_t beyond = beyond_memory(spool, n);
    if (beyond <= spool->pledged)
        return 0;
    if (reserve(spool, beyond - spool->pledged) < 0)
        return -1;
    spool->pledged = beyond;
    return 0;
}

int spool_settle(struct spool *spool)
{
    size_t beyond = beyond_memory(spool, 0), kept = spool->end - spool->begin - beyond;
    if (spool_is_in_file(spool) || pledge(spool, 0) < 0)
        return spool_is_in_file(spool) ? 0 : -1;
    if (beyond > 0 && write_file(spool, spool->memory + spool->begin + kept, beyond) < 0)
        return -1;
    give_space(spool, spool->pledged - beyond);
    spool->pledged = 0;
    if (beyond == 0)
        return 0;
    memmove(spool->memory, spool->memory + spool->begin, kept);
    spool->begin = 0;
    spool->end = kept;
    return resize(spool, kept > 0 ? kept : 1);
}

void spool_end_burst(struct spool *spool)
{
    if (spool->pledged == 0)
        return;
    give_space(spool, spool->pledged);
    spool->pledged = 0;
    close(spool->fd);
    spool->has_file = false;
}

/* Beyond memory_max. 1: it is taken; 0: it has to go to the file; -1 with errno. */
static int make_burst(struct spool *spool, size_t n)
{
    if (spool->burst_max <= spool->memory_max || spool_is_in_file(spool))
        return 0;
    if (pledge(spool, n) < 0)
        return -1;
    if (make_room(spool, n, spool->burst_max, 2))
        return 1;
    return spool_settle(spool);
}

int spool_append(struct spool *spool, const void *bytes, size_t n)
{
    if (n == 0)
        return 0;
    if (spool_is_in_file(spool) || !make_room(spool, n, spool->memory_max, 1)) {
        int is_burst = make_burst(spool, n);
        if (is_burst <= 0)
            return is_burst < 0 ? -1 : append_to_file(spool, bytes, n);
    }
    memcpy(spool->memory + spool->end, bytes, n);
    spool->end += n;
    return 0;
}

/* The whole file has been read: gives its space back. */
static void empty_file(struct spool *spool)
{
    close(spool->fd);
    spool->has_file = false;
    give_space(spool, (uint64_t)spool->file_end);
    spool->file_begin = spool->file_end = 0;
}

static ssize_t read_file(struct spool *spool, void *buffer, size_t n)
{
    ssize_t got;
    off_t left = spool->file_end - spool->file_begin;
    if ((off_t)n > left)
        n = (size_t)left;
    do
        got = pread(spool->fd, buffer, n, spool->file_begin);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        errno = EIO; /* somebody else has truncated it */
    if (got <= 0)
        return -1;
    spool->file_begin += got;
    if (spool->file_begin == spool->file_end)
        empty_file(spool);
    return got;
}

/* The memory has been read: fills it from the file. */
static int refill(struct spool *spool)
{
    spool->begin = spool->end = 0;
    if (spool->capacity < READ_BYTES && resize(spool, READ_BYTES) < 0)
        return -1;
    ssize_t got = read_file(spool, spool->memory, READ_BYTES);
    if (got < 0)
        return -1;
    spool->end = (size_t)got;
    return 0;
}

long spool_peek(struct spool *spool, const uint8_t **bytes)
{
    if (spool->begin == spool->end && spool_is_in_file(spool) && refill(spool) < 0)
        return -1;
    *bytes = spool->memory + spool->begin;
    return (long)(spool->end - spool->begin);
}

void spool_take(struct spool *spool, size_t n)
{
    spool->begin += n;
    if (spool->begin == spool->end)
        spool->begin = spool->end = 0;
}

long spool_read(struct spool *spool, void *buffer, size_t n)
{
    size_t in_memory = spool->end - spool->begin;
    if (in_memory == 0)
        return spool_is_in_file(spool) && n > 0 ? read_file(spool, buffer, n) : 0;
    if (n > in_memory)
        n = in_memory;
    memcpy(buffer, spool->memory + spool->begin, n);
    spool_take(spool, n);
    return (long)n;
}

void spool_adopt(struct spool *spool, uint8_t *memory, size_t memory_bytes, int fd,
                 off_t file_begin, off_t file_end)
{
    *spool = (struct spool){.memory = memory,
                            .end = memory_bytes,
                            .capacity = memory_bytes,
                            .has_file = fd >= 0,
                            .fd = fd,
                            .file_begin = fd >= 0 ? file_begin : 0,
                            .file_end = fd >= 0 ? file_end : 0};
}

void spool_move(struct spool *to, struct spool *from, struct spool_store *store, size_t memory_max)
{
    *to = *from;
    *from = (struct spool){0};
    to->store = store;
    to->memory_max = memory_max;
    count_memory(store, 0, to->capacity);
    if (store != NULL)
        atomic_fetch_add(&store->used, (unsigned long long)to->file_end);
}

void spool_clear(struct spool *spool)
{
    if (spool->has_file)
        close(spool->fd);
    give_space(spool, (uint64_t)spool->file_end + spool->pledged);
    free_memory(spool);
    *spool = (struct spool){0};
}
