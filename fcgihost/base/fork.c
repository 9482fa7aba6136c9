/* What os.fork() in the application changes. */
#include "base/fork.h"

#include <pthread.h>
#include <stdatomic.h>

static atomic_bool is_child, has_happened;

static void in_parent(void)
{
    atomic_store(&has_happened, true);
}

static void in_child(void)
{
    atomic_store(&is_child, true);
}

void fork_init(void)
{
    pthread_atfork(NULL, in_parent, in_child);
}

bool fork_is_child(void)
{
    return atomic_load_explicit(&is_child, memory_order_relaxed);
}

bool fork_has_happened(void)
{
    return atomic_load_explicit(&has_happened, memory_order_relaxed);
}
