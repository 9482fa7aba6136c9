/* What tells hosts on one machine apart, and where their control sockets are. */
#include "status/identity.h"

#include "config/config_assignment.h"
#include "status/strbuf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct strbuf own;

char *identity_canonical(const char *path)
{
    char *real = realpath(path, NULL);
    return real != NULL ? real : strdup(path);
}

static int put_config_file(const struct config *config)
{
    const char *path = config->kept.is_set ? config->kept.path : config->file;
    if (path == NULL)
        return 0;
    char *folder = config_assignment_find_folder(config);
    char *absolute = folder != NULL ? config_assignment_make_absolute(path, folder) : NULL;
    char *canonical = absolute != NULL ? identity_canonical(absolute) : NULL;
    if (canonical != NULL)
        strbuf_format(&own, "config %s\n", canonical);
    free(canonical);
    free(absolute);
    free(folder);
    return canonical != NULL ? 0 : -1;
}

int identity_init(const struct config *config)
{
    strbuf_clear(&own);
    if (put_config_file(config) < 0)
        return -1;
    for (size_t i = 0; i < config->listen.count; i++)
        strbuf_format(&own, "listen %s\n", config->listen.items[i]);
    strbuf_put_bytes(&own, "", 1);
    return own.has_failed ? -1 : 0;
}

const char *identity_text(void)
{
    return own.data != NULL ? own.data : "";
}

static bool has_line(const char *text, const char *word, const char *value)
{
    size_t word_bytes = strlen(word), value_bytes = strlen(value);
    for (const char *line = text; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (n == word_bytes + 1 + value_bytes && memcmp(line, word, word_bytes) == 0 &&
            line[word_bytes] == ' ' && memcmp(line + word_bytes + 1, value, value_bytes) == 0)
            return true;
        line += n + (line[n] == '\n');
    }
    return false;
}

bool identity_matches(const char *text, const char *config_file, const struct config_list *listen)
{
    if (config_file != NULL && !has_line(text, "config", config_file))
        return false;
    for (size_t i = 0; i < listen->count; i++)
        if (!has_line(text, "listen", listen->items[i]))
            return false;
    return true;
}

bool identity_each_folder(bool (*visit)(const char *folder, void *context), void *context)
{
    const char *runtime = getenv("RUNTIME_DIRECTORY"), *user = getenv("XDG_RUNTIME_DIR");
    char first[PATH_MAX];
    if (runtime != NULL && runtime[0] == '/') {
        /* systemd separates several with colons. */
        snprintf(first, sizeof(first), "%.*s", (int)strcspn(runtime, ":"), runtime);
        if (visit(first, context))
            return true;
    }
    if (visit("/run/fcgihost", context))
        return true;
    return user != NULL && user[0] == '/' && visit(user, context);
}

bool identity_control_path(const char *folder, long pid, char path[CONTROL_PATH_BYTES])
{
    int n = snprintf(path, CONTROL_PATH_BYTES, "%s/fcgihost-%ld.sock", folder, pid);
    return n > 0 && n < CONTROL_PATH_BYTES;
}

long identity_control_pid(const char *name)
{
    static const char begin[] = "fcgihost-", digits[] = "0123456789";
    size_t begin_bytes = sizeof(begin) - 1;
    if (strncmp(name, begin, begin_bytes) != 0)
        return 0;
    const char *number = name + begin_bytes;
    size_t n = strspn(number, digits);
    if (n == 0 || n > sizeof("2147483647") - 1 || number[0] == '0' ||
        strcmp(number + n, ".sock") != 0)
        return 0;
    long long pid = strtoll(number, NULL, 10);
    return pid <= INT_MAX ? (long)pid : 0;
}
