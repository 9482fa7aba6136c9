/* --check, --call and plain CGI: the order of their steps, each of which only writes down its name,
 * and their exit codes.
 *
 * links: run_once.c config_error.c */
#include "unit.h"

#include "config/config_places.h"
#include "embed/py_gil.h"
#include "interpreter/py_startup.h"
#include "life/process.h"
#include "serve/call.h"
#include "serve/cgi.h"
#include "start/run_once.h"
#include "start/start_error.h"
#include "start/start_python.h"

#include <errno.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* most fakes use none of theirs */

static struct config config;
static struct command_line line;
static struct privileges privileges;
static const char *failing;
static enum py_startup_result loaded;
static unsigned problems; /* of folders and files that the configuration names */
static int answered;      /* what --call exits with, or the status of plain CGI */
static bool is_multiprocess, has_environment;
static char told[512];

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
}

static int step(const char *what)
{
    tell(what);
    errno = ENOMEM;
    return failing != NULL && strcmp(failing, what) == 0 ? -1 : 0;
}

static enum config_blame problems_blame = CONFIG_BLAMES_FILE;

/* Fakes */

unsigned config_check_places(const struct config *c, void (*report)(const struct config_error *),
                             enum config_blame *blame)
{
    assert_ptr_equal(report, command_line_report);
    *blame = problems_blame;
    return problems;
}

void command_line_report(const struct config_error *error)
{
}

int privileges_find(const struct config *c, bool is_anew, struct privileges *found,
                    struct config_error *error)
{
    config_error_set(error, "privileges");
    return step("privileges");
}

int privileges_set_environment(const struct config *c, const struct privileges *p)
{
    setenv("FCGIHOST_TEST_ADDED", "by [environment]", 1);
    return step("environment");
}

int process_become(const struct config *c, const struct privileges *p, struct config_error *error)
{
    config_error_set(error, "become");
    return step("become");
}

int process_take_stdout(void)
{
    return step("take-stdout") < 0 ? -1 : 9;
}

int start_python(const struct config *c, const struct py_options *options)
{
    assert_true(options->is_run_once);
    assert_null(options->supervisor);
    is_multiprocess = options->is_multiprocess;
    return step("python") < 0 ? EXIT_CONFIG : 0;
}

int start_python_finish(const struct config *c, int code)
{
    tell("finish");
    return code;
}

enum py_startup_result py_startup_run_once(const struct config *c)
{
    tell("load");
    return loaded;
}

void py_startup_describe(const struct config *c)
{
    tell("describe");
}

const char *py_interpreter_version(void)
{
    return "3";
}

void py_gil_release(void)
{
    tell("release-gil");
}

void py_gil_take(void)
{
    tell("take-gil");
}

int call_run(const struct command_line *l, const struct config *c, int response_fd)
{
    assert_ptr_equal(l, &line);
    assert_int_equal(response_fd, 9);
    tell("call");
    return answered;
}

int cgi_serve(const struct config *c, char *const *variables, int body_fd, int response_fd)
{
    assert_int_equal(body_fd, STDIN_FILENO);
    assert_int_equal(response_fd, 9);
    has_environment = false;
    for (; *variables != NULL; variables++)
        if (strncmp(*variables, "FCGIHOST_TEST_ADDED", 19) == 0)
            has_environment = true;
    tell("cgi");
    return answered;
}

int start_error(const struct config_error *error, enum exit_code code)
{
    tell(error->message);
    return code;
}

int start_error_setting(const struct config_error *error, enum exit_code code)
{
    return start_error(error, code);
}

int start_error_errno(const char *what)
{
    tell("can't start:");
    tell(what);
    return EXIT_RUN_TIME;
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    failing = NULL;
    loaded = PY_STARTUP_FINE;
    problems = 0;
    answered = 0;
    told[0] = '\0';
    unsetenv("FCGIHOST_TEST_ADDED");
    return 0;
}

static void test_check_does_what_serving_needs_but_the_sockets(void **state)
{
    (void)state;
    assert_int_equal(run_once_check(&config), EXIT_CLEAN);
    assert_string_equal(told, "privileges environment become python load describe finish ");
}

static void test_check_names_all_missing_places_before_anything_is_started(void **state)
{
    (void)state;
    problems = 2;
    assert_int_equal(run_once_check(&config), EXIT_CONFIG);
    assert_string_equal(told, "");
    problems_blame = CONFIG_BLAMES_FLAG; /* --set server.temporary=... */
    assert_int_equal(run_once_check(&config), EXIT_USAGE);
    problems_blame = CONFIG_BLAMES_FILE;
}

static void test_check_fails_with_the_code_of_the_step(void **state)
{
    (void)state;
    static const char *const steps[] = {"privileges", "environment", "become", "python"};
    for (size_t i = 0; i < COUNT(steps); i++) {
        told[0] = '\0';
        failing = steps[i];
        assert_int_equal(run_once_check(&config), EXIT_CONFIG);
        assert_null(strstr(told, "load"));
    }
}

/* A server would serve without an import that is not required; who checks wants to know. */
static void test_check_is_content_only_if_everything_loads(void **state)
{
    (void)state;
    static const enum py_startup_result results[] = {PY_STARTUP_IMPERFECT, PY_STARTUP_FAILED};
    for (size_t i = 0; i < COUNT(results); i++) {
        told[0] = '\0';
        loaded = results[i];
        assert_int_equal(run_once_check(&config), EXIT_APPLICATION);
        assert_null(strstr(told, "describe"));
        assert_non_null(strstr(told, "finish"));
    }
}

/* What Python prints must not come before the response's head. */
static void test_standard_output_is_the_responses_before_python_starts(void **state)
{
    (void)state;
    assert_int_equal(run_once(&line, &config, &privileges), 0);
    assert_string_equal(told, "take-stdout environment become python load release-gil call "
                              "take-gil finish ");
    assert_false(is_multiprocess);
}

static void test_a_call_has_the_code_of_its_answer(void **state)
{
    (void)state;
    answered = 1;
    assert_int_equal(run_once(&line, &config, &privileges), 1);
    loaded = PY_STARTUP_IMPERFECT;
    answered = 0;
    assert_int_equal(run_once(&line, &config, &privileges), 0);
}

static void test_plain_cgi_has_other_processes_beside_it(void **state)
{
    (void)state;
    answered = 404;
    assert_int_equal(run_once(NULL, &config, &privileges), EXIT_CLEAN);
    assert_true(is_multiprocess);
    answered = 500; /* was sent: the web server has its answer */
    assert_int_equal(run_once(NULL, &config, &privileges), EXIT_CLEAN);
    answered = -1;
    assert_int_equal(run_once(NULL, &config, &privileges), EXIT_RUN_TIME);
}

/* [environment] may hold passwords for the application: a page that shows its variables must not.
 */
static void test_variables_of_the_configuration_are_none_of_the_request(void **state)
{
    (void)state;
    answered = 200;
    run_once(NULL, &config, &privileges);
    assert_non_null(getenv("FCGIHOST_TEST_ADDED"));
    assert_false(has_environment);
}

static void test_nothing_is_served_if_loading_failed(void **state)
{
    (void)state;
    loaded = PY_STARTUP_FAILED;
    assert_int_equal(run_once(NULL, &config, &privileges), EXIT_APPLICATION);
    assert_null(strstr(told, "cgi"));
    assert_non_null(strstr(told, "finish"));
}

static void test_a_step_that_fails_before_the_request_ends_it(void **state)
{
    (void)state;
    static const struct {
        const char *step, *message;
        int code;
    } rows[] = {
        {"take-stdout", "can't start: standard output ", EXIT_RUN_TIME},
        {"environment", "[environment]: ", EXIT_RUN_TIME},
        {"become", "become become ", EXIT_RUN_TIME},
        {"python", "", EXIT_CONFIG},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        told[0] = '\0';
        failing = rows[i].step;
        assert_int_equal(run_once(&line, &config, &privileges), rows[i].code);
        assert_non_null(strstr(told, rows[i].message));
        assert_null(strstr(told, "load"));
    }
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_check_does_what_serving_needs_but_the_sockets),
        TEST(test_check_names_all_missing_places_before_anything_is_started),
        TEST(test_check_fails_with_the_code_of_the_step),
        TEST(test_check_is_content_only_if_everything_loads),
        TEST(test_standard_output_is_the_responses_before_python_starts),
        TEST(test_a_call_has_the_code_of_its_answer),
        TEST(test_plain_cgi_has_other_processes_beside_it),
        TEST(test_variables_of_the_configuration_are_none_of_the_request),
        TEST(test_nothing_is_served_if_loading_failed),
        TEST(test_a_step_that_fails_before_the_request_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
