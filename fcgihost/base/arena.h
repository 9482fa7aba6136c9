/* Memory that is freed all at once. */
#ifndef FCGIHOST_ARENA_H
#define FCGIHOST_ARENA_H

#include <stddef.h>

struct arena_block;

/* All zero: an empty one. */
struct arena {
    struct arena_block *blocks;
};

/* bytes of memory, aligned for anything. NULL: there is none. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* Takes everything back, and keeps a block for what comes next. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

#endif
