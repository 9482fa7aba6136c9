/* Whether a fresh program takes this process's place when it stops, and the handover to it. */
#include "life/replacement.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/config_error.h"
#include "life/process.h"
#include "life/reexec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void replacement_init(struct replacement *replacement, const struct config *config)
{
    const struct handover *predecessor = reexec_predecessor();
    *replacement = (struct replacement){.config = config,
                                        .started_us = clock_real_us(),
                                        .started_ms = clock_ms(),
                                        .status = {.generation = 1}};
    atomic_flag_clear(&replacement->is_begun);
    if (predecessor != NULL && predecessor->status.generation > 0)
        replacement->status = predecessor->status;
    if (predecessor == NULL || !predecessor->is_start_again)
        return;
    replacement->started_us = predecessor->started_us;
    if (predecessor->started_ms != 0) /* an older program does not tell */
        replacement->started_ms = predecessor->started_ms;
}

int replacement_keep_startup(struct replacement *replacement, const void *startup, size_t bytes)
{
    uint8_t *copy = malloc(bytes + 1);
    if (copy == NULL)
        return -1;
    memcpy(copy, startup, bytes);
    replacement->startup.data = copy;
    replacement->startup.bytes = bytes;
    return 0;
}

static bool is_due(const struct replacement *replacement, enum lifecycle_reason reason)
{
    bool is_limit = reason == REASON_REQUESTS || reason == REASON_LIFETIME ||
                    reason == REASON_MEMORY || reason == REASON_REQUEST_TIME ||
                    reason == REASON_RESTART;
    if (atomic_load(&replacement->is_exit_wanted))
        return false;
    return reason == REASON_RETRY || reason == REASON_RELOAD ||
           (is_limit && poller_is_spawners(replacement->poller));
}

static enum restart_reason restart_of(enum lifecycle_reason reason)
{
    switch (reason) {
    case REASON_REQUESTS:
        return RESTART_REQUESTS;
    case REASON_LIFETIME:
        return RESTART_LIFETIME;
    case REASON_MEMORY:
        return RESTART_MEMORY;
    case REASON_REQUEST_TIME:
        return RESTART_TIMEOUT;
    case REASON_RETRY:
        return RESTART_NOT;
    default:
        return RESTART_RELOAD;
    }
}

void replacement_decide(struct replacement *replacement, enum lifecycle_reason reason)
{
    replacement->is_start_again = reason == REASON_RETRY;
    replacement->restart = restart_of(reason);
    atomic_store(&replacement->is_planned, is_due(replacement, reason));
}

void replacement_reconsider(struct replacement *replacement)
{
    if (!atomic_load(&replacement->is_exit_wanted) ||
        !atomic_exchange(&replacement->is_planned, false))
        return;
    poller_give_up_handover(replacement->poller);
    poller_stop_accepting(replacement->poller);
    poller_unpark(replacement->poller);
}

static int collect(struct replacement *replacement, struct handover *handover)
{
    const struct config *config = replacement->config;
    const struct config_kept *kept = &config->kept;
    *handover = (struct handover){
        .file = {.path = kept->is_set ? kept->path : config->file,
                 .text = {.data = (const uint8_t *)(kept->is_set ? kept->text : config->file_text),
                          .bytes = kept->is_set ? kept->bytes : config->file_bytes}},
        .environment = {.path = config->environment_file,
                        .text = {.data = (const uint8_t *)config->environment_text,
                                 .bytes = config->environment_bytes}},
        .root_files = process_root_files(),
        .startup = replacement->startup,
        .started_us = replacement->started_us,
        .started_ms = replacement->started_ms,
        .is_start_again = replacement->is_start_again,
        .status = replacement->status,
        .programs = replacement->programs,
        .program_count = replacement->program_count,
    };
    if (replacement->restart != RESTART_NOT) {
        handover->status.generation++;
        handover->status.restarts[replacement->restart]++;
    }
    if (replacement->worker != NULL)
        handover->worker = *replacement->worker;
    return poller_hand_over(replacement->poller, handover);
}

int replacement_run(struct replacement *replacement)
{
    struct handover handover;
    if (!atomic_load(&replacement->is_planned) || atomic_load(&replacement->is_exit_wanted))
        return 0;
    while (atomic_flag_test_and_set(&replacement->is_begun))
        pause();
    if (collect(replacement, &handover) == 0)
        reexec_run(&handover, &replacement->is_exit_wanted);
    bool is_cancelled = errno == ECANCELED;
    if (!is_cancelled)
        log_error("renewal-failed", "the program could not be executed anew: %s: start it again",
                  config_error_describe(errno));
    handover_clear(&handover);
    return is_cancelled ? 0 : -1;
}
