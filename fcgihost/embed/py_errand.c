/* Python work for the supervisor. */
#include "embed/py_errand.h"

#include "base/event.h"
#include "embed/py_interrupt.h"
#include "embed/py_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct errand {
    enum py_errand what;
    const char *why;
    struct event is_done;
    atomic_bool is_cancelled;
    atomic_int
        owners; /* the errand's thread, and the one that waits for it; the last one frees it */
};

static atomic_bool is_open;
static const struct activities *the_activities;
static atomic_int under_way, under_way_by_kind[PY_ERRANDS];

static void release(struct errand *errand)
{
    if (atomic_fetch_sub(&errand->owners, 1) == 1)
        free(errand);
}

/* With the GIL, on the errand's thread. */
static void perform(const struct errand *errand)
{
    static const char *const functions[] = {
        [PY_ERRAND_STOPPING] = "set_stopping",
        [PY_ERRAND_CLEANUPS] = "run_cleanups",
        [PY_ERRAND_STACKS] = "log_stacks",
    };
    if (errand->what == PY_ERRAND_ANSWER)
        return;
    if (errand->what == PY_ERRAND_OVERDUE) {
        if (the_activities != NULL)
            py_interrupt_run(the_activities);
        return;
    }
    PyObject *why = errand->why != NULL ? PyUnicode_FromString(errand->why) : NULL;
    PyObject *result = py_module_call(functions[errand->what], &why, why != NULL ? 1 : 0);
    if (result == NULL)
        PyErr_WriteUnraisable(why);
    Py_XDECREF(result);
    Py_XDECREF(why);
}

static void *run(void *argument)
{
    struct errand *errand = argument;
    enum py_errand what = errand->what;
    PyGILState_STATE state = PyGILState_Ensure();
    if (!atomic_load(&errand->is_cancelled))
        perform(errand);
    event_set(&errand->is_done);
    PyGILState_Release(state);
    release(errand);
    atomic_fetch_sub(&under_way_by_kind[what], 1);
    atomic_fetch_sub(&under_way, 1);
    return NULL;
}

/* owners: 2 if the caller keeps it, 1 if not. NULL: it could not be started. */
static struct errand *start(enum py_errand what, const char *why, int owners)
{
    struct errand *errand = atomic_load(&is_open) ? calloc(1, sizeof(*errand)) : NULL;
    pthread_t thread;
    if (errand == NULL)
        return NULL;
    errand->what = what;
    errand->why = why;
    event_init(&errand->is_done);
    atomic_store(&errand->owners, owners);
    atomic_fetch_add(&under_way, 1);
    atomic_fetch_add(&under_way_by_kind[what], 1);
    if (pthread_create(&thread, NULL, run, errand) != 0) {
        atomic_fetch_sub(&under_way_by_kind[what], 1);
        atomic_fetch_sub(&under_way, 1);
        free(errand);
        return NULL;
    }
    pthread_setname_np(thread, "errand");
    pthread_detach(thread);
    return errand;
}

void py_errand_open(void)
{
    atomic_store(&is_open, true);
}

void py_errand_set_activities(const struct activities *activities)
{
    the_activities = activities;
}

void py_errand_start(enum py_errand errand)
{
    start(errand, NULL, 1);
}

bool py_errand_is_under_way(enum py_errand errand)
{
    return atomic_load(&under_way_by_kind[errand]) > 0;
}

bool py_errand_run(enum py_errand what, const char *why, uint64_t timeout_ms)
{
    struct errand *errand = start(what, why, 2);
    if (errand == NULL)
        return false;
    bool is_done = event_wait(&errand->is_done, timeout_ms);
    atomic_store(&errand->is_cancelled, true);
    release(errand);
    return is_done;
}

bool py_errand_close(uint64_t timeout_ms)
{
    atomic_store(&is_open, false);
    for (uint64_t waited_ms = 0; atomic_load(&under_way) > 0; waited_ms++) {
        if (waited_ms >= timeout_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}
