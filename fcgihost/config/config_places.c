/* What the configuration names on this machine: files, folders, users. */
#include "config/config_places.h"

#include "base/address.h"
#include "base/user.h"
#include "config/config_load.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_script(const struct config *config, const struct config_application *application,
                        const char *key, const char *path, bool is_folder,
                        struct config_error *error)
{
    char place[PATH_MAX];
    struct stat status;
    const char *reason = NULL;
    if (path == NULL)
        return 0;
    bool is_there = stat(path, &status) == 0;
    if (is_there && S_ISDIR(status.st_mode) != is_folder)
        reason = is_folder ? "is no folder" : "is no file";
    else if (!is_there || access(path, is_folder ? R_OK | X_OK : R_OK) < 0)
        reason = config_error_describe(errno);
    if (reason == NULL)
        return 0;
    config_describe_application_place(config, application, key, place, sizeof(place));
    config_error_set(error, "%s[application%s%s] %s \"%s\": %s: name a %s that this user may read",
                     place, application->name != NULL ? " " : "",
                     application->name != NULL ? application->name : "", key, path, reason,
                     is_folder ? "folder" : "script file");
    if (!config->add_current_dir) /* otherwise it is the argument APP */
        config_blame(config, "application", key, error);
    return -1;
}

static int check_application(const struct config *config,
                             const struct config_application *application,
                             struct config_error *error)
{
    if (check_script(config, application, "script", application->script, false, error) < 0)
        return -1;
    return check_script(config, application, "script_root", application->script_root, true, error);
}

int config_check_scripts(const struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->application_count; i++)
        if (check_application(config, &config->applications[i], error) < 0)
            return -1;
    return 0;
}

const char *config_find_temporary(const struct config *config)
{
    const char *folder = config->temporary != NULL ? config->temporary : getenv("TMPDIR");
    return strdup(folder != NULL && folder[0] == '/' ? folder : "/var/tmp");
}

/* --check */

struct check {
    const struct config *config;
    void (*report)(const struct config_error *error);
    unsigned problems;
    enum config_blame blame; /* of flags only if all of them are */
};

static void count(struct check *check, const struct config_error *error)
{
    check->report(error);
    if (check->problems++ == 0 || error->blame != CONFIG_BLAMES_FLAG)
        check->blame = error->blame;
}

static void tell(struct check *check, const char *what, const char *value, const char *reason,
                 const char *advice)
{
    struct config_error error;
    char place[PATH_MAX], section[32] = "", key[32] = "";
    sscanf(what, "[%31[a-z]] %31s", section, key);
    config_describe_place(check->config, section, key, place, sizeof(place));
    config_error_set(&error, "%s%s \"%s\": %s: %s", place, what, value, reason, advice);
    config_blame(check->config, section, key, &error);
    count(check, &error);
}

/* Can a file be made there, or the one that is there be written? NULL, or why not. */
static const char *refuses_file(const char *path)
{
    char folder[PATH_MAX];
    struct stat status;
    if (stat(path, &status) == 0)
        return S_ISDIR(status.st_mode)   ? "is a folder"
               : access(path, W_OK) == 0 ? NULL
                                         : config_error_describe(errno);
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder] = '\0';
    return access(slash != NULL ? folder : ".", W_OK | X_OK) == 0 ? NULL
                                                                  : config_error_describe(errno);
}

static void check_file(struct check *check, const char *what, const char *path)
{
    const char *reason = path != NULL && path[0] == '/' ? refuses_file(path) : NULL;
    if (reason != NULL)
        tell(check, what, path, reason, "name a file in a folder that this user may write to");
}

static void check_directory(struct check *check)
{
    const char *path = check->config->directory;
    char inside[PATH_MAX + 2]; /* a file may be executable, too */
    if (path == NULL)
        return;
    snprintf(inside, sizeof(inside), "%s/.", path);
    if (access(inside, X_OK) < 0)
        tell(check, "[server] directory", path, config_error_describe(errno),
             "the process can't work there");
}

static void check_user(struct check *check, const char *what, const char *name)
{
    struct user user;
    if (name != NULL && user_find(name, &user) < 0)
        tell(check, what, name, errno == ENOENT ? "no such user" : config_error_describe(errno),
             "write an existing name or number");
}

static void check_group(struct check *check, const char *what, const char *name)
{
    gid_t group;
    if (name != NULL && user_find_group(name, &group) < 0)
        tell(check, what, name, errno == ENOENT ? "no such group" : config_error_describe(errno),
             "write an existing name or number");
}

static void check_names(struct check *check)
{
    check_user(check, "[server] user", check->config->user);
    check_group(check, "[server] group", check->config->group);
    check_user(check, "[server] socket_owner", check->config->socket_owner);
    check_group(check, "[server] socket_group", check->config->socket_group);
}

/* A socket that is there may be a running host's, which the start replaces or not. */
static const char *refuses_socket(const char *path)
{
    struct stat status;
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return "exists and is not a socket";
    return refuses_file(path);
}

static void check_listen(struct check *check, const char *what, const struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i], *reason;
        struct address address;
        if (address_parse(text, &address, &reason) < 0)
            tell(check, what, text, reason, "write unix:PATH, HOST:PORT, [V6]:PORT or fd:N");
        else if (address.kind == ADDRESS_UNIX && (reason = refuses_socket(address.path)) != NULL)
            tell(check, what, text, reason,
                 "make the socket in a folder that this user may write to");
    }
}

unsigned config_check_places(const struct config *config,
                             void (*report)(const struct config_error *error),
                             enum config_blame *blame)
{
    struct check check = {.config = config, .report = report};
    struct config_error error;
    for (size_t i = 0; i < config->application_count; i++)
        if (check_application(config, &config->applications[i], &error) < 0)
            count(&check, &error);
    check_listen(&check, "[server] listen", &config->listen);
    check_listen(&check, "[status] listen", &config->status_listen);
    check_names(&check);
    check_directory(&check);
    check_file(&check, "[server] pid_file", config->pid_file);
    check_file(&check, "[log] destination", config->log_destination);
    *blame = check.blame;
    return check.problems;
}
