/* Which user the process becomes before Python starts, and what it gives up. */
#include "life/privileges.h"

#include "base/log.h"
#include "config/config_load.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CAPABILITIES_MAX = 64 };

static const gid_t NO_GROUP = (gid_t)-1;

static int fail_key(const struct config *config, const char *key, const char *value,
                    const char *reason, struct config_error *error)
{
    char place[PATH_MAX];
    config_describe_place(config, "server", key, place, sizeof(place));
    config_error_set(error, "%s[server] %s \"%s\": %s", place, key, value, reason);
    return config_blame(config, "server", key, error);
}

/* user_find() or user_find_group() has failed. Where the user database can't tell, the setting may
 * be right, and another start may work. */
static int fail_search(const struct config *config, const char *key, const char *value,
                       const char *absent, struct config_error *error)
{
    char reason[128];
    bool is_absent = errno == ENOENT;
    snprintf(reason, sizeof(reason), "can't be looked up: %s", config_error_describe(errno));
    fail_key(config, key, value, is_absent ? absent : reason, error);
    if (!is_absent)
        error->blame = CONFIG_BLAMES_NONE;
    return -1;
}

static int find_user(const struct config *config, struct privileges *privileges,
                     struct config_error *error)
{
    if (user_find(config->user, &privileges->user) < 0)
        return fail_search(config, "user", config->user,
                           "no such user: write an existing name or number", error);
    privileges->is_user_set = true;
    privileges->gid = privileges->user.gid;
    bool is_group_missing = privileges->gid == NO_GROUP && config->group == NULL;
    errno = privileges->user.lookup_error;
    if (is_group_missing && errno != 0)
        return fail_search(config, "user", config->user, "", error);
    if (is_group_missing)
        return fail_key(config, "user", config->user,
                        "a number without an entry in the user database: write [server] group too",
                        error);
    return 0;
}

/* Only root can become another user. To name the user that the process is already is allowed. */
static int check_possible(const struct config *config, const struct privileges *privileges,
                          struct config_error *error)
{
    if (geteuid() == 0)
        return 0;
    if (privileges->is_user_set && privileges->user.uid != geteuid())
        return fail_key(
            config, "user", config->user,
            "only root can switch to another user: start it as root, or leave the key out", error);
    if (config->group != NULL && privileges->gid != getegid())
        return fail_key(
            config, "group", config->group,
            "only root can switch to another group: start it as root, or leave the key out", error);
    return 0;
}

int privileges_find(const struct config *config, bool is_anew, struct privileges *privileges,
                    struct config_error *error)
{
    bool has_become = is_anew && geteuid() != 0;
    *privileges = (struct privileges){.gid = NO_GROUP, .user = {.uid = (uid_t)-1, .gid = NO_GROUP}};
    if (config->user != NULL && find_user(config, privileges, error) < 0 && !has_become)
        return -1;
    if (config->group != NULL && user_find_group(config->group, &privileges->gid) < 0 &&
        !has_become)
        return fail_search(config, "group", config->group,
                           "no such group: write an existing name or number", error);
    return has_become ? 0 : check_possible(config, privileges, error);
}

bool privileges_change_user(const struct privileges *privileges)
{
    return privileges->is_user_set && geteuid() == 0 && privileges->user.uid != 0;
}

int privileges_set_environment(const struct config *config, const struct privileges *privileges)
{
    const struct user *user = &privileges->user;
    if (privileges->is_user_set && user->has_entry &&
        (setenv("HOME", user->home, 1) < 0 || setenv("USER", user->name, 1) < 0 ||
         setenv("LOGNAME", user->name, 1) < 0))
        return -1;
    for (size_t i = 0; i < config->environment.count; i++)
        if (setenv(config->environment.items[i].name, config->environment.items[i].value, 1) < 0)
            return -1;
    return 0;
}

/* glibc changes all threads, the log's included. */
static int change_ids(const struct privileges *privileges)
{
    const struct user *user = &privileges->user;
    bool has_name = privileges->is_user_set && user->has_entry;
    if (privileges->gid != NO_GROUP) {
        if (has_name ? initgroups(user->name, privileges->gid) < 0
                     : setgroups(1, &privileges->gid) < 0)
            return -1;
        if (setresgid(privileges->gid, privileges->gid, privileges->gid) < 0)
            return -1;
    }
    if (!privileges->is_user_set)
        return 0;
    if (setresuid(user->uid, user->uid, user->uid) < 0)
        return -1;
    /* After a change of user the kernel gives /proc/self to root. Executing the program anew needs
     * it, and so do many applications. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

/* The most that a program could gain when it is executed; with no_new_privs it gains nothing
 * anyway.
 */
static void drop_bounding_set(void)
{
    for (unsigned long i = 0; i < CAPABILITIES_MAX; i++)
        prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

/* systemd may have given some, to bind a port below 1024, say: the sockets are open by now. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return (int)syscall(SYS_capset, &header, none);
}

int privileges_take(const struct config *config, const struct privileges *privileges,
                    struct config_error *error)
{
    bool is_change_wanted =
        geteuid() == 0 && (privileges->is_user_set || privileges->gid != NO_GROUP);
    if (config->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return config_error_set(error, "[server] no_new_privs: %s: write no_new_privs = no",
                                config_error_describe(errno));
    if (config->no_new_privs && privileges_change_user(privileges))
        drop_bounding_set();
    if (is_change_wanted && change_ids(privileges) < 0)
        return fail_key(config, config->user != NULL ? "user" : "group",
                        config->user != NULL ? config->user : config->group,
                        errno == EPERM
                            ? "can't switch to it: this root has no CAP_SETUID or CAP_SETGID (a "
                              "container?): grant them, or leave the key out"
                            : config_error_describe(errno),
                        error);
    if (geteuid() != 0 && drop_capabilities() < 0)
        return config_error_set(error, "can't start: capabilities can't be dropped: %s",
                                config_error_describe(errno));
    return 0;
}

void privileges_warn(const struct config *config)
{
    if (geteuid() == 0 && config->user == NULL)
        log_warning("running-as-root",
                    "running as root, and so does the application: set [server] user = NAME, like "
                    "www-data, to switch to that user once the sockets are open");
}
