/* The request that a thread serves. */
#include "embed/py_request.h"

#include "embed/py_support.h"

static _Thread_local struct python_thread *current_thread;

void py_request_set_thread(struct python_thread *thread)
{
    current_thread = thread;
}

struct python_thread *py_request_thread(void)
{
    return current_thread;
}

PyObject *py_request_current(PyObject *make)
{
    struct python_thread *thread = current_thread;
    if (thread == NULL || (thread->borrowed_environ == NULL && thread->request == NULL))
        Py_RETURN_NONE;
    if (thread->request == NULL)
        thread->request = PyObject_CallOneArg(make, thread->borrowed_environ);
    return Py_XNewRef(thread->request);
}

PyObject *py_request_hold(void)
{
    return current_thread != NULL ? current_thread->hold : NULL;
}

void py_request_keep(PyObject *hold)
{
    struct python_thread *thread = current_thread;
    if (thread != NULL && thread->served != NULL && thread->hold == NULL)
        thread->hold = Py_NewRef(hold);
}

struct request *py_request_served(void)
{
    return current_thread != NULL ? current_thread->served : NULL;
}
