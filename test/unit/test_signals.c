/* What each signal asks of the supervisor.
 *
 * links: signals.c */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "life_fakes.h"

#include "life/signals.h"

static struct supervisor supervisor;
static uint64_t late_signals;

void supervisor_ask(struct supervisor *asked, enum lifecycle_reason reason)
{
    assert_ptr_equal(asked, &supervisor);
    tell("ask %d", (int)reason);
}

void supervisor_wake(struct supervisor *woken)
{
    assert_ptr_equal(woken, &supervisor);
    tell("wake");
}

uint64_t reexec_accept_signals(void)
{
    return late_signals;
}

void reexec_note_signal(int number)
{
    tell("note %d", number);
}

static int set_up(void **state)
{
    (void)state;
    memset(&supervisor, 0, sizeof(supervisor));
    late_signals = 0;
    signals_init(&supervisor);
    forget();
    return 0;
}

static const struct {
    int number;
    enum lifecycle_reason reason;
} stopping[] = {{SIGTERM, REASON_SIGTERM},
                {SIGINT, REASON_SIGINT},
                {SIGUSR1, REASON_SIGUSR1},
                {SIGQUIT, REASON_SIGQUIT}};

static void test_each_stopping_signal_asks_for_an_exit_with_its_own_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stopping); i++) {
        char expected[64];
        set_up(NULL);
        raise(stopping[i].number);
        snprintf(expected, sizeof(expected), "ask %d|note %d|", (int)stopping[i].reason,
                 stopping[i].number);
        assert_string_equal(told, expected);
        assert_true(atomic_load(&supervisor.replacement.is_exit_wanted));
    }
}

static void test_sighup_and_sigusr2_ask_for_no_exit(void **state)
{
    (void)state;
    raise(SIGHUP);
    assert_true(atomic_load(&supervisor.is_reopen_wanted));
    assert_false(atomic_load(&supervisor.are_stacks_wanted));
    raise(SIGUSR2);
    assert_true(atomic_load(&supervisor.are_stacks_wanted));
    assert_false(atomic_load(&supervisor.replacement.is_exit_wanted));
    assert_false(was_told("ask"));
    assert_true(was_told("wake"));
}

static void signal_from_a_child(int number)
{
    pid_t child = fork();
    if (child == 0) {
        kill(getppid(), number);
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* The parent of a worker is its manager: here, whoever runs the test. */
static void test_a_worker_is_replaced_if_somebody_else_than_its_manager_signals_it(void **state)
{
    char expected[64];
    (void)state;
    supervisor.lifecycle.is_managed = true;
    signals_init(&supervisor);
    for (size_t i = 0; i < COUNT(stopping); i++) {
        forget();
        atomic_store(&supervisor.replacement.is_exit_wanted, false);
        signal_from_a_child(stopping[i].number);
        bool is_quit = stopping[i].number == SIGQUIT;
        snprintf(expected, sizeof(expected), "ask %d|note %d|",
                 (int)(is_quit ? REASON_SIGQUIT : REASON_SIGNALLED), stopping[i].number);
        assert_string_equal(told, expected);
        assert_int_equal(atomic_load(&supervisor.replacement.is_exit_wanted), is_quit);
    }
}

static void test_signals_that_came_too_late_for_the_program_before_are_handled_now(void **state)
{
    (void)state;
    late_signals = 1ull << SIGTERM | 1ull << SIGUSR2;
    signals_init(&supervisor);
    char expected[64];
    snprintf(expected, sizeof(expected), "ask %d|wake|", (int)REASON_SIGTERM);
    assert_string_equal(told, expected);
}

static void handler_of_the_application(int number)
{
    (void)number;
    tell("the application's");
}

static void test_a_handler_that_the_application_set_is_replaced_and_named_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        signal(SIGINT, handler_of_the_application);
        signals_reinstall();
    }
    raise(SIGINT);
    assert_non_null(strstr(told, "log_warning: SIGINT: the application's handler was replaced"));
    assert_null(strstr(strstr(told, "log_warning") + 1, "log_warning"));
    assert_null(strstr(told, "|the application's|"));
}

static void test_a_signal_to_a_forked_child_ends_the_child_alone(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        raise(SIGTERM);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
    assert_string_equal(told, "");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_each_stopping_signal_asks_for_an_exit_with_its_own_reason),
        TEST(test_sighup_and_sigusr2_ask_for_no_exit),
        TEST(test_a_worker_is_replaced_if_somebody_else_than_its_manager_signals_it),
        TEST(test_signals_that_came_too_late_for_the_program_before_are_handled_now),
        TEST(test_a_handler_that_the_application_set_is_replaced_and_named_once),
        TEST(test_a_signal_to_a_forked_child_ends_the_child_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
