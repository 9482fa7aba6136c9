/* What the start asks of the package, and what it makes of the answer.
 *
 * links: py_startup.c py_programs.c readiness.c */
#include "python_fixture.h"

#include "support_fakes.h"

#include "config/config_application.h"
#include "embed/py_programs.h"
#include "interpreter/py_startup.h"
#include "life/reexec.h"
#include "life/supervisor.h"

static struct config config;
static struct supervisor supervisor;
static struct handover predecessor;
static bool has_predecessor;
static char asked[128];
static int retry_result;

const struct handover *reexec_predecessor(void)
{
    return has_predecessor ? &predecessor : NULL;
}

void supervisor_ask(struct supervisor *stopped, enum lifecycle_reason reason)
{
    assert_ptr_equal(stopped, &supervisor);
    assert_int_equal(reason, REASON_STARTUP);
    strcat(asked, "stop ");
}

int supervisor_ask_retry(struct supervisor *replaced, const void *startup, size_t bytes)
{
    assert_ptr_equal(replaced, &supervisor);
    snprintf(asked, sizeof(asked), "retry %.*s ", (int)bytes, (const char *)startup);
    return retry_result;
}

const char *config_responder(const struct config_application *application)
{
    return application->wsgi;
}

static int set_up_python(void **state)
{
    (void)state;
    return python_start();
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static char *imports[] = {(char *)"shop.db:connect", (char *)"\xff"}, *watch[] = {(char *)"*.html"};

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&supervisor, 0, sizeof(supervisor));
    memset(&predecessor, 0, sizeof(predecessor));
    has_predecessor = false;
    retry_result = 0;
    asked[0] = printed[0] = '\0';
    supervisor.readiness.wake_fd = -1;
    config.application_count = 2;
    config.applications = calloc(2, sizeof(*config.applications));
    config.applications[0].wsgi = (char *)"shop:app";
    config.applications[1].name = (char *)"\xc3\xa4";
    config.applications[1].script = (char *)"/srv/\xff.py";
    config.applications[1].authorizer = (char *)"door:keeper";
    config.imports = (struct config_list){.items = imports, .count = 2};
    config.reload_watch = (struct config_list){.items = watch, .count = 1};
    config.retry_delay_ms = 1500;
    config.reload_mode = RELOAD_PROCESS;
    python_use_host("calls = []\n"
                    "def app(): pass\n"
                    "def start_up(*arguments):\n"
                    "    calls.append(arguments)\n"
                    "    return answer(*arguments)\n"
                    "def start_up_once(settings):\n"
                    "    calls.append(settings)\n"
                    "    return answer(settings)\n"
                    "def describe_application(program): return 'described'\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    python_run("host.calls.clear()");
    py_programs_clear();
    free(config.applications);
    return 0;
}

static void answer_with(const char *function)
{
    char source[256];
    snprintf(source, sizeof(source), "host.answer = %s", function);
    python_run(source);
}

static void test_the_package_gets_the_settings(void **state)
{
    (void)state;
    answer_with("lambda *arguments: None");
    py_startup_run(&config, &supervisor);
    assert_string_equal(asked, "");
    assert_printed("");
    python_run("settings, on_loaded, before = host.calls[0]");
    assert_python("before, callable(on_loaded)", "(None, True)");
    assert_python("settings['imports'], settings['watch'], settings['file']",
                  "(['shop.db:connect', '\\udcff'], ['*.html'], None)");
    assert_python("settings['retry_delay'], settings['reload'], settings['exits']",
                  "(1.5, 'process', False)");
    assert_python("[item['name'] for item in settings['applications']]", "[None, '\xc3\xa4']");
    assert_python("settings['applications'][1]['script']", "'/srv/\\udcff.py'");
    assert_python("settings['applications'][1]['authorizer']", "'door:keeper'");
    python_run("settings = on_loaded = None");
}

static void test_an_application_that_is_loaded_serves_at_once(void **state)
{
    (void)state;
    answer_with("lambda settings, loaded, before: loaded(1, (host.app, None, None))");
    py_startup_run(&config, &supervisor);
    assert_printed("");
    assert_false(readiness_has(&supervisor.readiness, 0));
    assert_true(readiness_has(&supervisor.readiness, 1));
    assert_ptr_equal(py_programs_get(1, ROLE_AUTHORIZER), Py_None);
    PyObject *app = python_eval("host.app");
    assert_ptr_equal(py_programs_get(1, ROLE_RESPONDER), app);
    Py_DECREF(app);
}

static void test_what_is_no_application_raises_in_the_package_and_serves_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {"(1, None)", "(1, ())", "(1,)", "('x', (1, 2, 3))",
                                        "(64, (1, 2, 3))"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char function[128];
        snprintf(function, sizeof(function), "lambda settings, loaded, before: loaded(*%s)",
                 wrong[i]);
        answer_with(function);
        py_startup_run(&config, &supervisor);
        assert_printed("start-up failed: TypeError|");
        assert_int_equal(atomic_load(&supervisor.readiness.loaded), 0);
    }
}

static void test_a_start_that_raises_stops_the_process(void **state)
{
    (void)state;
    answer_with("lambda *arguments: 1 / 0");
    py_startup_run(&config, &supervisor);
    assert_printed("start-up failed: ZeroDivisionError|");
    assert_string_equal(asked, "stop ");
}

static void test_a_start_that_gives_up_stops_the_process(void **state)
{
    (void)state;
    answer_with("lambda *arguments: False");
    py_startup_run(&config, &supervisor);
    assert_printed("");
    assert_string_equal(asked, "stop ");
}

static void test_bytes_ask_for_the_next_attempt_and_get_there(void **state)
{
    (void)state;
    answer_with("lambda *arguments: b'state'");
    py_startup_run(&config, &supervisor);
    assert_string_equal(asked, "retry state ");
    retry_result = -1; /* out of memory */
    py_startup_run(&config, &supervisor);
    assert_string_equal(asked, "retry state stop ");
    has_predecessor = true;
    predecessor.startup = (struct handover_bytes){.data = (const uint8_t *)"sta\0te", .bytes = 6};
    answer_with("lambda *arguments: None");
    py_startup_run(&config, &supervisor);
    assert_python("host.calls[-1][2]", "None"); /* that one had started well */
    predecessor.is_start_again = true;
    py_startup_run(&config, &supervisor);
    assert_python("host.calls[-1][2]", "b'sta\\x00te'");
}

static void test_one_attempt_tells_what_failed(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum py_startup_result result;
        const char *printed;
    } rows[] = {
        {"[(1, 2, 3), (4, 5, 6)], True", PY_STARTUP_FINE, ""},
        {"[(1, 2, 3), (4, 5, 6)], False", PY_STARTUP_IMPERFECT, ""},
        {"[(1, 2, 3), None], True", PY_STARTUP_FAILED, ""},
        {"[(1, 2, 3), 5], True", PY_STARTUP_FAILED, "start-up failed: TypeError|"},
        {"1 / 0", PY_STARTUP_FAILED, "start-up failed: ZeroDivisionError|"},
        {"()", PY_STARTUP_FAILED, "start-up failed: TypeError|"},
        {"(), True", PY_STARTUP_FAILED, "start-up failed: TypeError|"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char function[128];
        snprintf(function, sizeof(function), "lambda settings: (%s)", rows[i].answer);
        answer_with(function);
        assert_int_equal(py_startup_run_once(&config), rows[i].result);
        assert_printed(rows[i].printed);
        assert_null(PyErr_Occurred());
    }
}

static void test_a_description_that_fails_leaves_no_exception(void **state)
{
    (void)state;
    answer_with("lambda settings: ([(1, 2, 3), (4, 5, 6)], True)");
    py_startup_run_once(&config);
    py_startup_describe(&config);
    python_run("host.describe_application = lambda program: 1 / 0");
    py_startup_describe(&config);
    python_run("host.describe_application = lambda program: '\\ud800'");
    py_startup_describe(&config);
    assert_null(PyErr_Occurred());
}

static void test_starts_leave_nothing_behind(void **state)
{
    (void)state;
    answer_with("lambda settings, loaded, before: loaded(1, (host.app, None, None)) or b'x'");
    ASSERT_NO_GROWTH(py_startup_run(&config, &supervisor); python_run("host.calls.clear()"));
}

static void test_memory_that_runs_out_stops_the_process(void **state)
{
    (void)state;
    answer_with("lambda *arguments: None");
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        asked[0] = printed[0] = '\0';
        python_fail_allocation(n, false);
        py_startup_run(&config, &supervisor);
        has_failed = python_end_failures();
        assert_null(PyErr_Occurred());
        assert_int_equal(asked[0] != '\0', printed[0] != '\0');
        printed[0] = '\0';
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_package_gets_the_settings),
        TEST(test_an_application_that_is_loaded_serves_at_once),
        TEST(test_what_is_no_application_raises_in_the_package_and_serves_nothing),
        TEST(test_a_start_that_raises_stops_the_process),
        TEST(test_a_start_that_gives_up_stops_the_process),
        TEST(test_bytes_ask_for_the_next_attempt_and_get_there),
        TEST(test_one_attempt_tells_what_failed),
        TEST(test_a_description_that_fails_leaves_no_exception),
        TEST(test_starts_leave_nothing_behind),
        TEST(test_memory_that_runs_out_stops_the_process),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
