/* Loading the application, and trying again until it works. */
#include "py_application.h"

#include "clock.h"
#include "py_interpreter.h"
#include "py_support.h"
#include "supervisor.h"

enum { FIRST_DELAY_MS = 1000, LONGEST_DELAY_MS = 60000, LOOK_MS = 250 };

static PyObject *call_loader(const struct config *config)
{
    bool is_script = config->script != NULL;
    PyObject *arguments[] = {PyBool_FromLong(is_script),
                             PyUnicode_DecodeFSDefault(is_script ? config->script : config->wsgi),
                             PyUnicode_DecodeFSDefault(config->callable)};
    PyObject *application = NULL;
    if (arguments[1] != NULL && arguments[2] != NULL)
        application = py_module_call("load_application", arguments, 3);
    py_leave_forked_child();
    for (int i = 0; i < 3; i++)
        Py_XDECREF(arguments[i]);
    return application;
}

bool py_application_load(const struct config *config)
{
    py_application = call_loader(config);
    if (py_application != NULL)
        return true;
    PyObject *exception = py_exception_take();
    PyObject *text = py_exception_format(exception);
    const char *traceback = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    Py_BEGIN_ALLOW_THREADS;
    log_error("the application %s can't be loaded\n%s",
              config->script != NULL ? config->script : config->wsgi,
              traceback != NULL ? traceback : "");
    Py_END_ALLOW_THREADS;
    PyErr_Clear();
    Py_XDECREF(text);
    Py_DECREF(exception);
    return false;
}

static bool has_changed(void)
{
    PyObject *result = py_module_call("has_changed", NULL, 0);
    bool is_true = result != NULL && PyObject_IsTrue(result) == 1;
    PyErr_Clear();
    Py_XDECREF(result);
    return is_true;
}

/* Until the next attempt is due. false: stop is set. */
static bool wait_for_attempt(uint64_t delay_ms, struct event *stop)
{
    uint64_t deadline_ms = clock_ms() + delay_ms;
    bool is_due = false, is_stopped = false;
    while (!is_due && !is_stopped) {
        py_interpreter_release_gil();
        is_stopped = event_wait(stop, LOOK_MS);
        py_interpreter_take_gil();
        is_due = clock_ms() >= deadline_ms || has_changed();
    }
    return !is_stopped;
}

void py_application_load_until(const struct config *config, struct event *is_loaded,
                               struct event *stop)
{
    uint64_t delay_ms = FIRST_DELAY_MS;
    unsigned attempt = 1;
    for (;;) {
        bool has_worked = py_application_load(config);
        supervisor_take_signals();
        if (has_worked)
            break;
        log_warning("attempt %u to load the application failed: the next one comes in %llu s, or "
                    "when a file of it changes; "
                    "requests get 503 until then",
                    attempt, (unsigned long long)delay_ms / 1000);
        if (!wait_for_attempt(delay_ms, stop))
            return;
        delay_ms = 2 * delay_ms < LONGEST_DELAY_MS ? 2 * delay_ms : LONGEST_DELAY_MS;
        attempt++;
    }
    if (attempt > 1)
        log_info("the application was loaded at attempt %u", attempt);
    event_set(is_loaded);
}

void py_application_describe(const struct config *config)
{
    PyObject *text = py_module_call("describe_application", &py_application, 1);
    const char *line = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    if (line != NULL)
        printf("application: %s (%s)\n", config->script != NULL ? config->script : config->wsgi,
               line);
    PyErr_Clear();
    Py_XDECREF(text);
}

void py_application_unload(void)
{
    Py_CLEAR(py_application);
}
