/* The application's signal handlers, run on the test's main thread.
 *
 * links: descriptor_file.c py_signals.c py_gil.c event.c */
#include "python_fixture.h"

#include "support_fakes.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "embed/py_gil.h"
#include "interpreter/py_signals.h"
#include "life/signals.h"

static struct event event;
static unsigned reinstalled;

void signals_reinstall(void)
{
    reinstalled++;
}

void log_error(const char *identifier, const char *format, ...)
{
    (void)identifier;
    fail_msg("%s", format);
}

static int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_use_host("import _signal\n"
                    "calls = []\n"
                    "def watch_signals(descriptor): _signal.set_wakeup_fd(descriptor)\n"
                    "def do_chores():\n"
                    "    calls.append('chores')\n"
                    "    return pause\n"
                    "def ignore_signals(): _signal.signal(_signal.SIGUSR1, _signal.SIG_IGN)\n"
                    "def handle(number, frame): calls.append('handled')\n"
                    "def fail(number, frame): raise KeyError\n"
                    "pause = None\n");
    python_run("import _signal");
    event_init(&event);
    py_signals_open(&event);
    return 0;
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&event.is_set, false);
    reinstalled = 0;
    printed[0] = '\0';
    python_run("host.calls.clear()\n"
               "host.pause = None\n"
               "_signal.signal(_signal.SIGUSR1, host.handle)\n");
    return 0;
}

static bool has_called(const char *what, int times)
{
    char expression[64];
    snprintf(expression, sizeof(expression), "host.calls.count('%s') >= %d", what, times);
    PyObject *value = python_try(expression);
    bool has = value == Py_True;
    Py_XDECREF(value);
    return has;
}

struct plan {
    const char *what; /* the event happens once it has been called so often */
    int times;
    void (*act)(void); /* after the first chores */
};

static void *drive(void *argument)
{
    const struct plan *plan = argument;
    bool is_over = false, has_acted = false;
    while (!is_over) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        PyGILState_STATE gil = PyGILState_Ensure();
        bool is_waiting = has_called("chores", 1);
        is_over = has_called(plan->what, plan->times);
        PyGILState_Release(gil);
        if (is_waiting && !has_acted && plan->act != NULL) {
            has_acted = true;
            plan->act();
        }
    }
    event_set(&event);
    return NULL;
}

/* Waits as the main thread does, until the plan is carried out. */
static void wait_for(struct plan plan)
{
    pthread_t driver;
    assert_int_equal(pthread_create(&driver, NULL, drive, &plan), 0);
    py_gil_release();
    py_signals_wait(&event);
    bool has_gil = PyGILState_Check();
    pthread_join(driver, NULL);
    py_gil_take();
    assert_false(has_gil);
}

static void send_signal(void)
{
    kill(getpid(), SIGUSR1);
}

static void test_a_signal_that_comes_while_the_main_thread_waits_is_handled(void **state)
{
    (void)state;
    wait_for((struct plan){.what = "handled", .times = 1, .act = send_signal});
    assert_true(reinstalled > 0);
    assert_string_equal(printed, "");
}

static void test_a_signal_that_came_before_is_handled_too(void **state)
{
    (void)state;
    raise(SIGUSR1);
    wait_for((struct plan){.what = "handled", .times = 1});
}

static void test_an_event_that_has_happened_ends_the_wait_at_once(void **state)
{
    (void)state;
    event_set(&event);
    py_gil_release();
    py_signals_wait(&event);
    py_gil_take();
    assert_python("host.calls", "['chores']");
}

static void test_a_wake_lets_the_chores_be_done(void **state)
{
    (void)state;
    wait_for((struct plan){.what = "chores", .times = 2, .act = py_signals_wake});
}

static void test_chores_are_done_again_after_the_pause_that_they_name(void **state)
{
    (void)state;
    python_run("host.pause = 0.001");
    wait_for((struct plan){.what = "chores", .times = 5});
}

static void test_chores_that_fail_are_logged_and_the_wait_goes_on(void **state)
{
    (void)state;
    python_run("host.pause = 'soon'");
    wait_for((struct plan){.what = "handled", .times = 1, .act = send_signal});
    assert_int_equal(
        strncmp(printed, "the main thread's work between requests failed: TypeError|", 58), 0);
}

static void test_a_handler_that_raises_is_logged_and_the_others_run(void **state)
{
    (void)state;
    python_run("_signal.signal(_signal.SIGUSR2, host.fail)");
    raise(SIGUSR2);
    raise(SIGUSR1);
    py_signals_run();
    assert_printed("a signal handler of the application failed; the host goes on: KeyError|");
    assert_python("host.calls", "['handled']");
    assert_null(PyErr_Occurred());
    assert_true(PyGILState_Check());
    python_run("_signal.signal(_signal.SIGUSR2, _signal.SIG_DFL)");
}

static void test_a_wake_never_waits(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) /* more than a pipe holds */
        py_signals_wake();
    wait_for((struct plan){.what = "chores", .times = 2});
}

static void test_the_end_leaves_signals_without_effect_instead_of_deadly(void **state)
{
    (void)state;
    struct sigaction action;
    py_signals_close();
    assert_int_equal(sigaction(SIGUSR1, NULL, &action), 0);
    assert_true(action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
    raise(SIGUSR1);
    assert_python("host.calls", "[]");
    assert_int_equal(sigaction(SIGUSR2, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL); /* nobody handled it */
    assert_true(reinstalled > 0);
    python_run("kept, host.ignore_signals = host.ignore_signals, None");
    py_signals_close();
    assert_printed("the application's signal handlers could not be removed: TypeError|");
    python_run("host.ignore_signals = kept");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_signal_that_comes_while_the_main_thread_waits_is_handled),
        TEST(test_a_signal_that_came_before_is_handled_too),
        TEST(test_an_event_that_has_happened_ends_the_wait_at_once),
        TEST(test_a_wake_lets_the_chores_be_done),
        TEST(test_chores_are_done_again_after_the_pause_that_they_name),
        TEST(test_chores_that_fail_are_logged_and_the_wait_goes_on),
        TEST(test_a_handler_that_raises_is_logged_and_the_others_run),
        TEST(test_a_wake_never_waits),
        TEST(test_the_end_leaves_signals_without_effect_instead_of_deadly),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
