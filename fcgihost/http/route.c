/* Which application serves a request: a table for each FastCGI role. */
#include "http/route.h"

#include "config/config_application.h"

#include <stdlib.h>

static bool has_role(const struct config *config, const struct config_application *application,
                     unsigned role)
{
    switch (role) {
    case ROLE_RESPONDER:
        return config_responder(application) != NULL ||
               config_answers_by_authorizer(config, application);
    case ROLE_AUTHORIZER:
        return application->authorizer != NULL;
    case ROLE_FILTER:
        return application->filter != NULL;
    }
    return false;
}

static enum path_program program_of(const struct config_application *application)
{
    return application->script        ? PATH_SCRIPT
           : application->script_root ? PATH_SCRIPT_ROOT
                                      : PATH_MODULE;
}

int route_table_init(struct route_table *table, const struct config *config)
{
    *table = (struct route_table){0};
    for (unsigned role = ROLE_RESPONDER; role < ROUTE_ROLES; role++) {
        struct path_route *routes = calloc(config->application_count, sizeof(*routes));
        size_t count = 0;
        table->roles[role].items = routes;
        if (routes == NULL)
            return -1;
        for (unsigned i = 0; i < config->application_count; i++) {
            const struct config_application *application = &config->applications[i];
            if (!has_role(config, application, role))
                continue;
            bool is_authorizer =
                role == ROLE_AUTHORIZER ||
                (role == ROLE_RESPONDER && config_answers_by_authorizer(config, application));
            table->roles[role].some_take_no_body |= is_authorizer;
            table->roles[role].some_stream |= application->stream;
            routes[count++] = (struct path_route){
                .mount = application->mount,
                .program = role == ROLE_RESPONDER ? program_of(application) : PATH_MODULE,
                .script = application->script,
                .extensions = application->extensions,
                .application = i,
                .takes_no_body = is_authorizer,
                .is_stream = application->stream};
        }
        table->roles[role].all_stream = count > 0;
        for (size_t i = 0; i < count; i++)
            table->roles[role].all_stream &= routes[i].is_stream;
        table->roles[role].count = count;
        table->role_bits |= count > 0 ? 1u << role : 0;
    }
    return 0;
}

void route_table_clear(struct route_table *table)
{
    for (unsigned role = 0; role < ROUTE_ROLES; role++)
        free((void *)(uintptr_t)table->roles[role].items);
}
