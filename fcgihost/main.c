/* The command line, the order of start-up, the exit codes. */
#include "base/clock.h"
#include "base/fork.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "base/own_file.h"
#include "build_facts.h"
#include "config/command_line.h"
#include "config/config_load.h"
#include "config/config_places.h"
#include "config/settings_table.h"
#include "connection/poller.h"
#include "embed/py_gil.h"
#include "embed/py_task.h"
#include "http/request.h"
#include "http/request_id.h"
#include "interpreter/py_home.h"
#include "interpreter/py_interpreter.h"
#include "interpreter/py_signals.h"
#include "interpreter/py_startup.h"
#include "interpreter/python_update.h"
#include "life/privileges.h"
#include "life/process.h"
#include "life/reexec.h"
#include "life/sd_notify.h"
#include "life/signals.h"
#include "life/supervisor.h"
#include "manager/manager.h"
#include "net/listener_set.h"
#include "protocol/libfcgi_os.h"
#include "serve/call.h"
#include "serve/cgi.h"
#include "serve/worker_pool.h"
#include "status/collector.h"
#include "status/control.h"
#include "status/control_client.h"
#include "status/identity.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum exit_code { EXIT_CLEAN, EXIT_RUN_TIME, EXIT_USAGE, EXIT_CONFIG, EXIT_APPLICATION };

enum { TASKS_MS = 500 /* for tasks of the supervisor */ };

static int fail(const struct config_error *error, enum exit_code code)
{
    bool is_wrong = code == EXIT_CONFIG || code == EXIT_USAGE;
    log_fail(is_wrong ? "configuration-wrong" : "start-failed", error->message);
    return code;
}

static int fail_run_time(const char *what)
{
    char text[256];
    snprintf(text, sizeof(text), "can't start: %s: %s", what, strerror(errno));
    log_fail("start-failed", text);
    return EXIT_RUN_TIME;
}

static void print_version(void)
{
    printf("fcgihost %s (Python %s %s, libfcgi %s, inih %s)\n", FCGIHOST_VERSION,
           py_interpreter_version(), FCGIHOST_PYTHON_LINK, FCGIHOST_FCGI_VERSION,
           FCGIHOST_INIH_VERSION);
}

static int start_python(const struct config *config, const struct py_options *options)
{
    struct config_error error;
    if (py_home_check(config, &error) < 0)
        return fail(&error, EXIT_CONFIG);
    if (py_interpreter_start(config, options, &error) < 0)
        return fail(&error, EXIT_RUN_TIME);
    return 0;
}

/* Cleanups, atexit functions, Py_FinalizeEx. false: Python is not finalized, and the process must
 * exit with _exit. is_retry: the program is executed anew after a failed start; finalizing is left
 * out, as it may crash on what is half loaded. */
static bool finalize_python(uint64_t deadline_ms, bool is_stuck, bool is_retry)
{
    uint64_t now_ms = clock_ms(), left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    bool is_clean = py_interpreter_end(left_ms, is_stuck, is_retry);
    py_gil_release();
    is_clean = py_task_close(TASKS_MS) && is_clean;
    py_gil_take();
    if (!is_clean || is_retry)
        return false;
    py_signals_close();
    py_interpreter_stop();
    return true;
}

static int finalize_and_return(const struct config *config, int code)
{
    if (!finalize_python(clock_ms() + config->cleanup_timeout_ms, false, false)) {
        log_flush();
        _exit(code != EXIT_CLEAN ? code : EXIT_RUN_TIME);
    }
    return code;
}

/* Sets the process up as the application will find it, without a server. 0, or -1 with a message.
 */
static int become_once(const struct config *config, const struct privileges *privileges,
                       struct config_error *error)
{
    if (privileges_set_environment(config, privileges) < 0)
        return config_error_set(error, "[environment]: %s", config_error_describe(errno));
    return process_become(config, privileges, error);
}

/* --check: everything that serving needs, except the sockets, which may be inherited. */
static int run_check(const struct config *config)
{
    struct privileges privileges;
    struct config_error error;
    if (config_check_places(config, command_line_report) > 0)
        return EXIT_CONFIG;
    if (privileges_find(config, false, &privileges, &error) < 0 ||
        become_once(config, &privileges, &error) < 0)
        return fail(&error, EXIT_CONFIG);
    if (config->file != NULL)
        printf("configuration: %s\n", config->file);
    fflush(stdout);
    int code = start_python(config, &(struct py_options){.is_run_once = true});
    if (code != 0)
        return code;
    printf("python: %s%s%s\n", py_interpreter_version(),
           config->home != NULL ? ", environment " : "", config->home != NULL ? config->home : "");
    bool is_loaded = py_startup_run_once(config) == PY_STARTUP_FINE;
    if (is_loaded)
        py_startup_describe(config);
    for (size_t i = 0; i < config->listen.count; i++)
        printf("listen: %s\n", config->listen.items[i]);
    if (config->listen.count == 0)
        printf("listen: not set: the web server, spawn-fcgi or systemd must pass a socket\n");
    fflush(stdout);
    return finalize_and_return(config, is_loaded ? EXIT_CLEAN : EXIT_APPLICATION);
}

/* The strings of environ, which setenv() leaves as they are. NULL with errno. */
static char **copy_environ(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof(*copy));
    if (copy != NULL)
        memcpy(copy, environ, count * sizeof(*copy));
    return copy;
}

/* variables: plain CGI's. */
static int serve_once(const struct command_line *line, const struct config *config,
                      char *const *variables, int response_fd)
{
    int code = start_python(
        config, &(struct py_options){.is_run_once = true, .is_multiprocess = line == NULL});
    if (code != 0)
        return code;
    if (py_startup_run_once(config) == PY_STARTUP_FAILED)
        return finalize_and_return(config, EXIT_APPLICATION);
    py_gil_release();
    if (line != NULL)
        code = call_run(line, config, response_fd);
    else
        code = cgi_serve(config, variables, STDIN_FILENO, response_fd) > 0 ? EXIT_CLEAN
                                                                           : EXIT_RUN_TIME;
    py_gil_take();
    return finalize_and_return(config, code);
}

/* One request, plain CGI (line is NULL) or --call. */
static int run_once(const struct command_line *line, const struct config *config,
                    const struct privileges *privileges)
{
    struct config_error error;
    int response_fd = process_take_stdout();
    if (response_fd < 0)
        return fail_run_time("standard output");
    char **variables = copy_environ(); /* without [environment], which is the application's */
    if (variables == NULL)
        return fail_run_time("the request's variables");
    int code = become_once(config, privileges, &error) < 0
                   ? fail(&error, EXIT_RUN_TIME)
                   : serve_once(line, config, variables, response_fd);
    free(variables);
    return code;
}

static bool is_plain_cgi(const struct config *config)
{
    int value;
    socklen_t bytes = sizeof(value);
    return reexec_predecessor() == NULL && config->listen.count == 0 &&
           getenv("GATEWAY_INTERFACE") != NULL &&
           getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &value, &bytes) < 0;
}

/* After the drain. The main thread holds the GIL before and after. On anything but EXIT_CLEAN
 * threads may still run, and nothing that they use may be freed. */
static int clean_up(const struct config *config, struct supervisor *supervisor,
                    struct worker_pool *pool)
{
    uint64_t now_ms = clock_ms();
    bool is_retry = supervisor->lifecycle.reason == REASON_RETRY;
    reexec_make_room();
    py_gil_release();
    bool is_stuck = !worker_pool_join(pool, now_ms + config->cleanup_timeout_ms / 4);
    py_gil_take();
    bool is_finalized = finalize_python(now_ms + config->cleanup_timeout_ms, is_stuck, is_retry);
    if (is_finalized || is_retry) /* otherwise its deadline must go on running */
        supervisor_finish(supervisor);
    else if (is_stuck)
        log_error("stop-threads-busy",
                  "stopping: %u worker thread(s) are still busy: exiting without finalizing Python",
                  atomic_load(&pool->running));
    return is_finalized ? EXIT_CLEAN : EXIT_RUN_TIME;
}

/* Serves until the drain is over. The main thread holds the GIL before and after. */
static int serve(const struct config *config, struct supervisor *supervisor, struct poller *poller)
{
    static struct worker_pool pool;
    pool = (struct worker_pool){
        .config = config,
        .poller = poller,
        .readiness = &supervisor->readiness,
        .board = supervisor->link.board,
        .request_limit = supervisor->lifecycle.request_limit,
    };
    py_signals_open(&supervisor->stop);
    if (route_table_init(&pool.routes, config) < 0 || worker_pool_start(&pool) < 0)
        return fail_run_time("worker threads");
    if (supervisor_start(supervisor, poller, &pool) < 0)
        return fail_run_time("supervisor thread");
    collector_attach_threads(&pool.activities);
    py_startup_run(config, supervisor);
    py_gil_release();
    malloc_trim(0); /* returns what loading freed: 0.1 of 12 MB */
    py_signals_wait(&supervisor->stop);
    py_gil_take();
    return clean_up(config, supervisor, &pool);
}

static int fail_library(void)
{
    log_error("libfcgi-unsuitable",
              "this libfcgi does not let a program replace its OS_ functions (it was built with "
              "-Bsymbolic or hidden symbols): link with the distribution's");
    return EXIT_RUN_TIME;
}

/* Once, and not for each attempt to start: every failure is logged anyway. */
static void log_start(const struct config *config)
{
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor == NULL || !predecessor->is_start_again)
        log_info("starting", "fcgihost %s, Python %s: starting", FCGIHOST_VERSION,
                 py_interpreter_version());
    if (predecessor == NULL)
        privileges_warn(config);
}

static int start_and_serve(const struct config *config, const struct privileges *privileges,
                           struct listener_set *listeners, struct supervisor *supervisor,
                           struct poller *poller)
{
    struct config_error error;
    log_start(config);
    if (!supervisor->link.is_managed && process_write_pid_file(config, &error) < 0)
        return fail(&error, EXIT_RUN_TIME);
    if (libfcgi_os_init() < 0)
        return fail_library();
    if (poller_init(poller, listeners, config, supervisor->event_fd) < 0)
        return fail_run_time("descriptors");
    manager_link_prepare(&supervisor->link, poller);
    collector_attach_poller(poller);
    if (reexec_predecessor() != NULL)
        poller_take_over(poller, reexec_predecessor());
    bool is_shared = listeners->items[0].is_inherited;
    if (process_become(config, privileges, &error) < 0)
        return fail(&error, EXIT_RUN_TIME);
    int code = start_python(
        config, &(struct py_options){.is_multiprocess = is_shared, .supervisor = supervisor});
    if (code != 0)
        return code;
    return serve(config, supervisor, poller);
}

static int open_listeners(struct listener_set *listeners, const struct config *config,
                          struct config_error *error)
{
    if (reexec_predecessor() != NULL)
        return listener_take_over(listeners, reexec_predecessor(), error);
    return listener_open_all(listeners, config, error);
}

/* A worker that its manager did not need after all logs nothing. */
static void log_stopped(const struct supervisor *supervisor)
{
    if (!supervisor->link.is_managed || supervisor->is_serving_told)
        log_info("stopped", "stopped");
}

/* The thread and the sockets of the status. 0, or an exit code. */
static int start_control(const struct config *config, struct listener_set *status,
                         const struct supervisor *supervisor)
{
    struct config_error error;
    collector_init(config, py_interpreter_version(), supervisor->replacement.started_us);
    collector_resume(&supervisor->replacement.status);
    if (reexec_predecessor() != NULL)
        collector_resume_programs(reexec_predecessor()->programs,
                                  reexec_predecessor()->program_count);
    *status = (struct listener_set){0};
    if (!supervisor->link.is_managed && listener_open_status(status, config, &error) < 0)
        return fail(&error, EXIT_RUN_TIME);
    if (control_start(config, status, supervisor->link.is_managed ? CONTROL_WORKER : CONTROL_HOST) <
        0)
        return fail_run_time("control thread");
    return 0;
}

static int run_server(const struct config *config, const struct privileges *privileges)
{
    static struct listener_set listeners, status;
    static struct supervisor supervisor; /* until the process exits: signal handlers use it */
    static struct poller poller;
    struct config_error error;
    if (privileges_set_environment(config, privileges) < 0)
        return fail_run_time("environment");
    if (log_start_writer() < 0)
        return fail_run_time("log");
    process_raise_descriptors(config, reexec_predecessor() != NULL);
    /* From here on a signal stops the process in order, and no socket file is left behind. */
    if (supervisor_init(&supervisor, config) < 0)
        return fail_run_time("descriptors");
    signals_init(&supervisor);
    if (open_listeners(&listeners, config, &error) < 0)
        return fail(&error, config->listen.count == 0 ? EXIT_USAGE : EXIT_RUN_TIME);
    int code = start_control(config, &status, &supervisor);
    if (code != 0) {
        listener_close_all(&listeners);
        return code;
    }
    code = start_and_serve(config, privileges, &listeners, &supervisor, &poller);
    if (supervisor.lifecycle.reason == REASON_RETRY)
        collector_hand_over_programs(&supervisor.replacement.programs,
                                     &supervisor.replacement.program_count);
    replacement_run(&supervisor.replacement);
    bool is_unfinished_start = supervisor.lifecycle.reason == REASON_RETRY &&
                               atomic_load(&supervisor.replacement.is_exit_wanted);
    bool has_startup_failed = atomic_load(&supervisor.asked) == REASON_STARTUP;
    bool is_stuck = supervisor.lifecycle.reason == REASON_REQUEST_TIME;
    process_remove_pid_file(config);
    control_stop();
    listener_close_all(&status);
    if (code != EXIT_CLEAN) {
        if (has_startup_failed)
            code = EXIT_APPLICATION;
        if (is_unfinished_start) {
            log_stopped(&supervisor);
            code = EXIT_CLEAN; /* only finalizing was left out, as intended */
        }
        for (size_t i = 0; i < listeners.count; i++)
            listener_unlink(&listeners.items[i]);
        log_flush();
        _exit(code);
    }
    listener_close_all(&listeners);
    poller_clear(&poller);
    log_stopped(&supervisor);
    return has_startup_failed                ? EXIT_APPLICATION
           : supervisor.lifecycle.is_cut_off ? EXIT_RUN_TIME
           : is_stuck                        ? EXIT_RUN_TIME
                                             : EXIT_CLEAN;
}

/* A worker has a handover too: its manager's. */
static bool is_manager(const struct config *config)
{
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor != NULL)
        return predecessor->member_count > 0;
    return (config->processes > 1 || config->manager) && !is_plain_cgi(config);
}

static int run(char **argv, const struct command_line *line, const struct config *config)
{
    struct config_error error;
    if (config_check(config, &error) < 0)
        return fail(&error, config->file != NULL ? EXIT_CONFIG : EXIT_USAGE);
    if (line->command == COMMAND_CHECK)
        return run_check(config);
    if (reexec_predecessor() == NULL && config_check_scripts(config, &error) < 0)
        return fail(&error, EXIT_CONFIG);
    struct privileges privileges;
    if (privileges_find(config, reexec_predecessor() != NULL, &privileges, &error) < 0)
        return fail(&error, config->file != NULL ? EXIT_CONFIG : EXIT_USAGE);
    if (reexec_predecessor() != NULL)
        process_take_root_files(&reexec_predecessor()->root_files);
    log_sink_give_files(privileges.user.uid, privileges.gid);
    log_set_format(config->log_format);
    if (log_open(config->log_destination, config->log_level) < 0) {
        const char *why = own_file_refusal(errno);
        char place[PATH_MAX];
        config_describe_place(config, "log", "destination", place, sizeof(place));
        config_error_set(
            &error,
            "%s[log] destination \"%s\": %s: name a file that this user may write to, or stderr",
            place, config->log_destination, why != NULL ? why : config_error_describe(errno));
        return fail(&error, EXIT_CONFIG);
    }
    if (line->command == COMMAND_CALL)
        return run_once(line, config, &privileges);
    if (identity_init(config) < 0)
        return fail_run_time("the control socket's names");
    if (is_plain_cgi(config))
        return run_once(NULL, config, &privileges);
    if (reexec_predecessor() == NULL)
        python_update_warn();
    if (is_manager(config))
        return manager_run(argv, config);
    return run_server(config, &privileges);
}

int main(int argc, char **argv)
{
    (void)argc;
    process_open_standard();
    if (reexec_init(argv) < 0)
        return fail_run_time("can't remember how the process was started");
    const struct handover *predecessor = reexec_predecessor();
    sd_notify_init(predecessor != NULL && predecessor->worker.is_set);
    fork_init();
    process_ignore_signals();
    struct command_line line;
    struct config config;
    struct config_error error;
    if (config_init(&config, &error) < 0)
        return fail(&error, EXIT_RUN_TIME);
    if (request_seed_hash() < 0 || request_id_seed() < 0) {
        config_error_set(&error, "no random numbers: %s: is getrandom(2) not allowed here?",
                         config_error_describe(errno));
        return fail(&error, EXIT_RUN_TIME);
    }
    if (predecessor != NULL)
        config.kept =
            (struct config_kept){.is_set = true,
                                 .folder = predecessor->folder,
                                 .path = predecessor->file.path,
                                 .text = (const char *)predecessor->file.text.data,
                                 .bytes = predecessor->file.text.bytes,
                                 .environment = (const char *)predecessor->environment.text.data,
                                 .environment_bytes = predecessor->environment.text.bytes};
    int code = command_line_parse(argv, &line, &config, &error);
    if (code != COMMAND_LINE_OK) {
        if (config.reported == 0)
            fail(&error, (enum exit_code)code);
    } else if (line.command == COMMAND_VERSION)
        print_version();
    else if (line.command == COMMAND_HELP)
        command_line_print_help();
    else if (line.command == COMMAND_RELOAD)
        code = control_client_reload(line.status_file, &config.listen);
    else if (line.command == COMMAND_STATUS)
        code = control_client_status(line.status_file, &config.listen, line.format);
    else if (line.command == COMMAND_PRINT_INI)
        settings_table_print("ini");
    else
        code = run(argv, &line, &config);
    command_line_clear(&line);
    config_clear(&config);
    log_close();
    return code;
}
