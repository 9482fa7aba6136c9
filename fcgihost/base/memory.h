/* How much memory the process has. */
#ifndef FCGIHOST_MEMORY_H
#define FCGIHOST_MEMORY_H

#include <stdint.h>

/* Resident, in bytes; 0: unknown, as without /proc. */
uint64_t memory_resident(void);

#endif
