/* Replaces the functions through which libfcgi calls the system: it can only read from memory. */
#ifndef FCGIHOST_LIBFCGI_OS_H
#define FCGIHOST_LIBFCGI_OS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libfcgi insists on a descriptor: a number that is never open. */
enum { LIBFCGI_OS_DESCRIPTOR = INT_MAX };

/* Calls FCGX_Init(), and checks that this libfcgi calls the functions here. 0, or -1 with errno:
 * EPROTO, it does not; ENOMEM, there was no memory to try it. Main thread,
 * before the others. */
int libfcgi_os_init(void);
struct FCGX_Request;
/* Has libfcgi parse these bytes (FCGX_InitRequest, FCGX_Accept_r), which are not copied. The caller
 * must call FCGX_Free, even after a failure. -1 with errno: EPROTO, they are not a head; ENOMEM,
 * not enough memory for so many parameters (libfcgi would abort the process). Any thread. */
int libfcgi_os_accept(struct FCGX_Request *request, const uint8_t *bytes, size_t n,
                      size_t param_count);
/* Has libfcgi tried anything but reading since then, in this thread? For the contract test. */
bool libfcgi_os_has_refused(void);

#endif
