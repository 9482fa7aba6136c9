/* Memory that is freed all at once. */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>

/* What libfcgi takes for a head of usual size fits into one; of its streams' buffers, 16 KiB of
 * these, it uses little, and what is never used takes no memory. */
enum { BLOCK_BYTES = 24 << 10 };

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    _Alignas(16) char bytes[];
};

static struct arena_block *add_block(struct arena *arena, size_t bytes)
{
#ifdef __SANITIZE_ADDRESS__
    size_t capacity = bytes; /* so that a byte behind it is noticed */
#else
    size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
#endif
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
    if (block == NULL)
        return;
    free_blocks(block->next);
    block->next = NULL;
    block->used = 0;
}

void arena_free(struct arena *arena)
{
    free_blocks(arena->blocks);
    arena->blocks = NULL;
}
