/* The manager process: its loop, and what signals and workers ask of it. */
#include "manager/manager.h"

#include "base/clock.h"
#include "base/log.h"
#include "build_facts.h"
#include "interpreter/py_interpreter.h"
#include "life/notify.h"
#include "life/privileges.h"
#include "life/process.h"
#include "life/reexec.h"
#include "manager/crew.h"
#include "manager/herald.h"
#include "manager/reload.h"
#include "manager/rollout.h"
#include "status/collector.h"
#include "status/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GRACE_MS = 3000, /* added to the time that a worker has for draining and cleaning up */
    TICK_MS = 10000,
    EXIT_STARTUP = 4, /* a worker's exit code: [startup] on_failure = exit */
};

struct manager {
    struct roster roster;
    struct crew crew;
    struct rollout rollout;
    struct herald herald;
    int signal_fd;
    int reload_fd; /* an eventfd: a reload was asked for over the control socket */
    unsigned char
        limit[ROSTER_WORKERS_MAX]; /* enum restart_reason: why the worker asked to be replaced */
    bool has_served;               /* a worker has loaded the application */
    bool is_startup_bad;           /* none ever will: on_failure = exit */
    bool is_cut_off;               /* a worker had to cut something off, or was killed */
    char code_change[sizeof(((struct worker_request *)NULL)->reason)]; /* the last that was told */
    struct channel_message message;
};

static const int handled[] = {SIGTERM, SIGINT, SIGUSR1, SIGQUIT, SIGHUP, SIGUSR2, SIGCHLD};

/* Blocked in this thread and in those that it starts: the loop reads them from signal_fd. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++)
        sigaddset(&set, handled[i]);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    return set;
}

/* -1 with errno. */
static int open_signals(void)
{
    sigset_t set = block_signals();
    signal(SIGCHLD, SIG_DFL); /* while it is ignored, waitpid() can't tell how a child ended */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static uint64_t end_ms(const struct config *config)
{
    return config->drain_timeout_ms + config->cleanup_timeout_ms + GRACE_MS;
}

static void stop(struct manager *manager, const char *why, bool is_quick)
{
    if (!manager->roster.is_stopping) {
        log_info("manager-stopping", "%s: stopping: %zu worker%s", why,
                 roster_count(&manager->roster), roster_count(&manager->roster) == 1 ? "" : "s");
        herald_tell_stop(why, manager->roster.end_ms);
        rollout_close(&manager->rollout);
    }
    roster_stop(&manager->roster, is_quick);
}

/* What the worker was started with. */
static const struct crew_outfit *outfit_of(const struct manager *manager, int worker)
{
    const struct roster *roster = &manager->roster;
    return rollout_outfit(&manager->rollout,
                          roster->workers[worker].generation > roster->served_generation);
}

/* What the workers ask and tell */

static void take_report(struct manager *manager, int worker)
{
    struct worker_report report;
    if (manager->message.bytes != sizeof(report))
        return;
    memcpy(&report, manager->message.data, sizeof(report));
    manager->has_served = manager->has_served || report.is_loaded != 0;
    bool is_required = outfit_of(manager, worker)->config->require;
    bool is_refused = report.failed_applications > 0 || (is_required && report.failed_imports > 0);
    roster_report(&manager->roster, worker,
                  &(struct roster_report){.is_loaded = report.is_loaded != 0,
                                          .is_refused = is_refused,
                                          .is_settled = report.is_settled != 0,
                                          .failed_applications = report.failed_applications,
                                          .failed_imports = report.failed_imports});
}

/* Every worker tells of the same change: only the first one counts. */
static void reload_code(struct manager *manager, struct worker_request *request)
{
    request->reason[sizeof(request->reason) - 1] = '\0';
    if (manager->roster.is_stopping || strcmp(manager->code_change, request->reason) == 0)
        return;
    memcpy(manager->code_change, request->reason, sizeof(manager->code_change));
    const char *why = strstr(request->reason, ": "); /* before it stands what tells changes apart */
    log_info("reload-begins", "reload: %s: the workers will be replaced, one by one",
             why != NULL ? why + 2 : request->reason);
    herald_tell_reload();
    roster_roll(&manager->roster, clock_ms());
}

/* The worker's reason need not end with a NUL. */
static enum restart_reason name_limit(const char *reason)
{
    static const struct {
        const char *text;
        enum restart_reason restart;
    } limits[] = {{"[limits] requests", RESTART_REQUESTS},
                  {"[limits] lifetime", RESTART_LIFETIME},
                  {"[limits] memory", RESTART_MEMORY},
                  {"[limits] request_time", RESTART_TIMEOUT}};
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        if (strncmp(reason, limits[i].text, strlen(limits[i].text)) == 0)
            return limits[i].restart;
    return RESTART_RELOAD; /* fcgihost.restart() */
}

static void take_request(struct manager *manager, int worker)
{
    struct worker_request request;
    const struct channel_message *message = &manager->message;
    if (message->bytes < sizeof(request))
        return;
    memcpy(&request, message->data, sizeof(request));
    if (request.wish == WISH_SHUTDOWN) {
        stop(manager, "fcgihost.shutdown()", false);
    } else if (request.wish == WISH_LIMIT) {
        manager->limit[worker] = name_limit(request.reason);
        roster_ask(&manager->roster, worker, REPLACE_LIMIT);
    } else if (request.wish == WISH_HEAL) {
        crew_keep_startup(&manager->crew, manager->roster.workers[worker].place,
                          message->data + sizeof(request), message->bytes - sizeof(request));
        roster_ask(&manager->roster, worker, REPLACE_HEAL);
    } else if (request.wish == WISH_RELOAD) {
        reload_code(manager, &request);
    }
}

static void take_start(struct manager *manager)
{
    struct worker_start start;
    if (manager->message.bytes != sizeof(start))
        return;
    memcpy(&start, manager->message.data, sizeof(start));
    herald_tell_start(&manager->herald, &manager->roster, &start);
}

static void take_idleness(struct manager *manager, int worker)
{
    const struct channel_message *message = &manager->message;
    uint32_t is_idle = 0;
    if (message->bytes == sizeof(is_idle))
        memcpy(&is_idle, message->data, sizeof(is_idle));
    manager->roster.workers[worker].is_idle = is_idle != 0;
}

/* The whole host stops: [limits] idle is for where something starts it again, like systemd. */
static void stop_if_idle(struct manager *manager)
{
    char why[64];
    if (manager->roster.is_stopping || !roster_is_idle(&manager->roster))
        return;
    uint64_t idle_ms = rollout_outfit(&manager->rollout, false)->config->idle_ms;
    snprintf(why, sizeof(why), "[limits] idle: no request for %g s", (double)idle_ms / 1000);
    collector_count_restart(RESTART_IDLE);
    stop(manager, why, false);
}

static void read_messages(struct manager *manager, int worker)
{
    while (crew_receive(&manager->crew, worker, &manager->message) == CHANNEL_MESSAGE)
        if (manager->message.kind == WORKER_REPORTS)
            take_report(manager, worker);
        else if (manager->message.kind == WORKER_ASKS)
            take_request(manager, worker);
        else if (manager->message.kind == WORKER_IDLES)
            take_idleness(manager, worker);
        else if (manager->message.kind == WORKER_STARTS)
            take_start(manager);
        else if (manager->message.kind == WORKER_LIVES)
            herald_hear(&manager->herald, worker, clock_ms());
}

/* Ends of workers */

static void describe_end(int status, char *text, size_t text_bytes)
{
    if (WIFSIGNALED(status))
        snprintf(text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, text_bytes, "exited with code %d", WEXITSTATUS(status));
}

static void describe_restart(uint64_t delay_ms, char *text, size_t text_bytes)
{
    if (delay_ms == UINT64_MAX)
        text[0] = '\0';
    else if (delay_ms == 0)
        snprintf(text, text_bytes, "; another one is started");
    else
        snprintf(text, text_bytes, "; another one is started in %g s", (double)delay_ms / 1000);
}

static void log_end(struct manager *manager, int worker, const struct roster_worker *before,
                    int status, uint64_t delay_ms, uint64_t now_ms)
{
    char end[96], restart[64], requests[1024];
    bool is_wanted = before->state == WORKER_RETIRING || before->state == WORKER_STOPPING;
    describe_end(status, end, sizeof(end));
    describe_restart(delay_ms, restart, sizeof(restart));
    crew_describe_requests(&manager->crew, worker, now_ms, requests, sizeof(requests));
    if (is_wanted && WIFEXITED(status)) {
        log_debug("worker-ended", "worker %ld %s", (long)before->pid, end);
        return;
    }
    log_error("worker-died", "worker %ld %s%s, %.1f s after its start%s%s%s", (long)before->pid,
              end, before->is_killed ? " (by the manager: it did not end in time)" : "",
              (double)(now_ms - before->started_ms) / 1000,
              requests[0] != '\0' ? ", while it served " : "", requests, restart);
}

static void take_end(struct manager *manager, int worker, int status, uint64_t now_ms)
{
    struct roster_worker before = manager->roster.workers[worker];
    read_messages(manager, worker); /* what it sent before it exited */
    uint64_t delay_ms = roster_exited(&manager->roster, worker, now_ms);
    log_end(manager, worker, &before, status, delay_ms, now_ms);
    if (before.state == WORKER_STARTING || before.state == WORKER_SERVING)
        collector_count_restart(RESTART_CRASH);
    crew_forget(&manager->crew, worker);
    herald_forget(&manager->herald, worker);
    bool is_clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (manager->roster.is_stopping && !is_clean)
        manager->is_cut_off = true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STARTUP && !manager->has_served) {
        manager->is_startup_bad = true;
        stop(manager, "[startup] on_failure = exit", false);
    }
}

static void reap(struct manager *manager, uint64_t now_ms)
{
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        const struct roster_worker *worker = &manager->roster.workers[i];
        int status;
        if (worker->state != WORKER_NONE && worker->pid > 0 &&
            waitpid(worker->pid, &status, WNOHANG) == worker->pid)
            take_end(manager, i, status, now_ms);
    }
}

/* What the roster wants done */

static void signal_worker(struct manager *manager, int worker, int number)
{
    if (manager->roster.workers[worker].pid > 0)
        kill(manager->roster.workers[worker].pid, number);
}

static void signal_all(struct manager *manager, int number)
{
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
        if (manager->roster.workers[i].state != WORKER_NONE)
            signal_worker(manager, i, number);
}

static void start_worker(struct manager *manager, const struct roster_action *action,
                         uint64_t now_ms)
{
    struct roster *roster = &manager->roster;
    if (crew_start(&manager->crew, roster, action, outfit_of(manager, action->worker), now_ms) <
        0) {
        roster_exited(roster, action->worker, now_ms);
        crew_forget(&manager->crew, action->worker);
    }
}

/* After a roll to a new program file the manager executes it as well, since the messages of a later
 * version may differ. Returns if it can't be executed. */
static void execute_anew(struct manager *manager)
{
    static const atomic_bool never;
    const struct crew_outfit *outfit = rollout_outfit(&manager->rollout, false);
    struct handover handover = crew_describe_outfit(outfit, true);
    collector_hand_over(&handover.status);
    handover.members = crew_describe(&manager->crew, &manager->roster, &handover.member_count);
    if (handover.members == NULL || handover.listeners == NULL)
        errno = ENOMEM;
    else
        reexec_run(&handover, &never);
    log_error("manager-not-renewed",
              "the manager can't execute its new program: %s: it goes on with the old one",
              config_error_describe(errno));
    handover_clear(&handover);
    block_signals();
}

static void finish_rollout(struct manager *manager)
{
    const struct crew_outfit *next = rollout_outfit(&manager->rollout, true);
    if (control_use(next->config, &next->status) < 0)
        log_warning("reload-status-kept",
                    "[status] listen, path and ping stay as they were: out of memory or "
                    "descriptors: reload again");
    rollout_succeed(&manager->rollout);
}

static void perform(struct manager *manager, const struct roster_action *action, uint64_t now_ms)
{
    struct roster *roster = &manager->roster;
    long pid = action->worker != ROSTER_NOBODY ? (long)roster->workers[action->worker].pid : 0;
    switch (action->kind) {
    case ACTION_NONE:
        break;
    case ACTION_START:
        start_worker(manager, action, now_ms);
        break;
    case ACTION_ACCEPT:
        crew_let_accept(&manager->crew, action->worker);
        break;
    case ACTION_RETIRE:
        if (action->reason == REPLACE_ROLL)
            collector_count_restart(RESTART_RELOAD);
        else if (action->reason == REPLACE_LIMIT)
            collector_count_restart(manager->limit[action->worker]);
        crew_retire(&manager->crew, action->worker, action->heir);
        break;
    case ACTION_STOP:
        signal_worker(manager, action->worker, roster->is_quick ? SIGQUIT : SIGTERM);
        break;
    case ACTION_KILL:
        signal_worker(manager, action->worker, SIGKILL);
        break;
    case ACTION_ROLL_DONE:
        finish_rollout(manager);
        roster->end_ms = end_ms(rollout_outfit(&manager->rollout, false)->config);
        log_info("reload-done", "reload: all workers have been replaced");
        reload_end(true, "all workers have been replaced");
        herald_tell_reloaded(&manager->herald, "serving: all workers have been replaced");
        if (reexec_is_program_changed())
            execute_anew(manager);
        break;
    case ACTION_ROLL_FAILED:
        roster_resize(roster, rollout_fail(&manager->rollout)->processes);
        log_error("reload-failed",
                  "reload: worker %ld could not load what the old ones serve: they stay, and this "
                  "one is stopped: fix the errors above, and reload again",
                  pid);
        reload_end(false, "a new worker could not load the application: the old ones stay, and the "
                          "log says why");
        herald_tell_reloaded(&manager->herald,
                             "serving with the old workers: a new one could not load");
        break;
    case ACTION_REPLACE_FAILED:
        if (action->reason == REPLACE_LIMIT)
            log_error(
                "worker-not-replaced",
                "worker %ld, which was to replace another one, could not load: the old one goes on "
                "serving, and the next attempt comes later",
                pid);
        break;
    }
}

static void do_what_is_due(struct manager *manager)
{
    struct roster_action action;
    do {
        uint64_t now_ms = clock_ms();
        action = roster_next(&manager->roster, now_ms);
        perform(manager, &action, now_ms);
    } while (action.kind != ACTION_NONE);
}

/* Signals */

static void reload(struct manager *manager)
{
    herald_tell_reload();
    const struct config *config = rollout_begin(&manager->rollout);
    log_reopen();
    signal_all(manager, SIGHUP); /* their logs */
    if (config == NULL) {
        reload_refuse("the configuration is wrong: nothing is changed; the log says where");
        herald_tell_reloaded(&manager->herald,
                             "serving as before: the configuration is wrong, as the log says");
        return;
    }
    roster_resize(&manager->roster, config->processes);
    roster_roll(&manager->roster, clock_ms());
    reload_begin();
    log_info("reload-begins", "reload: %u worker%s will be replaced, one by one", config->processes,
             config->processes == 1 ? "" : "s");
}

static void take_signal(struct manager *manager, int number)
{
    switch (number) {
    case SIGCHLD:
        reap(manager, clock_ms());
        break;
    case SIGHUP:
        if (!manager->roster.is_stopping)
            reload(manager);
        break;
    case SIGUSR2:
        signal_all(manager, SIGUSR2);
        break;
    case SIGQUIT:
        stop(manager, "SIGQUIT", true);
        break;
    default:
        stop(manager,
             number == SIGINT    ? "SIGINT"
             : number == SIGUSR1 ? "SIGUSR1"
                                 : "SIGTERM",
             false);
        break;
    }
}

static void read_signals(struct manager *manager)
{
    struct signalfd_siginfo info;
    while (read(manager->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        take_signal(manager, (int)info.ssi_signo);
}

/* The status */

static const char *state_of(const struct roster_worker *worker)
{
    return worker->state == WORKER_STARTING  ? "starting"
           : worker->state == WORKER_SERVING ? "serving"
                                             : "draining";
}

/* Cheap enough for each turn of the loop. */
static void tell_status(struct manager *manager)
{
    static struct worker_note notes[ROSTER_WORKERS_MAX];
    const struct roster *roster = &manager->roster;
    size_t count = 0;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        const struct roster_worker *worker = &roster->workers[i];
        if (worker->state != WORKER_NONE && worker->pid > 0)
            notes[count++] = (struct worker_note){.pid = (long)worker->pid,
                                                  .place = worker->place + 1,
                                                  .generation = worker->generation,
                                                  .state = state_of(worker)};
    }
    collector_set_workers(notes, count, roster->served_generation);
    const struct crew_outfit *outfit = rollout_outfit(&manager->rollout, false);
    collector_set_listeners(&outfit->listeners, outfit->config->backlog);
    collector_set_state(roster->is_stopping         ? "draining"
                        : roster_is_serving(roster) ? "serving"
                                                    : "starting");
}

/* false: the log says why. */
static bool start_status(struct manager *manager, const struct config *config)
{
    struct config_error error;
    collector_init(config, py_interpreter_version(), clock_real_us());
    if (reexec_predecessor() != NULL)
        collector_resume(&reexec_predecessor()->status);
    tell_status(manager);
    if (rollout_open_status(&manager->rollout, &error) < 0) {
        log_fail("start-failed", error.message);
        return false;
    }
    if (control_start(config, &rollout_outfit(&manager->rollout, false)->status, CONTROL_MANAGER) ==
        0)
        return true;
    log_error("start-failed", "can't start: control thread: %s", config_error_describe(errno));
    return false;
}

/* The watchdog */

/* SIGABRT, as systemd would send it. */
static void end_silent(struct manager *manager, uint64_t now_ms)
{
    int worker;
    while ((worker = herald_find_silent(&manager->herald, &manager->roster, now_ms)) !=
           ROSTER_NOBODY) {
        log_error("worker-silent", "worker %ld: its Python has not answered for %g s ($WATCHDOG_USEC): it is ended",
                  (long)manager->roster.workers[worker].pid,
                  (double)notify_watchdog_ms() / 1000);
        signal_worker(manager, worker, SIGABRT);
    }
}

/* The loop */

static int wait_for_something(struct manager *manager, struct pollfd *fds)
{
    uint64_t timeout_ms = herald_wait_ms(roster_timeout_ms(&manager->roster, clock_ms()));
    fds[0] = (struct pollfd){.fd = manager->signal_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = manager->reload_fd, .events = POLLIN};
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
        fds[i + 2] = (struct pollfd){.fd = manager->crew.members[i].channel_fd, .events = POLLIN};
    return poll(fds, ROSTER_WORKERS_MAX + 2, timeout_ms < TICK_MS ? (int)timeout_ms + 1 : TICK_MS);
}

static void run(struct manager *manager)
{
    struct pollfd fds[ROSTER_WORKERS_MAX + 2];
    eventfd_t count;
    do_what_is_due(manager);
    while (!manager->roster.is_stopping || roster_count(&manager->roster) > 0) {
        if (wait_for_something(manager, fds) > 0) {
            if (fds[0].revents != 0)
                read_signals(manager);
            for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
                if (fds[i + 2].revents != 0)
                    read_messages(manager, i);
            eventfd_read(manager->reload_fd, &count);
        }
        if (reload_take() && !manager->roster.is_stopping)
            reload(manager);
        stop_if_idle(manager);
        reap(manager, clock_ms()); /* also those whose SIGCHLD became one with another's */
        end_silent(manager, clock_ms());
        do_what_is_due(manager);
        tell_status(manager);
        herald_tell(&manager->herald, &manager->roster,
                    rollout_outfit(&manager->rollout, false)->config, clock_ms());
    }
}

static int fail(const struct config_error *error, int code)
{
    log_fail("start-failed", error->message);
    return code;
}

int manager_run(char **argv, const struct config *config)
{
    static struct manager manager;
    struct config_error error;
    manager.signal_fd = open_signals();
    if (manager.signal_fd < 0 || log_start_writer() < 0) {
        config_error_set(&error, "can't start: descriptors: %s", config_error_describe(errno));
        return fail(&error, 1);
    }
    process_raise_descriptors(config, reexec_predecessor() != NULL);
    if (rollout_init(&manager.rollout, argv, config, &error) < 0)
        return fail(&error, config->listen.count == 0 ? 2 : 1);
    if (process_write_pid_file(config, &error) < 0) {
        rollout_close(&manager.rollout);
        return fail(&error, 1);
    }
    roster_init(&manager.roster, config->processes, end_ms(config));
    crew_init(&manager.crew);
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor != NULL) {
        crew_take_over(&manager.crew, &manager.roster, predecessor->members,
                       predecessor->member_count);
        manager.has_served = true;
    }
    log_info("manager-started", "fcgihost %s: managing %u worker process%s", FCGIHOST_VERSION,
             config->processes, config->processes == 1 ? "" : "es");
    manager.reload_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    reload_open(manager.reload_fd);
    if (!start_status(&manager, config)) {
        rollout_close(&manager.rollout);
        process_remove_pid_file(config);
        return 1;
    }
    if (predecessor == NULL)
        privileges_warn(config);
    run(&manager);
    control_stop();
    process_remove_pid_file(config);
    rollout_clear(&manager.rollout);
    log_info("stopped", "stopped");
    return manager.is_startup_bad ? EXIT_STARTUP : manager.is_cut_off ? 1 : 0;
}
