/* The one interpreter of the process: configures, starts and finalizes it. */
#include "interpreter/py_interpreter.h"

#include "build_facts.h"
#include "embed/py_environ.h"
#include "embed/py_programs.h"
#include "embed/py_stacks.h"
#include "embed/py_task.h"
#include "embed/py_wsgi.h"
#include "interpreter/py_module.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *py_interpreter_version(void)
{
    static char version[32];
    snprintf(version, sizeof(version), "%.*s", (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
    return version;
}

/* Finds the folder of the Python package: beside the program in the build tree, or where it was
 * installed. 0, or -1 with errno: 0 if it is in none of them. */
static int find_package(char *folder, size_t folder_bytes)
{
    static const char *const below[] = {"/../python", "/../../python", "/../share/fcgihost/python"};
    char program[PATH_MAX], marker[PATH_MAX + 64];
    int error = 0;
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n < 0)
        return -1;
    program[n] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; i <= sizeof(below) / sizeof(*below); i++) {
        bool is_relative = i < sizeof(below) / sizeof(*below);
        snprintf(marker, sizeof(marker), "%s%s", is_relative ? program : FCGIHOST_DATADIR,
                 is_relative ? below[i] : "/python");
        char *resolved = realpath(marker, NULL);
        if (resolved == NULL) {
            error = errno != ENOENT && errno != ENOTDIR && error == 0 ? errno : error;
            continue;
        }
        snprintf(marker, sizeof(marker), "%.4000s/fcgihost/host/entry.py", resolved);
        bool is_there = access(marker, R_OK) == 0;
        error = !is_there && errno != ENOENT && error == 0 ? errno : error;
        if (is_there)
            snprintf(folder, folder_bytes, "%s", resolved);
        free(resolved);
        if (is_there)
            return 0;
    }
    errno = error;
    return -1;
}

static PyStatus configure(PyConfig *py, const struct config *config)
{
    char program[PATH_MAX];
    static char name[] = "fcgihost";
    char *argv[] = {name};
    PyConfig_InitIsolatedConfig(py);
    py->install_signal_handlers = 0;
    py->write_bytecode = config->bytecode;
    snprintf(program, sizeof(program), "%s%s",
             config->home != NULL ? config->home : FCGIHOST_PYTHON,
             config->home != NULL ? "/bin/python3" : "");
    PyStatus status = PyConfig_SetBytesString(py, &py->program_name, program);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(py, &py->executable, program);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesArgv(py, 1, argv);
    return status;
}

static int initialise(const struct config *config, struct config_error *error)
{
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    /* Servers are usually started in the C locale, which says nothing of the encoding of file
     * names: it is UTF-8. */
    preconfig.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&preconfig);
    PyConfig py;
    if (!PyStatus_Exception(status)) {
        status = configure(&py, config);
        if (!PyStatus_Exception(status))
            status = Py_InitializeFromConfig(&py);
        PyConfig_Clear(&py);
    }
    if (!PyStatus_Exception(status))
        return 0;
    snprintf(error->message, sizeof(error->message), "Python can't start: %s (%s)", status.err_msg,
             FCGIHOST_PYTHON);
    return -1;
}

static int insert_path(PyObject *path, Py_ssize_t index, const char *folder)
{
    PyObject *text = PyUnicode_DecodeFSDefault(folder);
    int result = text != NULL ? PyList_Insert(path, index, text) : -1;
    Py_XDECREF(text);
    return result;
}

/* The package is last on sys.path but imported first, so that no module of an application can take
 * its place. */
static int import_package(const char *folder, const struct config *config)
{
    PyObject *path = PySys_GetObject("path");
    if (path == NULL || insert_path(path, PyList_GET_SIZE(path), folder) < 0 ||
        py_module_import_host() < 0)
        return -1;
    for (size_t i = config->path.count; i > 0; i--)
        if (insert_path(path, 0, config->path.items[i - 1]) < 0)
            return -1;
    char current[PATH_MAX];
    if (config->add_current_dir && getcwd(current, sizeof(current)) != NULL &&
        insert_path(path, 0, current) < 0)
        return -1;
    return 0;
}

static int set_up(const char *folder, const struct config *config, const struct py_options *options,
                  int stacks_fd)
{
    if (py_wsgi_init() < 0 || import_package(folder, config) < 0 ||
        py_environ_init(config->threads > 1 && !options->is_run_once, options->is_multiprocess,
                        options->is_run_once) < 0)
        return -1;
    PyObject *result =
        py_module_call_with("set_up", "diii", (double)config->switch_interval_ms / 1000,
                            PY_INTERRUPT_SIGNAL, PY_STACKS_SIGNAL, stacks_fd);
    Py_XDECREF(result);
    if (result == NULL)
        return -1;
    py_task_open();
    return 0;
}

int py_interpreter_start(const struct config *config, const struct py_options *options,
                         struct config_error *error)
{
    char folder[PATH_MAX];
    if (find_package(folder, sizeof(folder)) < 0) {
        snprintf(error->message, sizeof(error->message),
                 "the Python package fcgihost %s%s: put it into %s/python (make install) or "
                 "beside the program, where this user can read it",
                 errno != 0 ? "can't be found: " : "is missing",
                 errno != 0 ? config_error_describe(errno) : "", FCGIHOST_DATADIR);
        return -1;
    }
    py_settings = (struct py_settings){
        .is_front_logged = config->log_front,
        .is_traceback_shown = config->show_errors,
        .is_multithreaded = config->threads > 1 && !options->is_run_once,
        .request_time_ms = options->supervisor != NULL ? config->request_time_ms : 0};
    py_module_set_supervisor(options->supervisor);
    int stacks_fd = py_stacks_open();
    if (stacks_fd < 0 || PyImport_AppendInittab("_fcgihost", py_module_init) < 0) {
        snprintf(error->message, sizeof(error->message), "Python can't start: %s",
                 config_error_describe(stacks_fd < 0 ? errno : ENOMEM));
        return -1;
    }
    if (initialise(config, error) < 0)
        return -1;
    if (set_up(folder, config, options, stacks_fd) < 0) {
        PyErr_Print();
        snprintf(error->message, sizeof(error->message),
                 "the Python package in %.500s can't be used: the traceback says why", folder);
        return -1;
    }
    return 0;
}

bool py_interpreter_end(uint64_t timeout_ms, bool is_stuck, bool is_afresh)
{
    PyObject *result = py_module_call_with("end", "dNN", (double)timeout_ms / 1000,
                                           PyBool_FromLong(is_stuck), PyBool_FromLong(is_afresh));
    bool is_clean = result != NULL && PyObject_IsTrue(result) == 1;
    if (result == NULL)
        py_exception_print("stopping: cleaning up failed");
    Py_XDECREF(result);
    return is_clean;
}

void py_interpreter_stop(void)
{
    py_programs_clear();
    py_stacks_close();
    py_environ_clear();
    py_module_clear();
    Py_FinalizeEx();
}
