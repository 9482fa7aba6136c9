/* [environment]: variables for the application. */
#include "config/config_environment.h"

#include "config/config_text.h"
#include "config/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool config_environment_is_name(const char *name)
{
    if (*name == '\0')
        return false;
    for (; *name != '\0'; name++)
        if (*name == '=' || isspace((unsigned char)*name) || iscntrl((unsigned char)*name))
            return false;
    return true;
}

static struct config_variable *find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->environment.count; i++)
        if (strcmp(config->environment.items[i].name, name) == 0)
            return &config->environment.items[i];
    return NULL;
}

static struct config_variable *add(struct config *config, const char *name)
{
    struct config_variables *all = &config->environment;
    struct config_variable *items = realloc(all->items, (all->count + 1) * sizeof(*items));
    if (items == NULL)
        return NULL;
    all->items = items;
    items[all->count] = (struct config_variable){.name = strdup(name)};
    return items[all->count].name != NULL ? &items[all->count++] : NULL;
}

int config_environment_set(struct config *config, const char *name, const char *value,
                           enum config_source source)
{
    struct config_variable *variable = find(config, name);
    if (variable != NULL && variable->source > source)
        return 0;
    char *copy = strdup(value);
    if (variable == NULL && copy != NULL)
        variable = add(config, name);
    if (variable == NULL || copy == NULL) {
        free(copy);
        return -1;
    }
    free(variable->value);
    variable->value = copy;
    variable->source = source;
    return 0;
}

void config_environment_clear(struct config *config)
{
    for (size_t i = 0; i < config->environment.count; i++) {
        free(config->environment.items[i].name);
        free(config->environment.items[i].value);
    }
    free(config->environment.items);
    config->environment = (struct config_variables){0};
}

/* The file */

static int fail_line(const struct config *config, unsigned line, const char *why,
                     struct config_error *error)
{
    return config_error_set(error, "%s:%u: %s", config->environment_file, line, why);
}

/* line: without its newline, in a text that may be changed. */
static int take_line(struct config *config, char *line, unsigned number, struct config_error *error)
{
    char *text = config_value_trim(line);
    char *equals = strchr(text, '=');
    if (*text == '\0' || *text == '#' || *text == ';')
        return 0;
    if (equals == NULL)
        return fail_line(config, number, "no \"=\": write NAME=value in one line", error);
    *equals = '\0';
    const char *name = config_value_trim(text);
    if (!config_environment_is_name(name))
        return fail_line(config, number,
                         "no variable name before the \"=\": write letters, digits and \"_\" "
                         "(without \"export\")",
                         error);
    const struct config_variable *old = find(config, name);
    if (old != NULL && old->source == CONFIG_FROM_ENVIRONMENT_FILE)
        return fail_line(config, number,
                         "a name that an earlier line has: remove one of the two lines", error);
    if (config_environment_set(config, name, config_value_trim(equals + 1),
                               CONFIG_FROM_ENVIRONMENT_FILE) < 0)
        return fail_line(config, number, "out of memory", error);
    return 0;
}

static int parse(struct config *config, char *text, size_t bytes, struct config_error *error)
{
    char *line = text;
    unsigned number = 1;
    if (strlen(text) != bytes)
        return config_error_set(error, "%s: has a NUL byte: write NAME=value lines of plain text",
                                config->environment_file);
    if (strncmp(line, "\xef\xbb\xbf", 3) == 0)
        line += 3;
    for (char *next; line != NULL; line = next, number++) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (take_line(config, line, number, error) < 0)
            return -1;
    }
    return 0;
}

/* 0, or -1 with errno. */
static int read_text(struct config *config)
{
    const struct config_kept *kept = &config->kept;
    if (!kept->is_set) {
        config->environment_text =
            config_text_read(config->environment_file, &config->environment_bytes);
        return config->environment_text != NULL ? 0 : -1;
    }
    config->environment_text = malloc(kept->environment_bytes + 1);
    if (config->environment_text == NULL)
        return -1;
    config->environment_bytes = kept->environment != NULL ? kept->environment_bytes : 0;
    if (kept->environment != NULL)
        memcpy(config->environment_text, kept->environment, kept->environment_bytes);
    config->environment_text[config->environment_bytes] = '\0';
    return 0;
}

int config_environment_read(struct config *config, struct config_error *error)
{
    if (config->environment_file == NULL)
        return 0;
    free(config->environment_text);
    config->environment_text = NULL;
    if (read_text(config) < 0)
        return config_error_set(error,
                                "[server] environment_file \"%s\": can't be read: %s: check the "
                                "path and its permissions",
                                config->environment_file, config_error_describe(errno));
    char *copy = malloc(config->environment_bytes + 1);
    if (copy == NULL)
        return config_error_set(error, "[server] environment_file: out of memory");
    memcpy(copy, config->environment_text, config->environment_bytes + 1);
    int result = parse(config, copy, config->environment_bytes, error);
    free(copy);
    return result;
}
