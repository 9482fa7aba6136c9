/* The sections [application] and [application NAME] of struct config. */
#ifndef FCGIHOST_CONFIG_APPLICATION_H
#define FCGIHOST_CONFIG_APPLICATION_H

#include "config/config.h"
#include "config/config_error.h"

/* Where the option's value goes: config, or the application that the section names, which is made
 * if there is none yet. NULL when out of memory. */
struct config_option;
void *config_application_target(struct config *config, const struct config_option *option,
                                const char *section);
void config_application_clear_all(struct config *config);
/* The application with that name (NULL: that of [application]), or NULL. */
struct config_application *config_find_application(const struct config *config, const char *name);
/* Drops all sections, but keeps [application]'s callable and mount, which may go with another
 * program. */
void config_forget_applications(struct config *config);
/* What answers requests, as it was given; NULL if nothing does. */
const char *config_responder(const struct config_application *application);
/* What the section serves, as it was given, for messages; of an authorizer and a filter only one.
 */
const char *config_describe_application(const struct config_application *application);
/* "shop.wsgi:application", with " and 2 more" where there are three. */
void config_describe_applications(const struct config *config, char *text, size_t text_bytes);
/* Does it answer ordinary requests by its authorizer, as it has nothing else? nginx's auth_request
 * asks so. */
bool config_answers_by_authorizer(const struct config *config,
                                  const struct config_application *application);
/* Checks each section, and all of them together. 0, or -1. */
int config_application_check_all(const struct config *config, struct config_error *error);

#endif
