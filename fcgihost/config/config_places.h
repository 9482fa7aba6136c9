/* What the configuration names on this machine: files, folders, users. */
#ifndef FCGIHOST_CONFIG_PLACES_H
#define FCGIHOST_CONFIG_PLACES_H

#include "config/config_error.h"
#include "config/settings.h"

/* The script files and folders that applications are to be loaded from are there and can be read.
 * For every first start: what was never there is a mistake, and no failure that heals. 0, or -1
 * with one line. */
int config_check_scripts(const struct config *config, struct config_error *error);

/* For --check, which opens no socket and writes no file: whatever else the start would refuse that
 * can be seen without doing it. Calls report for each line. Returns how many there were. */
unsigned config_check_places(const struct config *config,
                             void (*report)(const struct config_error *error));

#endif
