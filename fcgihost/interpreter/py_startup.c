/* Start-up: the imports and the application. */
#include "interpreter/py_startup.h"

#include "config/config_application.h"
#include "embed/py_programs.h"
#include "embed/py_support.h"
#include "http/route.h"
#include "life/reexec.h"
#include "life/supervisor.h"

static struct supervisor *the_supervisor;

static PyObject *decode(const char *text)
{
    return text != NULL ? PyUnicode_DecodeFSDefault(text) : Py_NewRef(Py_None);
}

static PyObject *list_texts(const struct config_list *texts)
{
    PyObject *list = PyList_New((Py_ssize_t)texts->count);
    for (size_t i = 0; list != NULL && i < texts->count; i++) {
        PyObject *text = decode(texts->items[i]);
        if (text == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, text);
    }
    return list;
}

static PyObject *list_applications(const struct config *config)
{
    PyObject *list = PyList_New((Py_ssize_t)config->application_count);
    for (size_t i = 0; list != NULL && i < config->application_count; i++) {
        const struct config_application *application = &config->applications[i];
        PyObject *item = Py_BuildValue(
            "{s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "name", decode(application->name), "wsgi",
            decode(application->wsgi), "handler", decode(application->handler), "script",
            decode(application->script), "callable", decode(application->callable), "script_root",
            decode(application->script_root), "extensions", decode(application->extensions),
            "mount", decode(application->mount), "authorizer", decode(application->authorizer),
            "filter", decode(application->filter));
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

/* The settings that fcgihost/host/startup.py needs, as a dict. */
static PyObject *settings_new(const struct config *config)
{
    static const char *const modes[] = {"off", "script", "process"};
    return Py_BuildValue(
        "{s:N,s:N,s:N,s:N,s:N,s:d,s:d,s:s,s:d,s:N}", "file", decode(config->file), "applications",
        list_applications(config), "imports", list_texts(&config->imports), "require",
        PyBool_FromLong(config->require), "exits",
        PyBool_FromLong(config->on_failure == ON_FAILURE_EXIT), "retry_delay",
        (double)config->retry_delay_ms / 1000, "retry_max_delay",
        (double)config->retry_max_delay_ms / 1000, "reload", modes[config->reload_mode], "interval",
        (double)config->reload_interval_ms / 1000, "watch", list_texts(&config->reload_watch));
}

static PyObject *on_loaded(PyObject *self, PyObject *arguments)
{
    unsigned long application;
    PyObject *loaded;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "kO", &application, &loaded) ||
        py_programs_put(application, loaded) < 0)
        return NULL;
    readiness_add(&the_supervisor->readiness, (unsigned)application);
    Py_RETURN_NONE;
}

static PyMethodDef on_loaded_method = {"on_loaded", on_loaded, METH_VARARGS, NULL};

/* What the failed start of the program before this one returned; None at a first start. */
static PyObject *before_new(void)
{
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor == NULL || !predecessor->is_start_again)
        return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)predecessor->startup.data,
                                     (Py_ssize_t)predecessor->startup.bytes);
}

/* Steals callback and before, either of which may be NULL with an exception set. */
static PyObject *start_up(const struct config *config, PyObject *callback, PyObject *before)
{
    PyObject *arguments[] = {settings_new(config), callback, before};
    bool is_whole = arguments[0] != NULL && callback != NULL && before != NULL;
    PyObject *result = is_whole ? py_module_call("start_up", arguments, 3) : NULL;
    Py_XDECREF(arguments[0]);
    Py_XDECREF(callback);
    Py_XDECREF(before);
    return result;
}

void py_startup_run(const struct config *config, struct supervisor *supervisor)
{
    the_supervisor = supervisor;
    PyObject *result = start_up(config, PyCFunction_New(&on_loaded_method, NULL), before_new());
    if (result == NULL) {
        py_exception_print("start-up failed");
        supervisor_ask(supervisor, REASON_STARTUP);
    } else if (result == Py_False) {
        supervisor_ask(supervisor, REASON_STARTUP);
    } else if (PyBytes_Check(result)) {
        if (supervisor_ask_retry(supervisor, PyBytes_AS_STRING(result),
                                 (size_t)PyBytes_GET_SIZE(result)) < 0)
            supervisor_ask(supervisor, REASON_STARTUP);
    }
    Py_XDECREF(result);
}

/* loaded: a list of what py_programs_put takes, None for what failed. 1, 0 if something failed, or
 * -1 with an exception set. */
static int keep_all(PyObject *loaded)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(loaded); i++) {
        PyObject *item = PyList_GET_ITEM(loaded, i);
        if (item == Py_None)
            return 0;
        if (py_programs_put((unsigned long)i, item) < 0)
            return -1;
    }
    return 1;
}

enum py_startup_result py_startup_run_once(const struct config *config)
{
    PyObject *loaded;
    int is_fine, is_whole = -1;
    PyObject *settings = settings_new(config);
    PyObject *result = settings != NULL ? py_module_call("start_up_once", &settings, 1) : NULL;
    Py_XDECREF(settings);
    if (result != NULL && PyArg_ParseTuple(result, "O!p", &PyList_Type, &loaded, &is_fine))
        is_whole = keep_all(loaded);
    Py_XDECREF(result);
    if (is_whole < 0)
        py_exception_print("start-up failed");
    return is_whole <= 0 ? PY_STARTUP_FAILED : is_fine ? PY_STARTUP_FINE : PY_STARTUP_IMPERFECT;
}

static void describe(const char *role, const char *text, PyObject *program)
{
    PyObject *description = py_module_call("describe_application", &program, 1);
    const char *line = description != NULL ? PyUnicode_AsUTF8(description) : NULL;
    printf("%s: %s%s%s%s\n", role, text, line != NULL ? " (" : "", line != NULL ? line : "",
           line != NULL ? ")" : "");
    PyErr_Clear();
    Py_XDECREF(description);
}

void py_startup_describe(const struct config *config)
{
    for (size_t i = 0; i < config->imports.count; i++)
        printf("import: %s\n", config->imports.items[i]);
    for (size_t i = 0; i < config->application_count; i++) {
        const struct config_application *application = &config->applications[i];
        if (config_responder(application) != NULL)
            describe("application", config_responder(application),
                     py_programs_get(i, ROLE_RESPONDER));
        if (application->authorizer != NULL)
            describe("authorizer", application->authorizer, py_programs_get(i, ROLE_AUTHORIZER));
        if (application->filter != NULL)
            describe("filter", application->filter, py_programs_get(i, ROLE_FILTER));
    }
}
