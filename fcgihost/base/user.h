/* Users and groups of this machine, as settings name them: by name or by number. */
#ifndef FCGIHOST_USER_H
#define FCGIHOST_USER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum { USER_NAME_SIZE = 64 };

struct user {
    uid_t uid;
    gid_t gid;      /* the primary group; (gid_t)-1: a number without an entry, so none is known */
    bool has_entry; /* in the user database: name and home are set */
    int lookup_error; /* of a number without one: why the database could not tell; 0: it could */
    char name[USER_NAME_SIZE];
    char home[PATH_MAX];
};

/* 0, or -1 with errno: ENOENT, there is no such user or group; otherwise the user database could
 * not tell. A number needs no entry, and no database that works. Not thread-safe: before other
 * threads look users up, or on the manager's only thread. */
int user_find(const char *text, struct user *user);
int user_find_group(const char *text, gid_t *gid);

#endif
