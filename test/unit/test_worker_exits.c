/* What the manager makes of a worker's end: real children that exit or are killed, and fakes of
 * the manager's other files.
 *
 * links: worker_exits.c worker_plan.c restart_delay.c */
#include "life_fakes.h"

#include <signal.h>
#include <sys/wait.h>

#include "manager/manager_internal.h"
#include "status/collector.h"

enum { WORKER = 0, NOW_MS = 21000, STARTED_MS = 1000 };

static struct manager manager;
static const char *requests;
static bool has_board;
static struct {
    long pid;
    unsigned long long requests; /* 0: nobody knows */
} ended;

void manager_read_messages(struct manager *of, int worker)
{
    (void)of;
    tell("read %d", worker);
}

void manager_stop(struct manager *stopped, const char *why, bool is_quick)
{
    (void)is_quick;
    stopped->plan.is_stopping = true;
    tell("stop %s", why);
}

void worker_processes_describe_requests(struct worker_processes *processes, int worker,
                                        uint64_t now_ms, char *text, size_t text_bytes)
{
    (void)processes;
    (void)worker;
    (void)now_ms;
    snprintf(text, text_bytes, "%s", requests);
}

bool worker_processes_sum_counters(const struct worker_processes *processes, int worker,
                                   struct counters_totals *totals)
{
    (void)processes;
    (void)worker;
    assert_false(was_told("forget")); /* its board is still there */
    *totals = (struct counters_totals){.requests = 7};
    return has_board;
}

void collector_worker_ended(long pid, const struct counters_totals *totals)
{
    ended.pid = pid;
    ended.requests = totals != NULL ? totals->requests : 0;
}

void worker_processes_forget(struct worker_processes *processes, int worker)
{
    (void)processes;
    tell("forget %d", worker);
}

void manager_notify_forget(struct manager_notify *notify, int worker)
{
    (void)notify;
    (void)worker;
}

void collector_count_restart(enum restart_reason reason)
{
    tell(reason == RESTART_CRASH ? "crash" : "?");
}

static int set_up(void **state)
{
    (void)state;
    forget();
    requests = "";
    has_board = true;
    manager = (struct manager){.has_served = true};
    worker_plan_init(&manager.plan, 1, 10000);
    assert_int_equal(worker_plan_next(&manager.plan, STARTED_MS).worker, WORKER);
    return 0;
}

/* A child that has exited with the code, or was killed by the signal, but was not waited for. */
static void end_worker(int code, int number)
{
    siginfo_t info;
    pid_t pid = fork();
    if (pid == 0) {
        if (number != 0)
            raise(number);
        _exit(code);
    }
    assert_true(pid > 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    worker_plan_started(&manager.plan, WORKER, pid, STARTED_MS);
    worker_plan_report(&manager.plan, WORKER,
                       &(struct worker_plan_report){.is_loaded = true, .is_settled = true});
    while (worker_plan_next(&manager.plan, STARTED_MS).kind != ACTION_NONE)
        continue;
}

static long reap(void)
{
    long pid = (long)manager.plan.workers[WORKER].pid;
    manager_reap(&manager, NOW_MS);
    return pid;
}

static void expect_end(long pid, const char *before, const char *after)
{
    char expected[512];
    snprintf(expected, sizeof(expected), "read 0|%s worker %ld %s", before, pid, after);
    assert_string_equal(told, expected);
}

static void test_a_killed_worker_is_an_error_that_names_its_requests(void **state)
{
    (void)state;
    requests = "GET /a (3.2 s)";
    end_worker(0, SIGKILL);
    expect_end(reap(), "log_error:",
               "was killed by signal 9 (Killed), 20.0 s after its start, while it served GET /a "
               "(3.2 s); another one is started|crash|forget 0|");
    assert_false(manager.is_cut_off);
}

static void test_what_it_has_counted_goes_to_the_status(void **state)
{
    (void)state;
    end_worker(0, SIGKILL);
    long pid = reap();
    assert_int_equal(ended.pid, pid);
    assert_int_equal(ended.requests, 7);
}

static void test_without_a_board_the_status_hears_of_the_end_alone(void **state)
{
    (void)state;
    has_board = false;
    end_worker(0, 0);
    long pid = reap();
    assert_int_equal(ended.pid, pid);
    assert_int_equal(ended.requests, 0);
}

static void test_one_that_nobody_stopped_is_an_error_even_if_its_code_is_0(void **state)
{
    (void)state;
    end_worker(0, 0);
    expect_end(reap(), "log_error:",
               "exited with code 0, 20.0 s after its start; another one is started|crash|forget "
               "0|");
}

static void test_one_that_died_young_is_started_after_a_delay(void **state)
{
    (void)state;
    end_worker(3, 0);
    long pid = (long)manager.plan.workers[WORKER].pid;
    manager_reap(&manager, STARTED_MS + 500);
    expect_end(pid, "log_error:",
               "exited with code 3, 0.5 s after its start; another one is started in 0.1 "
               "s|crash|forget 0|");
}

static void test_one_that_was_told_to_stop_is_no_error(void **state)
{
    (void)state;
    end_worker(0, 0);
    manager.plan.workers[WORKER].state = WORKER_STOPPING;
    manager.plan.is_stopping = true;
    expect_end(reap(), "log_debug:", "exited with code 0|forget 0|");
    assert_false(manager.is_cut_off);
}

static void test_the_manager_knows_that_the_stop_cut_something_off(void **state)
{
    (void)state;
    end_worker(1, 0);
    manager.plan.workers[WORKER].state = WORKER_STOPPING;
    manager.plan.is_stopping = true;
    expect_end(reap(), "log_debug:", "exited with code 1|forget 0|");
    assert_true(manager.is_cut_off);
}

static void test_one_that_the_manager_killed_is_said_to_be(void **state)
{
    (void)state;
    end_worker(0, SIGKILL);
    manager.plan.workers[WORKER].state = WORKER_STOPPING;
    manager.plan.workers[WORKER].is_killed = true;
    manager.plan.is_stopping = true;
    expect_end(reap(), "log_error:",
               "was killed by signal 9 (Killed) (by the manager: it did not end in time), 20.0 s "
               "after its start|forget 0|");
    assert_true(manager.is_cut_off);
}

static void test_on_failure_exit_ends_a_manager_that_never_served(void **state)
{
    (void)state;
    manager.has_served = false;
    end_worker(MANAGER_EXIT_STARTUP, 0);
    reap();
    assert_true(was_told("stop [startup] on_failure = exit|"));
    assert_false(was_told("another one is started"));
    assert_true(manager.is_startup_bad);
}

static void test_the_same_exit_code_later_only_starts_another_worker(void **state)
{
    (void)state;
    end_worker(MANAGER_EXIT_STARTUP, 0);
    reap();
    assert_false(was_told("stop"));
    assert_false(manager.is_startup_bad);
}

static void test_a_worker_that_runs_is_left_alone(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    worker_plan_started(&manager.plan, WORKER, pid, STARTED_MS);
    manager_reap(&manager, NOW_MS);
    assert_string_equal(told, "");
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_killed_worker_is_an_error_that_names_its_requests),
        TEST(test_what_it_has_counted_goes_to_the_status),
        TEST(test_without_a_board_the_status_hears_of_the_end_alone),
        TEST(test_one_that_nobody_stopped_is_an_error_even_if_its_code_is_0),
        TEST(test_one_that_died_young_is_started_after_a_delay),
        TEST(test_one_that_was_told_to_stop_is_no_error),
        TEST(test_the_manager_knows_that_the_stop_cut_something_off),
        TEST(test_one_that_the_manager_killed_is_said_to_be),
        TEST(test_on_failure_exit_ends_a_manager_that_never_served),
        TEST(test_the_same_exit_code_later_only_starts_another_worker),
        TEST(test_a_worker_that_runs_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
