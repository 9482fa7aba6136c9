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

enum { TASKS_MS = 500 /* for tasks of the supervisor */ };

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

int start_python_finish(const struct config *config, int code)
{
    if (!start_python_finalize(clock_ms() + config->cleanup_timeout_ms, false, false)) {
        log_flush();
        _exit(code != EXIT_CLEAN ? code : EXIT_RUN_TIME);
    }
    return code;
}
