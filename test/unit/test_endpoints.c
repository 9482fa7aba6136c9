/* Which request is answered with what, on which socket. Figures and formats are fakes; the answers
 * are read where a transport would send them.
 *
 * links: endpoints.c strbuf.c path_info.c request.c request_body.c spool.c descriptors.c arena.c
 * reply.c response.c fork.c log_line.c */
#include "unit.h"

#include "http/reply.h"
#include "http/request.h"
#include "status/collector.h"
#include "status/endpoints.h"
#include "status/formats.h"
#include "status/identity.h"
#include "status/worker_socket.h"

static struct request *request;
static struct config config;
static struct endpoints_paths paths;
static struct bytes sent; /* head and body */
static bool is_ended;
static char at_status[] = "/the status", at_ping[] = "/alive";

/* Fakes */

static const char *current_state;
static bool is_out_of_memory, is_format_too_long;
static struct program_figures missing; /* name "": none */
static const char *managers;           /* what the manager answers; NULL: nothing */
static char asked_format[32];
static int figures_now;

static int send_pieces(struct request *of, const struct iovec *pieces, size_t count, bool is_last)
{
    (void)of;
    for (size_t i = 0; i < count; i++)
        put_bytes(&sent, pieces[i].iov_base, pieces[i].iov_len);
    is_ended = is_last;
    return 0;
}

static bool has_body(struct request *of)
{
    (void)of;
    return true;
}

static const struct transport_ops ops = {.send = send_pieces, .is_body_here = has_body};

const char *collector_state(void)
{
    return current_state;
}

struct figures *collect_figures(void)
{
    struct figures *figures = is_out_of_memory ? NULL : calloc(1, sizeof(*figures));
    figures_now += figures != NULL;
    return figures;
}

void figures_free(struct figures *figures)
{
    figures_now -= figures != NULL;
    free(figures);
}

struct process_figures *collect_process(void)
{
    struct process_figures *process = is_out_of_memory ? NULL : calloc(1, sizeof(*process));
    if (process != NULL)
        process->pid = 4711;
    return process;
}

size_t worker_figures_bytes(const struct process_figures *process)
{
    return sizeof(*process);
}

char *worker_ask_manager(const char *format, size_t *bytes)
{
    snprintf(asked_format, sizeof(asked_format), "%s", format);
    if (managers == NULL)
        return NULL;
    *bytes = strlen(managers);
    return strdup(managers);
}

bool figures_missing(const struct figures *figures, struct program_figures *found)
{
    assert_non_null(figures);
    *found = missing;
    return missing.name[0] != '\0';
}

const char *identity_text(void)
{
    return "config /etc/x.ini\n";
}

#define FAKE_FORMAT(name)                                                                          \
    void format_##name(struct strbuf *text, const struct figures *figures)                         \
    {                                                                                              \
        assert_non_null(figures);                                                                  \
        strbuf_put(text, "as " #name "\n");                                                        \
        text->has_failed = is_format_too_long;                                                     \
    }
FAKE_FORMAT(json)
FAKE_FORMAT(plain)
FAKE_FORMAT(page)
FAKE_FORMAT(prometheus)

/* Requests */

static int set_up(void **state)
{
    (void)state;
    request = request_new();
    config = (struct config){.status_path = at_status, .status_ping = at_ping};
    paths = (struct endpoints_paths){.status = at_status, .ping = at_ping};
    current_state = "serving";
    is_out_of_memory = is_format_too_long = false;
    missing = (struct program_figures){.name = ""};
    managers = NULL;
    asked_format[0] = '\0';
    endpoints_as_worker(false);
    endpoints_use_reload(NULL);
    return request == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    request_free(request);
    clear_bytes(&sent);
    return figures_now;
}

static void add(const char *name, const char *value)
{
    if (value != NULL)
        assert_int_equal(request_add_param(request, name, strlen(name), value, strlen(value)), 0);
}

static void begin(const char *method, const char *uri)
{
    request_reset(request);
    request->ops = &ops;
    clear_bytes(&sent);
    is_ended = false;
    const char *query = uri != NULL ? strchr(uri, '?') : NULL;
    add("REQUEST_METHOD", method);
    add("REQUEST_URI", uri);
    add("QUERY_STRING", query != NULL ? query + 1 : "");
}

static const char *whole_answer(void)
{
    put_bytes(&sent, "", 1);
    sent.n--;
    return (const char *)sent.data;
}

static const char *body(void)
{
    const char *end = strstr(whole_answer(), "\r\n\r\n");
    assert_non_null(end);
    assert_true(is_ended);
    return end + 4;
}

static const char *ask_as(bool is_control, const char *method, const char *uri)
{
    begin(method, uri);
    endpoints_always(&paths, request, is_control);
    return body();
}

static const char *ask(const char *uri)
{
    return ask_as(false, "GET", uri);
}

static void assert_status(int status)
{
    assert_int_equal(request->response.status, status);
}

static bool has_header(const char *line)
{
    char text[256];
    snprintf(text, sizeof(text), "\r\n%s\r\n", line);
    return strstr(whole_answer(), text) != NULL;
}

/* Tests */

static void test_each_path_of_the_status_s_own_sockets(void **state)
{
    (void)state;
    assert_string_equal(ask("/"), "as page\n");
    assert_string_equal(ask("/the%20status"), "as page\n");
    assert_string_equal(ask("/ping"), "pong\n");
    assert_string_equal(ask("/alive"), "pong\n");
    assert_string_equal(ask("/metrics"), "as prometheus\n");
    assert_true(has_header("Content-Type: text/plain; version=0.0.4; charset=utf-8"));
    assert_status(200);
    ask("/favicon.ico");
    assert_status(404);
    paths = (struct endpoints_paths){.status = NULL};
    assert_string_equal(ask("/ping"), "pong\n");
    ask("/alive");
    assert_status(404);
}

static void test_the_format_is_the_query_s(void **state)
{
    (void)state;
    assert_string_equal(ask("/?format=json"), "as json\n");
    assert_true(has_header("Content-Type: application/json"));
    assert_string_equal(ask("/?a=b&format=text&format=json"), "as plain\n");
    assert_string_equal(ask("/?format=html"), "as page\n");
    assert_string_equal(ask("/?xformat=json&"), "as page\n");
    assert_string_equal(ask("/metrics?format=json"), "as json\n");
    static const char *const wrong[] = {"/?format=", "/?format=jso", "/?format=jsonx",
                                        "/?format=JSON", "/?&&format=json%00"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_string_equal(ask(wrong[i]), "format is html, json, prometheus or text\n");
        assert_status(400);
    }
}

static void test_an_answer_has_its_length_and_is_stored_nowhere(void **state)
{
    (void)state;
    ask("/?format=json");
    assert_true(has_header("Content-Length: 8"));
    assert_true(has_header("Cache-Control: no-store"));
    assert_true(has_header("X-Content-Type-Options: nosniff"));
    assert_null(strstr(whole_answer(), "Content-Security-Policy"));
    ask("/");
    assert_non_null(strstr(whole_answer(), "Content-Security-Policy: default-src 'none'; "));
}

static void test_head_gets_the_head_alone_and_other_methods_nothing(void **state)
{
    (void)state;
    assert_string_equal(ask_as(false, "HEAD", "/?format=json"), "");
    assert_true(has_header("Content-Length: 8"));
    static const char *const methods[] = {"POST", "get", "", NULL};
    for (size_t i = 0; i < COUNT(methods); i++) {
        assert_string_equal(ask_as(false, methods[i], "/"),
                            "Only GET and HEAD are answered here.\n");
        assert_status(405);
    }
}

static void test_on_the_application_s_sockets_the_configured_paths_alone_are_answered(void **state)
{
    (void)state;
    static const char *const others[] = {"/",     "/ping",   "/metrics",     "/figures",
                                         "/host", "/alive/", "/the status/x"};
    for (size_t i = 0; i < COUNT(others); i++) {
        begin("GET", others[i]);
        assert_false(endpoints_for_host(&config, request));
        assert_null(sent.data);
    }
    begin("GET", "/alive?x");
    assert_true(endpoints_for_host(&config, request));
    assert_string_equal(body(), "pong\n");
    begin("GET", "/the%20status");
    assert_true(endpoints_for_host(&config, request));
    assert_string_equal(body(), "as page\n");
    begin("POST", "/alive");
    assert_true(endpoints_for_host(&config, request)); /* the application never sees it */
    assert_status(405);
    config = (struct config){.status_path = NULL};
    begin("GET", "/alive");
    assert_false(endpoints_for_host(&config, request));
}

static void test_without_a_uri_the_path_is_made_of_its_parts(void **state)
{
    (void)state;
    begin("GET", NULL);
    add("SCRIPT_NAME", "/ali");
    add("PATH_INFO", "ve");
    assert_true(endpoints_for_host(&config, request));
    assert_string_equal(body(), "pong\n");
    begin("GET", NULL);
    add("DOCUMENT_URI", "/alive");
    assert_true(endpoints_for_host(&config, request));
    begin("GET", NULL);
    assert_false(endpoints_for_host(&config, request));
    begin("GET", "*"); /* is no path: the parts are */
    add("PATH_INFO", "/alive");
    assert_true(endpoints_for_host(&config, request));
}

static void test_the_ping_tells_why_it_does_not_serve_but_no_error(void **state)
{
    (void)state;
    current_state = "draining";
    assert_string_equal(ask("/ping"), "draining\n");
    assert_status(503);
    assert_true(has_header("Retry-After: 1"));
    current_state = "starting";
    assert_string_equal(ask("/ping"), "starting\n");
    missing = (struct program_figures){.name = "shop.db",
                                       .state = PROGRAM_FAILED,
                                       .attempts = 3,
                                       .last_error = "password: secret"};
    assert_string_equal(ask("/ping"), "starting: shop.db: attempt 3 failed\n");
    missing.state = PROGRAM_LOADING;
    assert_string_equal(ask("/ping"), "starting: shop.db is being loaded\n");
    memset(missing.name, 'n', sizeof(missing.name) - 1);
    assert_int_equal(strlen(ask("/ping")),
                     strlen("starting:  is being loaded\n") + sizeof(missing.name) - 1);
    is_out_of_memory = true;
    assert_string_equal(ask("/ping"), "starting\n");
}

static void test_out_of_memory_is_said_and_nothing_is_cut(void **state)
{
    (void)state;
    is_format_too_long = true;
    assert_string_equal(ask("/"), "Out of memory.\n");
    assert_status(500);
    is_format_too_long = false;
    is_out_of_memory = true;
    static const char *const uris[] = {"/", "/metrics", "/?format=text"};
    for (size_t i = 0; i < COUNT(uris); i++) {
        assert_string_equal(ask(uris[i]), "Out of memory.\n");
        assert_status(500);
    }
    assert_string_equal(ask_as(true, "GET", "/figures"), "Out of memory.\n");
    assert_status(500);
}

static void test_a_worker_says_what_its_manager_says_of_all(void **state)
{
    (void)state;
    managers = "of all workers\n";
    assert_string_equal(ask("/?format=text"), "as plain\n"); /* it is no worker */
    assert_string_equal(asked_format, "");
    endpoints_as_worker(true);
    assert_string_equal(ask("/?format=text"), "of all workers\n");
    assert_true(has_header("Content-Type: text/plain; charset=utf-8"));
    assert_string_equal(asked_format, "text");
    assert_string_equal(ask("/metrics"), "of all workers\n");
    assert_string_equal(asked_format, "prometheus");
    managers = NULL;
    assert_string_equal(ask("/?format=json"), "as json\n");
    assert_string_equal(asked_format, "json");
}

static void test_the_control_socket_tells_hosts_apart_and_gives_the_figures(void **state)
{
    (void)state;
    assert_string_equal(ask_as(true, "GET", "/host"), "config /etc/x.ini\n");
    const char *got = ask_as(true, "GET", "/figures");
    assert_true(has_header("Content-Type: application/octet-stream"));
    assert_int_equal(sent.data + sent.n - (const uint8_t *)got, sizeof(struct process_figures));
    struct process_figures *process = malloc(sizeof(*process));
    memcpy(process, got, sizeof(*process));
    assert_int_equal(process->pid, 4711);
    free(process);
}

static void test_who_asks_over_the_status_s_sockets_gets_neither(void **state)
{
    (void)state;
    static const char *const uris[] = {"/host", "/figures", "/reload"};
    for (size_t i = 0; i < COUNT(uris); i++) {
        ask(uris[i]);
        assert_status(404);
    }
}

/* Reloads */

static unsigned asks, got_number;
static const char *reload_text;

static unsigned ask_reload(void)
{
    return ++asks;
}

static enum reload_state get_reload(unsigned number, char *text, size_t text_bytes)
{
    got_number = number;
    snprintf(text, text_bytes, "%s", reload_text);
    return (enum reload_state)(number % 4);
}

static void test_a_manager_is_asked_to_reload_over_the_control_socket_alone(void **state)
{
    (void)state;
    static const struct endpoints_reload reload = {.ask = ask_reload, .get = get_reload};
    assert_string_equal(ask_as(true, "POST", "/reload"), "This host has no manager.\n");
    assert_status(409);
    endpoints_use_reload(&reload);
    asks = 0;
    ask_as(false, "POST", "/reload");
    assert_status(405);
    assert_int_equal(asks, 0);
    assert_string_equal(ask_as(true, "POST", "/reload"), "1\n");
    assert_string_equal(ask_as(true, "POST", "/reload"), "2\n");
    assert_status(200);
}

static void test_how_a_reload_went_is_told_by_its_number(void **state)
{
    (void)state;
    static const struct endpoints_reload reload = {.ask = ask_reload, .get = get_reload};
    endpoints_use_reload(&reload);
    reload_text = "why";
    assert_string_equal(ask_as(true, "GET", "/reload?4"), "running why\n");
    assert_int_equal(got_number, 4);
    assert_string_equal(ask_as(true, "GET", "/reload?5"), "done why\n");
    assert_string_equal(ask_as(true, "GET", "/reload?6"), "failed why\n");
    assert_string_equal(ask_as(true, "GET", "/reload?7"), "unknown why\n");
    ask_as(true, "GET", "/reload?x");
    assert_int_equal(got_number, 0);
    static char longest[1000];
    memset(longest, 'l', sizeof(longest) - 1);
    reload_text = longest;
    assert_int_equal(strlen(ask_as(true, "GET", "/reload?6")), strlen("failed \n") + 599);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_path_of_the_status_s_own_sockets),
        TEST(test_the_format_is_the_query_s),
        TEST(test_an_answer_has_its_length_and_is_stored_nowhere),
        TEST(test_head_gets_the_head_alone_and_other_methods_nothing),
        TEST(test_on_the_application_s_sockets_the_configured_paths_alone_are_answered),
        TEST(test_without_a_uri_the_path_is_made_of_its_parts),
        TEST(test_the_ping_tells_why_it_does_not_serve_but_no_error),
        TEST(test_out_of_memory_is_said_and_nothing_is_cut),
        TEST(test_a_worker_says_what_its_manager_says_of_all),
        TEST(test_the_control_socket_tells_hosts_apart_and_gives_the_figures),
        TEST(test_who_asks_over_the_status_s_sockets_gets_neither),
        TEST(test_a_manager_is_asked_to_reload_over_the_control_socket_alone),
        TEST(test_how_a_reload_went_is_told_by_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
