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

static void take_signal(int number)
{
    if (number == SIGHUP) {
        atomic_store(&the_supervisor->is_reopen_wanted, true);
        supervisor_wake(the_supervisor);
    } else if (number == SIGUSR2) {
        atomic_store(&the_supervisor->are_stacks_wanted, true);
        supervisor_wake(the_supervisor);
    } else {
        atomic_store(&the_supervisor->replacement.is_exit_wanted, true);
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
    bool is_told; /* the warning about a lost handler was logged */
} handled[] = {{"SIGTERM", "stops the process", SIGTERM},
               {"SIGINT", "stops the process", SIGINT},
               {"SIGUSR1", "stops the process", SIGUSR1},
               {"SIGQUIT", "stops the process", SIGQUIT},
               {"SIGHUP", "reopens the log", SIGHUP},
               {"SIGUSR2", "logs the stacks of all threads", SIGUSR2}};

enum { HANDLED_SIGNALS = sizeof(handled) / sizeof(*handled) };

void signals_reinstall(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    if (the_supervisor == NULL)
        return;
    for (size_t i = 0; i < HANDLED_SIGNALS; i++) {
        sigaction(handled[i].number, &action, &before);
        bool is_handler = before.sa_handler != on_signal && before.sa_handler != SIG_DFL &&
                          before.sa_handler != SIG_IGN;
        if (is_handler && !handled[i].is_told) {
            handled[i].is_told = true;
            log_warning("%s: the application's handler was replaced: the host keeps this signal, "
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
    signals_reinstall();
    uint64_t late = reexec_accept_signals();
    for (size_t i = 0; i < HANDLED_SIGNALS; i++)
        if (late >> handled[i].number & 1)
            take_signal(handled[i].number);
}
