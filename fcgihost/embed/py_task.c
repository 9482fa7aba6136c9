/* Python work for the supervisor. */
#include "embed/py_task.h"

#include "base/event.h"
#include "embed/py_interrupt.h"
#include "embed/py_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { WAITS, HAS_BEGUN, IS_CANCELLED }; /* struct task's stage */
enum { END_WAIT_TIMES = 4 };             /* times the timeout, for one that has begun to end */

struct task {
    enum py_task what;
    const char *why;
    struct event is_done;
    atomic_int stage;
    atomic_int owners; /* the task's thread, and the one that waits for it; the last one frees it */
};

static atomic_bool is_open;
static const struct activities *the_activities;
static atomic_int under_way, under_way_by_kind[PY_TASKS];

static void release(struct task *task)
{
    if (atomic_fetch_sub(&task->owners, 1) == 1)
        free(task);
}

/* With the GIL, on the task's thread. */
static void perform(const struct task *task)
{
    static const char *const functions[] = {
        [PY_TASK_STOPPING] = "set_stopping",
        [PY_TASK_CLEANUPS] = "run_cleanups",
        [PY_TASK_STACKS] = "log_stacks",
    };
    if (task->what == PY_TASK_ANSWER)
        return;
    if (task->what == PY_TASK_OVERDUE) {
        if (the_activities != NULL)
            py_interrupt_run(the_activities);
        return;
    }
    PyObject *why = task->why != NULL ? PyUnicode_FromString(task->why) : NULL;
    PyObject *result = py_module_call(functions[task->what], &why, why != NULL ? 1 : 0);
    if (result == NULL)
        PyErr_WriteUnraisable(why);
    Py_XDECREF(result);
    Py_XDECREF(why);
}

static void *run(void *argument)
{
    struct task *task = argument;
    enum py_task what = task->what;
    PyGILState_STATE state = PyGILState_Ensure();
    if (atomic_compare_exchange_strong(&task->stage, &(int){WAITS}, HAS_BEGUN))
        perform(task);
    event_set(&task->is_done);
    PyGILState_Release(state);
    release(task);
    atomic_fetch_sub(&under_way_by_kind[what], 1);
    atomic_fetch_sub(&under_way, 1);
    return NULL;
}

/* owners: 2 if the caller keeps it, 1 if not. NULL: it could not be started. */
static struct task *start(enum py_task what, const char *why, int owners)
{
    struct task *task = atomic_load(&is_open) ? calloc(1, sizeof(*task)) : NULL;
    pthread_t thread;
    if (task == NULL)
        return NULL;
    task->what = what;
    task->why = why;
    event_init(&task->is_done);
    atomic_store(&task->owners, owners);
    atomic_fetch_add(&under_way, 1);
    atomic_fetch_add(&under_way_by_kind[what], 1);
    if (pthread_create(&thread, NULL, run, task) != 0) {
        atomic_fetch_sub(&under_way_by_kind[what], 1);
        atomic_fetch_sub(&under_way, 1);
        free(task);
        return NULL;
    }
    pthread_setname_np(thread, "task");
    pthread_detach(thread);
    return task;
}

void py_task_open(void)
{
    atomic_store(&is_open, true);
}

void py_task_set_activities(const struct activities *activities)
{
    the_activities = activities;
}

void py_task_start(enum py_task task)
{
    start(task, NULL, 1);
}

bool py_task_is_under_way(enum py_task task)
{
    return atomic_load(&under_way_by_kind[task]) > 0;
}

bool py_task_run(enum py_task what, const char *why, uint64_t timeout_ms)
{
    struct task *task = start(what, why, 2);
    if (task == NULL)
        return false;
    bool has_begun = event_wait(&task->is_done, timeout_ms) ||
                     !atomic_compare_exchange_strong(&task->stage, &(int){WAITS}, IS_CANCELLED);
    bool is_done = has_begun && event_wait(&task->is_done, END_WAIT_TIMES * timeout_ms);
    release(task);
    return is_done;
}

bool py_task_close(uint64_t timeout_ms)
{
    atomic_store(&is_open, false);
    for (uint64_t waited_ms = 0; atomic_load(&under_way) > 0; waited_ms++) {
        if (waited_ms >= timeout_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}
