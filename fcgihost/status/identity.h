/* What tells hosts on one machine apart, and where their control sockets are. */
#ifndef FCGIHOST_STATUS_IDENTITY_H
#define FCGIHOST_STATUS_IDENTITY_H

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>

/* Remembers which configuration file and which addresses this host serves. Before the process
 * changes its folder. 0, or -1: out of memory. */
int identity_init(const struct config *config);
/* Lines: "config /etc/fcgihost.ini", "listen unix:/run/x.sock". */
const char *identity_text(void);
/* Has text, of a host, this configuration file (NULL: any) and all these addresses? */
bool identity_matches(const char *text, const char *config_file, const struct config_list *listen);
/* The file's path without links, as identity_text has it. Caller frees; NULL: out of memory. */
char *identity_canonical(const char *path);

enum { CONTROL_PATH_BYTES = 108 /* as sockaddr_un.sun_path */ };

/* Calls visit(folder) for each folder where control sockets may be: $RUNTIME_DIRECTORY,
 * /run/fcgihost, $XDG_RUNTIME_DIR; until one returns true. false: none did. */
bool identity_each_folder(bool (*visit)(const char *folder, void *context), void *context);
/* "FOLDER/fcgihost-PID.sock". false: it is too long. */
bool identity_control_path(const char *folder, long pid, char path[CONTROL_PATH_BYTES]);
/* The process id in a name that identity_control_path makes; 0: it is another file's. */
long identity_control_pid(const char *name);

#endif
