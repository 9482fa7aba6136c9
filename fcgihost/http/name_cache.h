/* The names that requests have in common, with what is kept of each. As large as it is, whatever
 * names clients choose: one that is not seen any more makes room, one request brings in a few, and
 * what finds no place is none of its business. Pure. */
#ifndef FCGIHOST_NAME_CACHE_H
#define FCGIHOST_NAME_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NAME_CACHE_MAX = 64, /* a web server sends 20 to 30, a browser 10 to 20 more */
    NAME_CACHE_BUCKETS = 128,
    NAME_CACHE_NEW_MAX = 16, /* that many new names a request */
    NAME_CACHE_AGE = 64,     /* requests without it, until a name may be replaced */
};

struct name_cache_entry {
    void *name, *value; /* the caller's; name NULL: the entry is free. value NULL: none */
    const char *bytes;  /* of the name; the caller's, too */
    uint32_t name_bytes;
    uint32_t hash;       /* keyed, as request_hash makes it */
    unsigned generation; /* the last request that had it */
    uint8_t next;        /* in its bucket, 1 + index; 0 ends it */
};

struct name_cache {
    struct name_cache_entry entries[NAME_CACHE_MAX];
    uint8_t buckets[NAME_CACHE_BUCKETS];
    unsigned generation; /* the request it is */
    unsigned new_count;  /* names that it has brought in */
    bool is_full;        /* it was looked for a place, in vain */
};

/* The next request begins. */
void name_cache_begin(struct name_cache *cache);
/* NULL: the name is not there. */
struct name_cache_entry *name_cache_find(struct name_cache *cache, const char *bytes, size_t n,
                                         uint32_t hash);
/* A place for a name that is not there: a free one, or one whose name has no value and has not been
 * seen for long. It is out of the table then; the caller drops its name, and puts another one in
 * with name_cache_put. NULL: there is none. */
struct name_cache_entry *name_cache_take(struct name_cache *cache);
/* name, and bytes, are to live as long as they are in the entry. */
void name_cache_put(struct name_cache *cache, struct name_cache_entry *entry, void *name,
                    const char *bytes, size_t n, uint32_t hash);

#endif
