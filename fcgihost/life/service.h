/* What a process has to say to the service manager: how its start is going, that it serves, and for
 * the watchdog that its Python answers. A manager's worker tells its manager instead, which speaks
 * for all. The supervisor's alone. */
#ifndef FCGIHOST_SERVICE_H
#define FCGIHOST_SERVICE_H

#include "life/manager_link.h"
#include "status/figures.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service {
    const struct config *config;
    struct manager_link *link;
    bool is_serving;
    struct program_figures told; /* name, state and attempts of what it was told about last */
    bool is_question_open;       /* Python was asked, and may answer */
    uint64_t question_ms;        /* when it is asked next */
};

void service_init(struct service *service, const struct config *config, struct manager_link *link);
/* On each tick while it starts or serves; requests are served or not. */
void service_tell(struct service *service, bool is_serving, uint64_t now_ms);
/* SIGHUP opened the log again. */
void service_tell_reopened(const struct service *service);
/* The end begins; is_replaced: another program goes on in this process. */
void service_tell_drain(struct service *service, const char *why, bool is_replaced);
/* With a watchdog: says that the process is alive, if Python has answered since the last time: an
 * errand had the GIL, for which nobody waits. On each tick. */
void service_watch(struct service *service, uint64_t now_ms);
/* The next tick's wait. */
uint64_t service_wait_ms(uint64_t wait_ms);

/* "shop.wsgi:application: attempt 3 failed, the next one comes in 4.0 s (13:40:28)". */
void service_describe_start(const struct program_figures *start, uint64_t now_ms, char *text,
                            size_t text_bytes);
/* By how much a start that is tried again extends its time: until the next attempt, and as long as
 * that may take, judged by the last one. */
uint64_t service_extend_ms(const struct program_figures *start, uint64_t now_ms);

#endif
