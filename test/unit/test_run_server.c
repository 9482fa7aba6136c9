/* The order in which a serving process starts and stops, and what of it is left out when a step
 * fails: each step only writes down its name.
 *
 * links: run_server.c */
#include "unit.h"

#include "base/log.h"
#include "base/log_sink.h"
#include "config/config_error.h"
#include "connection/poller.h"
#include "embed/py_gil.h"
#include "interpreter/py_signals.h"
#include "interpreter/py_startup.h"
#include "life/process.h"
#include "life/reexec.h"
#include "life/signals.h"
#include "life/supervisor.h"
#include "net/listener_set.h"
#include "protocol/libfcgi_os.h"
#include "serve/worker_pool.h"
#include "start/run_server.h"
#include "start/start_error.h"
#include "start/start_python.h"
#include "status/collector.h"
#include "status/control.h"

#include <unistd.h>

static struct config config;
static struct privileges privileges;
static const char *failing; /* the step that fails; NULL: none does */
static struct handover before;
static bool has_predecessor, is_managed, is_inherited, is_serving_told;
static bool is_joined, is_finalized;
static enum lifecycle_reason reason, asked;
static bool is_cut_off, is_exit_wanted;
static char told[2048];
static jmp_buf exited; /* by _exit(), with a code */
static int exit_code;

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
}

static int step(const char *what)
{
    tell(what);
    return failing != NULL && strcmp(failing, what) == 0 ? -1 : 0;
}

static int step_with_error(const char *what, struct config_error *error)
{
    snprintf(error->message, sizeof(error->message), "%s failed", what);
    return step(what);
}

/* Fakes */

#define NOTHING(name, parameters)                                                                  \
    void name parameters                                                                           \
    {                                                                                              \
        tell(#name);                                                                               \
    }

#pragma GCC diagnostic ignored "-Wunused-parameter" /* most fakes use none of theirs */

static int replaced; /* what replacement_run() returns */

int replacement_run(struct replacement *replacement)
{
    tell("replacement_run");
    return replaced;
}

NOTHING(signals_init, (struct supervisor * supervisor))
NOTHING(collector_init,
        (const struct config *c, const char *version, uint64_t started_us, uint64_t started_ms))
NOTHING(collector_resume, (const struct handover_status *status))
NOTHING(collector_resume_programs, (const struct handover_program *programs, size_t count))
NOTHING(listener_close_all, (struct listener_set * set))
NOTHING(privileges_warn, (const struct config *c))
NOTHING(manager_link_prepare, (struct manager_link * link, struct poller *poller))
NOTHING(collector_attach_poller, (struct poller * poller))
NOTHING(poller_take_over, (struct poller * poller, const struct handover *handover))
NOTHING(py_signals_open, (struct event * event))
NOTHING(collector_attach_threads, (const struct activities *activities))
NOTHING(py_startup_run, (const struct config *c, struct supervisor *supervisor))
NOTHING(py_gil_release, (void))
NOTHING(py_gil_take, (void))
NOTHING(py_signals_wait, (struct event * event))
NOTHING(reexec_make_room, (void))
NOTHING(supervisor_finish, (struct supervisor * supervisor))
NOTHING(collector_hand_over_programs, (struct handover_program * *programs, size_t *count))
NOTHING(process_remove_pid_file, (const struct config *c))
NOTHING(control_stop, (void))
NOTHING(listener_unlink, (struct listener * listener))
NOTHING(poller_clear, (struct poller * poller))

int privileges_set_environment(const struct config *c, const struct privileges *p)
{
    assert_ptr_equal(p, &privileges);
    return step("environment");
}

int log_start_writer(void)
{
    return step("log-writer");
}

void process_raise_descriptors(const struct config *c, bool is_told)
{
    assert_int_equal(is_told, has_predecessor);
    tell("raise-descriptors");
}

const struct handover *reexec_predecessor(void)
{
    return has_predecessor ? &before : NULL;
}

int supervisor_init(struct supervisor *supervisor, const struct config *c)
{
    memset(supervisor, 0, sizeof(*supervisor));
    supervisor->link.is_managed = is_managed;
    supervisor->is_serving_told = is_serving_told;
    return step("supervisor-init");
}

static int open_set(struct listener_set *set, const char *what, struct config_error *error)
{
    static struct listener listener;
    listener.is_inherited = is_inherited;
    *set = (struct listener_set){.items = &listener, .count = 1};
    return step_with_error(what, error);
}

int listener_take_over(struct listener_set *set, const struct handover *handover,
                       struct config_error *error)
{
    assert_ptr_equal(handover, &before);
    return open_set(set, "take-over-listeners", error);
}

int listener_open_all(struct listener_set *set, const struct config *c, struct config_error *error)
{
    return open_set(set, "open-listeners", error);
}

int listener_open_status(struct listener_set *set, const struct config *c,
                         struct config_error *error)
{
    return step_with_error("open-status", error);
}

int control_start(const struct config *c, const struct listener_set *status, enum control_role role)
{
    assert_int_equal(role, is_managed ? CONTROL_WORKER : CONTROL_HOST);
    return step("control-start");
}

int process_write_pid_file(const struct config *c, struct config_error *error)
{
    return step_with_error("pid-file", error);
}

int libfcgi_os_init(void)
{
    return step("libfcgi");
}

int poller_init(struct poller *poller, struct listener_set *set, const struct config *c,
                int change_fd)
{
    return step("poller-init");
}

int process_become(const struct config *c, const struct privileges *p, struct config_error *error)
{
    assert_ptr_equal(p, &privileges);
    return step_with_error("become", error);
}

int start_python(const struct config *c, const struct py_options *options)
{
    assert_int_equal(options->is_multiprocess, is_inherited);
    assert_false(options->is_run_once);
    assert_non_null(options->supervisor);
    return step("python") < 0 ? EXIT_CONFIG : 0;
}

int route_table_init(struct route_table *table, const struct config *c)
{
    return step("routes");
}

int worker_pool_start(struct worker_pool *pool)
{
    return step("workers");
}

int supervisor_start(struct supervisor *supervisor, struct poller *poller, struct worker_pool *pool)
{
    supervisor->lifecycle.reason = reason;
    supervisor->lifecycle.is_cut_off = is_cut_off;
    atomic_store(&supervisor->asked, asked);
    atomic_store(&supervisor->replacement.is_exit_wanted, is_exit_wanted);
    return step("supervisor");
}

bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms)
{
    tell("join");
    return is_joined;
}

bool start_python_finalize(uint64_t deadline_ms, bool is_stuck, bool is_retry)
{
    assert_int_equal(is_stuck, !is_joined);
    assert_int_equal(is_retry, reason == REASON_RETRY);
    tell("finalize");
    return is_finalized;
}

const char *py_interpreter_version(void)
{
    return "3";
}

bool log_flush(void)
{
    tell("log-flush");
    return true;
}

void log_info(const char *event, const char *format, ...)
{
    tell(event);
}

void log_error(const char *event, const char *format, ...)
{
    tell(event);
}

int start_error(const struct config_error *error, enum exit_code code)
{
    tell(error->message);
    return code;
}

int start_error_setting(const struct config_error *error, enum exit_code code)
{
    return start_error(error, code);
}

int start_error_errno(const char *what)
{
    tell("can't start:");
    tell(what);
    return EXIT_RUN_TIME;
}

void _exit(int code)
{
    exit_code = code;
    tell("_exit");
    longjmp(exited, 1);
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&before, 0, sizeof(before));
    failing = NULL;
    has_predecessor = is_managed = is_inherited = is_cut_off = is_exit_wanted = false;
    is_serving_told = is_joined = is_finalized = true;
    reason = REASON_SIGTERM;
    asked = REASON_SIGTERM;
    told[0] = '\0';
    return 0;
}

/* The exit code, whichever way it exits. */
static int run(void)
{
    told[0] = '\0';
    exit_code = -1;
    if (setjmp(exited) != 0)
        return exit_code;
    int code = run_server(&config, &privileges);
    tell("return");
    return code;
}

/* Does one step come before the other? Both are taken. */
static void assert_before(const char *one, const char *other)
{
    const char *first = strstr(told, one), *second = strstr(told, other);
    if (first == NULL || second == NULL || first >= second)
        fail_msg("%s before %s: %s", one, other, told);
}

static void assert_not_told(const char *what)
{
    if (strstr(told, what) != NULL)
        fail_msg("%s: %s", what, told);
}

static void test_a_server_starts_serves_and_stops_in_order(void **state)
{
    (void)state;
    assert_int_equal(run(), EXIT_CLEAN);
    assert_string_equal(
        told,
        "environment log-writer raise-descriptors supervisor-init signals_init open-listeners "
        "collector_init collector_resume open-status control-start starting privileges_warn "
        "pid-file libfcgi poller-init manager_link_prepare collector_attach_poller become python "
        "py_signals_open routes workers supervisor collector_attach_threads py_startup_run "
        "py_gil_release py_signals_wait py_gil_take reexec_make_room py_gil_release join "
        "py_gil_take finalize supervisor_finish replacement_run process_remove_pid_file "
        "control_stop listener_close_all listener_close_all poller_clear stopped return ");
}

/* A signal that comes while sockets are opened must not leave a socket's file behind. */
static void test_signals_are_handled_before_a_socket_is_opened(void **state)
{
    (void)state;
    run();
    assert_before("signals_init", "open-listeners");
}

/* Ports below 1024, the pid file and the log are root's; Python is not. */
static void
test_root_opens_everything_before_it_becomes_the_user_and_python_starts_after(void **state)
{
    (void)state;
    run();
    assert_before("open-listeners", "become");
    assert_before("open-status", "become");
    assert_before("pid-file", "become");
    assert_before("become", "python");
}

/* A second host that finds the socket in use must not overwrite the first one's pid file. */
static void test_the_pid_file_is_written_once_the_sockets_are_open(void **state)
{
    (void)state;
    run();
    assert_before("open-listeners", "pid-file");
    failing = "open-listeners";
    run();
    assert_not_told("pid-file");
}

static void test_each_step_that_fails_ends_the_start_with_its_code(void **state)
{
    (void)state;
    static const struct {
        const char *step, *message, *next; /* the step that must not follow */
        int code;
    } rows[] = {
        {"environment", "can't start: environment ", "log-writer", EXIT_RUN_TIME},
        {"log-writer", "can't start: log ", "supervisor-init", EXIT_RUN_TIME},
        {"supervisor-init", "can't start: descriptors ", "signals_init", EXIT_RUN_TIME},
        {"open-status", "open-status failed ", "control-start", EXIT_RUN_TIME},
        {"control-start", "can't start: control thread ", "pid-file", EXIT_RUN_TIME},
        {"pid-file", "pid-file failed ", "libfcgi", EXIT_RUN_TIME},
        {"libfcgi", "libfcgi-unsuitable ", "poller-init", EXIT_RUN_TIME},
        {"poller-init", "can't start: descriptors ", "become", EXIT_RUN_TIME},
        {"become", "become failed ", "python", EXIT_RUN_TIME},
        {"python", "", "py_signals_open", EXIT_CONFIG},
        {"routes", "can't start: worker threads ", "workers", EXIT_RUN_TIME},
        {"workers", "can't start: worker threads ", "supervisor ", EXIT_RUN_TIME},
        {"supervisor", "can't start: supervisor thread ", "py_startup_run", EXIT_RUN_TIME},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        failing = rows[i].step;
        assert_int_equal(run(), rows[i].code);
        char found[64];
        snprintf(found, sizeof(found), "%s ", rows[i].step);
        assert_non_null(strstr(told, found));
        assert_non_null(strstr(told, rows[i].message));
        assert_null(strstr(strstr(told, found) + strlen(found), rows[i].next));
    }
}

/* Sockets that were opened have files; a pid file was written. */
static void test_what_a_failed_start_has_made_is_removed(void **state)
{
    (void)state;
    static const char *const steps[] = {"libfcgi", "poller-init", "become",
                                        "python",  "workers",     "supervisor"};
    for (size_t i = 0; i < COUNT(steps); i++) {
        failing = steps[i];
        run();
        assert_before("process_remove_pid_file", "_exit");
        assert_before("listener_unlink", "_exit");
        assert_before("control_stop", "_exit");
        assert_before("log-flush", "_exit"); /* the message is in the log by then */
    }
    failing = "control-start";
    run();
    assert_before("control-start", "listener_close_all");
}

/* Without [server] listen the web server passes the socket: the command was wrong. */
static void test_no_socket_at_all_is_a_mistake_of_the_command(void **state)
{
    (void)state;
    failing = "open-listeners";
    assert_int_equal(run(), EXIT_USAGE);
    config.listen.count = 1;
    assert_int_equal(run(), EXIT_RUN_TIME);
}

static void test_a_successor_takes_over_and_does_not_start_again_in_the_log(void **state)
{
    (void)state;
    has_predecessor = true;
    before.is_start_again = true;
    assert_int_equal(run(), EXIT_CLEAN);
    assert_before("take-over-listeners", "poller_take_over");
    assert_before("poller-init", "poller_take_over");
    assert_before("collector_resume", "collector_resume_programs");
    assert_not_told("open-listeners");
    assert_not_told("starting");
    assert_not_told("privileges_warn");
    before.is_start_again = false; /* it has served */
    run();
    assert_before("starting", "pid-file");
}

static void test_a_worker_leaves_pid_file_and_status_sockets_to_its_manager(void **state)
{
    (void)state;
    is_managed = true;
    assert_int_equal(run(), EXIT_CLEAN);
    assert_not_told("pid-file");
    assert_not_told("open-status");
    assert_before("control-start", "python");
}

static void test_a_worker_that_was_not_needed_logs_nothing(void **state)
{
    (void)state;
    is_managed = true;
    is_serving_told = false;
    run();
    assert_not_told("stopped");
    is_managed = false;
    run();
    assert_before("control_stop", "stopped");
}

/* The application must be told whether others serve the same socket. */
static void test_an_inherited_socket_may_be_shared_with_other_processes(void **state)
{
    (void)state;
    is_inherited = true;
    assert_int_equal(run(), EXIT_CLEAN);
}

/* Its deadline goes on running, in case exiting hangs; nothing that threads use is freed. */
static void test_threads_that_are_busy_are_left_and_the_process_exits_anyway(void **state)
{
    (void)state;
    is_joined = is_finalized = false;
    assert_int_equal(run(), EXIT_RUN_TIME);
    assert_before("stop-threads-busy", "_exit");
    assert_not_told("supervisor_finish");
    assert_not_told("poller_clear");
    assert_before("listener_unlink", "log-flush");
}

static void test_a_program_that_could_not_be_executed_anew_is_no_clean_exit(void **state)
{
    (void)state;
    replaced = -1;
    assert_int_equal(run(), EXIT_RUN_TIME);
    replaced = 0;
}

static void test_python_that_could_not_be_finalized_is_no_clean_exit(void **state)
{
    (void)state;
    is_finalized = false;
    assert_int_equal(run(), EXIT_RUN_TIME);
    assert_not_told("supervisor_finish");
    assert_not_told("stop-threads-busy");
}

/* The replacement is a fresh program in this process; that it does not come back is its success. */
static void test_a_failed_start_is_tried_again_with_what_could_not_be_loaded(void **state)
{
    (void)state;
    reason = REASON_RETRY;
    is_finalized = false; /* left out */
    assert_int_equal(run(), EXIT_RUN_TIME);
    assert_before("finalize", "supervisor_finish");
    assert_before("collector_hand_over_programs", "replacement_run");
    assert_before("replacement_run", "process_remove_pid_file");
}

static void test_a_signal_between_two_attempts_is_a_clean_exit(void **state)
{
    (void)state;
    reason = REASON_RETRY;
    is_finalized = false;
    is_exit_wanted = true;
    assert_int_equal(run(), EXIT_CLEAN);
    assert_before("stopped", "_exit");
}

static void test_on_failure_exit_has_the_applications_code_however_python_ended(void **state)
{
    (void)state;
    asked = reason = REASON_STARTUP;
    assert_int_equal(run(), EXIT_APPLICATION);
    assert_not_told("_exit");
    is_finalized = false;
    assert_int_equal(run(), EXIT_APPLICATION);
    assert_before("log-flush", "_exit");
}

static void test_requests_that_were_cut_off_or_stuck_are_no_clean_exit(void **state)
{
    (void)state;
    is_cut_off = true;
    assert_int_equal(run(), EXIT_RUN_TIME);
    is_cut_off = false;
    reason = REASON_REQUEST_TIME;
    assert_int_equal(run(), EXIT_RUN_TIME);
    reason = REASON_LIFETIME;
    assert_int_equal(run(), EXIT_CLEAN);
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_server_starts_serves_and_stops_in_order),
        TEST(test_signals_are_handled_before_a_socket_is_opened),
        TEST(test_root_opens_everything_before_it_becomes_the_user_and_python_starts_after),
        TEST(test_the_pid_file_is_written_once_the_sockets_are_open),
        TEST(test_each_step_that_fails_ends_the_start_with_its_code),
        TEST(test_what_a_failed_start_has_made_is_removed),
        TEST(test_no_socket_at_all_is_a_mistake_of_the_command),
        TEST(test_a_successor_takes_over_and_does_not_start_again_in_the_log),
        TEST(test_a_worker_leaves_pid_file_and_status_sockets_to_its_manager),
        TEST(test_a_worker_that_was_not_needed_logs_nothing),
        TEST(test_an_inherited_socket_may_be_shared_with_other_processes),
        TEST(test_threads_that_are_busy_are_left_and_the_process_exits_anyway),
        TEST(test_a_program_that_could_not_be_executed_anew_is_no_clean_exit),
        TEST(test_python_that_could_not_be_finalized_is_no_clean_exit),
        TEST(test_a_failed_start_is_tried_again_with_what_could_not_be_loaded),
        TEST(test_a_signal_between_two_attempts_is_a_clean_exit),
        TEST(test_on_failure_exit_has_the_applications_code_however_python_ended),
        TEST(test_requests_that_were_cut_off_or_stuck_are_no_clean_exit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
