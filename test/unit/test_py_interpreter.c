/* Starting and finalizing Python, each time in a process of its own: this program again, from a
 * folder that has a package beside it, as the host has.
 *
 * links: py_interpreter.c config_error.c */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "unit.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build_facts.h"
#include "embed/py_environ.h"
#include "embed/py_programs.h"
#include "embed/py_stacks.h"
#include "embed/py_support.h"
#include "embed/py_task.h"
#include "embed/py_wsgi.h"
#include "interpreter/py_interpreter.h"
#include "interpreter/py_module.h"

struct py_settings py_settings;

static char told[256];
static PyObject *host;
static bool fails_early;
static struct supervisor *const supervisor = (struct supervisor *)told; /* nobody looks into it */

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
}

int py_wsgi_init(void)
{
    if (fails_early)
        PyErr_SetString(PyExc_MemoryError, "early");
    return fails_early ? -1 : 0;
}

int py_module_import_host(void)
{
    host = PyImport_ImportModule("fcgihost.host.entry");
    return host != NULL ? 0 : -1;
}

int py_environ_init(bool is_multithread, bool is_multiprocess, bool is_run_once)
{
    tell(is_multithread ? "threads" : "one");
    tell(is_multiprocess ? "processes" : "alone");
    tell(is_run_once ? "once" : "often");
    return 0;
}

PyObject *py_module_call_with(const char *function, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    PyObject *arguments = Py_VaBuildValue(format, values);
    va_end(values);
    PyObject *callable = PyObject_GetAttrString(host, function);
    PyObject *result = callable != NULL ? PyObject_CallObject(callable, arguments) : NULL;
    Py_XDECREF(callable);
    Py_XDECREF(arguments);
    return result;
}

void py_exception_print(const char *what)
{
    tell(what);
    PyErr_Clear();
}

void py_task_open(void)
{
    tell("tasks");
}

int py_stacks_open(void)
{
    return 42;
}

void py_stacks_close(void)
{
    tell(Py_IsInitialized() ? "stacks" : "late");
}

void py_programs_clear(void)
{
    tell("programs");
}

void py_environ_clear(void)
{
    tell("environ");
}

void py_module_clear(void)
{
    tell("module");
    Py_CLEAR(host);
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_fcgihost", .m_size = -1};

PyObject *py_module_init(void)
{
    return PyModule_Create(&definition);
}

void py_module_set_supervisor(struct supervisor *set)
{
    tell(set == supervisor ? "supervisor" : "none");
}

/* In the process of its own */

static struct config config = {.threads = 4, .bytecode = true};
static struct py_options options;
static struct config_error error;

/* Ends the process if that is not so, with the line. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s; %s; %s\n", __LINE__, #condition, told, error.message);   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static bool is_true(const char *expression)
{
    PyObject *names = PyModule_GetDict(PyImport_AddModule("__main__"));
    PyRun_SimpleString("import sys, _fcgihost, fcgihost.host.entry as entry");
    PyObject *value = PyRun_String(expression, Py_eval_input, names, names);
    if (value == NULL)
        PyErr_Print();
    bool is = value == Py_True;
    Py_XDECREF(value);
    return is;
}

static void start(void)
{
    CHECK(py_interpreter_start(&config, &options, &error) == 0);
    CHECK(PyGILState_Check());
}

static void child_missing(void)
{
    CHECK(py_interpreter_start(&config, &options, &error) == -1);
    CHECK(strstr(error.message, "the Python package fcgihost is missing: put it into") != NULL);
    CHECK(!Py_IsInitialized());
}

static void child_starts(void)
{
    static char *paths[] = {(char *)"/first", (char *)"/sec\xff"};
    char current[PATH_MAX], expression[PATH_MAX + 128];
    config.path = (struct config_list){.items = paths, .count = 2};
    config.add_current_dir = true;
    config.switch_interval_ms = 1500;
    config.show_errors = true;
    config.request_time_ms = 7;
    start();
    CHECK(strcmp(told, "none threads alone often tasks ") == 0);
    snprintf(expression, sizeof(expression), "sys.path[:3] == ['%s', '/first', '/sec\\udcff']",
             getcwd(current, sizeof(current)));
    CHECK(is_true(expression));
    CHECK(is_true("entry.__file__ == sys.path[-1] + '/fcgihost/host/entry.py'"));
    CHECK(is_true("sys.flags.isolated == 1 and sys.flags.utf8_mode == 1"));
    CHECK(is_true("sys.argv == ['fcgihost'] and not sys.dont_write_bytecode"));
    CHECK(is_true("sys.executable == '" FCGIHOST_PYTHON "'"));
    snprintf(expression, sizeof(expression), "entry.called == (1.5, %d, %d, 42)",
             PY_INTERRUPT_SIGNAL, PY_STACKS_SIGNAL);
    CHECK(is_true(expression));
    CHECK(py_settings.is_multithreaded && py_settings.is_traceback_shown);
    CHECK(py_settings.request_time_ms == 0); /* there is nobody who keeps it */
    snprintf(expression, sizeof(expression), "sys.version.split()[0] == '%s'",
             py_interpreter_version());
    CHECK(is_true(expression));
}

static void child_serves(void)
{
    options = (struct py_options){.is_multiprocess = true, .supervisor = supervisor};
    config.bytecode = false;
    config.request_time_ms = 7;
    start();
    CHECK(strcmp(told, "supervisor threads processes often tasks ") == 0);
    CHECK(py_settings.request_time_ms == 7);
    CHECK(is_true("sys.dont_write_bytecode"));
}

static void child_serves_once(void)
{
    options.is_run_once = true;
    start();
    CHECK(strcmp(told, "none one alone once tasks ") == 0);
    CHECK(!py_settings.is_multithreaded);
}

static void child_is_not_shadowed(void)
{
    static char *paths[1];
    paths[0] = getenv("SHADOW"); /* a folder with another fcgihost */
    config.path = (struct config_list){.items = paths, .count = 1};
    start();
    CHECK(is_true("'shadow' not in entry.__file__ and 'shadow' in sys.path[0]"));
}

static void child_fails(void)
{
    fails_early = getenv("EARLY") != NULL;
    CHECK(py_interpreter_start(&config, &options, &error) == -1);
    CHECK(strstr(error.message, "can't be used: the traceback says why") != NULL);
    CHECK(strstr(told, "tasks") == NULL);
}

static void child_ends(void)
{
    start();
    told[0] = '\0';
    CHECK(py_interpreter_end(2500, true, false));
    CHECK(is_true("entry.ended == (2.5, True, False)"));
    PyRun_SimpleString("entry.answer = False");
    CHECK(!py_interpreter_end(0, false, true));
    CHECK(is_true("entry.ended == (0.0, False, True)"));
    PyRun_SimpleString("entry.end = None");
    CHECK(!py_interpreter_end(0, false, false));
    CHECK(strcmp(told, "stopping: cleaning up failed ") == 0);
    CHECK(PyErr_Occurred() == NULL && PyGILState_Check());
}

static void child_stops(void)
{
    start();
    told[0] = '\0';
    py_interpreter_stop();
    CHECK(!Py_IsInitialized());
    CHECK(strcmp(told, "programs stacks environ module ") == 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} children[] = {
    {"missing", child_missing}, {"starts", child_starts},
    {"serves", child_serves},   {"serves_once", child_serves_once},
    {"fails", child_fails},     {"is_not_shadowed", child_is_not_shadowed},
    {"ends", child_ends},       {"stops", child_stops},
};

/* In the test */

static char own[PATH_MAX], folder[PATH_MAX], program[PATH_MAX + 16];

static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *const folders[] = {
    "bin", "python", "python/fcgihost", "python/fcgihost/host", "shadow", "shadow/fcgihost"};
static const char *const files[] = {"bin/fcgihost", "python/fcgihost/__init__.py",
                                    "python/fcgihost/host/__init__.py",
                                    "python/fcgihost/host/entry.py", "shadow/fcgihost/__init__.py"};

static int set_up(void **state)
{
    (void)state;
    char path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[n > 0 ? n : 0] = '\0';
    snprintf(folder, sizeof(folder), "%.*s/interpreter.XXXXXX", (int)(strrchr(own, '/') - own),
             own);
    if (mkdtemp(folder) == NULL)
        return -1;
    for (size_t i = 0; i < COUNT(folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, folders[i]);
        mkdir(path, 0755);
    }
    snprintf(program, sizeof(program), "%s/bin/fcgihost", folder);
    write_file("python/fcgihost/__init__.py", "");
    write_file("python/fcgihost/host/__init__.py", "");
    write_file("shadow/fcgihost/__init__.py", "raise SystemExit('shadowed')\n");
    write_file("python/fcgihost/host/entry.py", "answer = True\n"
                                                "def set_up(*arguments):\n"
                                                "    global called\n"
                                                "    called = arguments\n"
                                                "def end(*arguments):\n"
                                                "    global ended\n"
                                                "    ended = arguments\n"
                                                "    return answer\n");
    snprintf(path, sizeof(path), "%s/shadow", folder);
    setenv("SHADOW", path, 1);
    unsetenv("EARLY");
    return link(own, program);
}

static int tear_down(void **state)
{
    (void)state;
    char command[PATH_MAX + 64];
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(command, sizeof(command), "%s/%s", folder, files[i]);
        unlink(command);
    }
    static const char *const caches[] = {"python/fcgihost/__pycache__",
                                         "python/fcgihost/host/__pycache__"};
    static const char *const names[] = {"__init__", "entry"};
    for (size_t i = 0; i < 2 * COUNT(caches); i++) {
        snprintf(command, sizeof(command), "%s/%s/%s.cpython-%d%d.pyc", folder, caches[i / 2],
                 names[i % 2], PY_MAJOR_VERSION, PY_MINOR_VERSION);
        unlink(command);
    }
    for (size_t i = 0; i < COUNT(caches); i++) {
        snprintf(command, sizeof(command), "%s/%s", folder, caches[i]);
        rmdir(command);
    }
    for (size_t i = COUNT(folders); i > 0; i--) {
        snprintf(command, sizeof(command), "%s/%s", folder, folders[i - 1]);
        rmdir(command);
    }
    return rmdir(folder);
}

/* Runs the child of that name in a process of its own. */
static void run_program(const char *path, const char *child)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(path, "fcgihost", child, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_without_its_package_python_is_not_started(void **state)
{
    (void)state;
    if (access(FCGIHOST_DATADIR "/python/fcgihost/host/entry.py", R_OK) == 0)
        skip(); /* it is installed here */
    run_program(own, "missing");
}

static void test_a_start_is_isolated_and_the_package_the_last_on_the_path(void **state)
{
    (void)state;
    run_program(program, "starts");
}

static void test_what_the_process_is_like_is_passed_on(void **state)
{
    (void)state;
    run_program(program, "serves");
    run_program(program, "serves_once");
}

static void test_no_module_of_an_application_takes_the_packages_place(void **state)
{
    (void)state;
    run_program(program, "is_not_shadowed");
}

static void test_a_package_that_fails_is_no_start(void **state)
{
    (void)state;
    setenv("EARLY", "1", 1);
    run_program(program, "fails");
    unsetenv("EARLY");
    write_file("python/fcgihost/host/entry.py", "def set_up(*arguments): raise KeyError\n");
    run_program(program, "fails");
    write_file("python/fcgihost/host/entry.py", "raise KeyError\n");
    run_program(program, "fails");
}

static void test_the_end_is_clean_only_if_the_package_says_so(void **state)
{
    (void)state;
    run_program(program, "ends");
}

static void test_the_stop_releases_what_c_holds_and_finalizes(void **state)
{
    (void)state;
    run_program(program, "stops");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT(children); i++)
        if (strcmp(argv[1], children[i].name) == 0) {
            children[i].run();
            return 0;
        }
    const struct CMUnitTest tests[] = {
        TEST(test_without_its_package_python_is_not_started),
        TEST(test_a_start_is_isolated_and_the_package_the_last_on_the_path),
        TEST(test_what_the_process_is_like_is_passed_on),
        TEST(test_no_module_of_an_application_takes_the_packages_place),
        TEST(test_a_package_that_fails_is_no_start),
        TEST(test_the_end_is_clean_only_if_the_package_says_so),
        TEST(test_the_stop_releases_what_c_holds_and_finalizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
