/* Calls of the package as py_support.c makes them, of python_fixture.h's host, and a log of the
 * exceptions that were printed. After python_fixture.h. */
#ifndef FCGIHOST_TEST_SUPPORT_FAKES_H
#define FCGIHOST_TEST_SUPPORT_FAKES_H

#include "unit.h"

#include "embed/py_support.h"

static char printed[1024]; /* "start-up failed: KeyError|" */

PyObject *py_module_call(const char *function, PyObject *const *arguments, size_t count)
{
    PyObject *callable = PyObject_GetAttrString(python_host, function);
    PyObject *result =
        callable != NULL ? PyObject_Vectorcall(callable, arguments, count, NULL) : NULL;
    Py_XDECREF(callable);
    return result;
}

PyObject *py_module_call_with(const char *function, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    PyObject *arguments = Py_VaBuildValue(format, values);
    va_end(values);
    PyObject *callable = PyObject_GetAttrString(python_host, function);
    PyObject *result =
        callable != NULL && arguments != NULL ? PyObject_CallObject(callable, arguments) : NULL;
    Py_XDECREF(callable);
    Py_XDECREF(arguments);
    return result;
}

PyObject *py_exception_take(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

void py_exception_restore(PyObject *exception)
{
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
}

void py_exception_print(const char *what)
{
    PyObject *exception = py_exception_take();
    size_t n = strlen(printed);
    snprintf(printed + n, sizeof(printed) - n, "%s: %s|", what,
             exception != NULL ? Py_TYPE(exception)->tp_name : "nothing");
    Py_XDECREF(exception);
}

static inline void assert_printed(const char *expected)
{
    assert_string_equal(printed, expected);
    printed[0] = '\0';
}

#endif
