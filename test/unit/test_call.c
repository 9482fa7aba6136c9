/* --call: the variables that it makes of the command line. The request is not served, only written
 * down.
 *
 * links: call.c path_info.c */
#include "unit.h"

#include "base/log.h"
#include "config/config_application.h"
#include "serve/call.h"
#include "serve/cgi.h"

#include <fcntl.h>
#include <unistd.h>

enum { VARIABLES = 64, VARIABLE_BYTES = 512 };

static struct command_line line;
static struct config config;
static struct config_application applications[2];
static char seen[VARIABLES][VARIABLE_BYTES]; /* "NAME=VALUE" */
static unsigned seen_count, calls;
static int seen_response_fd, status;
static bool had_body;
static char body[64], logged[256];

/* Fakes */

int cgi_serve(const struct config *given, char *const *variables, int body_fd, int response_fd)
{
    assert_ptr_equal(given, &config);
    calls++;
    seen_response_fd = response_fd;
    for (; *variables != NULL; variables++) {
        assert_true(seen_count < VARIABLES);
        snprintf(seen[seen_count++], VARIABLE_BYTES, "%s", *variables);
    }
    had_body = body_fd >= 0;
    if (had_body) {
        ssize_t n = read(body_fd, body, sizeof(body) - 1);
        assert_true(n >= 0);
        body[n] = '\0';
    }
    return status;
}

void log_error(const char *event, const char *format, ...)
{
    va_list arguments;
    (void)event;
    va_start(arguments, format);
    vsnprintf(logged, sizeof(logged), format, arguments);
    va_end(arguments);
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(applications, 0, sizeof(applications));
    config.applications = applications;
    line = (struct command_line){.command = COMMAND_CALL, .call_path = "/", .method = "GET"};
    seen_count = calls = 0;
    status = 200;
    body[0] = logged[0] = '\0';
    return 0;
}

/* The value of a variable; NULL: it was not sent. Each may be sent once. */
static const char *value(const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);
    for (unsigned i = 0; i < seen_count; i++)
        if (strncmp(seen[i], name, n) == 0 && seen[i][n] == '=') {
            assert_null(found);
            found = seen[i] + n + 1;
        }
    return found;
}

static int call(void)
{
    seen_count = 0;
    return call_run(&line, &config, 42);
}

static void test_a_call_is_a_cgi_request_of_this_machine(void **state)
{
    (void)state;
    assert_int_equal(call(), 0);
    assert_int_equal(seen_response_fd, 42);
    assert_string_equal(value("GATEWAY_INTERFACE"), "CGI/1.1");
    assert_string_equal(value("SERVER_PROTOCOL"), "HTTP/1.1");
    assert_string_equal(value("SERVER_NAME"), "localhost");
    assert_string_equal(value("SERVER_PORT"), "80");
    assert_string_equal(value("REMOTE_ADDR"), "127.0.0.1");
    assert_string_equal(value("HTTP_HOST"), "localhost");
    assert_string_equal(value("REQUEST_METHOD"), "GET");
}

static void test_the_path_is_decoded_and_the_uri_is_as_it_was_given(void **state)
{
    (void)state;
    line.call_path = "/a%20b/c?x=%201&y";
    assert_int_equal(call(), 0);
    assert_string_equal(value("SCRIPT_NAME"), "");
    assert_string_equal(value("PATH_INFO"), "/a b/c");
    assert_string_equal(value("REQUEST_URI"), "/a%20b/c?x=%201&y");
    assert_string_equal(value("QUERY_STRING"), "x=%201&y");
}

static void test_a_path_without_a_query_has_an_empty_query_string(void **state)
{
    (void)state;
    line.call_path = "/a";
    call();
    assert_string_equal(value("QUERY_STRING"), "");
}

static void test_the_exit_code_says_whether_the_status_is_below_500(void **state)
{
    (void)state;
    static const int rows[][2] = {{200, 0}, {404, 0}, {499, 0}, {500, 1}, {503, 1}, {-1, 1}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        status = rows[i][0];
        assert_int_equal(call(), rows[i][1]);
    }
}

static void test_headers_become_variables(void **state)
{
    (void)state;
    const char *headers[] = {"Accept-Language: de", "x-a:b:c", "Empty:", "X-Tab:\t v "};
    line.headers = headers;
    line.header_count = COUNT(headers);
    assert_int_equal(call(), 0);
    assert_string_equal(value("HTTP_ACCEPT_LANGUAGE"), "de");
    assert_string_equal(value("HTTP_X_A"), "b:c");
    assert_string_equal(value("HTTP_EMPTY"), "");
    assert_string_equal(value("HTTP_X_TAB"), "v ");
}

/* RFC 3875, section 4.1: these two have no prefix. */
static void test_type_and_length_of_the_content_are_variables_of_their_own(void **state)
{
    (void)state;
    const char *headers[] = {"content-type: text/plain", "Content-Length: 3"};
    line.headers = headers;
    line.header_count = COUNT(headers);
    call();
    assert_string_equal(value("CONTENT_TYPE"), "text/plain");
    assert_string_equal(value("CONTENT_LENGTH"), "3");
    assert_null(value("HTTP_CONTENT_TYPE"));
    assert_null(value("HTTP_CONTENT_LENGTH"));
}

static void test_all_headers_have_room(void **state)
{
    (void)state;
    const char *headers[32];
    for (size_t i = 0; i < COUNT(headers); i++)
        headers[i] = i == 31 ? "Last: 31" : "Other: x";
    line.headers = headers;
    line.header_count = COUNT(headers);
    config.application_count = 1;
    applications[0].script_root = (char *)(uintptr_t) "/srv";
    line.data_file = "/dev/null";
    assert_int_equal(call(), 0);
    assert_string_equal(value("HTTP_LAST"), "31");
}

static void test_a_file_is_a_body_of_its_length(void **state)
{
    (void)state;
    char path[] = "/tmp/fcgihost-call-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a=1", 3), 3);
    close(fd);
    line.data_file = path;
    assert_int_equal(call(), 0);
    assert_string_equal(body, "a=1");
    assert_string_equal(value("CONTENT_LENGTH"), "3");
    assert_string_equal(value("CONTENT_TYPE"), "application/x-www-form-urlencoded");
    assert_null(value("HTTP_TRANSFER_ENCODING"));
    unlink(path);
}

/* Its length is not known before its end. */
static void test_a_pipe_on_standard_input_is_a_body_of_unknown_length(void **state)
{
    (void)state;
    int ends[2], kept = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "b=2", 3), 3);
    close(ends[1]);
    assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
    close(ends[0]);
    line.data_file = "-";
    assert_int_equal(call(), 0);
    assert_string_equal(body, "b=2");
    assert_null(value("CONTENT_LENGTH"));
    assert_string_equal(value("HTTP_TRANSFER_ENCODING"), "chunked");
    dup2(kept, STDIN_FILENO);
    close(kept);
}

static void test_without_data_there_is_no_body(void **state)
{
    (void)state;
    call();
    assert_false(had_body);
    assert_null(value("CONTENT_TYPE"));
    assert_null(value("CONTENT_LENGTH"));
}

static void test_a_data_file_that_can_not_be_read_is_named_and_nothing_is_called(void **state)
{
    (void)state;
    line.data_file = "/nowhere/data";
    assert_int_equal(call(), 1);
    assert_int_equal(calls, 0);
    assert_string_equal(logged, "--data \"/nowhere/data\": No such file or directory");
}

static void test_below_a_script_root_the_path_names_a_file(void **state)
{
    (void)state;
    config.application_count = 1;
    applications[0].script_root = (char *)(uintptr_t) "/srv/www";
    line.call_path = "/dir/a%2Eapp?q";
    call();
    assert_string_equal(value("SCRIPT_FILENAME"), "/srv/www/dir/a.app");
    assert_string_equal(value("SCRIPT_NAME"), "/dir/a.app");
    assert_null(value("PATH_INFO"));
}

static void test_a_script_root_counts_only_below_its_own_mount(void **state)
{
    (void)state;
    config.application_count = 2;
    applications[0] = (struct config_application){.mount = (char *)(uintptr_t) "/one"};
    applications[1].script_root = (char *)(uintptr_t) "/srv";
    applications[1].mount = (char *)(uintptr_t) "/two";
    static const struct {
        const char *path, *file;
    } rows[] = {
        {"/two/x.py", "/srv/x.py"},
        {"/twofold/x.py", NULL}, /* another name, not below it */
        {"/two", NULL},
        {"/one/x.py", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        line.call_path = rows[i].path;
        call();
        if (rows[i].file != NULL)
            assert_string_equal(value("SCRIPT_FILENAME"), rows[i].file);
        else
            assert_null(value("SCRIPT_FILENAME"));
    }
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_call_is_a_cgi_request_of_this_machine),
        TEST(test_the_path_is_decoded_and_the_uri_is_as_it_was_given),
        TEST(test_a_path_without_a_query_has_an_empty_query_string),
        TEST(test_the_exit_code_says_whether_the_status_is_below_500),
        TEST(test_headers_become_variables),
        TEST(test_type_and_length_of_the_content_are_variables_of_their_own),
        TEST(test_all_headers_have_room),
        TEST(test_a_file_is_a_body_of_its_length),
        TEST(test_a_pipe_on_standard_input_is_a_body_of_unknown_length),
        TEST(test_without_data_there_is_no_body),
        TEST(test_a_data_file_that_can_not_be_read_is_named_and_nothing_is_called),
        TEST(test_below_a_script_root_the_path_names_a_file),
        TEST(test_a_script_root_counts_only_below_its_own_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
