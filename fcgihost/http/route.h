/* Which application serves a request: by FastCGI role and path. */
#ifndef FCGIHOST_ROUTE_H
#define FCGIHOST_ROUTE_H

#include "config/config.h"
#include "http/path_info.h"
#include "protocol/record.h"

enum { ROUTE_ROLES = ROLE_FILTER + 1 };

struct route_table {
    struct path_routes roles[ROUTE_ROLES]; /* by enum record_role; [0] is empty */
    unsigned role_bits;                    /* 1 << role for each role that has a route */
};

/* The table points into config, which must outlive it. 0, or -1: out of memory; clear it in both
 * cases. */
int route_table_init(struct route_table *table, const struct config *config);
void route_table_clear(struct route_table *table);

#endif
