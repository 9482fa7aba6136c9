/* The operating system that libfcgi sees: it reads from memory and does nothing else. */
#ifndef FCGIHOST_LIBFCGI_OS_H
#define FCGIHOST_LIBFCGI_OS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For libfcgi, which wants one. No process has it. */
enum { LIBFCGI_OS_DESCRIPTOR = INT_MAX };

/* FCGX_Init(). 0; -1: this libfcgi does not take its operating system from here. */
int libfcgi_os_init(void);
struct FCGX_Request;
/* FCGX_InitRequest() and FCGX_Accept_r(): libfcgi reads these bytes, before it finds the end; they
 * are not copied. What it makes of them has to be freed by FCGX_Free(), even after a failure. 0; -1
 * with errno, EPROTO: they are no head; ENOMEM: there is no memory for a head of so many
 * parameters. libfcgi itself would end the process then. */
int libfcgi_os_accept(struct FCGX_Request *request, const uint8_t *bytes, size_t n,
                      size_t param_count);
/* Has libfcgi wanted to do anything but read since then, in this thread? */
bool libfcgi_os_has_refused(void);

#endif
