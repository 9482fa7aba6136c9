/* Checks one value by the type of its option and keeps it in struct config. */
#include "config/config_assignment.h"

#include "base/address.h"
#include "config/config_environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char out_of_memory[] = "can't be kept: out of memory";

static int refuse(struct config_assignment *setting, const char *reason)
{
    snprintf(setting->reason.text, sizeof(setting->reason.text), "%s", reason);
    return -1;
}

static void clear_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    list->items = NULL;
    list->count = 0;
}

/* Takes item over, also when it fails. */
static int append_to_list(struct config_list *list, char *item, struct config_assignment *setting)
{
    char **items;

    if (setting->source != list->source) {
        clear_list(list);
        list->source = setting->source;
    }
    items = item != NULL ? realloc(list->items, (list->count + 1) * sizeof(*items)) : NULL;
    if (items == NULL) {
        free(item);
        return refuse(setting, out_of_memory);
    }
    list->items = items;
    list->items[list->count++] = item;
    return 0;
}

/* Takes value over, also when it fails. */
static int store(void *target, char *value, struct config_assignment *setting)
{
    char **member = target;

    if (setting->option->is_repeatable)
        return append_to_list(target, value, setting);
    if (value == NULL)
        return refuse(setting, out_of_memory);
    free(*member);
    *member = value;
    return 0;
}

char *config_assignment_find_folder(const struct config *config)
{
    return config->kept.folder != NULL ? strdup(config->kept.folder) : getcwd(NULL, 0);
}

char *config_assignment_make_absolute(const char *path, const char *folder)
{
    char *absolute;

    if (path[0] == '/' || folder == NULL)
        return strdup(path);
    while (strncmp(path, "./", 2) == 0)
        path += 2 + strspn(path + 2, "/");
    if (asprintf(&absolute, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", path) < 0)
        return NULL;
    return absolute;
}

/* One function for each type of value: 0, or -1 with setting->reason */

static int set_text(struct config_assignment *setting, void *target)
{
    return store(target, strdup(setting->text), setting);
}

static int set_path(struct config_assignment *setting, void *target)
{
    return store(target, config_assignment_make_absolute(setting->text, setting->folder), setting);
}

static int set_integer(struct config_assignment *setting, void *target)
{
    unsigned *member = target;
    uint64_t number;

    if (config_value_parse_integer(setting->text, &setting->option->range, &number,
                                   &setting->reason) < 0)
        return -1;
    *member = (unsigned)number;
    return 0;
}

static int set_size(struct config_assignment *setting, void *target)
{
    uint64_t bytes;

    if (config_value_parse_size(setting->text, &setting->option->range, &bytes, &setting->reason) <
        0)
        return -1;
    *(uint64_t *)target = bytes;
    return 0;
}

static int set_time(struct config_assignment *setting, void *target)
{
    uint64_t milliseconds;

    if (config_value_parse_time(setting->text, &setting->option->range, &milliseconds,
                                &setting->reason) < 0)
        return -1;
    *(uint64_t *)target = milliseconds;
    return 0;
}

static int set_octal(struct config_assignment *setting, void *target)
{
    return config_value_parse_octal(setting->text, &setting->option->range, target,
                                    &setting->reason);
}

static int set_switch(struct config_assignment *setting, void *target)
{
    return config_value_parse_switch(setting->text, target, &setting->reason);
}

static int set_word(struct config_assignment *setting, void *target)
{
    unsigned place;

    if (config_value_parse_word(setting->text, setting->option->words, &place, &setting->reason) <
        0)
        return -1;
    /* An enum is as large as unsigned here; which type is behind it is up to the compiler. */
    memcpy(target, &place, sizeof(place));
    return 0;
}

static int set_listen(struct config_assignment *setting, void *target)
{
    struct address address;
    const char *reason;
    char *text = NULL;

    if (strncmp(setting->text, "unix:", 5) == 0 && setting->text[5] != '\0' &&
        setting->text[5] != '@') {
        char *path = config_assignment_make_absolute(setting->text + 5, setting->folder);

        if (path != NULL && asprintf(&text, "unix:%s", path) < 0)
            text = NULL;
        free(path);
    } else {
        text = strdup(setting->text);
    }
    if (text != NULL && address_parse(text, &address, &reason) < 0) {
        free(text);
        return refuse(setting, reason);
    }
    return store(target, text, setting);
}

static int add_block(struct config_assignment *setting, struct config_list *list, const char *text)
{
    struct address_block block;
    const char *reason;

    if (strcmp(text, "loopback") == 0) {
        return append_to_list(list, strdup("127.0.0.0/8"), setting) < 0
                   ? -1
                   : append_to_list(list, strdup("::1"), setting);
    }
    if (address_parse_block(text, &block, &reason) < 0)
        return refuse(setting, reason);
    return append_to_list(list, strdup(text), setting);
}

static int set_allow(struct config_assignment *setting, void *target)
{
    char *texts = strdup(setting->text);
    char *rest = texts;
    char *text;
    int result = texts != NULL ? 0 : refuse(setting, out_of_memory);
    bool is_any = false;

    while (result == 0 && (text = strsep(&rest, ", \t")) != NULL) {
        if (*text != '\0') {
            is_any = true;
            result = add_block(setting, target, text);
        }
    }
    if (result == 0 && !is_any)
        result = refuse(setting, "contains no address: write one, or a block like 10.0.0.0/8");
    free(texts);
    return result;
}

static int set_wsgi(struct config_assignment *setting, void *target)
{
    return config_value_check_wsgi(setting->text, &setting->reason) < 0 ? -1
                                                                        : set_text(setting, target);
}

static int set_import(struct config_assignment *setting, void *target)
{
    if (config_value_check_import(setting->text, &setting->reason) < 0)
        return -1;
    return set_text(setting, target);
}

static int set_name(struct config_assignment *setting, void *target)
{
    return config_value_check_name(setting->text, &setting->reason) < 0 ? -1
                                                                        : set_text(setting, target);
}

static int set_mount(struct config_assignment *setting, void *target)
{
    char *normal = malloc(strlen(setting->text) + 1);

    if (normal != NULL && config_value_parse_mount(setting->text, normal, &setting->reason) < 0) {
        free(normal);
        return -1;
    }
    return store(target, normal, setting);
}

static int set_extensions(struct config_assignment *setting, void *target)
{
    char *normal = malloc(strlen(setting->text) + 1);

    if (normal != NULL &&
        config_value_parse_extensions(setting->text, normal, &setting->reason) < 0) {
        free(normal);
        return -1;
    }
    return store(target, normal, setting);
}

static int set_destination(struct config_assignment *setting, void *target)
{
    bool is_word = strcmp(setting->text, "stderr") == 0 || strcmp(setting->text, "syslog") == 0;

    return is_word ? set_text(setting, target) : set_path(setting, target);
}

/* Whatever the value is, it may be secret: no message has it. */
static int set_variable(struct config_assignment *setting, void *target)
{
    struct config *config = (struct config *)(void *)((char *)target - setting->option->offset);

    if (!config_environment_is_name(setting->key))
        return refuse(setting, "is not a variable name: write letters, digits and \"_\"");
    if (config_environment_set(config, setting->key, setting->text, setting->source) < 0)
        return refuse(setting, out_of_memory);
    return 0;
}

int config_assignment_apply(struct config_assignment *setting, void *target)
{
    static int (*const setters[CONFIG_TYPE_COUNT])(struct config_assignment *, void *) = {
        [CONFIG_TYPE_TEXT] = set_text,
        [CONFIG_TYPE_PATH] = set_path,
        [CONFIG_TYPE_INTEGER] = set_integer,
        [CONFIG_TYPE_SIZE] = set_size,
        [CONFIG_TYPE_TIME] = set_time,
        [CONFIG_TYPE_OCTAL] = set_octal,
        [CONFIG_TYPE_SWITCH] = set_switch,
        [CONFIG_TYPE_WORD] = set_word,
        [CONFIG_TYPE_LISTEN] = set_listen,
        [CONFIG_TYPE_ALLOW] = set_allow,
        [CONFIG_TYPE_WSGI] = set_wsgi,
        [CONFIG_TYPE_IMPORT] = set_import,
        [CONFIG_TYPE_NAME] = set_name,
        [CONFIG_TYPE_MOUNT] = set_mount,
        [CONFIG_TYPE_EXTENSIONS] = set_extensions,
        [CONFIG_TYPE_DESTINATION] = set_destination,
        [CONFIG_TYPE_VARIABLE] = set_variable,
    };

    return setters[setting->option->type](setting, (char *)target + setting->option->offset);
}

static bool is_kept_as_text(enum config_type type)
{
    return type == CONFIG_TYPE_TEXT || type == CONFIG_TYPE_PATH || type == CONFIG_TYPE_WSGI ||
           type == CONFIG_TYPE_IMPORT || type == CONFIG_TYPE_NAME || type == CONFIG_TYPE_MOUNT ||
           type == CONFIG_TYPE_EXTENSIONS || type == CONFIG_TYPE_DESTINATION;
}

void config_assignment_clear(const struct config_option *option, void *target)
{
    void *member = (char *)target + option->offset;

    if (option->type == CONFIG_TYPE_VARIABLE) {
        config_environment_clear(target);
    } else if (option->is_repeatable) {
        clear_list(member);
    } else if (is_kept_as_text(option->type)) {
        free(*(char **)member);
        *(char **)member = NULL;
    }
}
