/* Python's start and end, as each command needs them. */
#include "start/start_python.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/config_error.h"
#include "embed/py_gil.h"
#include "embed/py_task.h"
#include "interpreter/py_home.h"
#include "interpreter/py_signals.h"
#include "start/start_error.h"

#include <unistd.h>

enum { TASKS_MS = 500 /* for tasks of the supervisor, at least */ };

static uint64_t left_until(uint64_t deadline_ms)
{
    uint64_t now_ms = clock_ms();
    return deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

int start_python(const struct config *config, const struct py_options *options)
{
    struct config_error error;
    if (py_home_check(config, &error) < 0)
        return start_error_setting(&error, EXIT_CONFIG);
    if (py_interpreter_start(config, options, &error) < 0)
        return start_error(&error, EXIT_RUN_TIME);
    return 0;
}

bool start_python_finalize(uint64_t deadline_ms, bool is_stuck, bool is_retry)
{
    bool is_clean = py_interpreter_end(left_until(deadline_ms), is_stuck, is_retry);
    uint64_t left_ms = left_until(deadline_ms);
    py_gil_release();
    bool are_closed = py_task_close(left_ms > TASKS_MS ? left_ms : TASKS_MS);
    py_gil_take();
    if (!are_closed)
        log_error("stop-tasks-busy", "stopping: a thread of the host is still in Python: exiting "
                                     "without finalizing it");
    if (!is_clean || !are_closed || is_retry)
        return false;
    py_signals_close();
    py_interpreter_stop();
    return true;
}

int start_python_finish(const struct config *config, int code)
{
    if (!start_python_finalize(clock_ms() + config->cleanup_timeout_ms, false, false)) {
        log_flush();
        _exit(code != EXIT_CLEAN ? code : EXIT_RUN_TIME);
    }
    return code;
}
