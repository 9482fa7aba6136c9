/* Users and groups of this machine, as settings name them: by name or by number. */
#include "base/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -1 is no number: to setuid(2) and chown(2) it means "leave it as it is". */
static int parse_number(const char *text, unsigned long *number)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    *number = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && *number < UINT32_MAX ? 0 : -1;
}

/* Was nothing found because there is nothing? errno was 0 before: getpwnam(3) lists these. */
static bool is_absent(void)
{
    return errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF || errno == EPERM;
}

static int fail(int number)
{
    errno = number;
    return -1;
}

int user_find(const char *text, struct user *user)
{
    unsigned long number = 0;
    bool is_number = parse_number(text, &number) == 0;
    *user = (struct user){.gid = (gid_t)-1};
    errno = 0;
    const struct passwd *entry = getpwnam(text);
    if (entry == NULL && !is_number)
        return is_absent() ? fail(ENOENT) : -1;
    errno = 0;
    if (entry == NULL && (entry = getpwuid((uid_t)number)) == NULL) {
        user->lookup_error = is_absent() ? 0 : errno;
        user->uid = (uid_t)number;
        return 0;
    }
    if (strlen(entry->pw_name) >= sizeof(user->name) || strlen(entry->pw_dir) >= sizeof(user->home))
        return fail(ENAMETOOLONG);
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    user->has_entry = true;
    snprintf(user->name, sizeof(user->name), "%s", entry->pw_name);
    snprintf(user->home, sizeof(user->home), "%s", entry->pw_dir);
    return 0;
}

int user_find_group(const char *text, gid_t *gid)
{
    unsigned long number = 0;
    bool is_number = parse_number(text, &number) == 0;
    errno = 0;
    const struct group *entry = getgrnam(text);
    if (entry == NULL && !is_number)
        return is_absent() ? fail(ENOENT) : -1;
    *gid = entry != NULL ? entry->gr_gid : (gid_t)number;
    return 0;
}
