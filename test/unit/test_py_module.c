/* The functions of _fcgihost, called by Python; the host behind them only writes down.
 *
 * links: py_module.c readiness.c */
#include "python_fixture.h"

#include "log_fakes.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed/py_interrupt.h"
#include "embed/py_programs.h"
#include "embed/py_request.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_id.h"
#include "http/request_log.h"
#include "interpreter/py_module.h"
#include "interpreter/py_signals.h"
#include "life/reexec.h"
#include "life/signals.h"
#include "life/supervisor.h"
#include "status/collector.h"

static struct supervisor supervisor;
static struct worker_pool pool;
static struct request request;
static struct param params[3];
static bool is_serving, is_interrupted, is_unwanted, had_gil;
static char told[1024];
static struct item_figures items[FIGURES_ITEMS_MAX];
static size_t item_count;
static pid_t check_pid;

const struct transport_ops scgi_transport = {.name = "scgi"};

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    size_t n = strlen(told);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(told + n, sizeof(told) - n, format, arguments);
    va_end(arguments);
    strncat(told, "|", sizeof(told) - strlen(told) - 1);
}

static void assert_told(const char *expected)
{
    assert_string_equal(told, expected);
    told[0] = '\0';
}

struct request *py_request_served(void)
{
    return is_serving ? &request : NULL;
}

PyObject *py_request_current(PyObject *make)
{
    return PyObject_CallOneArg(make, Py_True);
}

PyObject *py_request_hold(void)
{
    return is_serving ? Py_True : NULL;
}

void py_request_keep(PyObject *hold)
{
    tell("keep %d", hold == Py_True);
}

int py_interrupt_check(void)
{
    if (is_interrupted)
        PyErr_SetString(PyExc_KeyboardInterrupt, "interrupted");
    return is_interrupted ? -1 : 0;
}

int py_programs_switch(PyObject *changes, PyObject *hold, unsigned number)
{
    tell("switch %d %d %u", (int)PyList_GET_SIZE(changes), hold == Py_None, number);
    return 0;
}

unsigned py_programs_generation(void)
{
    return 4;
}

const char *request_id(struct request *identified)
{
    return identified->id;
}

bool request_log_admit(struct request *asked, size_t *n)
{
    (void)asked;
    *n = *n < 5 ? *n : 5;
    return !is_unwanted;
}

size_t request_log_count_output(struct request *asked, const char *text, size_t n, bool *is_first)
{
    assert_ptr_equal(asked, &request);
    tell("output %.*s", (int)n, text);
    *is_first = is_unwanted;
    return n < 5 ? n : 5;
}

void request_log_tell_full(struct request *asked, bool is_first)
{
    had_gil = had_gil || PyGILState_Check();
    tell("full %s %d", asked->id, is_first);
}

enum log_level log_threshold(void)
{
    return LOG_LEVEL_INFO;
}

void collector_program_begins(enum program_kind kind, size_t index, unsigned attempt)
{
    tell("begins %d %zu %u", (int)kind, index, attempt);
}

void collector_program_loaded(enum program_kind kind, size_t index)
{
    tell("loaded %d %zu", (int)kind, index);
}

void collector_program_failed(enum program_kind kind, size_t index, const char *error,
                              double delay_s)
{
    tell("failed %d %zu %s %.1f", (int)kind, index, error, delay_s);
}

void collector_program_reloaded(size_t application, const char *error)
{
    tell("reloaded %zu %s", application, error != NULL ? error : "-");
}

void collector_set_items(const struct item_figures *told_items, size_t count, unsigned left_out)
{
    memcpy(items, told_items, count * sizeof(*items));
    item_count = count;
    tell("items %zu %u", count, left_out);
}

void main_thread_begin_step(struct main_thread *main, enum main_step step, const char *name)
{
    assert_ptr_equal(main, &supervisor.main);
    tell("step %d %s", (int)step, name);
}

bool supervisor_ask_heal(struct supervisor *asked, const char *what, const void *startup,
                         size_t bytes)
{
    (void)asked;
    tell("heal %s %.*s", what, (int)bytes, (const char *)startup);
    return true;
}

bool supervisor_ask_reload(struct supervisor *asked, const char *why)
{
    (void)asked;
    tell("reload %s", why);
    return true;
}

void supervisor_ask(struct supervisor *asked, enum lifecycle_reason reason)
{
    (void)asked;
    tell("ask %d", (int)reason);
}

bool supervisor_wait(struct supervisor *asked, uint64_t timeout_ms, uint64_t attempt_ms)
{
    (void)asked;
    had_gil = had_gil || PyGILState_Check();
    tell("wait %d %d", (int)timeout_ms, (int)attempt_ms);
    return false;
}

enum lifecycle_state supervisor_state(struct supervisor *asked)
{
    (void)asked;
    return LIFECYCLE_DRAINING;
}

const char *lifecycle_state_name(enum lifecycle_state state)
{
    return state == LIFECYCLE_DRAINING ? "draining" : "serving";
}

void signals_reinstall(void)
{
    had_gil = had_gil || PyGILState_Check();
    tell("reinstall");
}

void py_signals_run(void)
{
    tell(PyGILState_Check() ? "run" : "run without the GIL");
}

void py_signals_wake(void)
{
    tell("wake");
}

pid_t reexec_check(const char *modules)
{
    had_gil = had_gil || PyGILState_Check();
    tell("check %s", modules);
    errno = EAGAIN;
    return check_pid;
}

bool activity_get(struct activity *activity, struct activity_report *report)
{
    report->age_ms = 1500;
    strcpy(report->request, "GET /\xff");
    return activity == &pool.activities.items[1];
}

bool request_is_peer_gone(const struct request *asked)
{
    (void)asked;
    return is_unwanted;
}

bool request_is_unwanted(struct request *asked, bool is_silent)
{
    (void)asked;
    tell("silent %d", is_silent);
    return is_unwanted;
}

bool reply_is_whole(const struct request *asked)
{
    (void)asked;
    return false;
}

static int set_up_python(void **state)
{
    (void)state;
    if (PyImport_AppendInittab("_fcgihost", py_module_init) < 0 || python_start() < 0)
        return -1;
    python_run("import os, _fcgihost as f");
    return 0;
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    static struct activity activities[2];
    memset(&supervisor, 0, sizeof(supervisor));
    memset(&request, 0, sizeof(request));
    supervisor.readiness.wake_fd = -1;
    supervisor.pool = &pool;
    supervisor.replacement.started_us = 1500000;
    pool.activities = (struct activities){.items = activities, .count = 2};
    atomic_store(&pool.requests, 9);
    request.id = "7";
    request.params = params;
    is_serving = is_interrupted = is_unwanted = had_gil = false;
    check_pid = 123;
    told[0] = '\0';
    py_module_set_supervisor(&supervisor);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    py_module_set_supervisor(NULL);
    forget_log();
    return had_gil ? -1 : 0; /* while it waited */
}

static void test_a_message_names_the_request_of_its_thread(void **state)
{
    (void)state;
    python_run("f.log(f.LOG_ERROR, 'event', 'text')\n"
               "f.log(f.LOG_WARNING, 'event', 'te\\udcff', '5')\n"
               "f.log(f.LOG_DEBUG, 'event', 'too detailed')\n");
    assert_log("error event: text\nwarning event 5: te\\udcff\n");
    is_serving = true;
    python_run("f.log(f.LOG_INFO, 'event', 'long text')\n"
               "f.log(f.LOG_INFO, 'event', 'x', 'another', 'thread')\n");
    assert_log("info event 7: long \ninfo event another: x\n");
    is_unwanted = true;
    python_run("f.log(f.LOG_INFO, 'event', 'more than it may log')");
    assert_log("");
}

static void test_what_is_printed_counts_where_it_is_known_whose_it_is(void **state)
{
    (void)state;
    python_run("assert f.admit_output(b'anything') is None");
    assert_told("");
    is_serving = true;
    python_run("assert f.admit_output(memoryview(b'text')) is None");
    assert_told("output text|");
    python_run("assert f.admit_output(b'long text') == 5");
    assert_told("output long text|full 7 0|");
    assert_raises("f.admit_output('text')", "TypeError", "");
}

static void test_a_message_that_is_none_is_refused(void **state)
{
    (void)state;
    assert_raises("f.log(-1, 'event', 'x')", "ValueError", "level must be LOG_ERROR");
    assert_raises("f.log(4, 'event', 'x')", "ValueError", "level must be LOG_ERROR");
    assert_raises("f.log(0, 'event', b'x')", "TypeError", "");
    assert_raises("f.log(0, None, 'x')", "TypeError", "");
    assert_raises("f.log(0, 'a\\0b', 'x')", "ValueError", "null character");
    assert_raises("f.log(0, 'event')", "TypeError", "");
    assert_log("");
}

static void test_what_a_thread_asks_of_its_request(void **state)
{
    (void)state;
    assert_python("f.request_id(), f.held(), f.is_client_gone(), f.is_response_over(True)",
                  "(None, None, False, False)");
    assert_python("f.sent_parameters()", "[]");
    is_serving = true;
    assert_python("f.request_id(), f.held(), f.is_client_gone(), f.is_response_over(False)",
                  "('7', True, False, False)");
    assert_told("silent 0|");
    is_unwanted = true;
    assert_python("f.is_client_gone(), f.is_response_over(True)", "(True, True)");
    assert_told("silent 1|");
    assert_python("f.current_request(lambda environ: [environ]), f.keep(True)", "([True], None)");
    assert_told("keep 1|");
}

static void test_parameters_are_those_that_the_web_server_has_sent(void **state)
{
    (void)state;
    is_serving = true;
    params[0] = (struct param){.name = "PATH_INFO", .value = "/ours", .sent = "/\xe9"};
    params[1] = (struct param){.name = "ADDED", .value = "x", .is_added = true};
    params[2] = (struct param){.name = "HTTP_PROXY", .value = "evil", .is_dropped = true};
    request.param_count = 3;
    assert_python("f.sent_parameters()", "[('PATH_INFO', '/\xc3\xa9'), ('HTTP_PROXY', 'evil')]");
    request.ops = &scgi_transport;
    assert_python("f.sent_parameters()[-1]", "('SCGI', '1')");
}

static void test_the_status_hears_of_programs(void **state)
{
    (void)state;
    python_run("f.note_program(True, 3, 'loading', 2, '', -1.0)\n"
               "f.note_program(False, 0, 'loaded', 2, '', -1.0)\n"
               "f.note_program(False, 1, 'failed', 2, 'why', 1.5)\n"
               "f.note_reload(1, None), f.note_reload(0, 'why')\n");
    assert_told("begins 1 3 2|loaded 0 0|failed 0 1 why 1.5|reloaded 1 -|reloaded 0 why|");
    assert_raises("f.note_program(True, 3)", "TypeError", "");
    assert_raises("f.note_reload(1, 2)", "TypeError", "");
    assert_told("");
}

static void test_items_are_copied_cut_to_their_size_and_escaped(void **state)
{
    (void)state;
    python_run("f.tell([('pool', 'n' * 500, 'leased', '\\ud800', 5, -1.0, 1, 2, 3, 4),\n"
               "        ('lock', 'l', 'held', '', 0, 2.5, 0, 0, 0, 0),\n"
               "        ('other', 'o', '', '', 0, 0.0, 0, 0, 0, 0)], 6)\n");
    assert_told("items 3 6|");
    assert_int_equal(items[0].kind, ITEM_POOL);
    assert_int_equal(strlen(items[0].name), sizeof(items[0].name) - 1);
    assert_string_equal(items[0].detail, "\\ud800");
    assert_true(isnan(items[0].seconds));
    assert_int_equal(items[0].waiting, 4);
    assert_int_equal(items[1].kind, ITEM_LOCK);
    assert_true(items[1].seconds > 2);
    assert_int_equal(items[2].kind, ITEM_CLEANUPS);
}

static void test_items_that_are_none_change_nothing(void **state)
{
    (void)state;
    assert_raises("f.tell([('pool',)], 0)", "TypeError", "");
    assert_raises("f.tell([('pool', b'', '', '', 0, 0.0, 0, 0, 0, 0)], 0)", "TypeError", "");
    assert_raises("f.tell([5], 0)", "TypeError", "each item must be a tuple");
    assert_raises("f.tell([()] * 65, 0)", "ValueError", "at most 64 items");
    assert_raises("f.tell((), 0)", "TypeError", "");
    assert_told("");
    python_run("f.tell([], 0)");
    assert_told("items 0 0|");
}

static void test_the_supervisor_is_asked(void **state)
{
    (void)state;
    char expected[128];
    python_run("f.begin_step(f.STEP_CLEANUP, 'a \\udcff')\n"
               "f.report_start(1, 2, 3), f.take_signals()\n"
               "f.shutdown(), f.restart(), f.reload(), f.wake()\n");
    snprintf(expected, sizeof(expected), "step %d a \\udcff|reinstall|ask %d|ask %d|ask %d|wake|",
             STEP_CLEANUP, REASON_SHUTDOWN, REASON_RESTART, REASON_RELOAD);
    assert_told(expected);
    assert_int_equal(atomic_load(&supervisor.readiness.failed_imports), 3);
    assert_python("f.ask_heal('it', b'state'), f.ask_reload('why \\udcff')", "(True, True)");
    assert_told("heal it state|reload why \\udcff|");
    assert_python("f.wait(1.5, 0), f.process_facts()", "(False, (1.5, 9, 4, 'draining'))");
    assert_told("wait 1501 1|run|");
    assert_python("[(request, seconds) for ident, request, seconds in f.activities()]",
                  "[('GET /\\\\xff', 1.5)]");
    python_run("f.switch([1, 2], None, 8)");
    assert_told("switch 2 1 8|");
}

static void test_without_a_supervisor_there_is_nobody_to_ask(void **state)
{
    (void)state;
    py_module_set_supervisor(NULL);
    static const char *const names[] = {"shutdown", "restart", "reload"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char call[32];
        snprintf(call, sizeof(call), "f.%s()", names[i]);
        assert_raises(call, "RuntimeError", "serves one request and exits by itself");
    }
    assert_python("f.ask_heal('it', b''), f.ask_reload('why'), f.activities()",
                  "(False, False, [])");
    assert_python("f.process_facts()[1:]", "(1, 4, 'serving')");
    python_run("f.begin_step(f.STEP_NONE, ''), f.report_start(0, 0, 0), f.take_signals()");
    assert_told("");
    assert_python("f.wait(0, 0)", "True"); /* it is to stop */
    supervisor.pool = NULL;
    py_module_set_supervisor(&supervisor);
    assert_python("f.process_facts()[1], f.activities()", "(0, [])");
}

static void test_arguments_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "f.begin_step('x', 'y')", "f.begin_step(1)",       "f.report_start(1)",
        "f.ask_heal('x', 'y')",   "f.ask_reload(b'x')",    "f.wait('x', 1)",
        "f.switch((), None, 1)",  "f.switch([], None)",    "f.start_check('x')",
        "f.file_states(5)",       "f.file_states(['x'])",  "f.file_states([b'x', None])",
        "f.compile('x', 'y')",    "f.compile(b'x', b'y')",
    };
    for (size_t i = 0; i < COUNT(calls); i++)
        assert_raises(calls[i], "TypeError", "");
    assert_told("");
}

static void test_a_child_that_checks_is_started_or_the_error_raised(void **state)
{
    (void)state;
    assert_python("f.start_check(b'a\\nb')", "123");
    assert_told("check a\nb|");
    check_pid = -1;
    assert_raises("f.start_check(b'')", "BlockingIOError", "");
    assert_raises("f.start_check(b'a\\0b')", "ValueError", "null");
}

static void test_an_interrupt_is_raised_where_it_is_asked_for(void **state)
{
    (void)state;
    assert_python("f.check_interrupt()", "None");
    is_interrupted = true;
    assert_raises("f.check_interrupt()", "KeyboardInterrupt", "interrupted");
}

static void test_a_source_is_compiled_as_python_would(void **state)
{
    (void)state;
    python_run("code = f.compile(b'# coding: latin-1\\nx = \"\\xe9\"\\n', '/a/\\udcff.py')\n"
               "exec(code)");
    assert_python("x, code.co_filename", "('\xc3\xa9', '/a/\\udcff.py')");
    assert_raises("f.compile(b'x = ', 'name')", "SyntaxError", "");
    assert_raises("f.compile(b'x\\0', 'name')", "ValueError", "");
}

static void test_the_states_of_files_are_those_of_stat(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_py_module.XXXXXX";
    assert_non_null(mkdtemp(folder));
    PyObject *text = PyUnicode_FromString(folder);
    python_set("folder", text);
    Py_DECREF(text);
    python_run("path = os.fsencode(folder) + b'/\\xff'\n"
               "open(path, 'w').write('12345') and None\n"
               "status = os.stat(path)\n"
               "states = f.file_states([path, b'/nowhere/x', b'', os.fsencode(folder)])\n"
               "os.unlink(path), os.rmdir(folder)\n");
    assert_python("states[0] == (status.st_mtime_ns, 5, status.st_ino), states[1:3]",
                  "(True, [None, None])");
    assert_python("states[3] is None, f.file_states([]), f.file_states(iter(()))",
                  "(False, [], [])");
}

static void call_all(void)
{
    is_serving = true;
    request.param_count = 2;
    python_run("for call in calls:\n"
               "    try: call()\n"
               "    except (TypeError, ValueError, SyntaxError): pass\n");
    told[0] = '\0';
    forget_log();
}

static const char calls_source[] =
    "calls = [\n"
    "    lambda: f.log(0, 'event', 'text'), lambda: f.log(9, 'event', 'x'), f.request_id,\n"
    "    f.held, f.activities, f.process_facts, f.sent_parameters, f.request_id, f.shutdown,\n"
    "    lambda: f.tell([('pool', 'n', 's', 'd', 5, -1.0, 1, 2, 3, 4)], 1),\n"
    "    lambda: f.tell([('pool', 'n', 's', 'd', 5, -1.0, 1, 2, 3, 4), 5], 1),\n"
    "    lambda: f.begin_step(1, 'a step'), lambda: f.ask_heal('x', b'y'),\n"
    "    lambda: f.ask_reload('it changed'), lambda: f.ask_reload(5), lambda: f.wait(0, 0),\n"
    "    lambda: f.current_request(lambda environ: [environ]),\n"
    "    lambda: f.file_states([b'/', b'/nowhere']), lambda: f.file_states([b'/', 5]),\n"
    "    lambda: f.switch([], None, 1), lambda: f.keep(True)]\n";

static void test_ten_thousand_calls_leave_nothing_behind(void **state)
{
    (void)state;
    python_run(calls_source);
    python_run("calls += [lambda: f.compile(b'x = 1', 'y'), lambda: f.compile(b'x =', 'y')]");
    ASSERT_NO_GROWTH(call_all());
}

static void test_memory_that_runs_out_raises_in_every_function(void **state)
{
    (void)state;
    python_run(calls_source); /* without compile(), in which Python 3.11's parser itself fails */
    is_serving = true;
    request.param_count = 2;
    PyObject *calls = python_get("calls");
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(calls); i++) {
        bool has_failed = true;
        for (unsigned long n = 1; has_failed; n++) {
            python_fail_allocation(n, false);
            PyObject *result = PyObject_CallNoArgs(PyList_GET_ITEM(calls, i));
            has_failed = python_end_failures();
            assert_int_equal(result == NULL, PyErr_Occurred() != NULL);
            PyErr_Clear();
            Py_XDECREF(result);
            told[0] = '\0';
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_message_names_the_request_of_its_thread),
        TEST(test_what_is_printed_counts_where_it_is_known_whose_it_is),
        TEST(test_a_message_that_is_none_is_refused),
        TEST(test_what_a_thread_asks_of_its_request),
        TEST(test_parameters_are_those_that_the_web_server_has_sent),
        TEST(test_the_status_hears_of_programs),
        TEST(test_items_are_copied_cut_to_their_size_and_escaped),
        TEST(test_items_that_are_none_change_nothing),
        TEST(test_the_supervisor_is_asked),
        TEST(test_without_a_supervisor_there_is_nobody_to_ask),
        TEST(test_arguments_that_are_none_are_refused),
        TEST(test_a_child_that_checks_is_started_or_the_error_raised),
        TEST(test_an_interrupt_is_raised_where_it_is_asked_for),
        TEST(test_a_source_is_compiled_as_python_would),
        TEST(test_the_states_of_files_are_those_of_stat),
        TEST(test_ten_thousand_calls_leave_nothing_behind),
        TEST(test_memory_that_runs_out_raises_in_every_function),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
