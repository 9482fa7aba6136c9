/* FastCGI's one call that is not in the transport's table. */
#ifndef FCGIHOST_FASTCGI_H
#define FCGIHOST_FASTCGI_H

/* Initialises libfcgi. It takes SIGTERM and SIGUSR1 for itself unless somebody else has, so take
 * them first: one that came in between would be lost. 0, or -1 with errno. */
int fastcgi_init(void);

#endif
