/* fcgihost --status and --reload: ask running hosts over their control sockets. */
#ifndef FCGIHOST_STATUS_CONTROL_CLIENT_H
#define FCGIHOST_STATUS_CONTROL_CLIENT_H

#include "config/config.h"

/* Prints the status of each host with this configuration file (NULL: any) and these addresses.
 * 0: each of them serves; 1: one does not, or none can be reached, which is said in one line. */
int control_client_status(const char *config_file, const struct config_list *listen,
                          const char *format);
/* Asks their managers to replace all workers, waits, and says how it ended. 0: all were replaced;
 * 1: the old ones stay, or there is no manager. */
int control_client_reload(const char *config_file, const struct config_list *listen);

#endif
