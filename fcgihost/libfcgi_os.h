/* The operating system that libfcgi sees: it reads from memory and does nothing else. */
#ifndef FCGIHOST_LIBFCGI_OS_H
#define FCGIHOST_LIBFCGI_OS_H

#include <stddef.h>
#include <stdint.h>

/* FCGX_Init(). 0; -1: this libfcgi does not take its operating system from here. */
int libfcgi_os_init(void);
/* What libfcgi reads next in this thread, from whatever descriptor; then it finds the end. The
 * bytes are not copied. */
void libfcgi_os_feed(const uint8_t *bytes, size_t n);

#endif
