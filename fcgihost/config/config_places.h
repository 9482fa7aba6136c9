/* What the configuration names on this machine: files, folders, users. */
#ifndef FCGIHOST_CONFIG_PLACES_H
#define FCGIHOST_CONFIG_PLACES_H

#include "config/config.h"
#include "config/config_error.h"

/* Do the script files and folders of the applications exist, and can they be read? For each first
 * start: a file that was never there is a mistake, not a failure that may heal. 0, or -1 with one
 * line. */
int config_check_scripts(const struct config *config, struct config_error *error);

/* The folder of temporary files: [server] temporary, $TMPDIR or /var/tmp. A copy, as the
 * application may change the environment; the caller frees it. NULL: out of memory. */
const char *config_find_temporary(const struct config *config);

/* For --check, which opens no socket and writes no file: finds what else the start would refuse, as
 * far as that can be seen without doing it. Calls report for each line; returns their number.
 * *blame: of flags if all of them are, else of what is not. */
unsigned config_check_places(const struct config *config,
                             void (*report)(const struct config_error *error),
                             enum config_blame *blame);

#endif
