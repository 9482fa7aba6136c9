/* The processes that this one has started, as the system knows them. */
#ifndef FCGIHOST_CHILDREN_H
#define FCGIHOST_CHILDREN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child_list {
    uint64_t *pids;
    size_t count;
};

/* All that there are. Without /proc: none. Free pids with free(). */
struct child_list children_list(void);
/* Ends those of list that are not in spared: SIGTERM, and SIGKILL after timeout_ms. Waits for them.
 */
void children_end(const struct child_list *list, const struct child_list *spared,
                  uint64_t timeout_ms);
/* Waits for those of list that have ended, and forgets them. Never blocks. */
void children_reap(struct child_list *list);

#endif
