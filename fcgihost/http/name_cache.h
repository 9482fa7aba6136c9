/* Caches the names of variables that many requests share, with an object for each. Of fixed size,
 * whatever names clients choose: an entry that has not been used for long is replaced, one request
 * adds a few at most, and a name for which there is no room is not cached. Pure. */
#ifndef FCGIHOST_NAME_CACHE_H
#define FCGIHOST_NAME_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NAME_CACHE_MAX = 64, /* a web server sends 20 to 30, a browser 10 to 20 more */
    NAME_CACHE_BUCKETS = 128,
    NAME_CACHE_NEW_MAX = 16, /* new names that one request may add */
    NAME_CACHE_AGE = 64,     /* a name may be replaced after so many requests without it */
};

struct name_cache_entry {
    void *name, *value; /* owned by the caller; name NULL: the entry is free */
    const char *bytes;  /* of the name; owned by the caller */
    uint32_t name_bytes;
    uint32_t hash;       /* keyed, as request_hash makes it */
    unsigned generation; /* of the last request that had it */
    uint8_t next;        /* in its bucket, 1 + index; 0 ends it */
};

struct name_cache {
    struct name_cache_entry entries[NAME_CACHE_MAX];
    uint8_t buckets[NAME_CACHE_BUCKETS];
    unsigned generation; /* counts requests */
    unsigned new_count;  /* names that this request has added */
    bool is_full;        /* this request found no entry to replace */
};

/* Call it when a request begins. */
void name_cache_begin(struct name_cache *cache);
/* NULL: the name is not cached. */
struct name_cache_entry *name_cache_find(struct name_cache *cache, const char *bytes, size_t n,
                                         uint32_t hash);
/* An entry for a new name: a free one, or one that has no value and has not been used for long. It
 * is removed from the table; the caller releases its name and fills it with name_cache_put. NULL:
 * there is none. */
struct name_cache_entry *name_cache_take(struct name_cache *cache);
/* name and bytes must live as long as the entry holds them. */
void name_cache_put(struct name_cache *cache, struct name_cache_entry *entry, void *name,
                    const char *bytes, size_t n, uint32_t hash);

#endif
