/* Reads the configuration: defaults, then an ini file, then what the command line says. */
#include "config/config_load.h"

#include "config/config_application.h"
#include "config/config_assignment.h"
#include "config/config_value.h"
#include "config/settings_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WHERE_SIZE = 512, HINT_SIZE = 512 };

int config_init(struct config *config, struct config_error *error)
{
    memset(config, 0, sizeof(*config));
    config->umask_mode = -1;
    for (size_t i = 0; i < settings_table_count(); i++) {
        const struct config_option *option = settings_table_at(i);
        struct config_assignment setting = {.option = option, .text = option->default_text};

        if (strcmp(option->section, "application") == 0)
            continue; /* those of each section come with it */
        if (setting.text != NULL && config_assignment_apply(&setting, config) < 0) {
            config_clear(config);
            return config_error_set(error, "the default of %s.%s %s", option->section, option->key,
                                    setting.reason.text);
        }
    }
    return 0;
}

void config_clear(struct config *config)
{
    for (size_t i = 0; i < settings_table_count(); i++)
        if (strcmp(settings_table_at(i)->section, "application") != 0)
            config_assignment_clear(settings_table_at(i), config);
    config_application_clear_all(config);
    free(config->file);
    free(config->file_text);
    free(config->environment_text);
    free(config->key_lines);
    config->key_lines = NULL;
    config->file = config->file_text = config->environment_text = NULL;
}

int config_apply(struct config *config, struct config_assignment *setting, const char *where,
                 struct config_error *error)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];
    void *target;

    bool is_variable = setting->option->type == CONFIG_TYPE_VARIABLE;

    if (setting->text[0] == '\0' && !is_variable)
        return config_error_set(error, "%s: empty: write a value, or leave it out", where);
    target = config_application_target(config, setting->option, setting->section);
    if (target == NULL)
        return config_error_set(error, "%s: out of memory", where);
    if (config_assignment_apply(setting, target) < 0) {
        config_value_quote(is_variable ? setting->key : setting->text, quoted);
        return config_error_set(error, "%s: \"%s\" %s", where, quoted, setting->reason.text);
    }
    return 0;
}

/* The command line */

static int apply_flag(struct config *config, struct config_assignment *setting, const char *where,
                      struct config_error *error)
{
    char *folder = config_assignment_find_folder(config);
    int result;

    if (folder == NULL) {
        return config_error_set(error, "%s: can't determine the current folder: %s", where,
                                config_error_describe(errno));
    }
    setting->folder = folder;
    setting->source = CONFIG_FROM_COMMAND_LINE;
    result = config_apply(config, setting, where, error);
    if (config->key_lines != NULL)
        config->key_lines[settings_table_place(setting->option)] = 0;
    free(folder);
    return result;
}

/* Of several values of one key the last one's line is known, and which of them is meant is not. */
static bool has_several(const struct config *config, const struct config_option *option)
{
    const void *list = (const char *)config + option->offset;
    return option->is_repeatable && ((const struct config_list *)list)->count > 1;
}

void config_describe_place(const struct config *config, const char *section, const char *key,
                           char *text, size_t text_bytes)
{
    const struct config_option *option = settings_table_find(section, key);
    unsigned line = option != NULL && config->key_lines != NULL && !has_several(config, option)
                        ? config->key_lines[settings_table_place(option)]
                        : 0;
    text[0] = '\0';
    if (line > 0)
        snprintf(text, text_bytes, "%s:%u: ", config->file, line);
    else if (config->file != NULL)
        snprintf(text, text_bytes, "%s: ", config->file);
}

/* A key of a section of an application counts as the file's if the file has any line of it. */
int config_blame(const struct config *config, const char *section, const char *key,
                 struct config_error *error)
{
    const struct config_option *option = settings_table_find(section, key);
    const void *list = option != NULL ? (const char *)config + option->offset : NULL;
    bool is_flag = option == NULL || config->key_lines == NULL ||
                   config->key_lines[settings_table_place(option)] == 0;
    if (option != NULL && option->is_repeatable)
        is_flag = ((const struct config_list *)list)->source == CONFIG_FROM_COMMAND_LINE;
    error->blame = is_flag ? CONFIG_BLAMES_FLAG : CONFIG_BLAMES_FILE;
    return -1;
}

/* Lines of keys are kept of the last such section alone. */
static unsigned find_application_line(const struct config *config,
                                      const struct config_application *application, const char *key)
{
    const struct config_option *option = settings_table_find("application", key);
    unsigned line = option != NULL && config->key_lines != NULL && application->line > 0
                        ? config->key_lines[settings_table_place(option)]
                        : 0;
    if (line < application->line)
        return application->line;
    for (size_t i = 0; i < config->application_count; i++)
        if (config->applications[i].line > application->line && config->applications[i].line < line)
            return application->line;
    return line;
}

void config_describe_application_place(const struct config *config,
                                       const struct config_application *application,
                                       const char *key, char *text, size_t text_bytes)
{
    unsigned line = find_application_line(config, application, key);
    text[0] = '\0';
    if (config->file != NULL && line > 0)
        snprintf(text, text_bytes, "%s:%u: ", config->file, line);
    else if (config->file != NULL)
        snprintf(text, text_bytes, "%s: ", config->file);
}

/* The dot between section and key: the last one, as an application's name may contain dots; for
 * [environment] the first, as a variable's name may. */
static char *find_dot(char *assignment, const char *equals)
{
    if (equals == NULL)
        return NULL;
    if (strncmp(assignment, "environment.", strlen("environment.")) == 0)
        return assignment + strlen("environment");
    return memrchr(assignment, '.', (size_t)(equals - assignment));
}

static int set_copy(struct config *config, const char *flag, char *assignment,
                    struct config_error *error)
{
    char quoted_section[CONFIG_VALUE_QUOTED_SIZE];
    char quoted_key[CONFIG_VALUE_QUOTED_SIZE];
    char where[WHERE_SIZE];
    char hint[HINT_SIZE];
    struct config_assignment setting = {0};
    char *equals = strchr(assignment, '=');
    char *dot = find_dot(assignment, equals);
    char *section;
    const char *key;

    if (dot == NULL) {
        config_value_quote(assignment, quoted_key);
        return config_error_set(error,
                                "--set: \"%s\" has no \"%s\": write SECTION.KEY=VALUE, like "
                                "server.threads=8",
                                quoted_key, equals == NULL ? "=" : ".");
    }
    *equals = '\0';
    *dot = '\0';
    key = config_value_trim(dot + 1);
    section = config_value_trim(assignment);
    settings_table_normalise_section(section);
    config_value_quote(section, quoted_section);
    config_value_quote(key, quoted_key);
    setting.option = settings_table_find(section, key);
    setting.section = section;
    setting.key = key;
    setting.text = setting.option != NULL && setting.option->type == CONFIG_TYPE_VARIABLE
                       ? equals + 1
                       : config_value_trim(equals + 1);
    if (setting.option == NULL) {
        bool is_section_known = settings_table_has_section(section);

        if (is_section_known)
            settings_table_suggest_key(section, key, hint, sizeof(hint));
        else
            settings_table_suggest_section(section, hint, sizeof(hint));
        return config_error_set(error, "--set %s.%s: unknown %s: %s", quoted_section, quoted_key,
                                is_section_known ? "key" : "section", hint);
    }
    if (flag != NULL)
        snprintf(where, sizeof(where), "%s", flag);
    else
        snprintf(where, sizeof(where), "--set %s.%s", quoted_section, quoted_key);
    return apply_flag(config, &setting, where, error);
}

int config_set_flag(struct config *config, const char *flag, const char *assignment,
                    struct config_error *error)
{
    char *copy = strdup(assignment);
    int result;

    if (copy == NULL)
        return config_error_set(error, "--set: out of memory");
    result = set_copy(config, flag, copy, error);
    free(copy);
    return result;
}

int config_set(struct config *config, const char *assignment, struct config_error *error)
{
    return config_set_flag(config, NULL, assignment, error);
}

static bool has_address(const struct config_list *list, size_t count, const char *address)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list->items[i], address) == 0)
            return true;
    return false;
}

/* No address can be bound twice. Two spellings of one are left to the start. */
static int check_addresses(const struct config *config, struct config_error *error)
{
    const struct config_list *lists[] = {&config->listen, &config->status_listen};
    static const char *const sections[] = {"server", "status"};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            const char *address = lists[l]->items[i];
            char place[512];
            if (!has_address(lists[l], i, address) &&
                (l == 0 || !has_address(&config->listen, config->listen.count, address)))
                continue;
            config_describe_place(config, sections[l], "listen", place, sizeof(place));
            config_error_set(error,
                             "%s[%s] listen \"%s\": a socket before it has this address: write "
                             "another one, or one line less",
                             place, sections[l], address);
            return config_blame(config, sections[l], "listen", error);
        }
    return 0;
}

int config_check(const struct config *config, struct config_error *error)
{
    const char *file = config->file != NULL ? config->file : "";
    const char *colon = config->file != NULL ? ": " : "";

    if (config_application_check_all(config, error) < 0 || check_addresses(config, error) < 0)
        return -1;
    if (config->retry_max_delay_ms < config->retry_delay_ms) {
        config_error_set(error,
                         "%s%s[startup] retry_max_delay: shorter than retry_delay: write a longer "
                         "time, or a shorter retry_delay",
                         file, colon);
        return config_blame(config, "startup", "retry_max_delay", error);
    }
    if (config->status_path != NULL && config->status_ping != NULL &&
        strcmp(config->status_path, config->status_ping) == 0) {
        char place[512];
        config_describe_place(config, "status", "ping", place, sizeof(place));
        config_error_set(error, "%s[status] ping: is the same as [status] path: write another path",
                         place);
        return config_blame(config, "status", "ping", error);
    }
    return 0;
}
