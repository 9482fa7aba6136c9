/* Plain CGI: a request from variables and a descriptor, its response to another one. Body, response
 * and meta-variables are real; Python is not: the application echoes.
 *
 * links: cgi.c meta_variables.c path_info.c route.c request.c request_body.c spool.c descriptors.c
 * arena.c reply.c error_page.c response.c fork.c log_line.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config_application.h"
#include "config/config_places.h"
#include "embed/py_wsgi.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/request_log.h"
#include "serve/cgi.h"
#include "serve/serve.h"

static struct config config;
static struct config_application application;
static enum { SEEN_NOTHING, SEEN_REFUSED, SEEN_SERVED } seen;
static enum body_failure failure; /* of the body, when serve_refuse was asked */
static char seen_body[256], seen_header[64];
static long seen_bytes;
static bool has_python, is_body_read, logged_end;
static int response_fd, response_end;

/* Fakes */

const char *config_find_temporary(const struct config *asked)
{
    assert_ptr_equal(asked, &config);
    return strdup("/tmp");
}

const char *config_responder(const struct config_application *asked)
{
    return asked->wsgi;
}

bool config_answers_by_authorizer(const struct config *whole,
                                  const struct config_application *asked)
{
    (void)whole, (void)asked;
    return false;
}

void activity_init(struct activity *activity)
{
    memset(activity, 0, sizeof(*activity));
}

struct python_thread *py_wsgi_enter_thread(struct activity *activity)
{
    (void)activity;
    return has_python ? (struct python_thread *)(void *)&config : NULL;
}

void py_wsgi_leave_thread(struct python_thread *thread)
{
    assert_ptr_equal(thread, &config);
}

bool serve_refuse(struct server *server, struct request *request)
{
    assert_null(server->config);
    assert_true(readiness_has(server->readiness, 63)); /* everything is loaded */
    failure = request->body_failure;
    if (failure == BODY_FINE)
        return false;
    seen = SEEN_REFUSED;
    reply_send_error_page(request, ERROR_PAGE_BODY_CUT);
    return true;
}

bool readiness_has(const struct readiness *readiness, unsigned number)
{
    return atomic_load(&readiness->loaded) >> number & 1;
}

enum py_wsgi_outcome serve_request(struct server *server, struct request *request)
{
    (void)server;
    seen = SEEN_SERVED;
    const char *header = request_value(request, "HTTP_X");
    snprintf(seen_header, sizeof(seen_header), "%s", header != NULL ? header : "none");
    long n = 1;
    for (seen_bytes = 0; is_body_read && n > 0;) {
        n = request_read_body(request, seen_body + seen_bytes, 1);
        if (n > 0)
            seen_bytes += n;
    }
    seen_body[seen_bytes] = '\0';
    if (n < 0)
        failure = request->body_failure;
    reply_send_page(request, "200 OK", "answer");
    return PY_WSGI_SERVED;
}

void request_log_end(struct request *request)
{
    (void)request;
    logged_end = true;
}

void log_warning(const char *event, const char *format, ...)
{
    (void)event, (void)format;
}

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    (void)level, (void)topic, (void)format;
}

/* Tests */

static int set_up(void **state)
{
    int ends[2];
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&application, 0, sizeof(application));
    application.wsgi = (char *)(uintptr_t) "app:application";
    config.applications = &application;
    config.application_count = 1;
    config.body_memory_bytes = 1 << 20;
    config.temporary_space_bytes = 1 << 20;
    seen = SEEN_NOTHING;
    failure = BODY_FINE;
    has_python = is_body_read = true;
    logged_end = false;
    if (pipe(ends) < 0)
        return -1;
    response_end = ends[0];
    response_fd = ends[1];
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(response_end);
    close(response_fd);
    return 0;
}

/* A pipe from which these bytes come, and then its end. */
static int pipe_of(const char *bytes, size_t n)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes, n), (ssize_t)n);
    close(ends[1]);
    return ends[0];
}

/* Serves a POST whose body is on a pipe; length, more: further variables or NULL. */
static int serve(const char *body, const char *length, const char *more)
{
    const char *variables[] = {"REQUEST_METHOD=POST",
                               "SCRIPT_NAME=",
                               "PATH_INFO=/x",
                               "SERVER_NAME=h",
                               "SERVER_PORT=80",
                               "SERVER_PROTOCOL=HTTP/1.1",
                               NULL,
                               NULL,
                               NULL};
    size_t count = 6;
    if (length != NULL)
        variables[count++] = length;
    if (more != NULL)
        variables[count++] = more;
    int fd = body != NULL ? pipe_of(body, strlen(body)) : -1;
    int status = cgi_serve(&config, (char *const *)(uintptr_t)variables, fd, response_fd);
    if (fd >= 0)
        close(fd);
    return status;
}

static void test_a_request_gets_its_response_and_its_status(void **state)
{
    char text[256];
    (void)state;
    assert_int_equal(serve("abc", "CONTENT_LENGTH=3", "HTTP_X=y"), 200);
    assert_string_equal(seen_body, "abc");
    assert_string_equal(seen_header, "y");
    assert_true(logged_end);
    ssize_t n = read(response_end, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                              "Content-Length: 6\r\n\r\nanswer");
}

/* RFC 3875, section 4.2: a script must not read beyond CONTENT_LENGTH. */
static void test_bytes_behind_the_content_length_are_not_read(void **state)
{
    (void)state;
    const char *variables[] = {"REQUEST_METHOD=POST", "CONTENT_LENGTH=3", NULL};
    char rest[8];
    int fd = pipe_of("abcdef", 6);
    assert_int_equal(cgi_serve(&config, (char *const *)(uintptr_t)variables, fd, response_fd), 200);
    assert_string_equal(seen_body, "abc");
    assert_int_equal(read(fd, rest, sizeof(rest)), 3);
    assert_memory_equal(rest, "def", 3);
    close(fd);
}

static void test_without_a_content_length_there_is_no_body(void **state)
{
    (void)state;
    assert_int_equal(serve("abc", NULL, NULL), 200);
    assert_int_equal(seen_bytes, 0);
}

static void test_a_chunked_body_ends_with_its_descriptor(void **state)
{
    (void)state;
    assert_int_equal(serve("abcdef", NULL, "HTTP_TRANSFER_ENCODING=chunked"), 200);
    assert_string_equal(seen_body, "abcdef");
}

static void test_without_a_descriptor_there_is_no_body(void **state)
{
    (void)state;
    assert_int_equal(serve(NULL, NULL, "HTTP_TRANSFER_ENCODING=chunked"), 200);
    assert_int_equal(seen_bytes, 0);
}

/* An application may act on what it gets: half a body is not for it. */
static void test_the_application_is_not_called_for_a_body_that_was_cut_short(void **state)
{
    (void)state;
    assert_int_equal(serve("ab", "CONTENT_LENGTH=3", NULL), 400);
    assert_int_equal(seen, SEEN_REFUSED);
    assert_int_equal(failure, BODY_WAS_CUT);
}

static void test_an_application_that_streams_is_called_and_sees_the_cut_itself(void **state)
{
    (void)state;
    application.stream = true;
    assert_int_equal(serve("ab", "CONTENT_LENGTH=3", NULL), 200);
    assert_int_equal(seen, SEEN_SERVED);
    assert_string_equal(seen_body, "ab");
    assert_int_equal(failure, BODY_WAS_CUT);
}

static void test_a_body_above_the_limit_is_not_waited_for(void **state)
{
    (void)state;
    int ends[2]; /* the writer stays open and silent: who reads hangs */
    const char *variables[] = {"REQUEST_METHOD=POST", "CONTENT_LENGTH=11", NULL};
    config.request_body_bytes = 10;
    is_body_read = false;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(cgi_serve(&config, (char *const *)(uintptr_t)variables, ends[0], response_fd),
                     200);
    close(ends[0]);
    close(ends[1]);
}

static void test_a_content_length_that_is_no_number_is_not_waited_for(void **state)
{
    (void)state;
    static const char *const lengths[] = {"CONTENT_LENGTH=x", "CONTENT_LENGTH=-1",
                                          "CONTENT_LENGTH=99999999999999999999"};
    is_body_read = false;
    for (size_t i = 0; i < COUNT(lengths); i++)
        assert_int_equal(serve("abc", lengths[i], NULL), 200);
}

static void test_a_descriptor_that_can_not_be_read_is_a_body_cut_short(void **state)
{
    (void)state;
    const char *variables[] = {"REQUEST_METHOD=POST", "CONTENT_LENGTH=3", NULL};
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY); /* EISDIR */
    assert_int_equal(cgi_serve(&config, (char *const *)(uintptr_t)variables, fd, response_fd), 400);
    assert_int_equal(failure, BODY_WAS_CUT);
    close(fd);
}

/* Strings that are no assignments, as execve() lets anybody pass. */
static void test_strings_without_a_name_or_an_equals_sign_are_passed_over(void **state)
{
    (void)state;
    assert_int_equal(serve(NULL, "nonsense", "=value"), 200);
    assert_int_equal(serve(NULL, "", "HTTP_X=a=b=c"), 200);
    assert_string_equal(seen_header, "a=b=c");
}

static void test_a_response_that_nobody_reads_does_not_hang(void **state)
{
    (void)state;
    close(response_end);
    response_end = -1;
    serve(NULL, NULL, NULL);
    assert_true(logged_end);
}

static void test_without_a_python_thread_no_status_is_sent(void **state)
{
    (void)state;
    has_python = false;
    assert_int_equal(serve(NULL, NULL, NULL), -1);
    assert_int_equal(seen, SEEN_NOTHING);
}

/* A body is as long as it says, in whichever pieces a pipe gives it. */
static void *write_slowly(void *argument)
{
    int fd = *(int *)argument;
    for (const char *bytes = "abcdef"; *bytes != '\0'; bytes++) {
        if (write(fd, bytes, 1) != 1)
            break;
        usleep(1000);
    }
    close(fd);
    return NULL;
}

static void test_a_body_that_comes_byte_by_byte_is_whole(void **state)
{
    (void)state;
    const char *variables[] = {"REQUEST_METHOD=POST", "CONTENT_LENGTH=6", NULL};
    int ends[2];
    pthread_t thread;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pthread_create(&thread, NULL, write_slowly, &ends[1]), 0);
    assert_int_equal(cgi_serve(&config, (char *const *)(uintptr_t)variables, ends[0], response_fd),
                     200);
    assert_string_equal(seen_body, "abcdef");
    pthread_join(thread, NULL);
    close(ends[0]);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_gets_its_response_and_its_status),
        TEST(test_bytes_behind_the_content_length_are_not_read),
        TEST(test_without_a_content_length_there_is_no_body),
        TEST(test_a_chunked_body_ends_with_its_descriptor),
        TEST(test_without_a_descriptor_there_is_no_body),
        TEST(test_the_application_is_not_called_for_a_body_that_was_cut_short),
        TEST(test_an_application_that_streams_is_called_and_sees_the_cut_itself),
        TEST(test_a_body_above_the_limit_is_not_waited_for),
        TEST(test_a_content_length_that_is_no_number_is_not_waited_for),
        TEST(test_a_descriptor_that_can_not_be_read_is_a_body_cut_short),
        TEST(test_strings_without_a_name_or_an_equals_sign_are_passed_over),
        TEST(test_a_response_that_nobody_reads_does_not_hang),
        TEST(test_without_a_python_thread_no_status_is_sent),
        TEST(test_a_body_that_comes_byte_by_byte_is_whole),
    };
    alarm(60); /* a body that is waited for for ever is a failure, too */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
