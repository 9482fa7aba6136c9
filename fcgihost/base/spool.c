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

static void count_memory(struct spool_store *store, size_t before, size_t now)
{
    if (store != NULL)
        atomic_fetch_add(&store->memory_used, (unsigned long long)now - before);
}

static int resize(struct spool *spool, size_t capacity)
{
    uint8_t *memory = realloc(spool->memory, capacity);
    if (memory == NULL)
        return -1;
    count_memory(spool->store, spool->capacity, capacity);
    spool->memory = memory;
    spool->capacity = capacity;
    return 0;
}

/* Many spools, each within its own limit, could together take too much memory. */
static bool may_grow(const struct spool *spool, size_t capacity)
{
    const struct spool_store *store = spool->store;
    return store == NULL || store->memory_limit == 0 ||
           atomic_load(&store->memory_used) + capacity - spool->capacity <= store->memory_limit;
}

/* Makes room for n more bytes in memory. false: they exceed a limit, or memory is exhausted. */
static bool make_room(struct spool *spool, size_t n)
{
    size_t used = spool->end - spool->begin;
    if (n > spool->memory_max || used > spool->memory_max - n)
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
    if (capacity > spool->memory_max)
        capacity = spool->memory_max;
    return may_grow(spool, capacity) && resize(spool, capacity) == 0;
}

/* Without a name: it vanishes with its descriptor, however the process ends. */
static int open_file(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EMFILE && errno != ENFILE && errno != ENOSPC) {
        /* Not every file system has O_TMPFILE. */
        char path[4096];
        int n = snprintf(path, sizeof(path), "%s/fcgihost-XXXXXX", folder);
        if (n < 0 || (size_t)n >= sizeof(path)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    return descriptors_above_standard(fd);
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

static int append_to_file(struct spool *spool, const uint8_t *bytes, size_t n)
{
    if (spool->store == NULL || !take_space(&spool->store->used, spool->store->limit, n)) {
        errno = ENOSPC;
        return -1;
    }
    if (!spool->has_file) {
        spool->fd = open_file(spool->store->folder);
        spool->has_file = spool->fd >= 0;
    }
    if (spool->has_file && write_file(spool, bytes, n) == 0)
        return 0;
    int error = errno;
    atomic_fetch_sub(&spool->store->used, n);
    errno = error;
    return -1;
}

int spool_append(struct spool *spool, const void *bytes, size_t n)
{
    if (n == 0)
        return 0;
    if (spool_is_in_file(spool) || !make_room(spool, n))
        return append_to_file(spool, bytes, n);
    memcpy(spool->memory + spool->end, bytes, n);
    spool->end += n;
    return 0;
}

/* The whole file has been read: gives its space back. */
static void empty_file(struct spool *spool)
{
    close(spool->fd);
    spool->has_file = false;
    if (spool->store != NULL)
        atomic_fetch_sub(&spool->store->used, (unsigned long long)spool->file_end);
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
    if (spool->has_file) {
        close(spool->fd);
        if (spool->store != NULL)
            atomic_fetch_sub(&spool->store->used, (unsigned long long)spool->file_end);
    }
    count_memory(spool->store, spool->capacity, 0);
    free(spool->memory);
    *spool = (struct spool){0};
}
