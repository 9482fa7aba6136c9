/* Runs the application's signal handlers on the main thread. */
#include "interpreter/py_signals.h"

#include "base/descriptor_file.h"
#include "base/log.h"
#include "embed/py_gil.h"
#include "embed/py_support.h"
#include "life/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { FOREVER_MS = 3600 * 1000, BLIND_MS = 500 };

/* A pipe, written to by Python's C handler and by the event. Never closed: a signal may come at any
 * time. */
static int read_fd = -1, write_fd = -1;
static struct descriptor_file pipe_file; /* of read_fd */

static void *report(void *exception)
{
    PyGILState_STATE state = PyGILState_Ensure();
    py_exception_restore(exception);
    py_exception_print("a signal handler of the application failed; the host goes on");
    PyGILState_Release(state);
    return NULL;
}

/* Each report runs on a thread of its own: on the main thread the next handler would run in the
 * middle of it, and an exception of that handler would replace the report. */
void py_signals_run(void)
{
    while (PyErr_CheckSignals() < 0) {
        PyObject *exception = py_exception_take();
        pthread_t thread;
        Py_BEGIN_ALLOW_THREADS;
        if (pthread_create(&thread, NULL, report, exception) == 0)
            pthread_join(thread, NULL);
        else
            log_error("signal-handler-failed",
                      "a signal handler of the application failed; no thread could be started to "
                      "log why");
        Py_END_ALLOW_THREADS;
    }
}

static void run_handlers(void)
{
    py_gil_take();
    py_signals_run();
    py_gil_release();
    signals_reinstall(); /* a handler may set handlers */
}

void py_signals_open(struct event *event)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return;
    read_fd = ends[0];
    write_fd = ends[1];
    pipe_file = descriptor_file_of(read_fd);
    event_set_descriptor(event, write_fd);
}

/* Called once the application is loaded: it may have set a wakeup descriptor of its own, as asyncio
 * does on the main thread. */
static void watch(void)
{
    py_gil_take();
    PyObject *result = py_module_call_with("watch_signals", "(i)", write_fd);
    if (result == NULL)
        py_exception_print("the application's signal handlers will not run");
    Py_XDECREF(result);
    py_gil_release();
}

/* Milliseconds until the next time. */
static int do_chores(void)
{
    double seconds = -1;
    py_gil_take();
    PyObject *result = py_module_call("do_chores", NULL, 0);
    if (result != NULL && result != Py_None)
        seconds = PyFloat_AsDouble(result);
    if (PyErr_Occurred())
        py_exception_print("the main thread's work between requests failed");
    Py_XDECREF(result);
    py_gil_release();
    return seconds >= 0 && seconds * 1000 < FOREVER_MS ? (int)(seconds * 1000) + 1 : FOREVER_MS;
}

/* An application that closes all descriptors that it does not know has others with their numbers
 * soon: those are neither read nor waited for. */
static bool has_pipe(void)
{
    if (read_fd >= 0 && descriptor_file_is_lost(pipe_file, read_fd))
        read_fd = -1;
    return read_fd >= 0;
}

static void empty_pipe(void)
{
    char bytes[256];
    while (has_pipe() && read(read_fd, bytes, sizeof(bytes)) > 0)
        continue;
}

void py_signals_wait(struct event *event)
{
    if (read_fd >= 0)
        watch();
    run_handlers(); /* for the signals that came before */
    int wait_ms = do_chores();
    while (!event_is_set(event)) {
        struct pollfd pollfd = {.fd = read_fd, .events = POLLIN};
        int ready = has_pipe() ? poll(&pollfd, 1, wait_ms) : 0;
        if (!has_pipe() || (ready > 0 && (pollfd.revents & POLLIN) == 0))
            event_wait(event, wait_ms < BLIND_MS ? wait_ms : BLIND_MS);
        else
            empty_pipe();
        if (!event_is_set(event)) {
            run_handlers();
            wait_ms = do_chores();
        }
    }
}

void py_signals_wake(void)
{
    if (write_fd >= 0 && write(write_fd, "", 1) < 0)
        return; /* full: it will be woken anyway */
}

static void do_nothing(int number)
{
    (void)number;
}

static bool is_handled(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN;
}

void py_signals_close(void)
{
    bool were_handled[NSIG];
    struct sigaction nothing = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
    for (int number = 1; number < NSIG; number++)
        were_handled[number] = is_handled(number);
    PyObject *result = py_module_call("ignore_signals", NULL, 0);
    if (result == NULL)
        py_exception_print("the application's signal handlers could not be removed");
    Py_XDECREF(result);
    /* An empty handler, as an ignored signal would stay ignored in a program that is executed. */
    for (int number = 1; number < NSIG; number++)
        if (were_handled[number] && !is_handled(number))
            sigaction(number, &nothing, NULL);
    signals_reinstall();
}
