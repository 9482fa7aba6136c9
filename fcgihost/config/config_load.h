/* The configuration: one table of options that the ini file, --set and the flags all go through. */
#ifndef FCGIHOST_CONFIG_LOAD_H
#define FCGIHOST_CONFIG_LOAD_H

#include "config/config.h"
#include "config/config_error.h"

struct config_assignment;

/* Sets every option to its default. Free with config_clear. -1 with a message only when out of
 * memory. */
int config_init(struct config *config, struct config_error *error);
void config_clear(struct config *config);

/* Sets one option as the command line does ("--set server.threads=8" comes as "server.threads=8",
 * "--threads 8" likewise). It wins over what a file said; the first value of a repeatable key
 * replaces those of the file. Relative paths are the current folder's. 0, or -1 with a message. */
int config_set(struct config *config, const char *assignment, struct config_error *error);
/* The same for a flag that stands for one option: messages name it ("--threads") instead of --set.
 */
int config_set_flag(struct config *config, const char *flag, const char *assignment,
                    struct config_error *error);

/* Where a value stands, for the beginning of a message: "fcgihost.ini:3: "; "fcgihost.ini: " where
 * that line is not known; "" without a file. Not for sections of applications. */
void config_describe_place(const struct config *config, const char *section, const char *key,
                           char *text, size_t text_bytes);

/* For errors that show after the settings have been read: notes in the error whether its key's
 * value was given in a file or by a flag. Call it after config_error_set. -1, so that a caller can
 * return it. */
int config_blame(const struct config *config, const char *section, const char *key,
                 struct config_error *error);

/* Likewise for a key of an application; of several the line of the section, except for the last. */
void config_describe_application_place(const struct config *config,
                                       const struct config_application *application,
                                       const char *key, char *text, size_t text_bytes);

/* Checks that take more than one key: one program in each section, a mount of its own for each,
 * keys that need another key. 0, or -1. */
int config_check(const struct config *config, struct config_error *error);
/* For the readers of files and flags: stores one value. where: what a message has before the
 * reason, up to the key. 0, or -1. */
int config_apply(struct config *config, struct config_assignment *setting, const char *where,
                 struct config_error *error);

#endif
