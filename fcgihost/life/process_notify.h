/* What a process has to say to the service manager: how its start is going, that it serves, and for
 * the watchdog that its Python answers. A manager's worker tells its manager instead, which speaks
 * for all. The supervisor's alone. */
#ifndef FCGIHOST_PROCESS_NOTIFY_H
#define FCGIHOST_PROCESS_NOTIFY_H

#include "life/manager_link.h"
#include "status/figures.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct process_notify {
    const struct config *config;
    struct manager_link *link;
    bool is_serving;
    struct program_figures told; /* name, state and attempts of what it was told about last */
    bool is_question_open;       /* Python was asked, and may answer */
    uint64_t question_ms;        /* when it is asked next */
};

void process_notify_init(struct process_notify *service, const struct config *config,
                         struct manager_link *link);
/* On each tick while it starts or serves; requests are served or not. */
void process_notify_tell(struct process_notify *service, bool is_serving, uint64_t now_ms);
/* SIGHUP opened the log again. */
void process_notify_tell_reopened(const struct process_notify *service);
/* The end begins; is_replaced: another program goes on in this process. */
void process_notify_tell_drain(struct process_notify *service, const char *why, bool is_replaced);
/* With a watchdog: says that the process is alive, if Python has answered since the last time: an
 * task had the GIL, for which nobody waits. On each tick. */
void process_notify_watch(struct process_notify *service, uint64_t now_ms);
/* The next tick's wait. */
uint64_t process_notify_wait_ms(uint64_t wait_ms);

/* "shop.wsgi:application: attempt 3 failed, the next one comes in 4.0 s (13:40:28)". */
void process_notify_describe_start(const struct program_figures *start, uint64_t now_ms, char *text,
                                   size_t text_bytes);
/* By how much a start that is tried again extends its time: until the next attempt, and as long as
 * that may take, judged by the last one. */
uint64_t process_notify_extend_ms(const struct program_figures *start, uint64_t now_ms);

#endif
