/* The signals that the host handles. */
#include "life/signals.h"

#include "base/log.h"
#include "life/reexec.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* A handler gets no argument of ours. */
static struct supervisor *the_supervisor;
static pid_t host_pid;
static pid_t manager_pid; /* 0: it has no manager */

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

/* Did somebody signal this one worker? Not its manager, nor a terminal, whose signals reach the
 * manager as well. */
static bool is_for_this_worker_alone(int number, const siginfo_t *info)
{
    return manager_pid != 0 && number != SIGQUIT && info->si_code <= 0 &&
           info->si_pid != manager_pid;
}

static void take_signal(int number, bool is_worker_alone)
{
    if (number == SIGHUP) {
        atomic_store(&the_supervisor->is_reopen_wanted, true);
        supervisor_wake(the_supervisor);
    } else if (number == SIGUSR2) {
        atomic_store(&the_supervisor->are_stacks_wanted, true);
        supervisor_wake(the_supervisor);
    } else if (is_worker_alone) {
        supervisor_ask(the_supervisor, REASON_SIGNALLED);
    } else {
        atomic_store(&the_supervisor->replacement.is_exit_wanted, true);
        supervisor_ask(the_supervisor, reason_of_signal(number));
    }
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    (void)context;
    if (getpid() == host_pid) {
        take_signal(number, is_for_this_worker_alone(number, info));
        reexec_note_signal(number);
    } else {
        /* A child that the application forked, perhaps so recently that fork_is_child() does not
         * know it yet: the signal is meant for it, and the eventfd is shared with the host. */
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = saved_errno;
}

static struct {
    const char *name, *does;
    int number;
    bool is_told; /* the warning about the application's handler was logged */
} handled[] = {{"SIGTERM", "stops the process", SIGTERM},
               {"SIGINT", "stops the process", SIGINT},
               {"SIGUSR1", "stops the process", SIGUSR1},
               {"SIGQUIT", "stops the process", SIGQUIT},
               {"SIGHUP", "reopens the log", SIGHUP},
               {"SIGUSR2", "logs the stacks of all threads", SIGUSR2}};

enum { HANDLED_SIGNALS = sizeof(handled) / sizeof(*handled) };

void signals_reinstall(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_SIGINFO},
                     before;
    sigemptyset(&action.sa_mask);
    if (the_supervisor == NULL)
        return;
    for (size_t i = 0; i < HANDLED_SIGNALS; i++) {
        sigaction(handled[i].number, &action, &before);
        bool is_ours = before.sa_flags & SA_SIGINFO && before.sa_sigaction == on_signal;
        bool is_handler = !is_ours && before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN;
        if (is_handler && !handled[i].is_told) {
            handled[i].is_told = true;
            log_warning("signal-kept",
                        "%s: the application's handler was replaced: the host keeps this signal, "
                        "which %s; use fcgihost.register_cleanup() for what must run when the "
                        "process stops, and another signal for anything else",
                        handled[i].name, handled[i].does);
        }
    }
}

void signals_init(struct supervisor *supervisor)
{
    the_supervisor = supervisor;
    host_pid = getpid();
    manager_pid = supervisor->lifecycle.is_managed ? getppid() : 0;
    signals_reinstall();
    uint64_t late = reexec_accept_signals();
    for (size_t i = 0; i < HANDLED_SIGNALS; i++)
        if (late >> handled[i].number & 1)
            take_signal(handled[i].number, false);
}
