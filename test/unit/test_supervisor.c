/* The supervisor thread, with a poller, Python and a log that only write down what they are asked.
 *
 * links: supervisor.c readiness.c main_thread.c replacement.c lifecycle.c event.c memory.c
 * handover.c config_error.c descriptors.c */
#include <errno.h>
#include <sys/wait.h>

#include "life_fakes.h"

#include "config/config_application.h"
#include "connection/idle_connections.h"
#include "life/process.h"
#include "life/supervisor.h"
#include "status/collector.h"

static struct config_application application = {.name = NULL};
static struct config config;
static struct supervisor supervisor;
static struct poller poller;
static struct worker_pool pool;
static atomic_size_t open_connections;
static atomic_bool is_stuck;

void config_describe_applications(const struct config *of, char *text, size_t text_bytes)
{
    (void)of;
    snprintf(text, text_bytes, "shop:app");
}

void process_notify_init(struct process_notify *service, const struct config *of,
                         struct manager_link *link)
{
    (void)service;
    (void)of;
    (void)link;
}

void process_notify_tell(struct process_notify *service, bool is_serving, uint64_t now_ms)
{
    (void)service;
    (void)is_serving;
    (void)now_ms;
}

void process_notify_tell_reopened(const struct process_notify *service)
{
    (void)service;
}

void process_notify_tell_drain(struct process_notify *service, const char *why, bool is_replaced)
{
    (void)service;
    (void)why;
    (void)is_replaced;
}

void process_notify_watch(struct process_notify *service, uint64_t now_ms)
{
    (void)service;
    (void)now_ms;
}

uint64_t process_notify_wait_ms(uint64_t wait_ms)
{
    return wait_ms;
}

const char *poller_listener_name(const struct poller *asked, size_t i)
{
    (void)asked;
    return i == 0 ? "unix:/run/a" : "127.0.0.1:9";
}

size_t poller_connection_count(struct poller *asked)
{
    (void)asked;
    return atomic_load(&open_connections);
}

size_t poller_busy_count(struct poller *asked)
{
    (void)asked;
    return atomic_load(&open_connections);
}

void spool_store_trim(struct spool_store *store)
{
    assert_ptr_equal(store, &pool.store);
}

static atomic_bool is_file_lost;

const char *poller_find_lost_file(struct poller *asked)
{
    (void)asked;
    return atomic_exchange(&is_file_lost, false) ? "unix:/run/a" : NULL;
}

static atomic_bool are_descriptors_lost;

bool poller_has_lost_descriptors(struct poller *asked)
{
    (void)asked;
    return atomic_load(&are_descriptors_lost);
}

void poller_tend(struct poller *tended, uint64_t now_ms)
{
    (void)tended;
    (void)now_ms;
}

void poller_close_idle(struct poller *closed, bool is_every)
{
    (void)closed;
    if (!was_told("close_idle"))
        tell("close_idle %d", is_every);
}

void poller_hold(struct poller *held)
{
    (void)held;
    tell("hold");
}

void poller_release(struct poller *released)
{
    (void)released;
}

static _Atomic(enum manager_link_event) said_by_manager;
static bool is_managed;

void manager_link_init(struct manager_link *link)
{
    *link = (struct manager_link){
        .is_managed = is_managed, .heir_fd = 3, .inherit_fd = -1, .worker.channel_fd = -1};
}

void manager_link_report(struct manager_link *link, const struct worker_report *report)
{
    (void)link;
    (void)report;
}

static atomic_int refused_wishes; /* so many more can't be told */

int manager_link_ask(struct manager_link *link, enum worker_wish wish, const char *reason,
                     struct handover_bytes startup)
{
    (void)link;
    (void)startup;
    tell("ask %d %s", wish, reason);
    return atomic_fetch_sub(&refused_wishes, 1) > 0 ? -1 : 0;
}

enum manager_link_event manager_link_receive(struct manager_link *link)
{
    enum manager_link_event event = atomic_exchange(&said_by_manager, LINK_NOTHING);
    link->is_retired = link->is_retired || event == LINK_RETIRE;
    return event;
}

void manager_link_tell_idle(struct manager_link *link, bool is_idle)
{
    (void)link;
    (void)is_idle;
}

bool manager_link_bequeath(struct manager_link *link, struct poller *giver)
{
    (void)link;
    (void)giver;
    if (!was_told("bequeath"))
        tell("bequeath");
    return true;
}

void manager_link_inherit(struct manager_link *link, struct poller *heir)
{
    (void)link;
    (void)heir;
}

void collector_count_restart(unsigned reason)
{
    (void)reason;
}

void collector_set_state(const char *state)
{
    (void)state;
}

void request_deadlines_clear(struct request_deadlines *deadlines)
{
    (void)deadlines;
}

int request_deadlines_init(struct request_deadlines *deadlines, const struct config *of,
                           struct activities *activities)
{
    (void)of;
    deadlines->activities = activities;
    return 0;
}

bool request_deadlines_step(struct request_deadlines *deadlines, uint64_t now_ms)
{
    (void)deadlines;
    (void)now_ms;
    return atomic_exchange(&is_stuck, false);
}

bool request_deadlines_is_wedged(const struct request_deadlines *deadlines)
{
    (void)deadlines;
    return false;
}

uint64_t request_deadlines_wait_ms(const struct request_deadlines *deadlines, uint64_t now_ms,
                                   uint64_t wait_ms)
{
    (void)deadlines;
    (void)now_ms;
    return wait_ms;
}

void children_reap(struct child_list *list)
{
    (void)list;
}

void process_remove_pid_file(const struct config *of)
{
    (void)of;
    tell("remove_pid_file");
}

void log_only_queue(void)
{
}

static atomic_uint gathered_told;

void log_tell_gathered(void)
{
    atomic_fetch_add(&gathered_told, 1);
}

void log_mend(void)
{
    tell("mend_log");
}

void log_reopen(void)
{
    tell("reopen");
}

/* The last that exit_anyway does before the process is gone: prints what was told. */
bool log_flush(void)
{
    return write(STDERR_FILENO, told, strlen(told)) > 0;
}

static int set_up(void **state)
{
    (void)state;
    forget();
    is_managed = false;
    atomic_store(&said_by_manager, LINK_NOTHING);
    atomic_store(&open_connections, 0);
    atomic_store(&is_spawners, false);
    config = (struct config){.applications = &application,
                             .application_count = 1,
                             .threads = 1,
                             .drain_timeout_ms = 60000,
                             .cleanup_timeout_ms = 60000};
    poller = (struct poller){.listener_count = 1};
    pool = (struct worker_pool){0};
    return 0;
}

static void start(void)
{
    assert_int_equal(supervisor_init(&supervisor, &config), 0);
    assert_int_equal(supervisor_start(&supervisor, &poller, &pool), 0);
}

/* As the main thread does once the drain is over. */
static void finish(void)
{
    assert_true(event_wait(&supervisor.stop, 600000));
    supervisor_finish(&supervisor);
    assert_int_equal(supervisor.lifecycle.state, LIFECYCLE_STOPPED);
    close(supervisor.event_fd);
}

static void wait_state(enum lifecycle_state state)
{
    while (supervisor_state(&supervisor) != state)
        usleep(1000);
}

static void test_serving_is_said_when_it_is_true_for_each_listener(void **state)
{
    (void)state;
    poller.listener_count = 2;
    start();
    assert_int_equal(supervisor_state(&supervisor), LIFECYCLE_STARTING);
    assert_string_equal(told, "");
    readiness_add(&supervisor.readiness, 0);
    wait_state(LIFECYCLE_SERVING);
    assert_string_equal(told, "log_info: serving shop:app on unix:/run/a with 1 thread|"
                              "log_info: serving shop:app on 127.0.0.1:9 with 1 thread|unpark|");
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
}

/* Otherwise they would not be told of before the next message of their kind comes. */
static void test_what_the_log_has_gathered_is_told_though_no_message_comes(void **state)
{
    (void)state;
    start();
    unsigned before = atomic_load(&gathered_told);
    supervisor_wake(&supervisor);
    for (int i = 0; i < 10000 && atomic_load(&gathered_told) == before; i++)
        usleep(1000);
    assert_int_not_equal(atomic_load(&gathered_told), before);
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
}

static void test_waiting_requests_resume_with_each_application_that_is_loaded(void **state)
{
    (void)state;
    start();
    readiness_add(&supervisor.readiness, 0);
    wait_told("unpark");
    forget();
    readiness_add(&supervisor.readiness, 1);
    wait_told("unpark");
    assert_string_equal(told, "unpark|"); /* and "serving" is not said twice */
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
}

static void test_the_drain_waits_for_connections_and_python_is_cleaned_up_after_it(void **state)
{
    (void)state;
    atomic_store(&open_connections, 1);
    start();
    supervisor_ask(&supervisor, REASON_SIGTERM);
    wait_told("close_idle");
    assert_int_equal(supervisor_state(&supervisor), LIFECYCLE_DRAINING);
    assert_true(was_told("SIGTERM: stopping: no new connections, requests in flight have 60 s|"
                         "stop_accepting|unpark|task 0|close_idle 0"));
    assert_false(event_is_set(&supervisor.stop));
    assert_false(was_told("|cut|"));
    atomic_store(&open_connections, 0);
    supervisor_wake(&supervisor);
    finish();
    assert_true(was_told("|cut|quit|"));
    assert_false(was_told("cut off"));
}

static void test_a_socket_file_that_is_lost_is_told_of_and_it_serves_on(void **state)
{
    (void)state;
    atomic_store(&is_file_lost, true);
    start();
    wait_told("log_error: unix:/run/a: its file was removed, moved, or replaced by another one");
    assert_int_equal(supervisor_state(&supervisor), LIFECYCLE_STARTING);
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
}

static void
test_descriptors_that_the_application_has_closed_end_it_at_once_with_one_error(void **state)
{
    (void)state;
    start();
    atomic_store(&open_connections, 1);
    atomic_store(&are_descriptors_lost, true);
    supervisor_wake(&supervisor);
    finish();
    assert_int_equal(supervisor.lifecycle.reason, REASON_DESCRIPTORS);
    assert_true(was_told("mend_log|"));
    assert_true(was_told("the application has closed the host's descriptors, with os.closerange() "
                         "say"));
    assert_true(was_told("the application has closed the host's descriptors: stopping: no new "
                         "connections, requests in flight have no time|stop_accepting"));
    atomic_store(&are_descriptors_lost, false);
}

static void test_with_a_manager_a_limit_is_asked_for_once_and_the_worker_serves_on(void **state)
{
    (void)state;
    is_managed = true;
    config.requests = 1;
    pool.request_limit = 1;
    atomic_store(&pool.requests, 1);
    start();
    readiness_add(&supervisor.readiness, 0);
    wait_told("ask 1 [limits] requests: 1 requests have been served|");
    wait_state(LIFECYCLE_SERVING);
    wait_told("unpark");
    forget();
    for (int i = 0; i < 10; i++) {
        supervisor_wake(&supervisor);
        usleep(2000);
    }
    assert_string_equal(told, "");
    atomic_store(&said_by_manager, LINK_RETIRE);
    supervisor_wake(&supervisor);
    finish();
    assert_true(was_told("retired: another worker serves in its place|begin_handover|"));
    assert_true(was_told("bequeath"));
}

static void test_a_wish_that_can_t_be_told_is_told_again(void **state)
{
    (void)state;
    is_managed = true;
    atomic_store(&refused_wishes, 1);
    start();
    readiness_add(&supervisor.readiness, 0);
    supervisor_ask(&supervisor, REASON_RESTART);
    while (atomic_load(&refused_wishes) >= 0)
        usleep(2000);
    atomic_store(&said_by_manager, LINK_RETIRE);
    supervisor_wake(&supervisor);
    finish();
    assert_int_equal(atomic_load(&refused_wishes), -1); /* and not once more */
}

static unsigned count_told(const char *text)
{
    unsigned count = 0;
    pthread_mutex_lock(&told_mutex);
    for (const char *next = told; (next = strstr(next, text)) != NULL; next++)
        count++;
    pthread_mutex_unlock(&told_mutex);
    return count;
}

/* A manager that hangs: at each step, to ask and to log it, would fill the log. */
static void test_a_manager_that_can_t_be_asked_is_not_asked_at_each_step(void **state)
{
    (void)state;
    is_managed = true;
    atomic_store(&refused_wishes, 1000000);
    start();
    readiness_add(&supervisor.readiness, 0);
    supervisor_ask(&supervisor, REASON_RESTART);
    wait_told("ask 1 fcgihost.restart()");
    unsigned before = atomic_load(&gathered_told);
    while (atomic_load(&gathered_told) - before < 50) {
        supervisor_wake(&supervisor);
        usleep(1000);
    }
    unsigned asked = count_told("|ask 1 "), logged = count_told("the manager starts a successor");
    atomic_store(&refused_wishes, 0);
    atomic_store(&said_by_manager, LINK_RETIRE);
    supervisor_wake(&supervisor);
    finish();
    assert_in_range(asked, 1, 25);
    assert_int_equal(logged, 1);
}

/* Its caller asks once for each change, and would replace the worker alone if there were no
 * manager. */
static void test_a_reload_that_can_t_be_asked_for_is_asked_for_again(void **state)
{
    (void)state;
    is_managed = true;
    atomic_store(&refused_wishes, 2);
    start();
    assert_true(supervisor_ask_reload(&supervisor, "mark: a.py has changed"));
    for (int i = 0; i < 10000 && atomic_load(&refused_wishes) >= 0; i++)
        usleep(1000);
    int refused = atomic_load(&refused_wishes);
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
    assert_int_equal(refused, -1);
    assert_int_equal(count_told("ask 4 mark: a.py has changed|"), 3);
}

static void test_a_worker_whose_manager_has_died_drains_and_exits(void **state)
{
    (void)state;
    is_managed = true;
    start();
    atomic_store(&said_by_manager, LINK_GONE);
    supervisor_wake(&supervisor);
    finish();
    assert_int_equal(supervisor.lifecycle.reason, REASON_ORPHANED);
    assert_true(was_told("stop_accepting"));
}

static void test_a_worker_that_has_asked_to_be_replaced_does_not_outlive_its_manager(void **state)
{
    (void)state;
    is_managed = true;
    start();
    readiness_add(&supervisor.readiness, 0);
    supervisor_ask(&supervisor, REASON_RESTART);
    wait_told("ask 1 fcgihost.restart()");
    atomic_store(&said_by_manager, LINK_GONE);
    supervisor_wake(&supervisor);
    finish();
    assert_int_equal(supervisor.lifecycle.reason, REASON_ORPHANED);
}

static void test_a_signal_stops_a_worker_that_has_asked_to_be_replaced(void **state)
{
    (void)state;
    is_managed = true;
    start();
    supervisor_ask(&supervisor, REASON_RESTART);
    wait_told("ask 1 fcgihost.restart()");
    atomic_store(&supervisor.replacement.is_exit_wanted, true); /* as the handler does */
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
    assert_true(was_told("stop_accepting"));
}

static void test_sigquit_ends_a_drain(void **state)
{
    (void)state;
    atomic_store(&open_connections, 2);
    start();
    supervisor_ask(&supervisor, REASON_SIGTERM);
    wait_told("stop_accepting");
    supervisor_ask(&supervisor, REASON_SIGQUIT);
    finish();
    assert_true(was_told("log_warning: stopping: 2 connection(s) are cut off|cut|quit|"));
}

static void
test_requests_that_outlive_the_drain_are_cut_off_with_their_stacks_in_the_log(void **state)
{
    (void)state;
    config.drain_timeout_ms = 1;
    atomic_store(&open_connections, 3);
    atomic_store(&pool.activities.busy, 1);
    start();
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
    assert_true(supervisor.lifecycle.is_cut_off);
    assert_true(was_told("log_error: stopping: 3 connection(s) did not finish within [shutdown] "
                         "drain_timeout (0.001 s) and are cut off|stacks: requests that did not "
                         "end|cut|quit|"));
}

static void test_responses_that_outlive_the_drain_are_counted_and_have_no_stacks(void **state)
{
    (void)state;
    config.drain_timeout_ms = 1;
    atomic_store(&open_connections, 3);
    atomic_store(&pool.activities.sending, 2);
    start();
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
    assert_true(was_told("drain_timeout (0.001 s) and are cut off, 2 of them in the middle of a "
                         "response that was being sent|cut|quit|"));
}

static void
test_at_the_request_limit_a_web_server_s_process_hands_over_instead_of_closing(void **state)
{
    (void)state;
    config.requests = 10;
    atomic_store(&is_spawners, true);
    start();
    atomic_store(&pool.requests, 10);
    supervisor_wake(&supervisor);
    finish();
    assert_true(was_told("[limits] requests: 10 requests have been served: stopping: new "
                         "connections wait for a fresh process with the same number"));
    assert_true(was_told("begin_handover"));
    assert_false(was_told("stop_accepting"));
    replacement_run(&supervisor.replacement);
    assert_true(was_told("hand_over|reexec"));
}

static void test_a_stuck_request_drains_the_process(void **state)
{
    (void)state;
    start();
    atomic_store(&open_connections, 1);
    atomic_store(&is_stuck, true);
    supervisor_wake(&supervisor);
    wait_state(LIFECYCLE_DRAINING);
    wait_told("log_info: [limits] request_time: stopping: no new connections, requests in flight "
              "have 60 s|");
    atomic_store(&open_connections, 0);
    finish();
    assert_int_equal(supervisor.lifecycle.reason, REASON_REQUEST_TIME);
}

static void test_the_first_reason_counts_and_shutdown_after_a_failed_start_means_exit(void **state)
{
    (void)state;
    start();
    supervisor_ask(&supervisor, REASON_SHUTDOWN);
    supervisor_ask(&supervisor, REASON_RESTART);
    finish();
    assert_int_equal(supervisor.lifecycle.reason, REASON_SHUTDOWN);
    set_up(NULL);
    atomic_store(&open_connections, 1);
    start();
    assert_int_equal(supervisor_ask_retry(&supervisor, "x", 1), 0);
    wait_told("begin_handover");
    supervisor_ask(&supervisor, REASON_SHUTDOWN);
    wait_told("give_up_handover|stop_accepting");
    atomic_store(&open_connections, 0);
    finish();
    replacement_run(&supervisor.replacement);
    assert_false(was_told("reexec"));
    free((void *)(uintptr_t)supervisor.replacement.startup.data);
}

static void test_signals_for_the_log_and_the_stacks_are_obeyed(void **state)
{
    (void)state;
    start();
    atomic_store(&supervisor.is_reopen_wanted, true);
    atomic_store(&supervisor.are_stacks_wanted, true);
    supervisor_wake(&supervisor);
    wait_told("stacks: SIGUSR2");
    assert_true(was_told("reopen|log_info: SIGHUP: log opened again|"));
    supervisor_ask(&supervisor, REASON_SIGTERM);
    finish();
}

static void test_waiting_for_the_next_attempt_ends_with_the_drain(void **state)
{
    (void)state;
    start();
    assert_false(supervisor_wait(&supervisor, 1, 5000));
    assert_true(atomic_load(&supervisor.readiness.next_attempt_ms) > 0);
    supervisor_ask(&supervisor, REASON_SIGTERM);
    assert_true(supervisor_wait(&supervisor, 600000, 5000));
    finish();
}

/* In a child process, whose standard error is read. */
static void
test_past_cleanup_timeout_the_process_exits_with_1_and_names_what_is_in_the_way(void **state)
{
    (void)state;
    int pipes[2], status;
    char text[sizeof(told)];
    size_t n = 0;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        config.cleanup_timeout_ms = 1;
        start();
        main_thread_begin_step(&supervisor.main, STEP_EXIT, "an atexit function");
        supervisor_ask(&supervisor, REASON_SIGTERM);
        for (;;)
            pause();
    }
    close(pipes[1]);
    for (ssize_t got; (got = read(pipes[0], text + n, sizeof(text) - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = '\0';
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(text, "not done within [shutdown] cleanup_timeout (0.001 s), in the "
                                 "way: an atexit function; exiting anyway|stacks: what is in the "
                                 "way|remove_pid_file|"));
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_serving_is_said_when_it_is_true_for_each_listener),
        TEST(test_what_the_log_has_gathered_is_told_though_no_message_comes),
        TEST(test_waiting_requests_resume_with_each_application_that_is_loaded),
        TEST(test_the_drain_waits_for_connections_and_python_is_cleaned_up_after_it),
        TEST(test_with_a_manager_a_limit_is_asked_for_once_and_the_worker_serves_on),
        TEST(test_a_wish_that_can_t_be_told_is_told_again),
        TEST(test_a_manager_that_can_t_be_asked_is_not_asked_at_each_step),
        TEST(test_a_reload_that_can_t_be_asked_for_is_asked_for_again),
        TEST(test_a_worker_that_has_asked_to_be_replaced_does_not_outlive_its_manager),
        TEST(test_a_worker_whose_manager_has_died_drains_and_exits),
        TEST(test_a_signal_stops_a_worker_that_has_asked_to_be_replaced),
        TEST(test_sigquit_ends_a_drain),
        TEST(test_requests_that_outlive_the_drain_are_cut_off_with_their_stacks_in_the_log),
        TEST(test_responses_that_outlive_the_drain_are_counted_and_have_no_stacks),
        TEST(test_at_the_request_limit_a_web_server_s_process_hands_over_instead_of_closing),
        TEST(test_a_socket_file_that_is_lost_is_told_of_and_it_serves_on),
        TEST(test_descriptors_that_the_application_has_closed_end_it_at_once_with_one_error),
        TEST(test_a_stuck_request_drains_the_process),
        TEST(test_the_first_reason_counts_and_shutdown_after_a_failed_start_means_exit),
        TEST(test_signals_for_the_log_and_the_stacks_are_obeyed),
        TEST(test_waiting_for_the_next_attempt_ends_with_the_drain),
        TEST(test_past_cleanup_timeout_the_process_exits_with_1_and_names_what_is_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
