/* Plain CGI: one request, from variables and a descriptor; its response goes to another descriptor.
 * Also used by --call. */
#ifndef FCGIHOST_CGI_H
#define FCGIHOST_CGI_H

#include "config/config.h"

/* Serves one request with the loaded application. variables: "NAME=VALUE" strings (RFC 3875,
 * section 4.1), ended by NULL. body_fd: -1 if there is no body. Returns the HTTP status, or -1 if
 * none was sent. On the main thread, without the GIL. */
int cgi_serve(const struct config *config, char *const *variables, int body_fd, int response_fd);

#endif
