/* The ini file, on its way through inih into the settings. */
#ifndef FCGIHOST_CONFIG_FILE_H
#define FCGIHOST_CONFIG_FILE_H

#include "config/config.h"
#include "config/config_error.h"

/* Reads an ini file into config; before the first config_set. 0, or -1 with a message that names
 * file, line, section and key. */
int config_read_file(struct config *config, const char *path, struct config_error *error);
/* The same for text that came from that file. */
int config_read_text(struct config *config, const char *path, const char *text, size_t bytes,
                     struct config_error *error);

#endif
