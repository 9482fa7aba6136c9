/* What a manager tells the status of itself and its workers, and how the status starts.
 *
 * links: manager_status.c worker_plan.c restart_delay.c config_error.c */
#include "life_fakes.h"

#include "interpreter/py_interpreter.h"
#include "manager/manager_internal.h"
#include "status/collector.h"
#include "status/control.h"

static struct config config = {.backlog = 100}, other = {.backlog = 200};
static struct listener listener;
static struct worker_outfit outfits[2] = {
    {.config = &config, .status = {.items = &listener, .count = 1}}, {.config = &other}};
static struct manager manager;

/* What the collector was told last */
static struct worker_note notes[WORKER_PLAN_WORKERS_MAX];
static size_t note_count;
static unsigned generation, backlog;
static const char *state;
static const struct listener_set *listeners;
static uint64_t restarts;

static bool is_status_refused;
static int thread_error;

void log_fail(const char *event, const char *text)
{
    tell("fail %s: %s", event, text);
}

const char *py_interpreter_version(void)
{
    return "3.11.2";
}

void collector_init(const struct config *of, const char *python_version, uint64_t started_us,
                    uint64_t started_ms)
{
    assert_ptr_equal(of, &config);
    assert_true(started_us > 0 && started_ms > 0);
    tell("init %s", python_version);
}

void collector_resume(const struct handover_status *status)
{
    restarts = status->restarts[RESTART_CRASH];
    tell("resume");
}

void collector_set_workers(const struct worker_note *workers, size_t count, unsigned of)
{
    memcpy(notes, workers, count * sizeof(*workers));
    note_count = count;
    generation = of;
    tell("workers");
}

void collector_set_listeners(const struct listener_set *of, unsigned with)
{
    listeners = of;
    backlog = with;
}

void collector_set_state(const char *now)
{
    state = now;
}

const struct worker_outfit *rollout_outfit(const struct rollout *rollout, bool is_next)
{
    assert_ptr_equal(rollout, &manager.rollout);
    return &outfits[is_next];
}

int rollout_open_status(struct rollout *rollout, struct config_error *error)
{
    assert_ptr_equal(rollout, &manager.rollout);
    tell("open status");
    return is_status_refused ? config_error_set(error, "no such address") : 0;
}

int control_start(const struct config *of, const struct listener_set *status,
                  enum control_role role)
{
    assert_ptr_equal(of, &config);
    assert_ptr_equal(status, &outfits[0].status);
    assert_int_equal(role, CONTROL_MANAGER);
    tell("start");
    errno = thread_error;
    return thread_error != 0 ? -1 : 0;
}

static int set_up(void **unused)
{
    (void)unused;
    forget();
    memset(&manager, 0, sizeof(manager));
    worker_plan_init(&manager.plan, 2, 10000);
    is_status_refused = false;
    thread_error = 0;
    fake_predecessor = NULL;
    return 0;
}

/* Does what the plan wants, as the manager would: workers get the numbers 1001, 1002, … */
static void act(void)
{
    for (struct worker_plan_action action;
         (action = worker_plan_next(&manager.plan, 1)).kind != ACTION_NONE;)
        if (action.kind == ACTION_START)
            worker_plan_started(&manager.plan, action.worker, 1001 + action.worker, 1);
}

static void load(int worker)
{
    worker_plan_report(&manager.plan, worker,
                       &(struct worker_plan_report){.is_loaded = true, .is_settled = true});
    act();
}

static const struct worker_note *note_of(long pid)
{
    for (size_t i = 0; i < note_count; i++)
        if (notes[i].pid == pid)
            return &notes[i];
    fail();
    return NULL;
}

static void test_workers_that_start_and_the_first_that_serves(void **unused)
{
    (void)unused;
    manager_tell_status(&manager);
    assert_int_equal(note_count, 0);
    assert_string_equal(state, "starting");
    act();
    manager_tell_status(&manager);
    assert_int_equal(note_count, 1); /* the others once the first has tried to load */
    assert_string_equal(state, "starting");
    assert_string_equal(note_of(1001)->state, "starting");
    assert_int_equal(note_of(1001)->place, 1);
    load(0);
    manager_tell_status(&manager);
    assert_int_equal(note_count, 2);
    assert_string_equal(state, "serving");
    assert_string_equal(note_of(1001)->state, "serving");
    assert_string_equal(note_of(1002)->state, "starting");
    assert_int_equal(note_of(1002)->place, 2);
    assert_int_equal(note_of(1002)->generation, 1);
    assert_ptr_equal(listeners, &outfits[0].listeners); /* of those that serve, not of the next */
    assert_int_equal(backlog, 100);
}

static void test_a_worker_that_could_not_be_started_is_none(void **unused)
{
    (void)unused;
    struct worker_plan_action action = worker_plan_next(&manager.plan, 1);
    assert_int_equal(action.kind, ACTION_START); /* its slot is taken, and it has no process yet */
    manager_tell_status(&manager);
    assert_int_equal(note_count, 0);
}

static void test_the_generation_is_that_of_the_code_that_serves(void **unused)
{
    (void)unused;
    act();
    load(0);
    load(1);
    worker_plan_roll(&manager.plan, 1);
    act();
    manager_tell_status(&manager);
    assert_int_equal(note_count, 3);
    assert_int_equal(generation, 1); /* while it is under way */
    const struct worker_note *successor = note_of(1003);
    assert_string_equal(successor->state, "starting");
    assert_int_equal(successor->generation, 2);
    unsigned place = successor->place;
    load(2);
    manager_tell_status(&manager);
    assert_string_equal(note_of(1003)->state, "serving");
    assert_string_equal(note_of(1000 + (long)place)->state, "draining");
    assert_int_equal(note_of(1000 + (long)place)->place, place);
    assert_string_equal(state, "serving");
}

static void test_a_host_that_stops_is_draining_with_all_its_workers(void **unused)
{
    (void)unused;
    act();
    load(0);
    load(1);
    worker_plan_stop(&manager.plan, false);
    act();
    manager_tell_status(&manager);
    assert_string_equal(state, "draining");
    assert_string_equal(note_of(1001)->state, "draining");
    assert_string_equal(note_of(1002)->state, "draining");
    worker_plan_exited(&manager.plan, 0, 1);
    manager_tell_status(&manager);
    assert_int_equal(note_count, 1);
}

static void test_as_many_workers_as_a_plan_holds(void **unused)
{
    (void)unused;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        manager.plan.workers[i] =
            (struct planned_worker){.state = WORKER_SERVING, .pid = 1001 + i, .place = 7};
    manager_tell_status(&manager);
    assert_int_equal(note_count, WORKER_PLAN_WORKERS_MAX);
    assert_int_equal(notes[note_count - 1].pid, 1000 + WORKER_PLAN_WORKERS_MAX);
}

static void test_the_status_starts_with_what_is_known_of_the_host(void **unused)
{
    (void)unused;
    assert_true(manager_start_status(&manager, &config));
    assert_string_equal(told, "init 3.11.2|workers|open status|start|");
}

static void test_a_manager_that_was_executed_anew_goes_on_counting(void **unused)
{
    (void)unused;
    static struct handover left;
    left.status.restarts[RESTART_CRASH] = 5;
    fake_predecessor = &left;
    assert_true(manager_start_status(&manager, &config));
    assert_int_equal(restarts, 5);
    assert_string_equal(told, "init 3.11.2|resume|workers|open status|start|");
}

static void test_a_socket_of_the_status_that_cannot_be_opened_ends_the_start(void **unused)
{
    (void)unused;
    is_status_refused = true;
    assert_false(manager_start_status(&manager, &config));
    assert_string_equal(told,
                        "init 3.11.2|workers|open status|fail start-failed: no such address|");
}

static void test_without_its_thread_the_start_ends_and_says_why(void **unused)
{
    (void)unused;
    thread_error = EAGAIN;
    assert_false(manager_start_status(&manager, &config));
    assert_non_null(strstr(
        told, "|start|log_error: can't start: control thread: resource temporarily unavailable|"));
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_workers_that_start_and_the_first_that_serves),
        TEST(test_a_worker_that_could_not_be_started_is_none),
        TEST(test_the_generation_is_that_of_the_code_that_serves),
        TEST(test_a_host_that_stops_is_draining_with_all_its_workers),
        TEST(test_as_many_workers_as_a_plan_holds),
        TEST(test_the_status_starts_with_what_is_known_of_the_host),
        TEST(test_a_manager_that_was_executed_anew_goes_on_counting),
        TEST(test_a_socket_of_the_status_that_cannot_be_opened_ends_the_start),
        TEST(test_without_its_thread_the_start_ends_and_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
