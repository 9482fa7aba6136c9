/* The callables that serve requests. */
#include "embed/py_programs.h"

#include "config/settings.h"
#include "embed/py_support.h"
#include "http/route.h"

static PyObject *programs[CONFIG_APPLICATIONS_MAX][ROUTE_ROLES];

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

PyObject *py_programs_get(unsigned long application, enum record_role role)
{
    return programs[application][role];
}

void py_programs_clear(void)
{
    for (size_t i = 0; i < CONFIG_APPLICATIONS_MAX; i++)
        for (unsigned role = 0; role < ROUTE_ROLES; role++)
            Py_CLEAR(programs[i][role]);
}
