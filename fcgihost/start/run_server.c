/* The order in which a process that serves starts and stops. */
#include "start/run_server.h"

#include "base/clock.h"
#include "base/log.h"
#include "build_facts.h"
#include "config/config_error.h"
#include "connection/poller.h"
#include "embed/py_gil.h"
#include "interpreter/py_interpreter.h"
#include "interpreter/py_signals.h"
#include "interpreter/py_startup.h"
#include "life/process.h"
#include "life/reexec.h"
#include "life/signals.h"
#include "life/supervisor.h"
#include "net/listener_set.h"
#include "protocol/libfcgi_os.h"
#include "serve/worker_pool.h"
#include "start/start_error.h"
#include "start/start_python.h"
#include "status/collector.h"
#include "status/control.h"

#include <errno.h>
#include <malloc.h>
#include <unistd.h>

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
    bool is_finalized =
        start_python_finalize(now_ms + config->cleanup_timeout_ms, is_stuck, is_retry);
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
        return start_error_errno("worker threads");
    if (supervisor_start(supervisor, poller, &pool) < 0)
        return start_error_errno("supervisor thread");
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
    if (errno == ENOMEM)
        return start_error_errno("libfcgi");
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
        return start_error_setting(&error, EXIT_RUN_TIME);
    if (libfcgi_os_init() < 0)
        return fail_library();
    if (poller_init(poller, listeners, config, supervisor->event_fd) < 0)
        return start_error_errno("descriptors");
    manager_link_prepare(&supervisor->link, poller);
    collector_attach_poller(poller);
    if (reexec_predecessor() != NULL)
        poller_take_over(poller, reexec_predecessor());
    bool is_shared = listeners->items[0].is_inherited;
    if (process_become(config, privileges, &error) < 0)
        return start_error_setting(&error, EXIT_RUN_TIME);
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
    collector_init(config, py_interpreter_version(), supervisor->replacement.started_us,
                   supervisor->replacement.started_ms);
    collector_resume(&supervisor->replacement.status);
    if (reexec_predecessor() != NULL)
        collector_resume_programs(reexec_predecessor()->programs,
                                  reexec_predecessor()->program_count);
    *status = (struct listener_set){0};
    if (!supervisor->link.is_managed && listener_open_status(status, config, &error) < 0)
        return start_error_setting(&error, EXIT_RUN_TIME);
    if (control_start(config, status, supervisor->link.is_managed ? CONTROL_WORKER : CONTROL_HOST) <
        0) {
        int code = start_error_errno("control thread");
        listener_close_all(status);
        return code;
    }
    return 0;
}

int run_server(const struct config *config, const struct privileges *privileges)
{
    static struct listener_set listeners, status;
    static struct supervisor supervisor; /* until the process exits: signal handlers use it */
    static struct poller poller;
    struct config_error error;
    if (privileges_set_environment(config, privileges) < 0)
        return start_error_errno("environment");
    if (log_start_writer() < 0)
        return start_error_errno("log");
    process_raise_descriptors(config, reexec_predecessor() != NULL);
    /* From here on a signal stops the process in order, and no socket file is left behind. */
    if (supervisor_init(&supervisor, config) < 0)
        return start_error_errno("descriptors");
    signals_init(&supervisor);
    if (open_listeners(&listeners, config, &error) < 0)
        return start_error_setting(&error, config->listen.count == 0 ? EXIT_USAGE : EXIT_RUN_TIME);
    int code = start_control(config, &status, &supervisor);
    if (code != 0) {
        listener_close_all(&listeners);
        return code;
    }
    code = start_and_serve(config, privileges, &listeners, &supervisor, &poller);
    if (supervisor.lifecycle.reason == REASON_RETRY)
        collector_hand_over_programs(&supervisor.replacement.programs,
                                     &supervisor.replacement.program_count);
    bool is_lost = replacement_run(&supervisor.replacement) < 0; /* nobody serves in its place */
    bool is_unfinished_start = supervisor.lifecycle.reason == REASON_RETRY &&
                               atomic_load(&supervisor.replacement.is_exit_wanted);
    bool has_startup_failed = atomic_load(&supervisor.asked) == REASON_STARTUP;
    bool is_stuck = supervisor.lifecycle.reason == REASON_REQUEST_TIME ||
                    supervisor.lifecycle.reason == REASON_DESCRIPTORS;
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
           : is_lost                         ? EXIT_RUN_TIME
           : supervisor.lifecycle.is_cut_off ? EXIT_RUN_TIME
           : is_stuck                        ? EXIT_RUN_TIME
                                             : EXIT_CLEAN;
}
