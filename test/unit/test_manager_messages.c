/* What the manager does with each message of a worker; its other files are fakes.
 *
 * links: manager_messages.c worker_plan.c restart_delay.c */
#include "life_fakes.h"

#include "manager/manager_internal.h"
#include "status/collector.h"

static struct manager manager;
static struct config config = {.idle_ms = 90000};
static struct worker_outfit outfit = {.config = &config};
static struct channel_message queue[4];
static size_t queued, received;

enum channel_event worker_processes_receive(struct worker_processes *processes, int worker,
                                            struct channel_message *message)
{
    (void)processes;
    (void)worker;
    if (received == queued)
        return CHANNEL_EMPTY;
    *message = queue[received++];
    return CHANNEL_MESSAGE;
}

void worker_processes_keep_startup(struct worker_processes *processes, unsigned place,
                                   const uint8_t *data, size_t bytes)
{
    (void)processes;
    tell("keep %u %.*s", place, (int)bytes, (const char *)data);
}

const struct worker_outfit *rollout_outfit(const struct rollout *rollout, bool is_next)
{
    (void)rollout;
    assert_false(is_next);
    return &outfit;
}

const struct worker_outfit *manager_outfit(const struct manager *of, int worker)
{
    (void)of;
    (void)worker;
    return &outfit;
}

void manager_stop(struct manager *stopped, const char *why, bool is_quick)
{
    stopped->plan.is_stopping = true;
    tell("stop %s%s", why, is_quick ? " at once" : "");
}

void manager_notify_tell_reload(void)
{
    tell("notify reload");
}

void manager_notify_tell_start(const struct manager_notify *notify, const struct worker_plan *plan,
                               const struct worker_start *start)
{
    (void)notify;
    (void)plan;
    tell("notify start %s", start->text);
}

void manager_notify_hear(struct manager_notify *notify, int worker, uint64_t now_ms)
{
    (void)notify;
    (void)now_ms;
    tell("notify hear %d", worker);
}

void collector_count_restart(enum restart_reason reason)
{
    tell("count %d", (int)reason);
}

/* Two workers that serve, in the slots 0 and 1. */
static int set_up(void **state)
{
    (void)state;
    forget();
    queued = received = 0;
    config.require = false;
    manager = (struct manager){.has_served = false};
    worker_plan_init(&manager.plan, 2, 10000);
    for (int i = 0; i < 2; i++) {
        manager.plan.workers[i] = (struct planned_worker){
            .state = WORKER_SERVING, .pid = 100 + i, .place = (unsigned)i, .generation = 1};
        manager.plan.places[i].current = i;
    }
    return 0;
}

static void put(unsigned kind, const void *data, size_t bytes)
{
    queue[queued] = (struct channel_message){.kind = kind, .bytes = bytes};
    memcpy(queue[queued++].data, data, bytes);
}

static void put_request(enum worker_wish wish, const char *reason)
{
    struct worker_request request = {.wish = wish};
    memcpy(request.reason, reason, strlen(reason));
    put(WORKER_ASKS, &request, sizeof(request));
}

static void expect_told(const char *text)
{
    assert_string_equal(told, text);
    forget();
}

static void test_a_worker_that_loaded_makes_the_host_one_that_has_served(void **state)
{
    struct worker_report report = {.is_settled = 1};
    (void)state;
    put(WORKER_REPORTS, &report, sizeof(report));
    manager_read_messages(&manager, 0);
    assert_false(manager.has_served);
    report.is_loaded = 1;
    put(WORKER_REPORTS, &report, sizeof(report));
    manager_read_messages(&manager, 0);
    assert_true(manager.has_served);
}

static void test_a_failed_import_counts_as_refused_only_if_it_is_required(void **state)
{
    const struct worker_report report = {.is_settled = 1, .failed_imports = 1};
    (void)state;
    put(WORKER_REPORTS, &report, sizeof(report));
    manager_read_messages(&manager, 0);
    assert_false(manager.plan.workers[0].report.is_refused);
    config.require = true;
    put(WORKER_REPORTS, &report, sizeof(report));
    manager_read_messages(&manager, 0);
    assert_true(manager.plan.workers[0].report.is_refused);
}

static void test_a_failed_application_always_counts_as_refused(void **state)
{
    const struct worker_report report = {.is_settled = 1, .failed_applications = 1};
    (void)state;
    put(WORKER_REPORTS, &report, sizeof(report));
    manager_read_messages(&manager, 0);
    assert_true(manager.plan.workers[0].report.is_refused);
}

static void test_messages_of_another_size_are_ignored(void **state)
{
    const struct worker_report report = {.is_loaded = 1};
    const struct worker_request request = {.wish = WISH_SHUTDOWN};
    (void)state;
    put(WORKER_REPORTS, &report, sizeof(report) - 1);
    put(WORKER_ASKS, &request, sizeof(request) - 1);
    put(WORKER_STARTS, &report, sizeof(report));
    put(99, "x", 1);
    manager_read_messages(&manager, 0);
    assert_false(manager.has_served);
    expect_told("");
}

static void test_the_limit_that_a_worker_names_is_remembered_for_the_status(void **state)
{
    static const struct {
        const char *reason;
        enum restart_reason expected;
    } cases[] = {{"[limits] requests: 50 requests have been served", RESTART_REQUESTS},
                 {"[limits] lifetime: the process is 60 s old", RESTART_LIFETIME},
                 {"[limits] memory: too much", RESTART_MEMORY},
                 {"[limits] request_time: hangs", RESTART_TIMEOUT},
                 {"fcgihost.restart()", RESTART_RELOAD}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        queued = received = 0;
        put_request(WISH_LIMIT, cases[i].reason);
        manager_read_messages(&manager, 1);
        assert_int_equal(manager.limit[1], cases[i].expected);
        assert_int_equal(manager.plan.workers[1].wanted, REPLACE_LIMIT);
    }
    assert_int_equal(manager.plan.workers[0].wanted, REPLACE_NOT);
}

static void test_a_worker_that_asks_to_heal_leaves_what_the_next_one_must_know(void **state)
{
    uint8_t message[sizeof(struct worker_request) + 5] = {0};
    const struct worker_request request = {.wish = WISH_HEAL};
    (void)state;
    memcpy(message, &request, sizeof(request));
    memcpy(message + sizeof(request), "start", 5);
    put(WORKER_ASKS, message, sizeof(message));
    manager_read_messages(&manager, 1);
    expect_told("keep 1 start|");
    assert_int_equal(manager.plan.workers[1].wanted, REPLACE_HEAL);
}

static void test_shutdown_stops_the_manager(void **state)
{
    (void)state;
    put_request(WISH_SHUTDOWN, "");
    manager_read_messages(&manager, 0);
    expect_told("stop fcgihost.shutdown()|");
}

static void test_a_change_that_every_worker_tells_of_reloads_once(void **state)
{
    (void)state;
    put_request(WISH_RELOAD, "17: /srv/app.py has changed");
    put_request(WISH_RELOAD, "17: /srv/app.py has changed");
    manager_read_messages(&manager, 0);
    expect_told("log_info: reload: /srv/app.py has changed: the workers will be replaced, one by "
                "one|notify reload|");
    assert_int_equal(manager.plan.roll, ROLL_RUNNING);
    put_request(WISH_RELOAD, "18: /srv/app.py has changed");
    manager_read_messages(&manager, 1);
    expect_told("log_info: reload: /srv/app.py has changed: the workers will be replaced, one by "
                "one|notify reload|");
}

static void test_a_change_during_the_stop_reloads_nothing(void **state)
{
    (void)state;
    manager.plan.is_stopping = true;
    put_request(WISH_RELOAD, "17: /srv/app.py has changed");
    manager_read_messages(&manager, 0);
    expect_told("");
}

static void test_the_host_stops_only_once_every_worker_is_idle(void **state)
{
    const uint32_t yes = 1, no = 0;
    (void)state;
    put(WORKER_IDLES, &yes, sizeof(yes));
    manager_read_messages(&manager, 0);
    manager_stop_if_idle(&manager);
    expect_told("");
    put(WORKER_IDLES, &yes, sizeof(yes));
    manager_read_messages(&manager, 1);
    put(WORKER_IDLES, &no, sizeof(no)); /* a request came */
    manager_read_messages(&manager, 0);
    manager_stop_if_idle(&manager);
    expect_told("");
    put(WORKER_IDLES, &yes, sizeof(yes));
    manager_read_messages(&manager, 0);
    manager_stop_if_idle(&manager);
    manager_stop_if_idle(&manager);
    char expected[96];
    snprintf(expected, sizeof(expected), "count %d|stop [limits] idle: no request for 90 s|",
             (int)RESTART_IDLE);
    expect_told(expected);
}

static void test_systemd_is_told_of_starts_and_signs_of_life(void **state)
{
    const struct worker_start start = {.text = "attempt 1 failed"};
    (void)state;
    put(WORKER_STARTS, &start, sizeof(start));
    put(WORKER_LIVES, "", 0);
    manager_read_messages(&manager, 1);
    expect_told("notify start attempt 1 failed|notify hear 1|");
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_worker_that_loaded_makes_the_host_one_that_has_served),
        TEST(test_a_failed_import_counts_as_refused_only_if_it_is_required),
        TEST(test_a_failed_application_always_counts_as_refused),
        TEST(test_messages_of_another_size_are_ignored),
        TEST(test_the_limit_that_a_worker_names_is_remembered_for_the_status),
        TEST(test_a_worker_that_asks_to_heal_leaves_what_the_next_one_must_know),
        TEST(test_shutdown_stops_the_manager),
        TEST(test_a_change_that_every_worker_tells_of_reloads_once),
        TEST(test_a_change_during_the_stop_reloads_nothing),
        TEST(test_the_host_stops_only_once_every_worker_is_idle),
        TEST(test_systemd_is_told_of_starts_and_signs_of_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
