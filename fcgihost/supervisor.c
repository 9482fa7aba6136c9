/* The supervisor thread: signals, deadlines, and the end. */
#include "supervisor.h"

#include "clock.h"
#include "log.h"
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TICK_MS = 500, DRAIN_TICK_MS = 20, NEW_CONNECTION_MS = 1000 };

/* Lock-free, so safe in a handler. */
static atomic_int stop_signal;
static atomic_bool is_reopen_wanted;
static int signal_fd = -1;
static pid_t host_pid;

static void on_signal(int number)
{
    int saved_errno = errno;
    if (getpid() != host_pid) {
        /* A forked child of the application, perhaps so young that fork_is_child() does not know it
         * yet: the signal is its own, the eventfd the host's. */
        signal(number, SIG_DFL);
        raise(number);
    } else {
        int none = 0;
        if (number == SIGHUP)
            atomic_store(&is_reopen_wanted, true);
        else
            atomic_compare_exchange_strong(&stop_signal, &none, number);
        eventfd_write(signal_fd, 1);
    }
    errno = saved_errno;
}

void supervisor_take_signals(void)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++)
        sigaction(handled[i], &action, NULL);
}

int supervisor_init(struct supervisor *supervisor, const struct config *config)
{
    memset(supervisor, 0, sizeof(*supervisor));
    event_init(&supervisor->stop);
    event_init(&supervisor->is_done);
    supervisor->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (supervisor->event_fd < 0)
        return -1;
    signal_fd = supervisor->event_fd;
    host_pid = getpid();
    supervisor->config = config;
    supervisor_take_signals();
    return 0;
}

static const char *signal_name(int number)
{
    return number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGUSR1";
}

static void wait_event(struct supervisor *supervisor, int timeout_ms)
{
    struct pollfd pollfd = {.fd = supervisor->event_fd, .events = POLLIN};
    eventfd_t count;
    if (poll(&pollfd, 1, timeout_ms) > 0)
        eventfd_read(supervisor->event_fd, &count);
    if (atomic_exchange(&is_reopen_wanted, false)) {
        log_reopen();
        log_info("SIGHUP: log opened again");
    }
}

/* Lets the requests in flight finish. Connections that are only open are no requests: idle ones
 * close at once, new ones that have sent nothing whole after a second too. */
static void drain(struct poller *poller, struct supervisor *supervisor)
{
    poller_stop_accepting(poller);
    uint64_t start_ms = clock_ms();
    while (poller_connection_count(poller) > 0 && clock_ms() < start_ms + DRAIN_TIMEOUT_MS) {
        poller_close_idle(poller, clock_ms() >= start_ms + NEW_CONNECTION_MS);
        poller_tend(poller, clock_ms());
        wait_event(supervisor, DRAIN_TICK_MS);
    }
    size_t left = poller_connection_count(poller);
    supervisor->has_cut_off = left > 0;
    if (left > 0)
        log_error("stopping: %zu connections did not finish within %d s and are cut off", left,
                  DRAIN_TIMEOUT_MS / 1000);
    poller_cut(poller);
    poller_quit(poller);
}

static void *run(void *argument)
{
    struct supervisor *supervisor = argument;
    while (atomic_load(&stop_signal) == 0 && !event_is_set(&supervisor->is_done)) {
        wait_event(supervisor, TICK_MS);
        poller_tend(supervisor->poller, clock_ms());
    }
    int number = atomic_load(&stop_signal);
    if (number != 0) {
        log_info("%s: stopping: no new connections, requests in flight have %d s",
                 signal_name(number), DRAIN_TIMEOUT_MS / 1000);
        drain(supervisor->poller, supervisor);
    }
    event_set(&supervisor->stop);
    if (!event_wait(&supervisor->is_done, CLEANUP_TIMEOUT_MS)) {
        log_error("stopping: Python did not end within %d s (a thread is busy or stuck): leaving "
                  "all the same",
                  CLEANUP_TIMEOUT_MS / 1000);
        process_remove_pid_file(supervisor->config);
        _exit(1);
    }
    return NULL;
}

int supervisor_start(struct supervisor *supervisor, struct poller *poller)
{
    supervisor->poller = poller;
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
    eventfd_write(supervisor->event_fd, 1);
    pthread_join(supervisor->thread, NULL);
    close(supervisor->event_fd);
}
