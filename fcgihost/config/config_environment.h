/* [environment]: variables for the application, of the ini file, of --set, and of the file that
 * [server] environment_file names. */
#ifndef FCGIHOST_CONFIG_ENVIRONMENT_H
#define FCGIHOST_CONFIG_ENVIRONMENT_H

#include "config/config.h"
#include "config/config_error.h"

#include <stdbool.h>
#include <stddef.h>

/* Any name that a shell or a program can use: no "=", no space, no control character. */
bool config_environment_is_name(const char *name);
/* Sets it, unless a stronger source has. 0, or -1 when out of memory. */
int config_environment_set(struct config *config, const char *name, const char *value,
                           enum config_source source);
/* Reads [server] environment_file, if there is one, or what was kept of it. After ini file and
 * flags. 0, or -1 with a message, which never has a value in it. */
int config_environment_read(struct config *config, struct config_error *error);
void config_environment_clear(struct config *config);

#endif
