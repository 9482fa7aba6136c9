/* What the service manager (systemd) is told of the process: datagrams, in its protocol, to the
 * socket that NOTIFY_SOCKET names. Where nobody named one, nothing here has an effect. Nothing
 * blocks. All but sd_notify_init: one thread, the supervisor or a manager's loop. */
#ifndef FCGIHOST_SD_NOTIFY_H
#define FCGIHOST_SD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Takes NOTIFY_SOCKET and WATCHDOG_USEC out of the environment, so that the application and its
 * children can't speak for the host. is_worker: the manager speaks for it; only the watchdog's time
 * is taken. First in main, once the environment has been remembered for the next program. */
void sd_notify_init(bool is_worker);
/* How often it must be told that the process is alive, and a worker its manager; 0: never. */
uint64_t sd_notify_watchdog_ms(void);

/* Not ready yet, and it takes longer: the time to start is extended by so much; 0: it is not. Once
 * it is ready the status alone is told. */
void sd_notify_starting(const char *status, uint64_t extend_ms);
/* Requests are served; ends a reload too. */
void sd_notify_ready(const char *status);
/* A reload begins; no effect before it is ready, as the end of the reload would say so. */
void sd_notify_reloading(const char *status);
/* The end has begun, and may take so long. */
void sd_notify_stopping(const char *status, uint64_t extend_ms);
/* For the watchdog. */
void sd_notify_alive(void);
/* Sends what found no room. To be called now and then. */
void sd_notify_again(void);

#endif
