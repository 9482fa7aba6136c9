/* Memory that is freed all at once. */
#ifndef FCGIHOST_ARENA_H
#define FCGIHOST_ARENA_H

#include <stddef.h>

struct arena_block;

/* Empty when all zero. */
struct arena {
    struct arena_block *blocks;
};

/* Aligned for any type. NULL: out of memory. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* Frees all allocations at once; one block is kept for the next ones. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

#endif
