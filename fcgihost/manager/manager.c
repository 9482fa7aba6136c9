/* The manager process: its start, its loop, and what signals ask of it. */
#include "manager/manager.h"

#include "base/clock.h"
#include "base/log.h"
#include "build_facts.h"
#include "config/config_error.h"
#include "life/privileges.h"
#include "life/process.h"
#include "life/reexec.h"
#include "life/sd_notify.h"
#include "manager/manager_internal.h"
#include "manager/reload_requests.h"
#include "status/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    GRACE_MS = 3000, /* added to the time that a worker has for draining and cleaning up */
    TICK_MS = 10000,
};

static const int handled[] = {SIGTERM, SIGINT, SIGUSR1, SIGQUIT, SIGHUP, SIGUSR2, SIGCHLD};

static sigset_t handled_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++)
        sigaddset(&set, handled[i]);
    return set;
}

void manager_block_signals(void)
{
    sigset_t set = handled_signals();
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}

/* -1 with errno. */
static int open_signals(void)
{
    sigset_t set = handled_signals();
    manager_block_signals();
    signal(SIGCHLD, SIG_DFL); /* while it is ignored, waitpid() can't tell how a child ended */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

uint64_t manager_end_ms(const struct config *config)
{
    return config->drain_timeout_ms + config->cleanup_timeout_ms + GRACE_MS;
}

void manager_stop(struct manager *manager, const char *why, bool is_quick)
{
    if (!manager->plan.is_stopping) {
        log_info("manager-stopping", "%s: stopping: %zu worker%s", why,
                 worker_plan_count(&manager->plan),
                 worker_plan_count(&manager->plan) == 1 ? "" : "s");
        manager_notify_tell_stop(why, manager->plan.end_ms);
        rollout_close(&manager->rollout);
    }
    worker_plan_stop(&manager->plan, is_quick);
}

const struct worker_outfit *manager_outfit(const struct manager *manager, int worker)
{
    const struct worker_plan *plan = &manager->plan;
    return rollout_outfit(&manager->rollout,
                          plan->workers[worker].generation > plan->served_generation);
}

void manager_signal(struct manager *manager, int worker, int number)
{
    pid_t pid = manager->plan.workers[worker].pid;
    if (pid > 0 && kill(pid, number) < 0 && errno != ESRCH)
        log_error("worker-not-signalled", "worker %ld can't be sent signal %d: %s", (long)pid,
                  number, config_error_describe(errno));
}

static void signal_all(struct manager *manager, int number)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        if (manager->plan.workers[i].state != WORKER_NONE)
            manager_signal(manager, i, number);
}

/* Signals */

static void reload(struct manager *manager)
{
    manager_notify_tell_reload();
    const struct config *config = rollout_begin(&manager->rollout);
    log_reopen();
    signal_all(manager, SIGHUP); /* their logs */
    if (config == NULL) {
        reload_requests_refuse(
            "the configuration is wrong: nothing is changed; the log says where");
        manager_notify_tell_reloaded(
            &manager->notify, "serving as before: the configuration is wrong, as the log says");
        return;
    }
    worker_plan_resize(&manager->plan, config->processes);
    worker_plan_roll(&manager->plan, clock_ms());
    reload_requests_begin();
    log_info("reload-begins", "reload: %u worker%s will be replaced, one by one", config->processes,
             config->processes == 1 ? "" : "s");
}

static void take_signal(struct manager *manager, int number)
{
    switch (number) {
    case SIGCHLD:
        manager_reap(manager, clock_ms());
        break;
    case SIGHUP:
        if (!manager->plan.is_stopping)
            reload(manager);
        break;
    case SIGUSR2:
        signal_all(manager, SIGUSR2);
        break;
    case SIGQUIT:
        manager_stop(manager, "SIGQUIT", true);
        break;
    default:
        manager_stop(manager,
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

/* The watchdog */

/* SIGABRT, as systemd would send it. */
static void end_silent(struct manager *manager, uint64_t now_ms)
{
    int worker;
    while ((worker = manager_notify_find_silent(&manager->notify, &manager->plan, now_ms)) !=
           WORKER_PLAN_NOBODY) {
        log_error("worker-silent",
                  "worker %ld: its Python has not answered for %g s ($WATCHDOG_USEC): it is ended",
                  (long)manager->plan.workers[worker].pid, (double)sd_notify_watchdog_ms() / 1000);
        manager_signal(manager, worker, SIGABRT);
    }
}

/* The loop */

static int wait_for_something(struct manager *manager, struct pollfd *fds)
{
    uint64_t timeout_ms =
        manager_notify_wait_ms(worker_plan_timeout_ms(&manager->plan, clock_ms()));
    fds[0] = (struct pollfd){.fd = manager->signal_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = manager->reload_fd, .events = POLLIN};
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        fds[i + 2] =
            (struct pollfd){.fd = manager->processes.members[i].channel_fd, .events = POLLIN};
    return poll(fds, WORKER_PLAN_WORKERS_MAX + 2,
                timeout_ms < TICK_MS ? (int)timeout_ms + 1 : TICK_MS);
}

static void look_for_lost_files(struct manager *manager)
{
    struct listener_set *set = &manager->rollout.current.listeners;
    for (size_t i = 0; i < set->count; i++)
        if (listener_tells_loss(&set->items[i]))
            log_error("socket-file-lost", LISTENER_LOSS, set->items[i].name);
}

static void run(struct manager *manager)
{
    struct pollfd fds[WORKER_PLAN_WORKERS_MAX + 2];
    eventfd_t count;
    manager_act(manager);
    while (!manager->plan.is_stopping || worker_plan_count(&manager->plan) > 0) {
        if (wait_for_something(manager, fds) > 0) {
            if (fds[0].revents != 0)
                read_signals(manager);
            for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
                if (fds[i + 2].revents != 0)
                    manager_read_messages(manager, i);
            eventfd_read(manager->reload_fd, &count);
        }
        if (reload_requests_take() && !manager->plan.is_stopping)
            reload(manager);
        manager_stop_if_idle(manager);
        manager_reap(manager, clock_ms()); /* also those whose SIGCHLD became one with another's */
        end_silent(manager, clock_ms());
        if (!manager->plan.is_stopping)
            look_for_lost_files(manager);
        manager_act(manager);
        manager_tell_status(manager);
        manager_notify_tell(&manager->notify, &manager->plan,
                            rollout_outfit(&manager->rollout, false)->config, clock_ms());
    }
}

static int fail(const struct config_error *error, int code)
{
    log_fail("start-failed", error->message);
    return error->blame == CONFIG_BLAMES_FLAG ? 2 : error->blame == CONFIG_BLAMES_FILE ? 3 : code;
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
    worker_plan_init(&manager.plan, config->processes, manager_end_ms(config));
    worker_processes_init(&manager.processes);
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor != NULL) {
        worker_processes_take_over(&manager.processes, &manager.plan, predecessor->members,
                                   predecessor->member_count);
        manager.has_served = true;
    }
    log_info("manager-started", "fcgihost %s: managing %u worker process%s", FCGIHOST_VERSION,
             config->processes, config->processes == 1 ? "" : "es");
    manager.reload_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    reload_requests_open(manager.reload_fd);
    if (!manager_start_status(&manager, config)) {
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
    return manager.is_startup_bad ? MANAGER_EXIT_STARTUP : manager.is_cut_off ? 1 : 0;
}
