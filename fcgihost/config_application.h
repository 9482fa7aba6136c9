/* The sections [application] and [application NAME] of struct config. */
#ifndef FCGIHOST_CONFIG_APPLICATION_H
#define FCGIHOST_CONFIG_APPLICATION_H

#include "config.h"

/* Where the option's value goes: config, or the application that the section names, which is made
 * if there is none yet. NULL when out of memory. */
struct config_option;
void *config_application_target(struct config *config, const struct config_option *option,
                                const char *section);
void config_application_clear_all(struct config *config);
/* What the sections lack, alone and together. 0, or -1. */
int config_application_check_all(const struct config *config, struct config_error *error);

#endif
