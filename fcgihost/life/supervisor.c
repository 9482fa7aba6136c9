/* The supervisor thread: signals, deadlines, and the end. */
#include "life/supervisor.h"

#include "base/clock.h"
#include "config/config_application.h"
#include "base/log.h"
#include "life/process.h"
#include "embed/py_errand.h"
#include "embed/py_stacks.h"
#include "life/reexec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    TICK_MS = 500,
    END_TICK_MS = 20,
    NEW_CONNECTION_MS = 1000, /* a connection may be on its way with a request that long */
    MEMORY_LOOK_MS = 5000,
    SLOW_IMPORT_MS = 30000,
    INTERRUPT_MS = 250, /* between two attempts to get the main thread out of an import */
};

/* The process has one, and its signal handlers must find it. */
static struct supervisor *the_supervisor;
static pid_t host_pid;

static enum lifecycle_reason reason_of_signal(int number)
{
    switch (number) {
    case SIGTERM:
        return REASON_SIGTERM;
    case SIGINT:
        return REASON_SIGINT;
    case SIGUSR1:
        return REASON_SIGUSR1;
    case SIGQUIT:
        return REASON_SIGQUIT;
    default:
        return REASON_NONE;
    }
}

/* Lock-free atomics and write(2) alone: safe in a handler. */
void supervisor_ask(struct supervisor *supervisor, enum lifecycle_reason reason)
{
    int asked = REASON_NONE;
    if (reason == REASON_SIGQUIT)
        atomic_store(&supervisor->asked, REASON_SIGQUIT);
    else if (!atomic_compare_exchange_strong(&supervisor->asked, &asked, (int)reason) &&
             asked == REASON_AFRESH)
        atomic_store(&supervisor->is_end_wanted, true); /* by the application, whose start failed */
    supervisor_wake(supervisor);
}

int supervisor_ask_afresh(struct supervisor *supervisor, const void *startup, size_t bytes)
{
    uint8_t *copy = malloc(bytes + 1);
    if (copy == NULL)
        return -1;
    memcpy(copy, startup, bytes);
    supervisor->startup = (struct handover_bytes){copy, bytes};
    supervisor_ask(supervisor, REASON_AFRESH);
    return 0;
}

void supervisor_wake(struct supervisor *supervisor)
{
    eventfd_write(supervisor->event_fd, 1);
}

static void take_signal(int number)
{
    if (number == SIGHUP) {
        atomic_store(&the_supervisor->is_reopen_wanted, true);
        supervisor_wake(the_supervisor);
    } else if (number == SIGUSR2) {
        atomic_store(&the_supervisor->are_stacks_wanted, true);
        supervisor_wake(the_supervisor);
    } else {
        atomic_store(&the_supervisor->is_end_wanted, true);
        supervisor_ask(the_supervisor, reason_of_signal(number));
    }
}

static void on_signal(int number)
{
    int saved_errno = errno;
    if (getpid() == host_pid) {
        take_signal(number);
        reexec_note_signal(number);
    } else {
        /* A forked child of the application, perhaps so young that fork_is_child() does not know it
         * yet: the signal is its own, the eventfd the host's. */
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = saved_errno;
}

static struct {
    const char *name, *does;
    int number;
    bool is_told; /* that an application's handler was replaced */
} handled[] = {{"SIGTERM", "ends the process", SIGTERM},
               {"SIGINT", "ends the process", SIGINT},
               {"SIGUSR1", "ends the process", SIGUSR1},
               {"SIGQUIT", "ends the process", SIGQUIT},
               {"SIGHUP", "opens the log again", SIGHUP},
               {"SIGUSR2", "logs the stacks of all threads", SIGUSR2}};

enum { HANDLED_SIGNALS = sizeof(handled) / sizeof(*handled) };

/* The program before this one let these wait, or got them when it was too late for it. */
static void accept_signals(void)
{
    uint64_t late = reexec_accept_signals();
    for (size_t i = 0; i < HANDLED_SIGNALS; i++)
        if (late >> handled[i].number & 1)
            take_signal(handled[i].number);
}

void supervisor_take_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    if (the_supervisor == NULL)
        return; /* one request, without sockets: nothing is kept */
    for (size_t i = 0; i < HANDLED_SIGNALS; i++) {
        sigaction(handled[i].number, &action, &before);
        bool is_handler = before.sa_handler != on_signal && before.sa_handler != SIG_DFL &&
                          before.sa_handler != SIG_IGN;
        if (is_handler && !handled[i].is_told) {
            handled[i].is_told = true;
            log_warning("%s: the application's handler was replaced: the host keeps this signal, "
                        "which %s; what is to run at the end belongs to "
                        "fcgihost.register_cleanup(), and handlers to other signals",
                        handled[i].name, handled[i].does);
        }
    }
}

int supervisor_init(struct supervisor *supervisor, const struct config *config)
{
    uint64_t chance = 0;
    memset(supervisor, 0, sizeof(*supervisor));
    event_init(&supervisor->stop);
    event_init(&supervisor->is_done);
    pthread_mutex_init(&supervisor->mutex, NULL);
    supervisor->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (supervisor->event_fd < 0)
        return -1;
    (void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
    supervisor->readiness.wake_fd = supervisor->event_fd;
    lifecycle_init(&supervisor->lifecycle, config, clock_ms(), chance);
    supervisor->config = config;
    supervisor->started_us = clock_real_us();
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor != NULL) {
        supervisor->fosters = (struct child_list){predecessor->children, predecessor->child_count};
        if (predecessor->is_start_again)
            supervisor->started_us = predecessor->started_us;
    }
    supervisor->main_thread = pthread_self();
    the_supervisor = supervisor;
    host_pid = getpid();
    supervisor_take_signals();
    accept_signals();
    return 0;
}

enum lifecycle_state supervisor_state(struct supervisor *supervisor)
{
    return (enum lifecycle_state)atomic_load(&supervisor->state);
}

void supervisor_begin_step(struct supervisor *supervisor, enum supervisor_step step,
                           const char *name)
{
    struct supervisor_work *work = &supervisor->work;
    pthread_mutex_lock(&supervisor->mutex);
    work->step = step;
    work->since_ms = clock_ms();
    snprintf(work->name, sizeof(work->name), "%s", name);
    pthread_mutex_unlock(&supervisor->mutex);
}

static struct supervisor_work get_work(struct supervisor *supervisor)
{
    pthread_mutex_lock(&supervisor->mutex);
    struct supervisor_work work = supervisor->work;
    pthread_mutex_unlock(&supervisor->mutex);
    return work;
}

bool supervisor_wait(struct supervisor *supervisor, uint64_t timeout_ms, uint64_t attempt_ms)
{
    atomic_store(&supervisor->readiness.next_attempt_ms, clock_ms() + attempt_ms);
    return event_wait(&supervisor->stop, timeout_ms);
}

static void wait_event(struct supervisor *supervisor)
{
    bool is_ending = supervisor->lifecycle.state >= LIFECYCLE_DRAINING;
    struct pollfd pollfd = {.fd = supervisor->event_fd, .events = POLLIN};
    eventfd_t count;
    if (poll(&pollfd, 1, is_ending ? END_TICK_MS : TICK_MS) > 0)
        eventfd_read(supervisor->event_fd, &count);
}

/* "shop.wsgi:application", with " and 2 more" where there are three. */
static void describe_applications(const struct config *config, char *text, size_t text_bytes)
{
    const char *first = config_describe_application(&config->applications[0]);
    if (config->application_count == 1)
        snprintf(text, text_bytes, "%s", first);
    else
        snprintf(text, text_bytes, "%s and %zu more", first, config->application_count - 1);
}

static void log_serving(const struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    char applications[512];
    describe_applications(config, applications, sizeof(applications));
    for (size_t i = 0; i < supervisor->poller->listener_count; i++)
        log_info("serving %s on %s with %u thread%s", applications,
                 poller_listener_name(supervisor->poller, i), config->threads,
                 config->threads == 1 ? "" : "s");
}

static void do_what_signals_ask(struct supervisor *supervisor)
{
    if (atomic_exchange(&supervisor->is_reopen_wanted, false)) {
        log_reopen();
        log_info("SIGHUP: log opened again");
    }
    if (atomic_exchange(&supervisor->are_stacks_wanted, false))
        py_stacks_log(&supervisor->pool->activities, "SIGUSR2");
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Every five seconds, if there is a limit. */
static uint64_t look_at_memory(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->config->memory_bytes == 0 ||
        now_ms < supervisor->looked_at_memory_ms + MEMORY_LOOK_MS)
        return 0;
    supervisor->looked_at_memory_ms = now_ms;
    return resident_bytes();
}

/* The limits, and how the process stands to them, for the log. */
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
                 (unsigned long long)resident_bytes() >> 20,
                 (unsigned long long)config->memory_bytes >> 20);
    else
        snprintf(text, text_bytes, "%s", name);
}

/* A limit ends the process, but not the service: a web server that started it for a socket of its
 * own would answer with errors until it has noticed and started another one. */
static bool is_to_be_replaced(const struct supervisor *supervisor)
{
    enum lifecycle_reason reason = supervisor->lifecycle.reason;
    bool is_limit = reason == REASON_REQUESTS || reason == REASON_LIFETIME ||
                    reason == REASON_MEMORY || reason == REASON_RESTART;
    if (atomic_load(&supervisor->is_end_wanted))
        return false;
    return reason == REASON_AFRESH || (is_limit && poller_is_spawners(supervisor->poller));
}

/* The process is to end after all. */
static void give_up_replacement(struct supervisor *supervisor)
{
    if (!atomic_load(&supervisor->is_end_wanted) ||
        !atomic_exchange(&supervisor->is_replaced, false))
        return;
    poller_give_up_handover(supervisor->poller);
    poller_stop_accepting(supervisor->poller);
    poller_unpark(supervisor->poller);
}

static int hand_over(struct supervisor *supervisor, struct handover *handover)
{
    const struct config *config = supervisor->config;
    const struct config_kept *kept = &config->kept;
    *handover = (struct handover){
        .file = {.path = kept->is_set ? kept->path : config->file,
                 .text = {.data = (const uint8_t *)(kept->is_set ? kept->text : config->file_text),
                          .bytes = kept->is_set ? kept->bytes : config->file_bytes}},
        .startup = supervisor->startup,
        .started_us = supervisor->started_us,
        .is_start_again = supervisor->lifecycle.reason == REASON_AFRESH,
    };
    return poller_hand_over(supervisor->poller, handover);
}

void supervisor_replace_process(struct supervisor *supervisor)
{
    static atomic_flag is_begun = ATOMIC_FLAG_INIT;
    struct handover handover;
    if (!atomic_load(&supervisor->is_replaced) || atomic_load(&supervisor->is_end_wanted))
        return;
    /* The main thread comes here, and at the deadline the supervisor: who is second waits to vanish. */
    while (atomic_flag_test_and_set(&is_begun))
        pause();
    if (hand_over(supervisor, &handover) == 0)
        reexec_run(&handover, &supervisor->is_end_wanted);
    if (errno != ECANCELED)
        log_error("the program could not be executed anew: %s: start it again",
                  config_error_describe(errno));
    handover_clear(&handover);
}

/* What the log says of it, but for a start that failed: it has said so. */
static void log_drain(const struct supervisor *supervisor)
{
    char reason[128], seconds[24];
    if (supervisor->lifecycle.reason == REASON_AFRESH)
        return;
    describe_reason(supervisor, reason, sizeof(reason));
    snprintf(seconds, sizeof(seconds), "%g s", (double)supervisor->config->drain_timeout_ms / 1000);
    log_info("%s: stopping: %s, requests in flight have %s", reason,
             atomic_load(&supervisor->is_replaced)
                 ? "new connections wait for a fresh process with the same number"
                 : "no new connections",
             supervisor->lifecycle.reason == REASON_SIGQUIT ? "no time" : seconds);
}

static void begin_drain(struct supervisor *supervisor)
{
    atomic_store(&supervisor->is_replaced, is_to_be_replaced(supervisor));
    log_drain(supervisor);
    if (atomic_load(&supervisor->is_replaced)) {
        poller_begin_handover(supervisor->poller);
    } else {
        poller_stop_accepting(supervisor->poller);
        poller_unpark(supervisor->poller);
    }
    py_errand_start(PY_ERRAND_STOPPING);
}

/* Connections that are only open are no requests: idle ones close at once, new ones that have sent
 * nothing whole after a second too. */
static void close_idle(struct supervisor *supervisor, uint64_t now_ms)
{
    const struct lifecycle *lifecycle = &supervisor->lifecycle;
    if (lifecycle->state == LIFECYCLE_DRAINING && !atomic_load(&supervisor->is_replaced))
        poller_close_idle(supervisor->poller, now_ms + lifecycle->drain_timeout_ms >=
                                                  lifecycle->deadline_ms + NEW_CONNECTION_MS);
}

/* Connections that the end has to wait for. */
static size_t count_connections(struct supervisor *supervisor)
{
    return atomic_load(&supervisor->is_replaced) ? poller_busy_count(supervisor->poller)
                                                 : poller_connection_count(supervisor->poller);
}

static void begin_cleaning(struct supervisor *supervisor)
{
    size_t left = count_connections(supervisor);
    if (supervisor->lifecycle.is_cut_off) {
        log_error(
            "stopping: %zu connection(s) did not finish within [shutdown] drain_timeout (%g s) "
            "and are cut off",
            left, (double)supervisor->config->drain_timeout_ms / 1000);
        py_stacks_log(&supervisor->pool->activities, "requests that did not end");
    } else if (left > 0) {
        log_warning("stopping: %zu connection(s) are cut off", left);
    }
    poller_cut(supervisor->poller);
    poller_quit(supervisor->poller);
    event_set(&supervisor->stop);
}

static void report_slow_import(struct supervisor *supervisor, uint64_t now_ms)
{
    struct supervisor_work work = get_work(supervisor);
    if (work.step != STEP_IMPORT || work.since_ms == supervisor->reported_ms ||
        now_ms < work.since_ms + SLOW_IMPORT_MS)
        return;
    supervisor->reported_ms = work.since_ms;
    log_warning("%s has been going on for %llu s: it hangs, or is slow", work.name,
                (unsigned long long)(now_ms - work.since_ms) / 1000);
    py_stacks_log(&supervisor->pool->activities, "a slow import");
}

/* Gets the main thread out of an import at once, out of a cleanup or the end of an executor when
 * the others would get no time any more. With the mutex held it can't go on to something that must
 * not be interrupted. */
static enum supervisor_step interrupt(struct supervisor *supervisor, bool is_late)
{
    pthread_mutex_lock(&supervisor->mutex);
    enum supervisor_step step = supervisor->work.step;
    if (step == STEP_IMPORT || (is_late && (step == STEP_CLEANUP || step == STEP_THREADS)))
        pthread_kill(supervisor->main_thread, PY_INTERRUPT_SIGNAL);
    pthread_mutex_unlock(&supervisor->mutex);
    return step;
}

/* A cleanup of an attempt that failed while others are served: the next attempt waits for it. */
static void interrupt_slow_cleanup(struct supervisor *supervisor, uint64_t now_ms)
{
    const struct supervisor_work *work = &supervisor->work;
    if (now_ms < supervisor->interrupted_ms + INTERRUPT_MS)
        return;
    pthread_mutex_lock(&supervisor->mutex);
    bool is_late = work->step == STEP_CLEANUP &&
                   now_ms >= work->since_ms + supervisor->config->cleanup_timeout_ms;
    if (is_late)
        pthread_kill(supervisor->main_thread, PY_INTERRUPT_SIGNAL);
    pthread_mutex_unlock(&supervisor->mutex);
    if (is_late)
        supervisor->interrupted_ms = now_ms;
}

/* The end has begun: sees to it that the main thread comes to it. If it does not, the cleanups run
 * on another one. */
static void hurry(struct supervisor *supervisor, uint64_t now_ms)
{
    uint64_t timeout_ms = supervisor->config->cleanup_timeout_ms,
             deadline_ms = supervisor->lifecycle.deadline_ms;
    if (now_ms < supervisor->interrupted_ms + INTERRUPT_MS)
        return;
    supervisor->interrupted_ms = now_ms;
    bool is_late = now_ms + timeout_ms / 4 >= deadline_ms;
    enum supervisor_step step = interrupt(supervisor, is_late);
    if (step == STEP_IMPORT && now_ms + timeout_ms / 2 >= deadline_ms &&
        !supervisor->is_fallback_started) {
        supervisor->is_fallback_started = true;
        log_warning("stopping: an import does not end: the cleanups run on another thread");
        py_errand_start(PY_ERRAND_CLEANUPS);
    }
}

/* What is in the way of the end. */
static void describe_work(struct supervisor *supervisor, char *text, size_t text_bytes)
{
    struct supervisor_work work = get_work(supervisor);
    if (work.step == STEP_NONE)
        snprintf(text, text_bytes, "a thread that does not let go of the GIL");
    else
        snprintf(text, text_bytes, "%s%s", work.step == STEP_CLEANUP ? "the cleanup " : "",
                 work.name);
}

static void give_up(struct supervisor *supervisor)
{
    char obstacle[600];
    describe_work(supervisor, obstacle, sizeof(obstacle));
    log_error(
        "stopping: not over within [shutdown] cleanup_timeout (%g s), in the way: %s; leaving "
        "all the same",
        (double)supervisor->config->cleanup_timeout_ms / 1000, obstacle);
    py_stacks_log(&supervisor->pool->activities, "what is in the way");
    supervisor_replace_process(supervisor);
    process_remove_pid_file(supervisor->config);
    log_flush();
    _exit(1);
}

static void perform(struct supervisor *supervisor, enum lifecycle_action action)
{
    switch (action) {
    case LIFECYCLE_DRAIN:
        begin_drain(supervisor);
        break;
    case LIFECYCLE_CLEAN:
        begin_cleaning(supervisor);
        break;
    case LIFECYCLE_GIVE_UP:
        give_up(supervisor);
        break;
    case LIFECYCLE_LEAVE:
    case LIFECYCLE_NOTHING:
        break;
    }
}

static void step(struct supervisor *supervisor, uint64_t now_ms)
{
    unsigned long long loaded = atomic_load(&supervisor->readiness.loaded);
    struct lifecycle_view view = {
        .now_ms = now_ms,
        .asked = (enum lifecycle_reason)atomic_load(&supervisor->asked),
        .requests = atomic_load(&supervisor->pool->requests),
        .resident_bytes = look_at_memory(supervisor, now_ms),
        .connections = count_connections(supervisor),
        .is_loaded = loaded != 0,
        .is_python_over = event_is_set(&supervisor->is_done),
    };
    if (supervisor->told_loaded != loaded) {
        if (supervisor->told_loaded == 0)
            log_serving(supervisor);
        supervisor->told_loaded = loaded;
        poller_unpark(supervisor->poller);
    }
    enum lifecycle_action action = lifecycle_step(&supervisor->lifecycle, &view);
    atomic_store(&supervisor->state, (int)supervisor->lifecycle.state);
    perform(supervisor, action);
}

static void *run(void *argument)
{
    struct supervisor *supervisor = argument;
    log_only_queue();
    while (supervisor->lifecycle.state != LIFECYCLE_OVER) {
        wait_event(supervisor);
        do_what_signals_ask(supervisor);
        give_up_replacement(supervisor);
        children_reap(&supervisor->fosters);
        uint64_t now_ms = clock_ms();
        poller_tend(supervisor->poller, now_ms);
        close_idle(supervisor, now_ms);
        if (supervisor->lifecycle.state == LIFECYCLE_CLEANING)
            hurry(supervisor, now_ms);
        else {
            report_slow_import(supervisor, now_ms);
            interrupt_slow_cleanup(supervisor, now_ms);
        }
        step(supervisor, now_ms);
    }
    return NULL;
}

int supervisor_start(struct supervisor *supervisor, struct poller *poller, struct worker_pool *pool)
{
    supervisor->poller = poller;
    supervisor->pool = pool;
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
    /* Its descriptor stays open, for signal handlers write to it. */
}
