/* Memory that is freed all at once. */
#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __has_feature
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif

/* One block holds SCGI parameters of the usual size. Under AddressSanitizer each allocation is a
 * block of its own, so that an overrun is seen. */
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
enum { BLOCK_BYTES = 0, IS_BLOCK_KEPT = false };
#else
enum { BLOCK_BYTES = 4 << 10, IS_BLOCK_KEPT = true };
#endif

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    _Alignas(16) char bytes[];
};

static struct arena_block *add_block(struct arena *arena, size_t bytes)
{
    size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    struct arena_block *block = malloc(sizeof(*block) + capacity);
    if (block == NULL)
        return NULL;
    *block = (struct arena_block){.next = arena->blocks, .capacity = capacity};
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used < bytes)
        block = add_block(arena, bytes);
    if (block == NULL)
        return NULL;
    void *p = block->bytes + block->used;
    block->used += bytes;
    return p;
}

static void free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_reset(struct arena *arena)
{
    struct arena_block *block = arena->blocks;
    if (block == NULL || !IS_BLOCK_KEPT) {
        arena_free(arena);
        return;
    }
    free_blocks(block->next);
    block->next = NULL;
    block->used = 0;
}

void arena_free(struct arena *arena)
{
    free_blocks(arena->blocks);
    arena->blocks = NULL;
}
