/* The supervisor thread: signals, deadlines, and the end. */
#include "supervisor.h"

#include "clock.h"
#include "log.h"
#include "process.h"
#include "py_errand.h"
#include "py_stacks.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
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
    int none = REASON_NONE;
    if (reason == REASON_SIGQUIT)
        atomic_store(&supervisor->asked, REASON_SIGQUIT);
    else
        atomic_compare_exchange_strong(&supervisor->asked, &none, (int)reason);
    supervisor_wake(supervisor);
}

void supervisor_wake(struct supervisor *supervisor)
{
    eventfd_write(supervisor->event_fd, 1);
}

void supervisor_set_loaded(struct supervisor *supervisor, unsigned application)
{
    atomic_fetch_or(&supervisor->pool->loaded, 1ull << application);
    supervisor_wake(supervisor);
}

static void on_signal(int number)
{
    int saved_errno = errno;
    if (getpid() != host_pid) {
        /* A forked child of the application, perhaps so young that fork_is_child() does not know it
         * yet: the signal is its own, the eventfd the host's. */
        signal(number, SIG_DFL);
        raise(number);
    } else if (number == SIGHUP) {
        atomic_store(&the_supervisor->is_reopen_wanted, true);
        supervisor_wake(the_supervisor);
    } else if (number == SIGUSR2) {
        atomic_store(&the_supervisor->are_stacks_wanted, true);
        supervisor_wake(the_supervisor);
    } else {
        atomic_store(&the_supervisor->is_signalled, true);
        supervisor_ask(the_supervisor, reason_of_signal(number));
    }
    errno = saved_errno;
}

void supervisor_take_signals(void)
{
    static struct {
        int number;
        const char *name, *does;
        bool is_told;
    } handled[] = {{SIGTERM, "SIGTERM", "ends the process"},
                   {SIGINT, "SIGINT", "ends the process"},
                   {SIGUSR1, "SIGUSR1", "ends the process"},
                   {SIGQUIT, "SIGQUIT", "ends the process"},
                   {SIGHUP, "SIGHUP", "opens the log again"},
                   {SIGUSR2, "SIGUSR2", "logs the stacks of all threads"}};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    if (the_supervisor == NULL)
        return; /* one request, without sockets: nothing is kept */
    for (size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++) {
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
    lifecycle_init(&supervisor->lifecycle, config, clock_ms(), chance);
    atomic_store(&supervisor->successor_fd, -1);
    supervisor->config = config;
    supervisor->main_thread = pthread_self();
    the_supervisor = supervisor;
    host_pid = getpid();
    supervisor_take_signals();
    return 0;
}

enum lifecycle_state supervisor_state(struct supervisor *supervisor)
{
    return (enum lifecycle_state)atomic_load(&supervisor->state);
}

unsigned supervisor_seconds_to_attempt(struct supervisor *supervisor)
{
    uint64_t at_ms = atomic_load(&supervisor->next_attempt_ms), now_ms = clock_ms();
    return at_ms > now_ms + 1000 ? (unsigned)((at_ms - now_ms + 999) / 1000) : 1;
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
    atomic_store(&supervisor->next_attempt_ms, clock_ms() + attempt_ms);
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

static void do_what_signals_ask(struct supervisor *supervisor)
{
    if (atomic_exchange(&supervisor->is_reopen_wanted, false)) {
        log_reopen();
        log_info("SIGHUP: log opened again");
    }
    if (atomic_exchange(&supervisor->are_stacks_wanted, false))
        py_stacks_log(supervisor->pool, "SIGUSR2");
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
static bool leave_to_successor(struct supervisor *supervisor)
{
    enum lifecycle_reason reason = supervisor->lifecycle.reason;
    bool is_limit = reason == REASON_REQUESTS || reason == REASON_LIFETIME ||
                    reason == REASON_MEMORY || reason == REASON_RESTART;
    if (!is_limit || atomic_load(&supervisor->is_signalled))
        return false;
    atomic_store(&supervisor->successor_fd, poller_leave_listener(supervisor->poller));
    return atomic_load(&supervisor->successor_fd) >= 0;
}

/* A signal came after all: the process really ends. */
static void give_up_successor(struct supervisor *supervisor)
{
    if (atomic_load(&supervisor->is_signalled) &&
        atomic_exchange(&supervisor->successor_fd, -1) >= 0)
        poller_stop_accepting(supervisor->poller);
}

void supervisor_replace_process(struct supervisor *supervisor)
{
    int fd = atomic_load(&supervisor->successor_fd);
    if (fd < 0 || atomic_load(&supervisor->is_signalled))
        return;
    process_replace(fd);
    log_error("the fresh process could not be started: %s", strerror(errno));
}

static void begin_drain(struct supervisor *supervisor)
{
    char reason[128], seconds[24];
    bool is_replaced = leave_to_successor(supervisor);
    describe_reason(supervisor, reason, sizeof(reason));
    snprintf(seconds, sizeof(seconds), "%g s", (double)supervisor->config->drain_timeout_ms / 1000);
    log_info("%s: stopping: %s, requests in flight have %s", reason,
             is_replaced ? "new connections wait for a fresh process with the same number"
                         : "no new connections",
             supervisor->lifecycle.reason == REASON_SIGQUIT ? "no time" : seconds);
    if (!is_replaced)
        poller_stop_accepting(supervisor->poller);
    poller_unpark(supervisor->poller);
    py_errand_start(PY_ERRAND_STOPPING);
}

/* Connections that are only open are no requests: idle ones close at once, new ones that have sent
 * nothing whole after a second too. */
static void close_idle(struct supervisor *supervisor, uint64_t now_ms)
{
    const struct lifecycle *lifecycle = &supervisor->lifecycle;
    if (lifecycle->state == LIFECYCLE_DRAINING)
        poller_close_idle(supervisor->poller, now_ms + lifecycle->drain_timeout_ms >=
                                                  lifecycle->deadline_ms + NEW_CONNECTION_MS);
}

static void begin_cleaning(struct supervisor *supervisor)
{
    size_t left = poller_connection_count(supervisor->poller);
    if (supervisor->lifecycle.is_cut_off) {
        log_error(
            "stopping: %zu connection(s) did not finish within [shutdown] drain_timeout (%g s) "
            "and are cut off",
            left, (double)supervisor->config->drain_timeout_ms / 1000);
        py_stacks_log(supervisor->pool, "requests that did not end");
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
    py_stacks_log(supervisor->pool, "a slow import");
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
    py_stacks_log(supervisor->pool, "what is in the way");
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
    unsigned long long loaded = atomic_load(&supervisor->pool->loaded);
    struct lifecycle_view view = {
        .now_ms = now_ms,
        .asked = (enum lifecycle_reason)atomic_load(&supervisor->asked),
        .requests = atomic_load(&supervisor->pool->requests),
        .resident_bytes = look_at_memory(supervisor, now_ms),
        .connections = poller_connection_count(supervisor->poller),
        .is_loaded = loaded != 0,
        .is_python_over = event_is_set(&supervisor->is_done),
    };
    if (supervisor->told_loaded != loaded) {
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
        give_up_successor(supervisor);
        uint64_t now_ms = clock_ms();
        poller_tend(supervisor->poller, now_ms);
        close_idle(supervisor, now_ms);
        if (supervisor->lifecycle.state == LIFECYCLE_CLEANING)
            hurry(supervisor, now_ms);
        else
            report_slow_import(supervisor, now_ms);
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
    close(supervisor->event_fd);
}
