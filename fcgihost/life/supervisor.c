/* The supervisor thread: drives the lifecycle, keeps its deadlines. */
#include "life/supervisor.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/config_application.h"
#include "connection/idle_connections.h"
#include "embed/py_stacks.h"
#include "embed/py_task.h"
#include "life/process.h"
#include "life/reexec.h"
#include "status/collector.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    TICK_MS = 500,
    STOPPING_TICK_MS = 20,
    NEW_CONNECTION_MS = 1000, /* how long a new connection's first request may take to arrive */
    MEMORY_CHECK_MS = 5000,
    FILES_CHECK_MS = 1000,
    ASK_AGAIN_MS = 1000, /* after the manager could not be asked */
};

/* Only lock-free atomics and write(2): signal handlers call it. */
void supervisor_ask(struct supervisor *supervisor, enum lifecycle_reason reason)
{
    int asked = REASON_NONE;
    if (reason == REASON_SIGQUIT)
        atomic_store(&supervisor->asked, REASON_SIGQUIT);
    else if (!atomic_compare_exchange_strong(&supervisor->asked, &asked, (int)reason) &&
             asked == REASON_RETRY) /* and now a real exit is wanted */
        atomic_store(&supervisor->replacement.is_exit_wanted, true);
    supervisor_wake(supervisor);
}

int supervisor_ask_retry(struct supervisor *supervisor, const void *startup, size_t bytes)
{
    if (replacement_keep_startup(&supervisor->replacement, startup, bytes) < 0)
        return -1;
    supervisor_ask(supervisor, REASON_RETRY);
    return 0;
}

void supervisor_wake(struct supervisor *supervisor)
{
    eventfd_write(supervisor->event_fd, 1);
}

int supervisor_init(struct supervisor *supervisor, const struct config *config)
{
    uint64_t chance = 0;
    memset(supervisor, 0, sizeof(*supervisor));
    event_init(&supervisor->stop);
    event_init(&supervisor->is_done);
    main_thread_init(&supervisor->main, config->cleanup_timeout_ms);
    replacement_init(&supervisor->replacement, config);
    supervisor->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (supervisor->event_fd < 0)
        return -1;
    (void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
    supervisor->readiness.wake_fd = supervisor->event_fd;
    atomic_store(&supervisor->readiness.untried, 1); /* until Python reports how many there are */
    lifecycle_init(&supervisor->lifecycle, config, clock_ms(), chance);
    manager_link_init(&supervisor->link);
    process_notify_init(&supervisor->service, config, &supervisor->link);
    supervisor->lifecycle.is_managed = supervisor->link.is_managed;
    if (supervisor->link.is_managed)
        supervisor->replacement.worker = &supervisor->link.worker;
    supervisor->config = config;
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor != NULL)
        supervisor->inherited_children =
            (struct child_list){predecessor->children, predecessor->child_count};
    return 0;
}

enum lifecycle_state supervisor_state(struct supervisor *supervisor)
{
    return (enum lifecycle_state)atomic_load(&supervisor->state);
}

bool supervisor_wait(struct supervisor *supervisor, uint64_t timeout_ms, uint64_t attempt_ms)
{
    atomic_store(&supervisor->readiness.next_attempt_ms, clock_ms() + attempt_ms);
    return event_wait(&supervisor->stop, timeout_ms);
}

bool supervisor_ask_heal(struct supervisor *supervisor, const char *what, const void *startup,
                         size_t bytes)
{
    if (supervisor->link.is_managed)
        (void)manager_link_ask(&supervisor->link, WISH_HEAL, what,
                               (struct handover_bytes){startup, bytes});
    return supervisor->link.is_managed;
}

bool supervisor_ask_reload(struct supervisor *supervisor, const char *why)
{
    if (!supervisor->link.is_managed)
        return false;
    /* One that is owed stands for this one too: it is the supervisor's text until then. */
    if (!atomic_load(&supervisor->is_reload_owed) &&
        manager_link_ask(&supervisor->link, WISH_RELOAD, why, (struct handover_bytes){NULL, 0}) <
            0) {
        snprintf(supervisor->reload_why, sizeof(supervisor->reload_why), "%s", why);
        atomic_store(&supervisor->is_reload_owed, true);
    }
    return true;
}

/* Its caller would not ask again for the same change. */
static void ask_owed_reload(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->lifecycle.state >= LIFECYCLE_DRAINING || now_ms < supervisor->ask_again_ms ||
        !atomic_load(&supervisor->is_reload_owed))
        return;
    if (manager_link_ask(&supervisor->link, WISH_RELOAD, supervisor->reload_why,
                         (struct handover_bytes){NULL, 0}) < 0)
        supervisor->ask_again_ms = now_ms + ASK_AGAIN_MS;
    else
        atomic_store(&supervisor->is_reload_owed, false);
}

static void wait_event(struct supervisor *supervisor)
{
    bool is_stopping = supervisor->lifecycle.state >= LIFECYCLE_DRAINING;
    const struct manager_link *link = &supervisor->link;
    struct pollfd pollfds[] = {
        {.fd = supervisor->has_lost_descriptors ? -1 : supervisor->event_fd, .events = POLLIN},
        {.fd = link->is_managed && !is_stopping ? link->worker.channel_fd : -1, .events = POLLIN},
        {.fd = link->inherit_fd, .events = POLLIN}};
    eventfd_t count;
    uint64_t tick_ms = is_stopping ? STOPPING_TICK_MS
                                   : request_deadlines_wait_ms(&supervisor->deadlines, clock_ms(),
                                                               process_notify_wait_ms(TICK_MS));
    if (poll(pollfds, 3, (int)tick_ms) > 0 && pollfds[0].revents != 0)
        eventfd_read(supervisor->event_fd, &count);
}

static void log_serving(const struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    char applications[512];
    config_describe_applications(config, applications, sizeof(applications));
    for (size_t i = 0; i < supervisor->poller->listener_count; i++)
        log_info("serving", "serving %s on %s with %u thread%s", applications,
                 poller_listener_name(supervisor->poller, i), config->threads,
                 config->threads == 1 ? "" : "s");
}

static bool is_replaced(const struct supervisor *supervisor)
{
    return atomic_load(&supervisor->replacement.is_planned);
}

/* Does another process take the connections that have no running request, so that the drain need
 * not wait for them? */
static bool are_connections_kept(const struct supervisor *supervisor)
{
    return is_replaced(supervisor) || supervisor->is_bequeathing;
}

static void do_what_signals_ask(struct supervisor *supervisor)
{
    if (atomic_exchange(&supervisor->is_reopen_wanted, false)) {
        log_reopen();
        log_info("log-reopened", "SIGHUP: log opened again");
        process_notify_tell_reopened(&supervisor->service);
    }
    if (atomic_exchange(&supervisor->are_stacks_wanted, false))
        py_stacks_log(&supervisor->pool->activities, "SIGUSR2");
}

/* 0: there is no limit, or it was checked less than 5 s ago. */
static uint64_t check_memory(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->config->memory_bytes == 0 ||
        now_ms < supervisor->memory_checked_ms + MEMORY_CHECK_MS)
        return 0;
    supervisor->memory_checked_ms = now_ms;
    return memory_resident();
}

/* "[limits] requests: 50 requests have been served". */
static void describe_reason(const struct supervisor *supervisor, char *text, size_t text_bytes)
{
    const struct config *config = supervisor->config;
    enum lifecycle_reason reason = supervisor->lifecycle.reason;
    const char *name = lifecycle_reason_name(reason);
    if (reason == REASON_REQUESTS)
        snprintf(text, text_bytes, "%s: %llu requests have been served", name,
                 atomic_load(&supervisor->pool->requests));
    else if (reason == REASON_LIFETIME)
        snprintf(text, text_bytes, "%s: the process is %llu s old", name,
                 (unsigned long long)config->lifetime_ms / 1000);
    else if (reason == REASON_MEMORY)
        snprintf(text, text_bytes, "%s: the process has %llu MiB of %llu MiB", name,
                 (unsigned long long)memory_resident() >> 20,
                 (unsigned long long)config->memory_bytes >> 20);
    else if (reason == REASON_IDLE)
        snprintf(text, text_bytes, "%s: no request for %g s", name, (double)config->idle_ms / 1000);
    else
        snprintf(text, text_bytes, "%s", name);
}

/* A wish that can't be told counts as untold, and so comes here again at the next step. */
static void ask_manager(struct supervisor *supervisor, uint64_t now_ms)
{
    char reason[128];
    struct lifecycle *lifecycle = &supervisor->lifecycle;
    bool is_shutdown = lifecycle->reason == REASON_SHUTDOWN;
    if (now_ms < supervisor->ask_again_ms) {
        lifecycle->told = REASON_NONE;
        return;
    }
    describe_reason(supervisor, reason, sizeof(reason));
    if (lifecycle->reason != supervisor->refused)
        log_info("asked-manager", "%s: the manager %s", reason,
                 is_shutdown ? "stops all workers"
                             : "starts a successor, and this one serves until then");
    supervisor->refused = REASON_NONE;
    if (manager_link_ask(&supervisor->link, is_shutdown ? WISH_SHUTDOWN : WISH_LIMIT, reason,
                         (struct handover_bytes){NULL, 0}) < 0) {
        supervisor->refused = lifecycle->reason;
        supervisor->ask_again_ms = now_ms + ASK_AGAIN_MS;
        lifecycle->told = REASON_NONE;
    }
}

/* A failed start has been logged already. */
static void log_drain(const struct supervisor *supervisor)
{
    char reason[128], seconds[24];
    if (supervisor->lifecycle.reason == REASON_RETRY)
        return;
    if (supervisor->lifecycle.reason == REASON_RETIRED) {
        log_info("worker-retired", "retired: another worker serves in its place");
        return;
    }
    if (supervisor->link.is_managed && !supervisor->is_serving_told) {
        log_debug("worker-not-needed", "stopping, as it is not needed: it never served");
        return;
    }
    describe_reason(supervisor, reason, sizeof(reason));
    snprintf(seconds, sizeof(seconds), "%g s", (double)supervisor->config->drain_timeout_ms / 1000);
    log_info("stopping", "%s: stopping: %s, requests in flight have %s", reason,
             is_replaced(supervisor)
                 ? "new connections wait for a fresh process with the same number"
                 : "no new connections",
             supervisor->lifecycle.reason == REASON_SIGQUIT || supervisor->has_lost_descriptors
                 ? "no time"
                 : seconds);
}

/* A failed start is tried again, in this process: it has told so. */
static void tell_drain(struct supervisor *supervisor)
{
    char why[128];
    if (supervisor->lifecycle.reason == REASON_RETRY && is_replaced(supervisor))
        return;
    describe_reason(supervisor, why, sizeof(why));
    process_notify_tell_drain(&supervisor->service, why, is_replaced(supervisor));
}

/* While it drains: gives connections to its heir as they become idle; without one they are closed
 * in order. */
static void bequeath(struct supervisor *supervisor)
{
    if (!supervisor->is_bequeathing || manager_link_bequeath(&supervisor->link, supervisor->poller))
        return;
    supervisor->is_bequeathing = false;
    log_warning("handover-lost",
                "the worker that was to take the idle connections has gone: they are closed");
    poller_give_up_handover(supervisor->poller);
    poller_stop_accepting(supervisor->poller);
    poller_unpark(supervisor->poller);
}

static void begin_drain(struct supervisor *supervisor)
{
    replacement_decide(&supervisor->replacement, supervisor->lifecycle.reason);
    log_drain(supervisor);
    tell_drain(supervisor);
    if (supervisor->lifecycle.reason == REASON_IDLE)
        collector_count_restart(RESTART_IDLE);
    supervisor->is_bequeathing =
        supervisor->lifecycle.reason == REASON_RETIRED && supervisor->link.heir_fd >= 0;
    if (are_connections_kept(supervisor)) {
        poller_begin_handover(supervisor->poller);
    } else {
        poller_stop_accepting(supervisor->poller);
        poller_unpark(supervisor->poller);
    }
    py_task_start(PY_TASK_STOPPING);
}

/* The drain waits for requests, not for open connections: idle ones are closed at once; new ones,
 * whose first request may be on its way, after a second. */
static void close_idle(struct supervisor *supervisor, uint64_t now_ms)
{
    const struct lifecycle *lifecycle = &supervisor->lifecycle;
    if (lifecycle->state == LIFECYCLE_DRAINING && !are_connections_kept(supervisor))
        poller_close_idle(supervisor->poller, now_ms + lifecycle->drain_timeout_ms >=
                                                  lifecycle->deadline_ms + NEW_CONNECTION_MS);
}

/* Connections that the drain waits for. */
static size_t count_connections(struct supervisor *supervisor)
{
    return are_connections_kept(supervisor) ? poller_busy_count(supervisor->poller)
                                            : poller_connection_count(supervisor->poller);
}

/* Stacks only of requests that have a thread: what is left may be slow peers' alone. */
static void log_cut_off(struct supervisor *supervisor, size_t open)
{
    const struct activities *activities = &supervisor->pool->activities;
    unsigned sending = atomic_load(&activities->sending);
    char rest[80] = "";
    if (sending > 0)
        snprintf(rest, sizeof(rest), ", %u of them in the middle of a response that was being sent",
                 sending);
    if (supervisor->lifecycle.is_cut_off)
        log_error(
            "drain-timed-out",
            "stopping: %zu connection(s) did not finish within [shutdown] drain_timeout (%g s) "
            "and are cut off%s",
            open, (double)supervisor->config->drain_timeout_ms / 1000, rest);
    else if (open > 0)
        log_warning("stop-cuts-off", "stopping: %zu connection(s) are cut off%s", open, rest);
    if (supervisor->lifecycle.is_cut_off && atomic_load(&activities->busy) > 0)
        py_stacks_log(activities, "requests that did not end");
}

static void begin_cleaning(struct supervisor *supervisor)
{
    bequeath(supervisor);
    log_cut_off(supervisor, count_connections(supervisor));
    poller_cut(supervisor->poller);
    poller_quit(supervisor->poller);
    event_set(&supervisor->stop);
}

static void exit_anyway(struct supervisor *supervisor)
{
    char obstacle[600];
    main_thread_describe(&supervisor->main, obstacle, sizeof(obstacle));
    log_error(
        "cleanup-timed-out",
        "stopping: not done within [shutdown] cleanup_timeout (%g s), in the way: %s; exiting "
        "anyway",
        (double)supervisor->config->cleanup_timeout_ms / 1000, obstacle);
    py_stacks_log(&supervisor->pool->activities, "what is in the way");
    (void)replacement_run(&supervisor->replacement);
    process_remove_pid_file(supervisor->config);
    log_flush();
    _exit(1);
}

static void perform(struct supervisor *supervisor, enum lifecycle_action action, uint64_t now_ms)
{
    switch (action) {
    case LIFECYCLE_ASK:
        ask_manager(supervisor, now_ms);
        break;
    case LIFECYCLE_DRAIN:
        begin_drain(supervisor);
        break;
    case LIFECYCLE_CLEAN:
        begin_cleaning(supervisor);
        break;
    case LIFECYCLE_EXIT_ANYWAY:
        exit_anyway(supervisor);
        break;
    case LIFECYCLE_EXIT:
    case LIFECYCLE_NOTHING:
        break;
    }
}

/* Why the process must stop, or be replaced by another one. */
static enum lifecycle_reason find_asked(struct supervisor *supervisor)
{
    enum lifecycle_reason asked = (enum lifecycle_reason)atomic_load(&supervisor->asked);
    bool is_wish = asked == REASON_RESTART || asked == REASON_SHUTDOWN || asked == REASON_SIGNALLED;
    if (supervisor->lifecycle.is_managed && is_wish &&
        atomic_load(&supervisor->replacement.is_exit_wanted))
        return REASON_SIGTERM; /* a signal, after the request */
    if (supervisor->is_orphaned && (is_wish || asked == REASON_REQUEST_TIME))
        return REASON_ORPHANED; /* nobody is left who could grant it */
    return supervisor->link.is_retired && asked != REASON_SIGQUIT ? REASON_RETIRED : asked;
}

/* Handles the manager's messages; while the program is about to be executed anew for a retry, they
 * are left to the next one. */
static void heed_manager(struct supervisor *supervisor)
{
    struct manager_link *link = &supervisor->link;
    enum manager_link_event event = LINK_NOTHING;
    do {
        if (supervisor->lifecycle.state < LIFECYCLE_DRAINING &&
            atomic_load(&supervisor->asked) != REASON_RETRY)
            event = manager_link_receive(link);
        if (event == LINK_ACCEPT)
            poller_release(supervisor->poller);
        if (event == LINK_GONE) {
            supervisor->is_orphaned = true;
            supervisor_ask(supervisor, REASON_ORPHANED);
        }
    } while (event != LINK_NOTHING && event != LINK_GONE && event != LINK_RETIRE);
    manager_link_inherit(link, supervisor->poller);
}

static void report_start(struct supervisor *supervisor)
{
    struct readiness *readiness = &supervisor->readiness;
    struct worker_report report = {
        .is_settled = atomic_load(&readiness->untried) == 0,
        .failed_applications = atomic_load(&readiness->failed_applications),
        .failed_imports = atomic_load(&readiness->failed_imports),
        .is_loaded = atomic_load(&readiness->loaded) != 0,
    };
    manager_link_report(&supervisor->link, &report);
}

/* For the status: a start that is tried again is still one. */
static void tell_state(const struct supervisor *supervisor)
{
    bool is_retried = supervisor->lifecycle.reason == REASON_RETRY &&
                      !atomic_load(&supervisor->replacement.is_exit_wanted);
    collector_set_state(
        lifecycle_state_name(is_retried ? LIFECYCLE_STARTING : supervisor->lifecycle.state));
}

static void step(struct supervisor *supervisor, uint64_t now_ms)
{
    unsigned long long loaded = atomic_load(&supervisor->readiness.loaded);
    struct lifecycle_view view = {
        .now_ms = now_ms,
        .asked = find_asked(supervisor),
        .requests = atomic_load(&supervisor->pool->requests),
        .resident_bytes = check_memory(supervisor, now_ms),
        .connections = count_connections(supervisor),
        .busy = supervisor->config->idle_ms > 0 ? poller_busy_count(supervisor->poller) : 0,
        .is_loaded = loaded != 0,
        .is_python_finalized = event_is_set(&supervisor->is_done),
    };
    if (loaded != 0 && !supervisor->is_serving_told && !atomic_load(&supervisor->poller->is_held)) {
        supervisor->is_serving_told = true;
        log_serving(supervisor);
    }
    if (supervisor->lifecycle.state < LIFECYCLE_DRAINING)
        process_notify_tell(&supervisor->service, supervisor->is_serving_told, now_ms);
    if (supervisor->announced != loaded) {
        supervisor->announced = loaded;
        poller_unpark(supervisor->poller);
    }
    enum lifecycle_action action = lifecycle_step(&supervisor->lifecycle, &view);
    atomic_store(&supervisor->state, (int)supervisor->lifecycle.state);
    manager_link_tell_idle(&supervisor->link, supervisor->lifecycle.is_idle);
    tell_state(supervisor);
    perform(supervisor, action, now_ms);
}

/* The process can't see who removed it, and nobody else would say why the web server answers 502.
 */
static void look_for_lost_files(struct supervisor *supervisor, uint64_t now_ms)
{
    const char *name;
    if (supervisor->lifecycle.state >= LIFECYCLE_DRAINING ||
        now_ms < supervisor->files_checked_ms + FILES_CHECK_MS)
        return;
    supervisor->files_checked_ms = now_ms;
    while ((name = poller_find_lost_file(supervisor->poller)) != NULL)
        log_error("socket-file-lost", LISTENER_LOSS, name);
}

/* Not at each step: two looks must be so far apart that the application, which closes a standard
 * stream to open another file in its place, is done with it. */
static void plug_standard(struct supervisor *supervisor, uint64_t now_ms)
{
    if (now_ms < supervisor->plugged_ms + TICK_MS)
        return;
    supervisor->plugged_ms = now_ms;
    descriptors_plug_standard();
}

/* Without its own descriptors the process is deaf, and would be for ever. What has their numbers by
 * now is the application's. */
static void look_for_lost_descriptors(struct supervisor *supervisor)
{
    if (supervisor->lifecycle.state >= LIFECYCLE_DRAINING ||
        !poller_has_lost_descriptors(supervisor->poller))
        return;
    supervisor->has_lost_descriptors = true;
    event_set_descriptor(&supervisor->stop, -1);
    log_mend();
    log_error("descriptors-closed",
              "the application has closed the host's descriptors, with os.closerange() say, so "
              "nothing can be served any more: let it close those that it has opened; children "
              "get none of the host's");
    atomic_store(&supervisor->asked, REASON_DESCRIPTORS);
}

/* A worker that can't serve leaves new connections to the others until its successor is there. */
static void see_to_requests(struct supervisor *supervisor, uint64_t now_ms)
{
    if (!request_deadlines_step(&supervisor->deadlines, now_ms))
        return;
    if (supervisor->link.is_managed && request_deadlines_is_wedged(&supervisor->deadlines))
        poller_hold(supervisor->poller);
    supervisor_ask(supervisor, REASON_REQUEST_TIME);
}

static void *run(void *argument)
{
    struct supervisor *supervisor = argument;
    log_only_queue();
    while (supervisor->lifecycle.state != LIFECYCLE_STOPPED) {
        wait_event(supervisor);
        look_for_lost_descriptors(supervisor);
        do_what_signals_ask(supervisor);
        heed_manager(supervisor);
        report_start(supervisor);
        if (supervisor->lifecycle.state == LIFECYCLE_DRAINING)
            bequeath(supervisor);
        replacement_reconsider(&supervisor->replacement);
        children_reap(&supervisor->inherited_children);
        uint64_t now_ms = clock_ms();
        process_notify_watch(&supervisor->service, now_ms);
        plug_standard(supervisor, now_ms);
        ask_owed_reload(supervisor, now_ms);
        look_for_lost_files(supervisor, now_ms);
        poller_tend(supervisor->poller, now_ms);
        log_tell_gathered();
        spool_store_trim(&supervisor->pool->store);
        close_idle(supervisor, now_ms);
        if (supervisor->lifecycle.state < LIFECYCLE_CLEANING)
            see_to_requests(supervisor, now_ms);
        if (supervisor->lifecycle.state == LIFECYCLE_CLEANING)
            main_thread_hurry(&supervisor->main, supervisor->lifecycle.deadline_ms, now_ms);
        else {
            main_thread_report_slow_import(&supervisor->main, &supervisor->pool->activities,
                                           now_ms);
            main_thread_interrupt_slow_cleanup(&supervisor->main, now_ms);
        }
        step(supervisor, now_ms);
    }
    return NULL;
}

int supervisor_start(struct supervisor *supervisor, struct poller *poller, struct worker_pool *pool)
{
    supervisor->poller = poller;
    supervisor->replacement.poller = poller;
    supervisor->pool = pool;
    if (request_deadlines_init(&supervisor->deadlines, supervisor->config, &pool->activities) < 0)
        return -1;
    py_task_set_activities(&pool->activities);
    int error = pthread_create(&supervisor->thread, NULL, run, supervisor);
    if (error != 0) {
        errno = error;
        return -1;
    }
    pthread_setname_np(supervisor->thread, "supervisor");
    return 0;
}

void supervisor_finish(struct supervisor *supervisor)
{
    event_set(&supervisor->is_done);
    supervisor_wake(supervisor);
    pthread_join(supervisor->thread, NULL);
    request_deadlines_clear(&supervisor->deadlines);
    /* event_fd stays open: signal handlers still write to it. */
}
