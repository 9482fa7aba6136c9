/* FastCGI's one call that is not in the transport's table. */
#ifndef FCGIHOST_FASTCGI_H
#define FCGIHOST_FASTCGI_H

/* Initialises libfcgi, which installs signal handlers: install your own afterwards. 0, or -1 with
 * errno. */
int fastcgi_init(void);

#endif
