/* Start-up: the imports and the application. */
#include "py_startup.h"

#include "py_support.h"
#include "supervisor.h"

static struct supervisor *the_supervisor;

static PyObject *decode(const char *text)
{
    return text != NULL ? PyUnicode_DecodeFSDefault(text) : Py_NewRef(Py_None);
}

static PyObject *list_imports(const struct config *config)
{
    PyObject *list = PyList_New((Py_ssize_t)config->imports.count);
    for (size_t i = 0; list != NULL && i < config->imports.count; i++) {
        PyObject *text = decode(config->imports.items[i]);
        if (text == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, text);
    }
    return list;
}

/* What startup.py wants to know. */
static PyObject *settings_new(const struct config *config)
{
    return Py_BuildValue("{s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:d,s:d}", "file", decode(config->file),
                         "handler", decode(config->handler), "imports", list_imports(config),
                         "wsgi", decode(config->wsgi), "script", decode(config->script), "callable",
                         decode(config->callable), "require", PyBool_FromLong(config->require),
                         "exits", PyBool_FromLong(config->on_failure == ON_FAILURE_EXIT),
                         "retry_delay", (double)config->retry_delay_ms / 1000, "retry_max_delay",
                         (double)config->retry_max_delay_ms / 1000);
}

static PyObject *on_loaded(PyObject *self, PyObject *application)
{
    (void)self;
    Py_XSETREF(py_application, Py_NewRef(application));
    supervisor_set_loaded(the_supervisor);
    Py_RETURN_NONE;
}

static PyMethodDef on_loaded_method = {"on_loaded", on_loaded, METH_O, NULL};

static PyObject *call(const char *function, const struct config *config, PyObject *callback)
{
    PyObject *arguments[] = {settings_new(config), callback};
    if (arguments[0] == NULL)
        return NULL;
    PyObject *result = py_module_call(function, arguments, callback != NULL ? 2 : 1);
    Py_DECREF(arguments[0]);
    return result;
}

bool py_startup_run(const struct config *config, struct supervisor *supervisor)
{
    the_supervisor = supervisor;
    PyObject *callback = PyCFunction_New(&on_loaded_method, NULL);
    PyObject *result = callback != NULL ? call("start_up", config, callback) : NULL;
    Py_XDECREF(callback);
    bool goes_on = result != NULL && PyObject_IsTrue(result) == 1;
    if (result == NULL)
        py_exception_print("start-up failed");
    Py_XDECREF(result);
    return goes_on;
}

enum py_startup_result py_startup_run_once(const struct config *config)
{
    PyObject *application;
    int is_fine;
    PyObject *result = call("start_up_once", config, NULL);
    if (result == NULL || !PyArg_ParseTuple(result, "Op", &application, &is_fine)) {
        py_exception_print("start-up failed");
        Py_XDECREF(result);
        return PY_STARTUP_FAILED;
    }
    if (application != Py_None)
        Py_XSETREF(py_application, Py_NewRef(application));
    Py_DECREF(result);
    return py_application == NULL ? PY_STARTUP_FAILED
           : is_fine              ? PY_STARTUP_FINE
                                  : PY_STARTUP_IMPERFECT;
}

void py_startup_describe(const struct config *config)
{
    PyObject *text = py_module_call("describe_application", &py_application, 1);
    const char *line = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    for (size_t i = 0; i < config->imports.count; i++)
        printf("import: %s\n", config->imports.items[i]);
    if (line != NULL)
        printf("application: %s (%s)\n", config_application(config), line);
    PyErr_Clear();
    Py_XDECREF(text);
}

void py_startup_clear(void)
{
    Py_CLEAR(py_application);
}
