/* The callables that serve requests. */
#include "embed/py_programs.h"

#include "config/config.h"
#include "embed/py_support.h"
#include "http/route.h"

#include <stdatomic.h>

static PyObject *programs[CONFIG_APPLICATIONS_MAX][ROUTE_ROLES];
static PyObject *holds[CONFIG_APPLICATIONS_MAX];
static atomic_uint generation = 1;

int py_programs_put(unsigned long application, PyObject *loaded)
{
    if (application >= CONFIG_APPLICATIONS_MAX || !PyTuple_Check(loaded) ||
        PyTuple_GET_SIZE(loaded) != ROUTE_ROLES - 1) {
        PyErr_SetString(PyExc_TypeError, "loaded must be a tuple (responder, authorizer, filter)");
        return -1;
    }
    for (unsigned role = ROLE_RESPONDER; role < ROUTE_ROLES; role++) {
        PyObject *program = PyTuple_GET_ITEM(loaded, role - 1);
        Py_XSETREF(programs[application][role], Py_NewRef(program));
    }
    return 0;
}

/* What is replaced is put into old, a list: to free it here could run code that gives up the GIL.
 */
static int replace(PyObject **place, PyObject *value, PyObject *old)
{
    if (*place != NULL && PyList_Append(old, *place) < 0)
        return -1;
    Py_XSETREF(*place, Py_NewRef(value));
    return 0;
}

static int switch_one(PyObject *change, PyObject *hold, PyObject *old)
{
    unsigned long application;
    PyObject *responder;
    if (!PyTuple_Check(change)) {
        PyErr_SetString(PyExc_TypeError, "each change must be a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(change, "kO", &application, &responder))
        return -1;
    if (application >= CONFIG_APPLICATIONS_MAX) {
        PyErr_SetString(PyExc_ValueError, "no such application");
        return -1;
    }
    if (responder != Py_None && replace(&programs[application][ROLE_RESPONDER], responder, old) < 0)
        return -1;
    return replace(&holds[application], hold, old);
}

int py_programs_switch(PyObject *changes, PyObject *hold, unsigned number)
{
    PyObject *old = PyList_New(0);
    int result = old != NULL ? 0 : -1;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(changes); i++)
        result = switch_one(PyList_GET_ITEM(changes, i), hold, old);
    if (result == 0)
        atomic_store(&generation, number);
    Py_XDECREF(old);
    return result;
}

PyObject *py_programs_hold(unsigned long application)
{
    return holds[application];
}

unsigned py_programs_generation(void)
{
    return atomic_load(&generation);
}

PyObject *py_programs_get(unsigned long application, enum record_role role)
{
    return programs[application][role];
}

void py_programs_clear(void)
{
    for (size_t i = 0; i < CONFIG_APPLICATIONS_MAX; i++) {
        for (unsigned role = 0; role < ROUTE_ROLES; role++)
            Py_CLEAR(programs[i][role]);
        Py_CLEAR(holds[i]);
    }
}
