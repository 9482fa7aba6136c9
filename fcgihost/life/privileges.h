/* Which user the process becomes before Python starts, and what it gives up. */
#ifndef FCGIHOST_PRIVILEGES_H
#define FCGIHOST_PRIVILEGES_H

#include "base/user.h"
#include "config/config.h"
#include "config/config_error.h"

#include <stdbool.h>

struct privileges {
    bool is_user_set; /* [server] user: its name, home and groups are in user */
    struct user user;
    gid_t gid; /* (gid_t)-1: unchanged */
};

/* Looks user and group up, and checks that this process can become them. is_anew: the program was
 * executed anew, the process is them already, and nothing is refused. 0, or -1 with a message. */
int privileges_find(const struct config *config, bool is_anew, struct privileges *privileges,
                    struct config_error *error);
/* Will privileges_take() change the process's user? */
bool privileges_change_user(const struct privileges *privileges);
/* Sets HOME, USER and LOGNAME to the user's, then the variables of [environment]. Main thread,
 * before there are others. 0, or -1 with errno. */
int privileges_set_environment(const struct config *config, const struct privileges *privileges);
/* Becomes user and group, for good, in all threads; drops capabilities (unless it stays root), and
 * with no_new_privs the chance to gain any from a program. Main thread, once everything is open
 * that only root can open. 0, or -1 with a message. */
int privileges_take(const struct config *config, const struct privileges *privileges,
                    struct config_error *error);
/* Started as root without [server] user: one line in the log. */
void privileges_warn(const struct config *config);

#endif
