/* The manager's start, loop and signals: each turn of its loop a fake takes the next step of the
 * test, mostly a signal. There are no workers.
 *
 * links: manager.c worker_plan.c restart_delay.c config_error.c */
#include "life_fakes.h"

#include <signal.h>

#include "life/privileges.h"
#include "life/sd_notify.h"
#include "manager/manager.h"
#include "manager/manager_internal.h"
#include "manager/reload_requests.h"
#include "status/control.h"

static struct config config = {
    .processes = 2, .drain_timeout_ms = 5000, .cleanup_timeout_ms = 2000};
static struct config new_config = {.processes = 3};
static struct worker_outfit outfit = {.config = &config};
static const struct config *begun;
static int steps[3], step;
static bool is_reload_asked;
static int init_result, pid_result;
static bool is_status_bad;

void log_fail(const char *event, const char *text)
{
    (void)event;
    tell("fail: %s", text);
}

int log_start_writer(void)
{
    return 0;
}

void log_reopen(void)
{
    tell("reopen");
}

void process_raise_descriptors(const struct config *of, bool is_anew)
{
    (void)of;
    (void)is_anew;
    tell("descriptors");
}

int process_write_pid_file(const struct config *of, struct config_error *error)
{
    (void)of;
    tell("pid file");
    return pid_result < 0 ? config_error_set(error, "no pid file") : 0;
}

void process_remove_pid_file(const struct config *of)
{
    (void)of;
    tell("no pid file");
}

int rollout_init(struct rollout *rollout, char **argv, const struct config *of,
                 struct config_error *error)
{
    (void)rollout;
    (void)argv;
    (void)of;
    tell("sockets");
    return init_result < 0 ? config_error_set(error, "no sockets") : 0;
}

const struct config *rollout_begin(struct rollout *rollout)
{
    (void)rollout;
    tell("begin");
    return begun;
}

const struct worker_outfit *rollout_outfit(const struct rollout *rollout, bool is_next)
{
    (void)rollout;
    (void)is_next;
    return &outfit;
}

bool listener_tells_loss(struct listener *listener)
{
    (void)listener;
    return false;
}

void rollout_close(struct rollout *rollout)
{
    (void)rollout;
    tell("close");
}

void rollout_clear(struct rollout *rollout)
{
    (void)rollout;
}

void worker_processes_init(struct worker_processes *processes)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        processes->members[i].channel_fd = -1;
}

void worker_processes_take_over(struct worker_processes *processes, struct worker_plan *plan,
                                const struct handover_member *members, size_t count)
{
    (void)processes;
    (void)plan;
    (void)members;
    tell("take over %zu", count);
}

void privileges_warn(const struct config *of)
{
    (void)of;
}

bool manager_start_status(struct manager *manager, const struct config *of)
{
    (void)manager;
    (void)of;
    tell("status");
    return !is_status_bad;
}

void manager_tell_status(struct manager *manager)
{
    (void)manager;
}

void control_stop(void)
{
    tell("no status");
}

void reload_requests_open(int wake_fd)
{
    assert_true(wake_fd >= 0);
}

bool reload_requests_take(void)
{
    bool is_asked = is_reload_asked;
    is_reload_asked = false;
    return is_asked;
}

void reload_requests_begin(void)
{
    tell("reload begins");
}

void reload_requests_refuse(const char *text)
{
    (void)text;
    tell("reload refused");
}

uint64_t sd_notify_watchdog_ms(void)
{
    return 0;
}

void manager_notify_tell_reload(void)
{
}

void manager_notify_tell_reloaded(const struct manager_notify *notify, const char *how)
{
    (void)notify;
    tell("notify %s", how);
}

void manager_notify_tell_stop(const char *why, uint64_t end_ms)
{
    tell("notify stop %s %llu", why, (unsigned long long)end_ms);
}

int manager_notify_find_silent(struct manager_notify *notify, const struct worker_plan *plan,
                               uint64_t now_ms)
{
    (void)notify;
    (void)plan;
    (void)now_ms;
    return WORKER_PLAN_NOBODY;
}

uint64_t manager_notify_wait_ms(uint64_t wait_ms)
{
    (void)wait_ms;
    return 0;
}

void manager_notify_tell(struct manager_notify *notify, const struct worker_plan *plan,
                         const struct config *of, uint64_t now_ms)
{
    (void)notify;
    (void)plan;
    (void)of;
    (void)now_ms;
    if (steps[step] != 0)
        raise(steps[step++]);
}

void manager_read_messages(struct manager *manager, int worker)
{
    (void)manager;
    (void)worker;
}

void manager_stop_if_idle(struct manager *manager)
{
    (void)manager;
}

void manager_reap(struct manager *manager, uint64_t now_ms)
{
    (void)manager;
    (void)now_ms;
}

static bool becomes_startup_bad, becomes_cut_off;

void manager_act(struct manager *manager)
{
    manager->is_startup_bad = becomes_startup_bad;
    manager->is_cut_off = becomes_cut_off;
    if (manager->plan.roll == ROLL_RUNNING) {
        tell("roll to %u", manager->plan.place_count);
        manager->plan.roll = ROLL_NONE;
    }
}

static int set_up(void **state)
{
    (void)state;
    forget();
    memset(steps, 0, sizeof(steps));
    step = 0;
    begun = &new_config;
    init_result = pid_result = 0;
    is_reload_asked = is_status_bad = becomes_startup_bad = becomes_cut_off = false;
    fake_predecessor = NULL;
    return 0;
}

static int run(int first, int second)
{
    static char *argv[] = {NULL};
    steps[0] = first;
    steps[1] = second;
    int code = manager_run(argv, &config);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return code;
}

static void test_sockets_and_pid_file_come_before_the_status_and_workers(void **state)
{
    (void)state;
    assert_int_equal(run(SIGTERM, 0), 0);
    assert_true(was_told("descriptors|sockets|pid file|log_info: fcgihost "));
    assert_true(was_told(": managing 2 worker processes|status|"));
    assert_true(was_told("no status|no pid file|log_info: stopped|"));
}

static void test_each_signal_that_stops_is_named(void **state)
{
    static const struct {
        int number;
        const char *expected;
    } cases[] = {
        {SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGUSR1, "SIGUSR1"}, {SIGQUIT, "SIGQUIT"}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char expected[128];
        set_up(NULL);
        assert_int_equal(run(cases[i].number, 0), 0);
        snprintf(expected, sizeof(expected),
                 "log_info: %s: stopping: 0 workers|notify stop %s 10000|close|", cases[i].expected,
                 cases[i].expected);
        assert_true(was_told(expected));
    }
}

static void test_sighup_reads_the_configuration_and_replaces_the_workers(void **state)
{
    (void)state;
    assert_int_equal(run(SIGHUP, SIGTERM), 0);
    assert_true(was_told("begin|reopen|reload begins|log_info: reload: 3 workers will be replaced, "
                         "one by one|roll to 3|"));
}

static void test_a_wrong_configuration_replaces_nothing(void **state)
{
    (void)state;
    begun = NULL;
    assert_int_equal(run(SIGHUP, SIGTERM), 0);
    assert_true(was_told("begin|reopen|reload refused|notify serving as before: the configuration "
                         "is wrong, as the log says|"));
    assert_false(was_told("roll to"));
}

static void test_a_reload_asked_for_over_the_control_socket_is_one_by_sighup(void **state)
{
    (void)state;
    is_reload_asked = true;
    assert_int_equal(run(SIGTERM, 0), 0);
    assert_true(was_told("begin|reopen|reload begins|"));
}

static void test_the_exit_code_says_what_the_workers_could_not_do(void **state)
{
    (void)state;
    becomes_cut_off = true;
    assert_int_equal(run(SIGTERM, 0), 1);
    set_up(NULL);
    becomes_cut_off = becomes_startup_bad = true;
    assert_int_equal(run(SIGTERM, 0), MANAGER_EXIT_STARTUP);
}

static void test_without_sockets_it_does_not_start(void **state)
{
    (void)state;
    init_result = -1;
    assert_int_equal(run(0, 0), 2); /* none is configured: wrong usage */
    assert_string_equal(told, "descriptors|sockets|fail: no sockets|");
}

static void test_without_its_pid_file_it_closes_the_sockets_again(void **state)
{
    (void)state;
    pid_result = -1;
    assert_int_equal(run(0, 0), 1);
    assert_string_equal(told, "descriptors|sockets|pid file|close|fail: no pid file|");
}

static void test_without_the_control_thread_it_removes_what_it_made(void **state)
{
    (void)state;
    is_status_bad = true;
    assert_int_equal(run(0, 0), 1);
    assert_true(was_told("status|close|no pid file|"));
}

static void test_workers_of_the_program_before_it_are_taken_over(void **state)
{
    static const struct handover predecessor = {.member_count = 7};
    (void)state;
    fake_predecessor = &predecessor;
    assert_int_equal(run(SIGTERM, 0), 0);
    assert_true(was_told("pid file|take over 7|"));
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sockets_and_pid_file_come_before_the_status_and_workers),
        TEST(test_each_signal_that_stops_is_named),
        TEST(test_sighup_reads_the_configuration_and_replaces_the_workers),
        TEST(test_a_wrong_configuration_replaces_nothing),
        TEST(test_a_reload_asked_for_over_the_control_socket_is_one_by_sighup),
        TEST(test_the_exit_code_says_what_the_workers_could_not_do),
        TEST(test_without_sockets_it_does_not_start),
        TEST(test_without_its_pid_file_it_closes_the_sockets_again),
        TEST(test_without_the_control_thread_it_removes_what_it_made),
        TEST(test_workers_of_the_program_before_it_are_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
