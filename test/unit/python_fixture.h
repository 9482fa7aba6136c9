/* A bare interpreter for the tests of files that use Python: isolated, without site, and with a
 * module that stands for fcgihost.host.entry. The test's main thread holds the GIL. */
#ifndef FCGIHOST_TEST_PYTHON_FIXTURE_H
#define FCGIHOST_TEST_PYTHON_FIXTURE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "build_facts.h"

/* Allocations of Python's that fail. */

static struct {
    PyMemAllocatorEx own[3]; /* by PyMemAllocatorDomain */
    pthread_t thread;        /* whose fail */
    atomic_ulong fails_at;   /* that one from now on; 0: none */
    unsigned long failures;
    bool is_for_ever;      /* those behind it fail too */
    atomic_size_t largest; /* wanted so far */
} python_memory;

static inline bool python_must_fail(size_t n)
{
    if (n > python_memory.largest)
        python_memory.largest = n;
    if (python_memory.fails_at == 0 || !pthread_equal(python_memory.thread, pthread_self()))
        return false;
    if (python_memory.fails_at > 1) {
        python_memory.fails_at--;
        return false;
    }
    if (!python_memory.is_for_ever)
        python_memory.fails_at = 0;
    python_memory.failures++;
    return true;
}

static inline void *python_malloc(void *context, size_t n)
{
    PyMemAllocatorEx *own = context;
    return python_must_fail(n) ? NULL : own->malloc(own->ctx, n);
}

static inline void *python_calloc(void *context, size_t count, size_t n)
{
    PyMemAllocatorEx *own = context;
    return python_must_fail(count * n) ? NULL : own->calloc(own->ctx, count, n);
}

static inline void *python_realloc(void *context, void *block, size_t n)
{
    PyMemAllocatorEx *own = context;
    return python_must_fail(n) ? NULL : own->realloc(own->ctx, block, n);
}

static inline void python_free(void *context, void *block)
{
    PyMemAllocatorEx *own = context;
    own->free(own->ctx, block);
}

static inline void python_watch_memory(void)
{
    for (int domain = PYMEM_DOMAIN_RAW; domain <= PYMEM_DOMAIN_OBJ; domain++) {
        PyMemAllocatorEx *own = &python_memory.own[domain];
        PyMem_GetAllocator((PyMemAllocatorDomain)domain, own);
        PyMem_SetAllocator((PyMemAllocatorDomain)domain,
                           &(PyMemAllocatorEx){.ctx = own,
                                               .malloc = python_malloc,
                                               .calloc = python_calloc,
                                               .realloc = python_realloc,
                                               .free = python_free});
    }
}

/* The n-th allocation of the calling thread fails from now on. */
static inline void python_fail_allocation(unsigned long n, bool is_for_ever)
{
    python_memory.thread = pthread_self();
    python_memory.is_for_ever = is_for_ever;
    python_memory.failures = 0;
    python_memory.fails_at = n;
}

/* Did one fail? */
static inline bool python_end_failures(void)
{
    python_memory.fails_at = 0;
    return python_memory.failures > 0;
}

/* Running Python */

static PyObject *python_names; /* of __main__ */

static inline void python_print_and_fail(const char *source)
{
    PyErr_Print();
    fail_msg("this raised: %s", source);
}

static inline void python_run_in(PyObject *names, const char *source)
{
    PyObject *result = PyRun_String(source, Py_file_input, names, names);
    if (result == NULL)
        python_print_and_fail(source);
    Py_DECREF(result);
}

static inline void python_run(const char *source)
{
    python_run_in(python_names, source);
}

/* A new reference, or NULL with the exception set. */
static inline PyObject *python_try(const char *expression)
{
    return PyRun_String(expression, Py_eval_input, python_names, python_names);
}

static inline PyObject *python_eval(const char *expression)
{
    PyObject *result = python_try(expression);
    if (result == NULL)
        python_print_and_fail(expression);
    return result;
}

static inline void python_set(const char *name, PyObject *value)
{
    assert_int_equal(PyDict_SetItemString(python_names, name, value), 0);
}

static inline PyObject *python_get(const char *name)
{
    PyObject *borrowed_value = PyDict_GetItemString(python_names, name);
    assert_non_null(borrowed_value);
    return borrowed_value;
}

/* repr(expression) is that text. */
static inline void assert_python(const char *expression, const char *expected)
{
    PyObject *value = python_eval(expression);
    PyObject *text = PyObject_Repr(value);
    assert_non_null(text);
    assert_string_equal(PyUnicode_AsUTF8(text), expected);
    Py_DECREF(text);
    Py_DECREF(value);
}

/* An exception is set whose text contains that; clears it. */
static inline void assert_raised(const char *class, const char *text)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL)
        fail_msg("%s was not raised", class);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *shown = PyObject_Str(value);
    if (shown == NULL)
        python_print_and_fail(class);
    assert_string_equal(Py_TYPE(value)->tp_name, class);
    if (strstr(PyUnicode_AsUTF8(shown), text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", PyUnicode_AsUTF8(shown), text);
    Py_DECREF(shown);
    Py_XDECREF(traceback);
    Py_DECREF(value);
    Py_DECREF(type);
}

static inline void assert_raises(const char *expression, const char *class, const char *text)
{
    PyObject *value = python_try(expression);
    if (value != NULL)
        fail_msg("%s raised nothing", expression);
    assert_raised(class, text);
}

/* How many blocks Python has allocated: what is called 10,000 times must not add to them. */
static inline long python_blocks(void)
{
    PyGC_Collect();
    PyObject *count = python_eval("__import__('sys').getallocatedblocks()");
    long blocks = PyLong_AsLong(count);
    Py_DECREF(count);
    return blocks;
}

enum { PYTHON_TIMES = 10000, PYTHON_GROWTH_MAX = 1000 };

#define ASSERT_NO_GROWTH(statement)                                                                \
    do {                                                                                           \
        for (int time = 0; time < 100; time++)                                                     \
            statement;                                                                             \
        long blocks_before = python_blocks();                                                      \
        for (int time = 0; time < PYTHON_TIMES; time++)                                            \
            statement;                                                                             \
        long blocks_more = python_blocks() - blocks_before;                                        \
        if (blocks_more > PYTHON_GROWTH_MAX)                                                       \
            fail_msg("%ld blocks more after %d times", blocks_more, PYTHON_TIMES);                 \
    } while (0)

static PyObject *python_host; /* borrowed */

/* What C calls of the package, in the place of fcgihost.host.entry. */
static inline void python_use_host(const char *source)
{
    python_run("import sys, types\n"
               "for name in 'fcgihost', 'fcgihost.host', 'fcgihost.host.entry':\n"
               "    sys.modules[name] = types.ModuleType(name)\n"
               "host = sys.modules['fcgihost.host.entry']\n");
    python_host = python_get("host");
    python_run_in(PyModule_GetDict(python_host), source);
}

static inline int python_start(void)
{
    PyPreConfig preconfig;
    PyConfig config;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status))
        return -1;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.install_signal_handlers = 0;
    status = PyConfig_SetBytesString(&config, &config.program_name, FCGIHOST_PYTHON);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(&config, &config.executable, FCGIHOST_PYTHON);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "Python can't start: %s\n", status.err_msg);
        return -1;
    }
    python_names = PyModule_GetDict(PyImport_AddModule("__main__"));
    python_watch_memory();
    return 0;
}

static inline int python_stop(void)
{
    return Py_FinalizeEx();
}

#endif
