/* The Unix sockets of listener.c. */
#ifndef FCGIHOST_LISTENER_UNIX_H
#define FCGIHOST_LISTENER_UNIX_H

#include "net/listener.h"

/* Makes the socket and its file. A file whose process has died is replaced, a live one never. 0, or
 * -1 with one line in error; what was made is in listener, and closed by listener_close. */
int listener_open_unix(struct listener *listener, const struct address *address,
                       const struct config *config, struct config_error *error);

#endif
