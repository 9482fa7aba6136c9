/* The module _fcgihost: the host, as its Python package sees it. */
#include "interpreter/py_module.h"

#include "base/clock.h"
#include "base/log.h"
#include "embed/py_interrupt.h"
#include "embed/py_programs.h"
#include "embed/py_request.h"
#include "embed/py_support.h"
#include "http/reply.h"
#include "http/request_id.h"
#include "http/request_log.h"
#include "interpreter/py_signals.h"
#include "life/reexec.h"
#include "life/signals.h"
#include "life/supervisor.h"
#include "status/collector.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static struct supervisor *the_supervisor;
static double started;

void py_module_set_supervisor(struct supervisor *supervisor)
{
    the_supervisor = supervisor;
}

/* UTF-8 for the log. File names that are not UTF-8 are surrogates in a str: they are escaped. */
static PyObject *printable(PyObject *text)
{
    return PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}

static PyObject *module_log(PyObject *self, PyObject *arguments)
{
    (void)self;
    int level;
    PyObject *text;
    struct log_topic topic = {.event = NULL};
    if (!PyArg_ParseTuple(arguments, "isU|zz", &level, &topic.event, &text, &topic.request_id,
                          &topic.thread))
        return NULL;
    struct request *served = py_request_served();
    if (topic.request_id == NULL && served != NULL)
        topic.request_id = request_id(served);
    if (level < LOG_LEVEL_ERROR || level > LOG_LEVEL_DEBUG) {
        PyErr_SetString(PyExc_ValueError,
                        "level must be LOG_ERROR, LOG_WARNING, LOG_INFO or LOG_DEBUG");
        return NULL;
    }
    PyObject *utf8 = printable(text);
    if (utf8 == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    size_t n = (size_t)PyBytes_GET_SIZE(utf8);
    if (level <= (int)log_threshold() && (served == NULL || request_log_admit(served, &n)))
        log_text((enum log_level)level, &topic, PyBytes_AS_STRING(utf8), n);
    Py_END_ALLOW_THREADS;
    Py_DECREF(utf8);
    Py_RETURN_NONE;
}

/* For each line that is printed: it lets the GIL go only if there is something to tell. */
static PyObject *module_admit_output(PyObject *self, PyObject *data)
{
    (void)self;
    struct request *served = py_request_served();
    Py_buffer view;
    bool is_first;
    if (served == NULL)
        Py_RETURN_NONE;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    size_t n = (size_t)view.len, kept = request_log_count_output(served, view.buf, n, &is_first);
    PyBuffer_Release(&view);
    if (kept == n)
        Py_RETURN_NONE;
    Py_BEGIN_ALLOW_THREADS;
    request_log_tell_full(served, is_first);
    Py_END_ALLOW_THREADS;
    return PyLong_FromSize_t(kept);
}

static PyObject *module_request_id(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    struct request *request = py_request_served();
    if (request == NULL)
        Py_RETURN_NONE;
    return PyUnicode_FromString(request_id(request));
}

static PyObject *module_note_program(PyObject *self, PyObject *arguments)
{
    (void)self;
    int is_import;
    unsigned long number;
    const char *state, *error;
    unsigned attempts;
    double next_attempt_s;
    if (!PyArg_ParseTuple(arguments, "pksIsd", &is_import, &number, &state, &attempts, &error,
                          &next_attempt_s))
        return NULL;
    enum program_kind kind = is_import ? PROGRAM_IMPORT : PROGRAM_APPLICATION;
    if (strcmp(state, "loading") == 0)
        collector_program_begins(kind, number, attempts);
    else if (strcmp(state, "loaded") == 0)
        collector_program_loaded(kind, number);
    else
        collector_program_failed(kind, number, error, next_attempt_s);
    Py_RETURN_NONE;
}

static PyObject *module_note_reload(PyObject *self, PyObject *arguments)
{
    (void)self;
    unsigned long number;
    const char *error;
    if (!PyArg_ParseTuple(arguments, "kz", &number, &error))
        return NULL;
    collector_program_reloaded(number, error);
    Py_RETURN_NONE;
}

/* Copies a str, printable and cut to fit. 0, or -1 with an exception set. */
static int copy_text(char *out, size_t out_bytes, PyObject *text)
{
    PyObject *utf8 = printable(text);
    if (utf8 == NULL)
        return -1;
    snprintf(out, out_bytes, "%s", PyBytes_AS_STRING(utf8));
    Py_DECREF(utf8);
    return 0;
}

/* 0, or -1 with an exception set. */
static int read_item(PyObject *tuple, struct item_figures *item)
{
    static const char *const kinds[ITEM_KINDS] = {"resource", "pool", "lock", "cleanups"};
    const char *kind;
    PyObject *name, *state, *detail;
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "each item must be a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "sUUUldIIII", &kind, &name, &state, &detail, &item->pid,
                          &item->seconds, &item->size, &item->in_use, &item->idle, &item->waiting))
        return -1;
    item->kind = ITEM_RESOURCE;
    while (item->kind < ITEM_CLEANUPS && strcmp(kinds[item->kind], kind) != 0)
        item->kind++;
    if (item->seconds < 0)
        item->seconds = NAN;
    return copy_text(item->name, sizeof(item->name), name) < 0 ||
                   copy_text(item->state, sizeof(item->state), state) < 0 ||
                   copy_text(item->detail, sizeof(item->detail), detail) < 0
               ? -1
               : 0;
}

static PyObject *module_tell(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *list;
    unsigned left_out;
    if (!PyArg_ParseTuple(arguments, "O!I", &PyList_Type, &list, &left_out))
        return NULL;
    size_t count = (size_t)PyList_GET_SIZE(list);
    if (count > FIGURES_ITEMS_MAX)
        return PyErr_Format(PyExc_ValueError, "at most %d items", FIGURES_ITEMS_MAX);
    struct item_figures *items = PyMem_Calloc(count + 1, sizeof(*items));
    if (items == NULL)
        return PyErr_NoMemory();
    size_t read = 0;
    while (read < count && read_item(PyList_GET_ITEM(list, (Py_ssize_t)read), &items[read]) == 0)
        read++;
    if (read == count)
        collector_set_items(items, count, left_out);
    PyMem_Free(items);
    if (read < count)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *module_begin_step(PyObject *self, PyObject *arguments)
{
    (void)self;
    int step;
    PyObject *name;
    if (!PyArg_ParseTuple(arguments, "iU", &step, &name))
        return NULL;
    PyObject *utf8 = printable(name);
    if (utf8 == NULL)
        return NULL;
    if (the_supervisor != NULL)
        main_thread_begin_step(&the_supervisor->main, (enum main_step)step,
                               PyBytes_AS_STRING(utf8));
    Py_DECREF(utf8);
    Py_RETURN_NONE;
}

static PyObject *module_report_start(PyObject *self, PyObject *arguments)
{
    (void)self;
    unsigned untried, failed_applications, failed_imports;
    if (!PyArg_ParseTuple(arguments, "III", &untried, &failed_applications, &failed_imports))
        return NULL;
    if (the_supervisor != NULL)
        readiness_report(&the_supervisor->readiness, untried, failed_applications, failed_imports);
    Py_RETURN_NONE;
}

static PyObject *module_ask_heal(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *what;
    Py_buffer startup;
    if (!PyArg_ParseTuple(arguments, "sy*", &what, &startup))
        return NULL;
    bool is_asked = the_supervisor != NULL &&
                    supervisor_ask_heal(the_supervisor, what, startup.buf, (size_t)startup.len);
    PyBuffer_Release(&startup);
    return PyBool_FromLong(is_asked);
}

static PyObject *module_take_signals(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    if (the_supervisor != NULL)
        signals_reinstall();
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *module_wait(PyObject *self, PyObject *arguments)
{
    (void)self;
    double seconds, attempt_seconds;
    bool is_stopped = true;
    if (!PyArg_ParseTuple(arguments, "dd", &seconds, &attempt_seconds))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    if (the_supervisor != NULL)
        is_stopped = supervisor_wait(the_supervisor, (uint64_t)(seconds * 1000 + 1),
                                     (uint64_t)(attempt_seconds * 1000 + 1));
    Py_END_ALLOW_THREADS;
    py_signals_run();
    return PyBool_FromLong(is_stopped);
}

static PyObject *module_process_facts(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    enum lifecycle_state state = LIFECYCLE_SERVING;
    unsigned long long requests = 1;
    double began = started;
    if (the_supervisor != NULL) {
        began = (double)the_supervisor->replacement.started_us / 1e6;
        state = supervisor_state(the_supervisor);
        requests = the_supervisor->pool != NULL ? atomic_load(&the_supervisor->pool->requests) : 0;
    }
    return Py_BuildValue("dKIs", began, requests, py_programs_generation(),
                         lifecycle_state_name(state));
}

static PyObject *module_activities(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    const struct worker_pool *pool = the_supervisor != NULL ? the_supervisor->pool : NULL;
    PyObject *list = PyList_New(0);
    for (unsigned i = 0; list != NULL && pool != NULL && i < pool->activities.count; i++) {
        struct activity_report activity;
        if (!activity_get(&pool->activities.items[i], &activity))
            continue;
        PyObject *item = Py_BuildValue("kNd", (unsigned long)activity.thread,
                                       PyUnicode_DecodeUTF8(activity.request,
                                                            (Py_ssize_t)strlen(activity.request),
                                                            "backslashreplace"),
                                       (double)activity.age_ms / 1000);
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *module_current_request(PyObject *self, PyObject *make)
{
    (void)self;
    return py_request_current(make);
}

static PyObject *module_is_client_gone(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    const struct request *request = py_request_served();
    return PyBool_FromLong(request != NULL && request_is_peer_gone(request));
}

static PyObject *module_is_response_over(PyObject *self, PyObject *is_silent)
{
    (void)self;
    struct request *request = py_request_served();
    return PyBool_FromLong(request != NULL && (reply_is_whole(request) ||
                                               request_is_unwanted(request, is_silent == Py_True)));
}

static int append_parameter(PyObject *list, const char *name, const char *value)
{
    PyObject *item =
        Py_BuildValue("NN", PyUnicode_DecodeLatin1(name, (Py_ssize_t)strlen(name), NULL),
                      PyUnicode_DecodeLatin1(value, (Py_ssize_t)strlen(value), NULL));
    int result = item != NULL ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return result;
}

static PyObject *module_sent_parameters(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    const struct request *request = py_request_served();
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && request != NULL && i < request->param_count; i++) {
        const struct param *param = &request->params[i];
        if (!param->is_added &&
            append_parameter(list, param->name, param->sent != NULL ? param->sent : param->value) <
                0)
            Py_CLEAR(list);
    }
    /* Part of the protocol, so it is not among the request's parameters. */
    if (list != NULL && request != NULL && request->ops == &scgi_transport &&
        append_parameter(list, "SCGI", "1") < 0)
        Py_CLEAR(list);
    return list;
}

/* The builtin compile() first creates the hundreds of types of the ast module, to see whether its
 * argument is a tree: that is a tenth of the time from start to first response, and 0.4 MB. */
static PyObject *module_compile(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *source;
    PyObject *path;
    if (!PyArg_ParseTuple(arguments, "yU", &source, &path))
        return NULL;
    return Py_CompileStringObject(source, path, Py_file_input, NULL, -1);
}

static PyObject *module_check_interrupt(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (py_interrupt_check() < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *module_held(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    PyObject *hold = py_request_hold();
    return Py_NewRef(hold != NULL ? hold : Py_None);
}

static PyObject *module_keep(PyObject *self, PyObject *hold)
{
    (void)self;
    py_request_keep(hold);
    Py_RETURN_NONE;
}

static PyObject *module_switch(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *changes, *hold;
    unsigned number;
    if (!PyArg_ParseTuple(arguments, "O!OI", &PyList_Type, &changes, &hold, &number) ||
        py_programs_switch(changes, hold, number) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *module_wake(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    py_signals_wake();
    Py_RETURN_NONE;
}

static PyObject *state_new(const struct stat *status)
{
    long long mtime_ns = (long long)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
    return Py_BuildValue("LLK", mtime_ns, (long long)status->st_size,
                         (unsigned long long)status->st_ino);
}

/* st_mode is 0 if there is no file, st_ino if this user may not read it. */
static void look_at(const char *path, struct stat *status)
{
    if (stat(path, status) < 0)
        status->st_mode = 0;
    else if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0)
        status->st_ino = 0;
}

/* Each os.stat() would give up the GIL, and wait for it again behind all threads that serve. */
static PyObject *module_file_states(PyObject *self, PyObject *paths)
{
    (void)self;
    PyObject *copy = PySequence_Tuple(paths), *list = NULL;
    Py_ssize_t count = copy != NULL ? PyTuple_GET_SIZE(copy) : 0;
    bool are_bytes = copy != NULL;
    for (Py_ssize_t i = 0; are_bytes && i < count; i++)
        are_bytes = PyBytes_Check(PyTuple_GET_ITEM(copy, i));
    struct stat *states = PyMem_Calloc((size_t)count + 1, sizeof(*states));
    if (states == NULL)
        PyErr_NoMemory();
    else if (copy != NULL && !are_bytes)
        PyErr_SetString(PyExc_TypeError, "file_states() takes a list of bytes");
    else if (copy != NULL) {
        Py_BEGIN_ALLOW_THREADS;
        for (Py_ssize_t i = 0; i < count; i++)
            look_at(PyBytes_AS_STRING(PyTuple_GET_ITEM(copy, i)), &states[i]);
        Py_END_ALLOW_THREADS;
        list = PyList_New(count);
    }
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *state = states[i].st_mode != 0 ? state_new(&states[i]) : Py_NewRef(Py_None);
        if (state == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, state);
    }
    PyMem_Free(states);
    Py_XDECREF(copy);
    return list;
}

static PyObject *ask(enum lifecycle_reason reason)
{
    if (the_supervisor == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this process serves one request and exits by itself: "
                                            "it can't be stopped or restarted");
        return NULL;
    }
    supervisor_ask(the_supervisor, reason);
    Py_RETURN_NONE;
}

static PyObject *module_shutdown(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return ask(REASON_SHUTDOWN);
}

static PyObject *module_restart(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return ask(REASON_RESTART);
}

static PyObject *module_start_check(PyObject *self, PyObject *arguments)
{
    (void)self;
    pid_t pid;
    const char *modules;
    if (!PyArg_ParseTuple(arguments, "y", &modules))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    pid = reexec_check(modules);
    Py_END_ALLOW_THREADS;
    return pid > 0 ? PyLong_FromLong(pid) : PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *module_reload(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return ask(REASON_RELOAD);
}

static PyObject *module_ask_reload(PyObject *self, PyObject *why)
{
    (void)self;
    PyObject *utf8 = PyUnicode_Check(why) ? printable(why) : NULL;
    if (utf8 == NULL)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "why is a str");
    bool is_managed =
        the_supervisor != NULL && supervisor_ask_reload(the_supervisor, PyBytes_AS_STRING(utf8));
    Py_DECREF(utf8);
    return PyBool_FromLong(is_managed);
}

static PyMethodDef methods[] = {
    {"log", module_log, METH_VARARGS,
     "log(level, event, text, request_id=None, thread=None): one record in the host's log. level: "
     "LOG_ERROR to LOG_DEBUG; event: as fcgihost-messages(7) has it. Not given, the request is the "
     "calling thread's."},
    {"admit_output", module_admit_output, METH_O,
     "admit_output(data) -> how many of the bytes that are printed may be written, as the request\n"
     "that this thread serves has printed and logged too much. None: all."},
    {"request_id", module_request_id, METH_NOARGS,
     "request_id(): of the request that the calling thread serves, or None."},
    {"note_program", module_note_program, METH_VARARGS,
     "note_program(is an import, number, \"loading\", \"loaded\" or \"failed\", attempts, error, "
     "seconds to the next attempt or -1): for the status."},
    {"note_reload", module_note_reload, METH_VARARGS,
     "note_reload(number of the application, error or None): its code has changed while it is "
     "served."},
    {"tell", module_tell, METH_VARARGS,
     "tell([(kind, name, state, detail, pid, seconds or -1, size, in use, idle, waiting)], how "
     "many more there are): what the status shows of status_items.Item."},
    {"begin_step", module_begin_step, METH_VARARGS,
     "begin_step(step, name): what the main thread does from now on. step: STEP_NONE to "
     "STEP_EXIT."},
    {"report_start", module_report_start, METH_VARARGS,
     "report_start(untried, failed_applications, failed_imports): how many tasks of the start-up."},
    {"ask_heal", module_ask_heal, METH_VARARGS,
     "ask_heal(what, bytes) -> bool: a fresh process of the manager's tries again; False: no "
     "manager."},
    {"take_signals", module_take_signals, METH_NOARGS,
     "take_signals(): installs the host's signal handlers again, after application code may have "
     "replaced them."},
    {"wait", module_wait, METH_VARARGS,
     "wait(seconds, seconds until the next attempt) -> bool: waits; True: the process is to stop."},
    {"process_facts", module_process_facts, METH_NOARGS,
     "process_facts() -> (started, requests, generation, state)"},
    {"activities", module_activities, METH_NOARGS,
     "activities() -> [(thread ident, \"GET /path\", seconds)] of the threads that serve a "
     "request."},
    {"current_request", module_current_request, METH_O,
     "current_request(make) -> what make(environ) returned the first time this was called in the "
     "request that the calling thread serves; None if it serves none."},
    {"is_client_gone", module_is_client_gone, METH_NOARGS,
     "is_client_gone() -> bool: has the client of the calling thread's request disconnected?"},
    {"is_response_over", module_is_response_over, METH_O,
     "is_response_over(is_silent) -> bool: can no more of this thread's response be sent? "
     "is_silent: nothing was sent just now, so a client that left was not noticed by sending."},
    {"check_interrupt", module_check_interrupt, METH_NOARGS,
     "check_interrupt(): raises RequestTimeout or ClientGone here if one is due in this thread."},
    {"sent_parameters", module_sent_parameters, METH_NOARGS,
     "sent_parameters() -> [(name, value)]: the request's parameters as the web server sent them."},
    {"compile", module_compile, METH_VARARGS,
     "compile(source, path) -> code: as the builtin compile() does with the bytes of a file."},
    {"held", module_held, METH_NOARGS,
     "held() -> what keeps the generation of the calling thread's request alive, or None."},
    {"keep", module_keep, METH_O,
     "keep(hold): the calling thread's request keeps hold to its end, unless it has one."},
    {"switch", module_switch, METH_VARARGS,
     "switch([(application, responder or None)], hold, number): requests that begin from now on "
     "get "
     "these responders, and keep hold to their end; number: its generation."},
    {"wake", module_wake, METH_NOARGS, "wake(): the main thread calls entry.do_chores() soon."},
    {"file_states", module_file_states, METH_O,
     "file_states([path as bytes]) -> [(mtime in ns, size, inode, 0 if it may not be read) or "
     "None]: "
     "without the GIL."},
    {"start_check", module_start_check, METH_VARARGS,
     "start_check(modules as bytes) -> the process id of a child that runs this program with "
     "--check "
     "and imports these modules too. OSError."},
    {"reload", module_reload, METH_NOARGS,
     "reload(): the process executes its program anew and hands its connections over."},
    {"ask_reload", module_ask_reload, METH_O,
     "ask_reload(why) -> bool: asks the manager to replace all workers; False: there is none."},
    {"shutdown", module_shutdown, METH_NOARGS, "shutdown(): asks for the process to stop."},
    {"restart", module_restart, METH_NOARGS,
     "restart(): asks for the process to be replaced by a fresh one."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_fcgihost",
                                        .m_doc = "The host, as its Python package sees it.",
                                        .m_size = -1, .m_methods = methods};

static const struct {
    const char *name;
    long value;
} constants[] = {
    {"LOG_ERROR", LOG_LEVEL_ERROR}, {"LOG_WARNING", LOG_LEVEL_WARNING},
    {"LOG_INFO", LOG_LEVEL_INFO},   {"LOG_DEBUG", LOG_LEVEL_DEBUG},
    {"STEP_NONE", STEP_NONE},       {"STEP_IMPORT", STEP_IMPORT},
    {"STEP_CLEANUP", STEP_CLEANUP}, {"STEP_THREADS", STEP_THREADS},
    {"STEP_EXIT", STEP_EXIT},
};

PyObject *py_module_init(void)
{
    started = (double)clock_real_us() / 1e6;
    PyObject *module = PyModule_Create(&definition);
    for (size_t i = 0; module != NULL && i < sizeof(constants) / sizeof(*constants); i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
            Py_CLEAR(module);
    return module;
}
