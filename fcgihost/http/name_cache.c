/* Caches the names of variables that many requests share. */
#include "http/name_cache.h"

#include <string.h>

void name_cache_begin(struct name_cache *cache)
{
    cache->generation++;
    cache->new_count = 0;
    cache->is_full = false;
}

struct name_cache_entry *name_cache_find(struct name_cache *cache, const char *bytes, size_t n,
                                         uint32_t hash)
{
    for (unsigned i = cache->buckets[hash % NAME_CACHE_BUCKETS]; i != 0;
         i = cache->entries[i - 1].next) {
        struct name_cache_entry *entry = &cache->entries[i - 1];
        if (entry->hash == hash && entry->name_bytes == n && memcmp(entry->bytes, bytes, n) == 0)
            return entry;
    }
    return NULL;
}

static void unlink_entry(struct name_cache *cache, const struct name_cache_entry *entry)
{
    uint8_t *link = &cache->buckets[entry->hash % NAME_CACHE_BUCKETS];
    while (&cache->entries[*link - 1] != entry)
        link = &cache->entries[*link - 1].next;
    *link = entry->next;
}

struct name_cache_entry *name_cache_take(struct name_cache *cache)
{
    if (cache->is_full || cache->new_count == NAME_CACHE_NEW_MAX)
        return NULL;
    for (size_t i = 0; i < NAME_CACHE_MAX; i++) {
        struct name_cache_entry *entry = &cache->entries[i];
        bool is_old =
            entry->value == NULL && cache->generation - entry->generation > NAME_CACHE_AGE;
        if (entry->name != NULL && !is_old)
            continue;
        if (entry->name != NULL)
            unlink_entry(cache, entry);
        cache->new_count++;
        return entry;
    }
    cache->is_full = true;
    return NULL;
}

void name_cache_put(struct name_cache *cache, struct name_cache_entry *entry, void *name,
                    const char *bytes, size_t n, uint32_t hash)
{
    uint8_t *bucket = &cache->buckets[hash % NAME_CACHE_BUCKETS];
    *entry = (struct name_cache_entry){.name = name,
                                       .bytes = bytes,
                                       .name_bytes = (uint32_t)n,
                                       .hash = hash,
                                       .generation = cache->generation,
                                       .next = *bucket};
    *bucket = (uint8_t)(entry - cache->entries + 1);
}
