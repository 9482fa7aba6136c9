/* Plain CGI: one request from variables and a descriptor, its response to another. Also what --call
 * uses. */
#ifndef FCGIHOST_CGI_H
#define FCGIHOST_CGI_H

#include "config/settings.h"

/* Serves one request with the application that is loaded. variables: "NAME=VALUE" strings (RFC
 * 3875, section 4.1), NULL ends them. body_fd: -1 if there is no body. The HTTP status, or -1 if
 * none could be sent. On the main thread, without the GIL. */
int cgi_serve(const struct config *config, char *const *variables, int body_fd, int response_fd);

#endif
