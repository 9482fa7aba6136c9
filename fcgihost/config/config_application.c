/* Several applications in one process: their sections, and the checks across them. */
#include "config/config_application.h"

#include "config/config_assignment.h"
#include "config/settings_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHERE_SIZE = 512 };

/* The defaults of keys that only go with others. */
static const char CALLABLE[] = "application", EXTENSIONS[] = ".py .wsgi";

struct config_application *config_find_application(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->application_count; i++) {
        struct config_application *application = &config->applications[i];

        if (name == NULL ? application->name == NULL
                         : application->name != NULL && strcmp(application->name, name) == 0)
            return application;
    }
    return NULL;
}

static bool is_of_application(const struct config_option *option)
{
    return strcmp(option->section, "application") == 0;
}

static void clear(struct config_application *application)
{
    for (size_t i = 0; i < settings_table_count(); i++)
        if (is_of_application(settings_table_at(i)))
            config_assignment_clear(settings_table_at(i), application);
    free(application->name);
}

/* A default that is refused is a mistake in the table, which the tests find. */
static bool set_defaults(struct config_application *application)
{
    for (size_t i = 0; i < settings_table_count(); i++) {
        const struct config_option *option = settings_table_at(i);
        struct config_assignment setting = {.option = option, .text = option->default_text};

        if (is_of_application(option) && setting.text != NULL &&
            config_assignment_apply(&setting, application) < 0)
            return false;
    }
    return true;
}

static struct config_application *add(struct config *config, const char *name)
{
    struct config_application *all =
        realloc(config->applications, (config->application_count + 1) * sizeof(*all));
    struct config_application *application;

    if (all == NULL)
        return NULL;
    config->applications = all;
    application = &all[config->application_count];
    memset(application, 0, sizeof(*application));
    application->name = name != NULL ? strdup(name) : NULL;
    if ((name != NULL && application->name == NULL) || !set_defaults(application)) {
        clear(application);
        return NULL;
    }
    config->application_count++;
    return application;
}

void *config_application_target(struct config *config, const struct config_option *option,
                                const char *section)
{
    const char *name = settings_table_application_name(section);
    struct config_application *application;

    if (!is_of_application(option))
        return config;
    application = config_find_application(config, name);
    return application != NULL ? application : add(config, name);
}

void config_application_clear_all(struct config *config)
{
    for (size_t i = 0; i < config->application_count; i++)
        clear(&config->applications[i]);
    free(config->applications);
    config->applications = NULL;
    config->application_count = 0;
}

void config_forget_applications(struct config *config)
{
    struct config_application *unnamed = config_find_application(config, NULL);
    struct config_application kept = {0};

    if (unnamed != NULL) {
        kept.callable = unnamed->callable;
        kept.mount = unnamed->mount;
        kept.stream = unnamed->stream;
        unnamed->callable = NULL;
        unnamed->mount = NULL;
    }
    config_application_clear_all(config);
    if (kept.callable != NULL && (unnamed = add(config, NULL)) != NULL) {
        free(unnamed->callable);
        unnamed->callable = kept.callable;
        unnamed->mount = kept.mount;
        unnamed->stream = kept.stream;
    } else {
        clear(&kept);
    }
}

const char *config_responder(const struct config_application *application)
{
    return application->script        ? application->script
           : application->handler     ? application->handler
           : application->script_root ? application->script_root
                                      : application->wsgi;
}

const char *config_describe_application(const struct config_application *application)
{
    const char *responder = config_responder(application);

    return responder                 ? responder
           : application->authorizer ? application->authorizer
                                     : application->filter;
}

void config_describe_applications(const struct config *config, char *text, size_t text_bytes)
{
    const char *first = config_describe_application(&config->applications[0]);

    if (config->application_count == 1)
        snprintf(text, text_bytes, "%s", first);
    else
        snprintf(text, text_bytes, "%s and %zu more", first, config->application_count - 1);
}

bool config_answers_by_authorizer(const struct config *config,
                                  const struct config_application *application)
{
    return config_responder(application) == NULL && application->authorizer != NULL &&
           (application->mount != NULL || config->application_count == 1);
}

/* "fcgihost.ini:12: [application api] what: why". */
__attribute__((format(printf, 4, 5))) static int
refuse(const struct config *config, const struct config_application *application,
       struct config_error *error, const char *format, ...)
{
    char where[WHERE_SIZE] = "";
    char reason[CONFIG_MESSAGE_SIZE / 2];
    bool is_in_file = application->line != 0;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    if (is_in_file)
        snprintf(where, sizeof(where), "%s:%u: ", config->file, application->line);
    else if (config->file != NULL && config->application_count == 0)
        snprintf(where, sizeof(where), "%s: ", config->file);
    return config_error_set(error, "%s[application%s%s]%s", where,
                            application->name != NULL ? " " : "",
                            application->name != NULL ? application->name : "", reason);
}

static int check_program(const struct config *config, const struct config_application *application,
                         struct config_error *error)
{
    const struct {
        const char *key, *value;
    } programs[] = {{"wsgi", application->wsgi},
                    {"handler", application->handler},
                    {"script", application->script},
                    {"script_root", application->script_root}};
    const char *first = NULL;

    for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++) {
        if (programs[i].value == NULL)
            continue;
        if (first != NULL) {
            return refuse(config, application, error, " %s, %s: both are given: keep one", first,
                          programs[i].key);
        }
        first = programs[i].key;
    }
    if (first == NULL && application->authorizer == NULL && application->filter == NULL) {
        return refuse(config, application, error,
                      ": nothing to serve: set wsgi, handler, script or script_root, or give "
                      "APP on the command line (package.module:callable, or a script file)");
    }
    if (application->script == NULL && application->script_root == NULL &&
        strcmp(application->callable, CALLABLE) != 0) {
        return refuse(config, application, error,
                      " callable: only valid with script or script_root: leave it out, as wsgi "
                      "names the callable after the \":\"");
    }
    if (application->script == NULL && application->script_root == NULL &&
        strcmp(application->extensions, EXTENSIONS) != 0) {
        return refuse(config, application, error,
                      " extensions: only valid with script or script_root: leave it out");
    }
    return 0;
}

static bool is_same_mount(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool answers(const struct config *config, const struct config_application *application)
{
    return config_responder(application) != NULL ||
           config_answers_by_authorizer(config, application);
}

/* Two sections must not compete for the same requests. */
static int check_pair(const struct config *config, const struct config_application *one,
                      const struct config_application *other, struct config_error *error)
{
    bool is_same_role = (answers(config, one) && answers(config, other)) ||
                        (one->authorizer != NULL && other->authorizer != NULL) ||
                        (one->filter != NULL && other->filter != NULL);

    if (!is_same_role || !is_same_mount(one->mount, other->mount))
        return 0;
    if (one->mount == NULL) {
        return refuse(config, other, error,
                      " mount: missing both here and in [application%s%s]: only one section may do "
                      "without: set mount",
                      one->name != NULL ? " " : "", one->name != NULL ? one->name : "");
    }
    return refuse(config, other, error,
                  " mount: \"%s\" is also the mount of [application%s%s]: give each its own",
                  one->mount[0] != '\0' ? one->mount : "/", one->name != NULL ? " " : "",
                  one->name != NULL ? one->name : "");
}

int config_application_check_all(const struct config *config, struct config_error *error)
{
    static const struct config_application none = {.callable = (char *)(uintptr_t)CALLABLE,
                                                   .extensions = (char *)(uintptr_t)EXTENSIONS};

    if (config->application_count == 0)
        return check_program(config, &none, error);
    if (config->application_count > CONFIG_APPLICATIONS_MAX) {
        return refuse(config, &config->applications[CONFIG_APPLICATIONS_MAX], error,
                      ": section number %d is one too many: start a second fcgihost for the others",
                      CONFIG_APPLICATIONS_MAX + 1);
    }
    for (size_t i = 0; i < config->application_count; i++) {
        if (check_program(config, &config->applications[i], error) < 0)
            return -1;
        for (size_t j = 0; j < i; j++)
            if (check_pair(config, &config->applications[j], &config->applications[i], error) < 0)
                return -1;
    }
    return 0;
}
