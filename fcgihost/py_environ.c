/* The environ dictionary of a request. */
#include "py_environ.h"

#include "meta_variables.h"

#include <string.h>

/* Parameter names repeat from request to request, and most of their values too. Both are kept as
 * Python strings, which saves making and hashing them. Guarded by the GIL. */
enum { CACHE_SLOTS = 512, CACHE_ENTRIES = 320, CACHED_VALUE_BYTES = 512 };

struct cached_param {
    uint32_t hash;
    PyObject *name; /* interned; NULL: the slot is free */
    PyObject *value;
};

static struct cached_param cache[CACHE_SLOTS];
static unsigned cache_count;

static PyObject *template; /* what every environ starts with */
static PyObject *key_input, *key_errors, *key_scheme, *http, *https;

static int set_template(const char *name, PyObject *value)
{
    if (value == NULL)
        return -1;
    int result = PyDict_SetItemString(template, name, value);
    Py_DECREF(value);
    return result;
}

int py_environ_init(bool is_multithread, bool is_multiprocess, bool is_run_once)
{
    template = PyDict_New();
    key_input = PyUnicode_InternFromString("wsgi.input");
    key_errors = PyUnicode_InternFromString("wsgi.errors");
    key_scheme = PyUnicode_InternFromString("wsgi.url_scheme");
    http = PyUnicode_InternFromString("http");
    https = PyUnicode_InternFromString("https");
    if (template == NULL || key_input == NULL || key_errors == NULL || key_scheme == NULL ||
        http == NULL || https == NULL)
        return -1;
    PyObject *host = PyImport_ImportModule("fcgihost._host");
    if (host == NULL)
        return -1;
    int result = set_template("wsgi.file_wrapper", PyObject_GetAttrString(host, "FileWrapper"));
    Py_DECREF(host);
    if (result < 0 || set_template("wsgi.version", Py_BuildValue("(ii)", 1, 0)) < 0 ||
        set_template("wsgi.multithread", PyBool_FromLong(is_multithread)) < 0 ||
        set_template("wsgi.multiprocess", PyBool_FromLong(is_multiprocess)) < 0 ||
        set_template("wsgi.run_once", PyBool_FromLong(is_run_once)) < 0 ||
        set_template("wsgi.input_terminated", PyBool_FromLong(1)) < 0)
        return -1;
    return 0;
}

void py_environ_clear(void)
{
    for (unsigned i = 0; i < CACHE_SLOTS; i++) {
        Py_CLEAR(cache[i].name);
        Py_CLEAR(cache[i].value);
    }
    cache_count = 0;
    Py_CLEAR(template);
    Py_CLEAR(key_input);
    Py_CLEAR(key_errors);
    Py_CLEAR(key_scheme);
    Py_CLEAR(http);
    Py_CLEAR(https);
}

static bool is_same(PyObject *text, const char *bytes, size_t n)
{
    return (size_t)PyUnicode_GET_LENGTH(text) == n &&
           memcmp(PyUnicode_1BYTE_DATA(text), bytes, n) == 0;
}

/* The slot of a name, made if there is room. NULL: no room, or an exception is set. */
static struct cached_param *find_slot(const struct param *param)
{
    unsigned i = param->hash % CACHE_SLOTS;
    for (; cache[i].name != NULL; i = (i + 1) % CACHE_SLOTS)
        if (cache[i].hash == param->hash && is_same(cache[i].name, param->name, param->name_bytes))
            return &cache[i];
    if (cache_count == CACHE_ENTRIES)
        return NULL;
    PyObject *name = PyUnicode_DecodeLatin1(param->name, (Py_ssize_t)param->name_bytes, NULL);
    if (name == NULL)
        return NULL;
    PyUnicode_InternInPlace(&name);
    cache[i] = (struct cached_param){.hash = param->hash, .name = name};
    cache_count++;
    return &cache[i];
}

static int set_uncached(PyObject *environ, const struct param *param)
{
    PyObject *name = PyUnicode_DecodeLatin1(param->name, (Py_ssize_t)param->name_bytes, NULL);
    PyObject *value = PyUnicode_DecodeLatin1(param->value, (Py_ssize_t)param->value_bytes, NULL);
    int result = name != NULL && value != NULL ? PyDict_SetItem(environ, name, value) : -1;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return result;
}

static int set_param(PyObject *environ, const struct param *param)
{
    struct cached_param *cached = find_slot(param);
    if (cached == NULL)
        return PyErr_Occurred() ? -1 : set_uncached(environ, param);
    if (cached->value != NULL && is_same(cached->value, param->value, param->value_bytes))
        return PyDict_SetItem(environ, cached->name, cached->value);
    PyObject *value = PyUnicode_DecodeLatin1(param->value, (Py_ssize_t)param->value_bytes, NULL);
    if (value == NULL)
        return -1;
    int result = PyDict_SetItem(environ, cached->name, value);
    if (param->value_bytes <= CACHED_VALUE_BYTES)
        Py_XSETREF(cached->value, value);
    else
        Py_DECREF(value);
    return result;
}

PyObject *py_environ_new(const struct request *request, PyObject *input, PyObject *errors)
{
    PyObject *environ = PyDict_Copy(template);
    if (environ == NULL)
        return NULL;
    for (size_t i = 0; i < request->param_count; i++) {
        const struct param *param = &request->params[i];
        bool is_ours = strncmp(param->name, "wsgi.", 5) == 0 ||
                       strncmp(param->name, "fcgihost.", 9) == 0; /* never to be had from outside */
        if (!param->is_dropped && !is_ours && set_param(environ, param) < 0)
            goto fail;
    }
    PyObject *scheme = meta_url_scheme(request)[4] == 's' ? https : http;
    if (PyDict_SetItem(environ, key_scheme, scheme) < 0 ||
        PyDict_SetItem(environ, key_input, input) < 0 ||
        PyDict_SetItem(environ, key_errors, errors) < 0)
        goto fail;
    return environ;
fail:
    Py_DECREF(environ);
    return NULL;
}
