/* What the manager does when its plan wants something: a plan that returns what the test
 * prescribes, and fakes that write down what they were called for.
 *
 * links: manager_actions.c */
#include "life_fakes.h"

#include <errno.h>
#include <signal.h>

#include "config/config_error.h"
#include "manager/manager_internal.h"
#include "manager/reload_requests.h"
#include "status/collector.h"
#include "status/control.h"

static struct manager manager;
static struct config config = {.processes = 2}, new_config = {.processes = 3};
static struct worker_outfit current = {.config = &config}, next = {.config = &new_config};
static struct worker_plan_action wanted[4];
static size_t wanted_count, taken;
static int start_result, use_result, tell_result, tell_error;
static bool is_program_changed;
static struct handover_listener listener;
static struct handover_member member;

struct worker_plan_action worker_plan_next(struct worker_plan *plan, uint64_t now_ms)
{
    (void)plan;
    (void)now_ms;
    return taken < wanted_count ? wanted[taken++]
                                : (struct worker_plan_action){.worker = WORKER_PLAN_NOBODY};
}

uint64_t worker_plan_exited(struct worker_plan *plan, int worker, uint64_t now_ms)
{
    (void)plan;
    (void)now_ms;
    tell("exited %d", worker);
    return 0;
}

void worker_plan_resize(struct worker_plan *plan, unsigned places)
{
    (void)plan;
    tell("resize %u", places);
}

int worker_processes_start(struct worker_processes *processes, struct worker_plan *plan,
                           const struct worker_plan_action *action,
                           const struct worker_outfit *outfit, uint64_t now_ms)
{
    (void)processes;
    (void)plan;
    (void)now_ms;
    tell("start %d with %u", action->worker, outfit->config->processes);
    return start_result;
}

void worker_processes_forget(struct worker_processes *processes, int worker)
{
    (void)processes;
    tell("forget %d", worker);
}

int worker_processes_let_accept(struct worker_processes *processes, int worker)
{
    (void)processes;
    tell("accept %d", worker);
    errno = tell_error;
    return tell_result;
}

int worker_processes_retire(struct worker_processes *processes, int worker, int heir)
{
    (void)processes;
    tell("retire %d for %d", worker, heir);
    errno = tell_error;
    return tell_result;
}

struct handover worker_processes_describe_outfit(const struct worker_outfit *outfit,
                                                 bool is_managers)
{
    assert_true(is_managers);
    tell("describe %u", outfit->config->processes);
    return (struct handover){.listeners = &listener};
}

struct handover_member *worker_processes_describe(const struct worker_processes *processes,
                                                  const struct worker_plan *plan, size_t *count)
{
    (void)processes;
    (void)plan;
    *count = 1;
    return &member;
}

void handover_clear(struct handover *handover)
{
    (void)handover;
}

const struct worker_outfit *rollout_outfit(const struct rollout *rollout, bool is_next)
{
    return is_next && rollout->has_next ? &next : &current;
}

void rollout_succeed(struct rollout *rollout)
{
    rollout->has_next = false;
    current = next;
    tell("succeed");
}

const struct config *rollout_fail(struct rollout *rollout)
{
    (void)rollout;
    tell("fail");
    return &config;
}

const struct worker_outfit *manager_outfit(const struct manager *of, int worker)
{
    (void)of;
    return worker == 1 ? &next : &current;
}

uint64_t manager_end_ms(const struct config *of)
{
    return 1000 * of->processes;
}

void manager_signal(struct manager *of, int worker, int number)
{
    (void)of;
    tell("signal %d %s", worker,
         number == SIGTERM   ? "TERM"
         : number == SIGQUIT ? "QUIT"
         : number == SIGKILL ? "KILL"
                             : "?");
}

void manager_block_signals(void)
{
    tell("block");
}

void collector_count_restart(enum restart_reason reason)
{
    tell("count %s", reason == RESTART_RELOAD     ? "reload"
                     : reason == RESTART_LIFETIME ? "lifetime"
                                                  : "?");
}

void collector_hand_over(struct handover_status *status)
{
    (void)status;
}

int control_use(const struct config *used, const struct listener_set *status)
{
    (void)status;
    tell("use %u", used->processes);
    return use_result;
}

bool reexec_is_program_changed(void)
{
    return is_program_changed;
}

void reload_requests_end(bool is_done, const char *text)
{
    (void)text;
    tell("reload %s", is_done ? "done" : "failed");
}

void manager_notify_tell_reloaded(const struct manager_notify *notify, const char *how)
{
    (void)notify;
    tell("notify %s", how);
}

const char *config_error_describe(int error)
{
    return error == ENOENT ? "no such file or directory" : "?";
}

static int set_up(void **state)
{
    (void)state;
    forget();
    manager = (struct manager){.rollout = {.has_next = true}};
    manager.plan.workers[1].pid = 101;
    current.config = &config;
    wanted_count = taken = 0;
    start_result = use_result = tell_result = 0;
    tell_error = EAGAIN;
    is_program_changed = false;
    return 0;
}

static void want(enum worker_plan_action_kind kind, int worker, int heir,
                 enum worker_plan_reason reason)
{
    wanted[wanted_count++] =
        (struct worker_plan_action){.kind = kind, .worker = worker, .heir = heir, .reason = reason};
}

static void expect(const char *text)
{
    manager_act(&manager);
    assert_string_equal(told, text);
    assert_int_equal(taken, wanted_count);
}

static void test_everything_that_is_wanted_is_done_in_its_order(void **state)
{
    (void)state;
    want(ACTION_START, 1, WORKER_PLAN_NOBODY, REPLACE_ROLL);
    want(ACTION_ACCEPT, 0, WORKER_PLAN_NOBODY, REPLACE_NOT);
    want(ACTION_KILL, 0, WORKER_PLAN_NOBODY, REPLACE_NOT);
    expect("start 1 with 3|accept 0|signal 0 KILL|");
}

static void test_a_worker_that_cannot_be_started_counts_as_one_that_exited(void **state)
{
    (void)state;
    start_result = -1;
    want(ACTION_START, 0, WORKER_PLAN_NOBODY, REPLACE_NOT);
    expect("start 0 with 2|exited 0|forget 0|");
}

static void test_a_worker_is_stopped_with_a_drain(void **state)
{
    (void)state;
    want(ACTION_STOP, 0, WORKER_PLAN_NOBODY, REPLACE_NOT);
    expect("signal 0 TERM|");
}

static void test_at_a_quick_stop_it_is_stopped_without(void **state)
{
    (void)state;
    manager.plan.is_quick = true;
    want(ACTION_STOP, 0, WORKER_PLAN_NOBODY, REPLACE_NOT);
    expect("signal 0 QUIT|");
}

static void test_why_a_worker_was_replaced_is_counted(void **state)
{
    (void)state;
    manager.limit[0] = RESTART_LIFETIME;
    want(ACTION_RETIRE, 0, 1, REPLACE_LIMIT);
    want(ACTION_RETIRE, 0, 1, REPLACE_ROLL);
    want(ACTION_RETIRE, 0, WORKER_PLAN_NOBODY, REPLACE_SCALE);
    expect("count lifetime|retire 0 for 1|count reload|retire 0 for 1|retire 0 for -1|");
}

static void test_a_worker_that_can_t_be_told_is_ended_in_order(void **state)
{
    (void)state;
    tell_result = -1;
    want(ACTION_ACCEPT, 1, WORKER_PLAN_NOBODY, REPLACE_NOT);
    want(ACTION_RETIRE, 1, 0, REPLACE_SCALE);
    expect("accept 1|log_error: worker 101 can't be told what to do next: ?: it is ended in "
           "order|signal 1 TERM|retire 1 for 0|log_error: worker 101 can't be told what to do "
           "next: ?: it is ended in order|signal 1 TERM|");
}

/* Its exit tells of it. */
static void test_a_worker_that_has_just_died_is_no_error(void **state)
{
    (void)state;
    static const int errors[] = {EPIPE, ECONNRESET};
    tell_result = -1;
    for (size_t i = 0; i < COUNT(errors); i++) {
        forget();
        wanted_count = taken = 0;
        tell_error = errors[i];
        want(ACTION_RETIRE, 1, 0, REPLACE_SCALE);
        expect("retire 1 for 0|signal 1 TERM|");
    }
}

static void test_a_roll_that_is_done_takes_the_new_configuration_into_use(void **state)
{
    (void)state;
    want(ACTION_ROLL_DONE, WORKER_PLAN_NOBODY, WORKER_PLAN_NOBODY, REPLACE_ROLL);
    expect("use 3|succeed|log_info: reload: all workers have been replaced|reload done|notify "
           "serving: all workers have been replaced|");
    assert_int_equal(manager.plan.end_ms, 3000);
}

static void test_a_status_that_cannot_change_is_told_of_and_stops_nothing(void **state)
{
    (void)state;
    use_result = -1;
    want(ACTION_ROLL_DONE, WORKER_PLAN_NOBODY, WORKER_PLAN_NOBODY, REPLACE_ROLL);
    manager_act(&manager);
    assert_true(was_told("log_warning: [status] listen, path and ping stay as they were"));
    assert_true(was_told("succeed|"));
}

static void test_a_new_program_is_executed_by_the_manager_too(void **state)
{
    (void)state;
    is_program_changed = true;
    want(ACTION_ROLL_DONE, WORKER_PLAN_NOBODY, WORKER_PLAN_NOBODY, REPLACE_ROLL);
    manager_act(&manager);
    assert_true(was_told("replaced|describe 3|reexec"));
    assert_true(was_told("log_error: the manager can't execute its new program: no such file or "
                         "directory: it goes on with the old one|block|"));
}

static void test_a_roll_that_failed_keeps_the_old_configuration(void **state)
{
    (void)state;
    want(ACTION_ROLL_FAILED, 1, WORKER_PLAN_NOBODY, REPLACE_ROLL);
    expect("fail|resize 2|log_error: reload: worker 101 could not load what the old ones serve: "
           "they stay, and this one is stopped: fix the errors above, and reload again|reload "
           "failed|notify serving with the old workers: a new one could not load|");
}

static void test_a_roll_whose_worker_could_not_be_started_says_so(void **state)
{
    (void)state;
    manager.plan.workers[1].pid = 0;
    want(ACTION_ROLL_FAILED, 1, WORKER_PLAN_NOBODY, REPLACE_ROLL);
    manager_act(&manager);
    assert_true(was_told("log_error: reload: no new worker could be started: the old ones stay"));
}

static void test_only_a_replacement_at_a_limit_is_told_of_when_it_failed(void **state)
{
    (void)state;
    want(ACTION_REPLACE_FAILED, 1, WORKER_PLAN_NOBODY, REPLACE_HEAL);
    want(ACTION_REPLACE_FAILED, 1, WORKER_PLAN_NOBODY, REPLACE_LIMIT);
    expect("log_error: worker 101, which was to replace another one, could not load: the old one "
           "goes on serving, and the next attempt comes later|");
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everything_that_is_wanted_is_done_in_its_order),
        TEST(test_a_worker_that_cannot_be_started_counts_as_one_that_exited),
        TEST(test_a_worker_is_stopped_with_a_drain),
        TEST(test_at_a_quick_stop_it_is_stopped_without),
        TEST(test_why_a_worker_was_replaced_is_counted),
        TEST(test_a_worker_that_can_t_be_told_is_ended_in_order),
        TEST(test_a_worker_that_has_just_died_is_no_error),
        TEST(test_a_roll_that_is_done_takes_the_new_configuration_into_use),
        TEST(test_a_status_that_cannot_change_is_told_of_and_stops_nothing),
        TEST(test_a_new_program_is_executed_by_the_manager_too),
        TEST(test_a_roll_that_failed_keeps_the_old_configuration),
        TEST(test_a_roll_whose_worker_could_not_be_started_says_so),
        TEST(test_only_a_replacement_at_a_limit_is_told_of_when_it_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
