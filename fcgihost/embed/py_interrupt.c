/* Exceptions that the host raises in the application. */
#include "embed/py_interrupt.h"

#include "base/clock.h"
#include "base/fork.h"
#include "embed/py_request.h"
#include "embed/py_support.h"
#include "http/reply.h"
#include "http/request_id.h"
#include "threads/activity.h"

void py_interrupt_open(struct python_thread *thread, struct request *request)
{
    struct request_clock *work = &thread->activity->work;
    thread->interruption = (struct interruption){.is_possible = true};
    if (py_settings.request_time_ms > 0)
        atomic_store_explicit(&request->wait_end_ms,
                              atomic_load(&work->since_ms) + py_settings.request_time_ms,
                              memory_order_relaxed);
    request_clock_enter(work);
}

/* Takes back what was given to SetAsyncExc, unless it has been raised. */
static void withdraw(struct python_thread *thread)
{
    struct interruption *interruption = &thread->interruption;
    if (interruption->set == 0)
        return;
    if (thread->state->async_exc != NULL)
        PyThreadState_SetAsyncExc((unsigned long)thread->state->thread_id, NULL);
    else if (interruption->pending == interruption->set)
        interruption->pending = 0;
    interruption->set = 0;
}

void py_interrupt_close(struct python_thread *thread, struct request *request)
{
    withdraw(thread);
    thread->interruption.pending = 0;
    thread->interruption.is_possible = false;
    atomic_store_explicit(&request->wait_end_ms, 0, memory_order_relaxed);
}

/* A new reference, or NULL with an exception set. */
static PyObject *class_of(enum request_clock_due due)
{
    return py_module_get(due == REQUEST_CLOCK_TIMEOUT ? "RequestTimeout" : "ClientGone");
}

static bool is_of_class(PyObject *exception, enum request_clock_due due)
{
    PyObject *class = class_of(due);
    bool is_one = class != NULL && PyErr_GivenExceptionMatches(exception, class);
    PyErr_Clear();
    Py_XDECREF(class);
    return is_one;
}

static int raise(enum request_clock_due due)
{
    PyObject *class = class_of(due);
    if (class != NULL)
        PyErr_SetNone(class);
    Py_XDECREF(class);
    return -1;
}

int py_interrupt_check(void)
{
    struct python_thread *thread = py_request_thread();
    if (thread == NULL || !thread->interruption.is_possible || fork_is_child())
        return 0;
    struct interruption *interruption = &thread->interruption;
    struct request *request = thread->served;
    uint64_t end_ms = atomic_load_explicit(&request->wait_end_ms, memory_order_relaxed);
    bool is_late = end_ms > 0 && clock_ms() >= end_ms;
    if (is_late) /* waits that come after it, in the application's `finally`, wait */
        atomic_store_explicit(&request->wait_end_ms, 0, memory_order_relaxed);
    withdraw(thread);
    if (is_late && !(interruption->raised & REQUEST_CLOCK_TIMEOUT))
        interruption->pending = REQUEST_CLOCK_TIMEOUT;
    enum request_clock_due due = interruption->pending;
    interruption->pending = 0;
    interruption->raised |= due;
    return due != 0 ? raise(due) : 0;
}

/* Is it in code of the host's package, or of the import system, where it may hold a lock or be half
 * way through a change? */
static bool is_in_own_code(PyThreadState *state)
{
    PyFrameObject *frame = PyThreadState_GetFrame(state);
    PyCodeObject *code = frame != NULL ? PyFrame_GetCode(frame) : NULL;
    PyObject *file = code != NULL ? PyObject_GetAttrString((PyObject *)code, "co_filename") : NULL;
    PyObject *own = py_module_get("OWN_FILES");
    bool is_own = false;
    for (Py_ssize_t i = 0; file != NULL && own != NULL && i < PyTuple_GET_SIZE(own); i++)
        is_own = is_own ||
                 PyUnicode_Tailmatch(file, PyTuple_GET_ITEM(own, i), 0, PY_SSIZE_T_MAX, -1) == 1;
    PyErr_Clear();
    Py_XDECREF(own);
    Py_XDECREF(file);
    Py_XDECREF(code);
    Py_XDECREF(frame);
    return is_own;
}

/* In another thread, which does not run meanwhile. What can't be raised yet stays wanted. */
static void raise_in(struct python_thread *thread, enum request_clock_due due)
{
    struct interruption *interruption = &thread->interruption;
    struct request_clock *work = &thread->activity->work;
    bool is_past = !interruption->is_possible && atomic_load(&work->phase) == REQUEST_CLOCK_RUNS;
    if (is_past || (interruption->raised & due))
        request_clock_set_done(work, due);
    if (!interruption->is_possible || (interruption->raised & due))
        return;
    interruption->pending = due; /* py_interrupt_check may be first */
    PyObject *class = is_in_own_code(thread->state) ? NULL : class_of(due);
    if (class != NULL) {
        PyThreadState_SetAsyncExc((unsigned long)thread->state->thread_id, class);
        interruption->set = due;
        interruption->raised |= due;
        request_clock_set_done(work, due);
    }
    PyErr_Clear();
    Py_XDECREF(class);
}

/* Lets other threads run meanwhile. */
static void log_stack(struct activity *activity, enum request_clock_due due, const char *then)
{
    struct activity_report report;
    if (!activity_get(activity, &report))
        return;
    PyObject *result = py_module_call_with(
        "log_stack", "NsdsNk",
        PyUnicode_DecodeUTF8(report.request, (Py_ssize_t)strlen(report.request),
                             "backslashreplace"),
        report.request_id, (double)report.age_ms / 1000,
        due == REQUEST_CLOCK_SLOW ? "[log] slow_request" : "[limits] request_time",
        PyUnicode_FromString(then), (unsigned long)activity->thread);
    if (result == NULL)
        py_exception_print("the stack of a request could not be logged");
    Py_XDECREF(result);
}

static const char *describe_timeout(const struct interruption *interruption)
{
    return interruption->is_possible
               ? ": fcgihost.RequestTimeout is raised in it"
               : ": it is beyond its own code (in close(), or a cleanup): nothing is raised in it";
}

/* The thread, if it is still at that piece of work. */
static struct python_thread *find_thread(struct request_clock *work, unsigned long long serial)
{
    bool is_same =
        atomic_load(&work->serial) == serial && atomic_load(&work->phase) != REQUEST_CLOCK_IDLE;
    return is_same ? atomic_load(&work->python) : NULL;
}

static void see_to(struct activity *activity)
{
    struct request_clock *work = &activity->work;
    unsigned long long serial = atomic_load(&work->serial);
    unsigned wanted =
        atomic_load(&work->phase) != REQUEST_CLOCK_IDLE ? request_clock_wanted(work) : 0;
    if (wanted & REQUEST_CLOCK_SLOW) {
        request_clock_set_done(work, REQUEST_CLOCK_SLOW);
        log_stack(activity, REQUEST_CLOCK_SLOW, "");
    }
    struct python_thread *thread = find_thread(work, serial);
    if (thread != NULL && (wanted & REQUEST_CLOCK_TIMEOUT) &&
        !thread->interruption.is_stack_logged) {
        thread->interruption.is_stack_logged = true;
        log_stack(activity, REQUEST_CLOCK_TIMEOUT, describe_timeout(&thread->interruption));
        thread = find_thread(work, serial);
    }
    if (thread != NULL && (wanted & REQUEST_CLOCK_TIMEOUT))
        raise_in(thread, REQUEST_CLOCK_TIMEOUT);
    else if (thread != NULL && (wanted & REQUEST_CLOCK_GONE))
        raise_in(thread, REQUEST_CLOCK_GONE);
}

void py_interrupt_run(const struct activities *activities)
{
    for (unsigned i = 0; i < activities->count; i++)
        see_to(&activities->items[i]);
}

static void answer_timeout(struct python_thread *thread, struct request *request,
                           PyObject *exception)
{
    struct response *response = &request->response;
    const char *what = response->is_ended       ? "its response was complete by then"
                       : response->is_head_sent ? "its response had begun, the connection is closed"
                                                : "answered with 504";
    bool is_stack_logged =
        thread->interruption.is_stack_logged; /* or the request ended before the task ran */
    char name[REQUEST_TEXT_BYTES];
    request_describe(request, name, sizeof(name));
    PyObject *result = py_module_call_with(
        "log_timeout", "NsO",
        PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "backslashreplace"), what,
        is_stack_logged ? Py_None : exception);
    if (result == NULL)
        py_exception_print("the end of a request that took too long could not be logged");
    Py_XDECREF(result);
    Py_BEGIN_ALLOW_THREADS;
    if (!response->is_head_sent)
        reply_send_error_page(request, ERROR_PAGE_TIMEOUT);
    else if (!response->is_ended)
        reply_break_off(request);
    Py_END_ALLOW_THREADS;
}

static void answer_gone(struct request *request)
{
    char name[REQUEST_TEXT_BYTES];
    struct log_topic topic = {.event = "client-gone", .request_id = request_id(request)};
    request_describe(request, name, sizeof(name));
    Py_BEGIN_ALLOW_THREADS;
    log_about(LOG_LEVEL_INFO, &topic, "%s: its client has left: interrupted ([limits] client_gone)",
              name);
    request->looked_ms = 1; /* long ago: look now */
    request_is_unwanted(request, true);
    if (request->response.is_abandoned)
        reply_send_last(request, NULL, 0); /* FastCGI: the web server waits for the request's end */
    else
        reply_break_off(request);
    Py_END_ALLOW_THREADS;
}

bool py_interrupt_answer(struct python_thread *thread, struct request *request, PyObject *exception)
{
    if (is_of_class(exception, REQUEST_CLOCK_TIMEOUT))
        answer_timeout(thread, request, exception);
    else if (is_of_class(exception, REQUEST_CLOCK_GONE))
        answer_gone(request);
    else
        return false;
    return true;
}
