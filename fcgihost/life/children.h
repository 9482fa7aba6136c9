/* This process's children, from /proc. */
#ifndef FCGIHOST_CHILDREN_H
#define FCGIHOST_CHILDREN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child_list {
    uint64_t *pids;
    size_t count;
};

/* All children; none if /proc is not mounted. Free pids with free(). */
struct child_list children_list(void);
/* Kills those in list that are not in spared, with SIGTERM, then SIGKILL after timeout_ms, and
 * reaps them. Blocks up to a second longer than timeout_ms. */
void children_end(const struct child_list *list, const struct child_list *spared,
                  uint64_t timeout_ms);
/* Reaps those in list that have exited, and removes them from it. Never blocks. */
void children_reap(struct child_list *list);

#endif
