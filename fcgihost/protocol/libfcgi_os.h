/* The operating system that libfcgi sees: it reads from memory and does nothing else. */
#ifndef FCGIHOST_LIBFCGI_OS_H
#define FCGIHOST_LIBFCGI_OS_H

#include "base/arena.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For libfcgi, which wants one. No process has it. */
enum { LIBFCGI_OS_DESCRIPTOR = INT_MAX };

/* FCGX_Init(). 0; -1: this libfcgi does not take its operating system from here. */
int libfcgi_os_init(void);
struct FCGX_Request;
/* FCGX_InitRequest() and FCGX_Accept_r(): libfcgi reads these bytes, before it finds the end, and
 * takes the arena's memory. The bytes are not copied. What it makes of them has to be freed by
 * FCGX_Free(), before the arena is. 0; -1: they are no head, or libfcgi stopped with an assertion,
 * as it does when it gets no memory. */
int libfcgi_os_accept(struct FCGX_Request *request, struct arena *arena, const uint8_t *bytes,
                      size_t n);
/* Has libfcgi wanted to do anything but read since then, in this thread? */
bool libfcgi_os_has_refused(void);

/* What malloc(), realloc() and free() are called in the archive that the program is linked with. */
void *libfcgi_os_malloc(size_t n);
void *libfcgi_os_realloc(void *old_memory, size_t n);
void libfcgi_os_free(void *old_memory);

#endif
