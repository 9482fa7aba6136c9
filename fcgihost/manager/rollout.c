/* The configuration and the sockets that workers are started with. */
#include "manager/rollout.h"

#include "base/log.h"
#include "config/command_line.h"
#include "config/config_error.h"
#include "config/config_load.h"
#include "config/config_places.h"
#include "life/privileges.h"
#include "life/reexec.h"

#include <errno.h>
#include <stdlib.h>

int rollout_init(struct rollout *rollout, char **argv, const struct config *config,
                 struct config_error *error)
{
    *rollout = (struct rollout){.argv = argv, .current = {.config = config}};
    if (reexec_predecessor() != NULL)
        return listener_take_over(&rollout->current.listeners, reexec_predecessor(), error);
    return listener_open_all(&rollout->current.listeners, config, error);
}

int rollout_open_status(struct rollout *rollout, struct config_error *error)
{
    return listener_open_status(&rollout->current.status, rollout->current.config, error);
}

static void free_config(struct config *config)
{
    if (config != NULL)
        config_clear(config);
    free(config);
}

static int read_config(char **argv, struct config *config, struct config_error *error)
{
    struct command_line line;
    if (config_init(config, error) < 0)
        return -1;
    int code = command_line_parse(argv, &line, config, error);
    command_line_clear(&line);
    struct privileges privileges;
    if (code != COMMAND_LINE_OK || config_check(config, error) < 0 ||
        privileges_find(config, false, &privileges, error) < 0)
        return -1;
    return config_check_scripts(config, error);
}

/* Drops the next configuration and closes the sockets that only it has. heir: the one that replaces
 * it, whose sockets stay open; or NULL. */
static void forget_next(struct rollout *rollout, const struct worker_outfit *heir)
{
    if (!rollout->has_next)
        return;
    listener_close_others(&rollout->next.listeners, &rollout->current.listeners,
                          heir != NULL ? &heir->listeners : NULL);
    listener_close_others(&rollout->next.status, &rollout->current.status,
                          heir != NULL ? &heir->status : NULL);
    free_config(rollout->configs[1]);
    rollout->configs[1] = NULL;
    rollout->has_next = false;
}

/* The sockets that the new configuration names; those that are open already are shared. */
static int open_sockets(struct worker_outfit *next, const struct rollout *rollout,
                        const struct config *config, struct config_error *error)
{
    const struct worker_outfit *current = &rollout->current,
                               *former = rollout->has_next ? &rollout->next : NULL;
    if (listener_open_again(&next->listeners, &current->listeners,
                            former != NULL ? &former->listeners : NULL, config, error) < 0)
        return -1;
    if (listener_open_status_again(&next->status, &current->status,
                                   former != NULL ? &former->status : NULL, config, error) == 0)
        return 0;
    listener_close_others(&next->listeners, &current->listeners,
                          former != NULL ? &former->listeners : NULL);
    return -1;
}

const struct config *rollout_begin(struct rollout *rollout)
{
    struct config_error error;
    struct worker_outfit next = {0};
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        config_error_set(&error, "%s", config_error_describe(errno));
    if (config == NULL || read_config(rollout->argv, config, &error) < 0 ||
        open_sockets(&next, rollout, config, &error) < 0) {
        log_error("reload-configuration-wrong",
                  "reload: %s; nothing is changed: fix it, and reload again", error.message);
        free_config(config);
        return NULL;
    }
    forget_next(rollout, &next);
    next.config = config;
    rollout->next = next;
    rollout->configs[1] = config;
    rollout->has_next = true;
    return config;
}

void rollout_succeed(struct rollout *rollout)
{
    if (!rollout->has_next)
        return;
    listener_close_others(&rollout->current.listeners, &rollout->next.listeners, NULL);
    listener_close_others(&rollout->current.status, &rollout->next.status, NULL);
    free_config(rollout->configs[0]);
    rollout->configs[0] = rollout->configs[1];
    rollout->configs[1] = NULL;
    rollout->current = rollout->next;
    rollout->has_next = false;
}

const struct config *rollout_fail(struct rollout *rollout)
{
    forget_next(rollout, NULL);
    return rollout->current.config;
}

const struct worker_outfit *rollout_outfit(const struct rollout *rollout, bool is_next)
{
    return is_next && rollout->has_next ? &rollout->next : &rollout->current;
}

void rollout_close(struct rollout *rollout)
{
    struct listener_set *set = &rollout->current.listeners;
    forget_next(rollout, NULL);
    for (size_t i = 0; i < set->count; i++) {
        listener_unlink(&set->items[i]);
        if (!set->items[i].is_inherited)
            listener_refuse(&set->items[i]);
        listener_close(&set->items[i]);
    }
}

void rollout_clear(struct rollout *rollout)
{
    listener_close_all(&rollout->current.listeners);
    listener_close_all(&rollout->current.status);
    free_config(rollout->configs[0]);
    free_config(rollout->configs[1]);
}
