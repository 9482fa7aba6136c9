/* links: meta_variables.c path_info.c request.c request_body.c spool.c descriptors.c arena.c reply.c
 * response.c fork.c log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c
 */
#include "unit.h"

#include "http/meta_variables.h"
#include "protocol/record.h"

#include <sys/stat.h>
#include <unistd.h>

static int set_up(void **state)
{
    *state = request_new();
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    request_free(*state);
    return 0;
}

/* name, value, name, value, … NULL: as a front sends them. */
static void send_params(struct request *request, const char *const *params)
{
    for (; *params != NULL; params += 2)
        assert_int_equal(
            request_add_param(request, params[0], strlen(params[0]), params[1], strlen(params[1])),
            0);
}

/* clang-format off */
#define ONE_ROUTE(name, ...)                                                                       \
    static const struct path_route name##_routes[] = {{__VA_ARGS__}};                              \
    static const struct path_routes name = {name##_routes, 1}
/* clang-format on */
ONE_ROUTE(automatic, .mount = NULL);

/* A request with the parameters; GET unless they say otherwise. */
static enum meta_result prepare(struct request *request, const char *const *params,
                                const struct path_routes *routes, uint64_t body_limit)
{
    static const char *const get[] = {"REQUEST_METHOD", "GET", NULL};
    request_reset(request);
    send_params(request, get);
    send_params(request, params);
    meta_read_content_length(request, body_limit);
    return meta_prepare(request, routes);
}

static void assert_value(const struct request *request, const char *name, const char *expected)
{
    const char *value = request_value(request, name);
    if ((value == NULL) != (expected == NULL))
        fail_msg("%s is %s", name, value != NULL ? value : "not there");
    if (value != NULL)
        assert_string_equal(value, expected);
}

#define PARAMS(...)                                                                                \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__ __VA_OPT__(, ) NULL                                                            \
    }

static void test_server_name(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *server_name, *host, *address, *expected;
    } rows[] = {
        {"example.org", NULL, NULL, "example.org"},
        {"example.org:8080", NULL, NULL, "example.org"},
        {"127.0.0.1:80", NULL, NULL, "127.0.0.1"},
        {"[::1]", NULL, NULL, "[::1]"},
        {"[::1]:8080", NULL, NULL, "[::1]"},
        {"[fe80::1%25eth0]:80", NULL, NULL, "[fe80::1%25eth0]"},
        {"::1", NULL, NULL, "::1"},
        {"fe80::1", "other", NULL, "fe80::1"},
        {"example.org:", NULL, NULL, "example.org"},
        {":8080", NULL, NULL, "localhost"},
        {"_", NULL, NULL, "_"},
        {"example.org", "other.org", "10.0.0.1", "example.org"},
        {"", "host.org", "10.0.0.1", "host.org"},
        {"", "host.org:8080", NULL, "host.org"},
        {"", "[::1]:8080", NULL, "[::1]"},
        {NULL, "host.org", NULL, "host.org"},
        {"", "", "10.0.0.1", "10.0.0.1"},
        {"", NULL, "::1", "::1"},
        {NULL, NULL, "10.0.0.1", "10.0.0.1"},
        {"", "", "", "localhost"},
        {"", NULL, NULL, "localhost"},
        {NULL, NULL, NULL, "localhost"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *params[7] = {NULL};
        size_t n = 0;
        const char *const sent[][2] = {{"SERVER_NAME", rows[i].server_name},
                                       {"HTTP_HOST", rows[i].host},
                                       {"SERVER_ADDR", rows[i].address}};
        for (size_t j = 0; j < COUNT(sent); j++) {
            if (sent[j][1] != NULL) {
                params[n++] = sent[j][0];
                params[n++] = sent[j][1];
            }
        }
        assert_int_equal(prepare(request, params, &automatic, 0), META_FINE);
        assert_value(request, "SERVER_NAME", rows[i].expected);
        bool has_host = rows[i].host != NULL && rows[i].host[0] != '\0';
        assert_value(request, "HTTP_HOST", has_host ? rows[i].host : NULL); /* with its port */
    }
}

static void test_server_port(void **state)
{
    struct request *request = *state;
    prepare(request, PARAMS("SERVER_PORT", "8080"), &automatic, 0);
    assert_value(request, "SERVER_PORT", "8080");
    prepare(request, PARAMS("SERVER_PORT", "8080", "HTTPS", "on"), &automatic, 0);
    assert_value(request, "SERVER_PORT", "8080");
    prepare(request, PARAMS("SERVER_PORT", ""), &automatic, 0);
    assert_value(request, "SERVER_PORT", "80");
    prepare(request, PARAMS(), &automatic, 0);
    assert_value(request, "SERVER_PORT", "80");
    prepare(request, PARAMS("HTTPS", "on"), &automatic, 0);
    assert_value(request, "SERVER_PORT", "443");
    prepare(request, PARAMS("REQUEST_SCHEME", "https", "SERVER_PORT", ""), &automatic, 0);
    assert_value(request, "SERVER_PORT", "443");
}

static void test_what_pep_3333_wants_is_there(void **state)
{
    struct request *request = *state;
    static const char *const names[] = {"REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO",
                                        "QUERY_STRING",   "SERVER_NAME", "SERVER_PORT",
                                        "SERVER_PROTOCOL"};
    assert_int_equal(prepare(request, PARAMS(), &automatic, 0), META_FINE);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_non_null(request_find(request, names[i]));
    assert_value(request, "QUERY_STRING", "");
    assert_value(request, "SERVER_PROTOCOL", "HTTP/1.0");
    prepare(request, PARAMS("SERVER_PROTOCOL", "HTTP/2.0", "QUERY_STRING", "a=b&%20"), &automatic,
            0);
    assert_value(request, "SERVER_PROTOCOL", "HTTP/2.0");
    assert_value(request, "QUERY_STRING", "a=b&%20");
    prepare(request, PARAMS("SERVER_PROTOCOL", "", "QUERY_STRING", ""), &automatic, 0);
    assert_value(request, "SERVER_PROTOCOL", "HTTP/1.0");
    assert_value(request, "QUERY_STRING", "");
}

/* As they were captured, but for what makes no difference. */
static void test_heads_of_fronts_that_leave_something_out(void **state)
{
    struct request *request = *state;
    const struct {
        const char *const *sent;
        const char *server_name, *server_port, *host, *length, *cookie;
    } rows[] = {
        {PARAMS("HTTP_HOST", "example.org:8080", "HTTP_COOKIE", "a=1", "HTTP_COOKIE", "b=2",
                "SERVER_NAME", "example.org:8080", "SERVER_PORT", "8080", "SCRIPT_NAME", "/app",
                "REQUEST_URI", "/app", "CONTENT_LENGTH", "0", "SERVER_SOFTWARE", "HAProxy 2.6.12"),
         "example.org", "8080", "example.org:8080", "0", "a=1; b=2"},
        {PARAMS("SERVER_NAME", "127.0.0.1", "SERVER_PORT", "8080", "SCRIPT_NAME", "/app",
                "REQUEST_URI", "/app", "CONTENT_LENGTH", "0", "SERVER_SOFTWARE", "HAProxy 2.6.12"),
         "127.0.0.1", "8080", NULL, "0", NULL}, /* HTTP/1.0 */
        {PARAMS("SERVER_NAME", "", "SERVER_PORT", "80", "HTTP_HOST", "", "DOCUMENT_URI", "",
                "SCRIPT_NAME", "", "PATH_INFO", "/app", "REQUEST_URI", "/app", "CONTENT_LENGTH",
                "-1", "QUERY_STRING", "", "SERVER_SOFTWARE", "Caddy/2.6.2"),
         "localhost", "80", NULL, NULL, NULL},
        {PARAMS("SCRIPT_NAME", "", "PATH_INFO", "/app", "QUERY_STRING", "", "HTTP_HOST",
                "example.org:8080", "REQUEST_URI", "/app", "SERVER_ADDR", "127.0.0.1",
                "SERVER_PORT", "8080", "SERVER_NAME", "default", "HTTP_COOKIE", "a=1;b=2"),
         "default", "8080", "example.org:8080", NULL, "a=1;b=2"}, /* h2o */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(prepare(request, rows[i].sent, &automatic, 0), META_FINE);
        assert_value(request, "SERVER_NAME", rows[i].server_name);
        assert_value(request, "SERVER_PORT", rows[i].server_port);
        assert_value(request, "HTTP_HOST", rows[i].host);
        assert_value(request, "CONTENT_LENGTH", rows[i].length);
        assert_value(request, "HTTP_COOKIE", rows[i].cookie);
        assert_value(request, "QUERY_STRING", "");
        assert_value(request, "SCRIPT_NAME", "");
        assert_value(request, "PATH_INFO", "/app");
    }
}

static void test_names_that_never_reach_an_application(void **state)
{
    struct request *request = *state;
    static const char *const names[] = {
        "HTTP_CONTENT_TYPE",
        "HTTP_CONTENT_LENGTH",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_PROXY",
        "PATH",
        "LD_LIBRARY_PATH",
        "TZ",
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(prepare(request, PARAMS(names[i], "x"), &automatic, 0), META_FINE);
        assert_value(request, names[i], NULL);
        prepare(request, PARAMS(names[i], ""), &automatic, 0);
        assert_value(request, names[i], NULL);
        prepare(request, PARAMS(names[i], "x", names[i], "y"), &automatic, 0);
        assert_value(request, names[i], NULL);
    }
}

/* nginx sends REMOTE_USER to everybody: Django, for one, takes an empty name for a logout. */
static void test_names_that_are_absent_when_empty(void **state)
{
    struct request *request = *state;
    static const char *const names[] = {"REMOTE_USER", "AUTH_TYPE", "REMOTE_IDENT"};
    for (size_t i = 0; i < COUNT(names); i++) {
        prepare(request, PARAMS(names[i], ""), &automatic, 0);
        assert_value(request, names[i], NULL);
        prepare(request, PARAMS(names[i], "x", names[i], ""), &automatic, 0);
        assert_value(request, names[i], NULL);
        prepare(request, PARAMS(names[i], "", names[i], "x"), &automatic, 0);
        assert_value(request, names[i], "x");
    }
}

static void test_names_that_look_like_those_but_stay(void **state)
{
    struct request *request = *state;
    static const char *const names[] = {"CONTENT_TYPE",
                                        "HTTP_PROXY_AUTHORIZATION",
                                        "HTTP_PROXY_",
                                        "HTTP_X_CONTENT_TYPE",
                                        "HTTP_AUTHORIZATION",
                                        "PATH_TRANSLATED",
                                        "REMOTE_USER",
                                        "TZDATA",
                                        "HTTPS",
                                        "AUTH_TYPE"};
    for (size_t i = 0; i < COUNT(names); i++) {
        prepare(request, PARAMS(names[i], "x"), &automatic, 0);
        assert_value(request, names[i], "x");
    }
}

static void test_content_length(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *sent; /* NULL: not at all */
        uint64_t limit;
        int64_t length;
        enum meta_result result;
    } rows[] = {
        {NULL, 0, -1, META_FINE},
        {"", 0, -1, META_FINE},
        {"", 10, -1, META_FINE},
        {"0", 0, 0, META_FINE},
        {"0", 1, 0, META_FINE},
        {"10", 10, 10, META_FINE},
        {"10", 0, 10, META_FINE},
        {"0010", 10, 10, META_FINE},
        {"11", 10, 11, META_TOO_LARGE},
        {"999999999999999999", 0, 999999999999999999, META_FINE},
        {"999999999999999999", 1, 999999999999999999, META_TOO_LARGE},
        {"1000000000000000000", 0, -1, META_BAD_LENGTH},
        {"18446744073709551617", 10, -1, META_BAD_LENGTH},
        {"-1", 0, -1, META_BAD_LENGTH},
        {"+1", 0, -1, META_BAD_LENGTH},
        {" 1", 0, -1, META_BAD_LENGTH},
        {"1 ", 0, -1, META_BAD_LENGTH},
        {"1,1", 0, -1, META_BAD_LENGTH},
        {"0x1", 0, -1, META_BAD_LENGTH},
        {"1e3", 0, -1, META_BAD_LENGTH},
        {"abc", 10, -1, META_BAD_LENGTH},
        {"\xd9\xa1", 0, -1, META_BAD_LENGTH},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *const *params =
            rows[i].sent != NULL ? PARAMS("CONTENT_LENGTH", rows[i].sent) : PARAMS();
        enum meta_result result = prepare(request, params, &automatic, rows[i].limit);
        if (result != rows[i].result)
            fail_msg("CONTENT_LENGTH=%s: %d, not %d", rows[i].sent, result, rows[i].result);
        assert_int_equal(request->content_length, rows[i].length);
        assert_int_equal(request->body_limit, rows[i].limit);
        if (result == META_FINE)
            assert_value(request, "CONTENT_LENGTH", rows[i].length < 0 ? NULL : rows[i].sent);
    }
}

static void test_caddys_length_of_a_chunked_body_is_unknown(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *server, *length;
        enum meta_result result;
    } rows[] = {
        {"Caddy/2.6.2", "-1", META_FINE},
        {"Caddy/2.6.2", "-2", META_BAD_LENGTH},
        {"Caddy/2.6.2", "-10", META_BAD_LENGTH},
        {"nginx/1.22.1", "-1", META_BAD_LENGTH},
        {"", "-1", META_BAD_LENGTH},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum meta_result result = prepare(
            request, PARAMS("SERVER_SOFTWARE", rows[i].server, "CONTENT_LENGTH", rows[i].length),
            &automatic, 10);
        assert_int_equal(result, rows[i].result);
        assert_int_equal(request->content_length, -1);
        if (result == META_FINE)
            assert_value(request, "CONTENT_LENGTH", NULL);
    }
}

static void test_reading_the_content_length_again_forgets_the_last_one(void **state)
{
    struct request *request = *state;
    request->content_length = 99;
    meta_read_content_length(request, 5);
    assert_int_equal(request->content_length, -1);
    assert_int_equal(request->body_limit, 5);
}

static void test_a_request_without_a_method(void **state)
{
    struct request *request = *state;
    assert_int_equal(meta_prepare(request, &automatic), META_NO_METHOD);
    send_params(request, PARAMS("REQUEST_METHOD", "", "REQUEST_URI", "/"));
    assert_int_equal(meta_prepare(request, &automatic), META_NO_METHOD);
}

static void test_head_is_told_from_other_methods(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *method;
        bool is_head;
    } rows[] = {{"HEAD", true}, {"head", false}, {"HEADER", false}, {"HEA", false}, {"GET", false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        prepare(request, PARAMS("REQUEST_METHOD", rows[i].method), &automatic, 0);
        assert_int_equal(request->is_head, rows[i].is_head);
    }
    /* Such a request is answered too, with a page about its length. */
    enum meta_result result =
        prepare(request, PARAMS("REQUEST_METHOD", "HEAD", "CONTENT_LENGTH", "x"), &automatic, 0);
    assert_int_equal(result, META_BAD_LENGTH);
    assert_true(request->is_head);
}

static void test_bodies_that_are_worth_waiting_for(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *method, *length;
        bool is_unlikely;
    } rows[] = {
        {"GET", NULL, true},  {"GET", "", true},      {"HEAD", NULL, true},   {"OPTIONS", "", true},
        {"DELETE", "", true}, {"TRACE", NULL, true},  {"POST", NULL, false},  {"POST", "", false},
        {"PUT", NULL, false}, {"PATCH", NULL, false}, {"get", NULL, false},   {"GET", "5", false},
        {"GET", "0", false},  {"POST", "5", false},   {"QUERY", NULL, false}, {NULL, NULL, true},
        {NULL, "5", false},   {"DELETE", "5", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        request_reset(request);
        if (rows[i].method != NULL)
            send_params(request, PARAMS("REQUEST_METHOD", rows[i].method));
        if (rows[i].length != NULL)
            send_params(request, PARAMS("CONTENT_LENGTH", rows[i].length));
        meta_read_content_length(request, 0);
        if (meta_is_body_unlikely(request) != rows[i].is_unlikely)
            fail_msg("%s, CONTENT_LENGTH=%s", rows[i].method, rows[i].length);
    }
}

static void test_the_scheme(void **state)
{
    struct request *request = *state;
    static const struct {
        const char *https, *scheme, *expected;
    } rows[] = {
        {NULL, NULL, "http"},      {"on", NULL, "https"},    {"ON", NULL, "https"},
        {"1", NULL, "https"},      {"yes", NULL, "https"},   {"True", NULL, "https"},
        {"https", NULL, "https"},  {"", NULL, "http"},       {"off", NULL, "http"},
        {"0", NULL, "http"},       {"no", NULL, "http"},     {"only", NULL, "http"},
        {NULL, "https", "https"},  {NULL, "HTTPS", "https"}, {NULL, "http", "http"},
        {NULL, "", "http"},        {NULL, "ftp", "http"},    {"on", "http", "https"},
        {"off", "https", "https"}, {"", "https", "https"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        request_reset(request);
        if (rows[i].https != NULL)
            send_params(request, PARAMS("HTTPS", rows[i].https));
        if (rows[i].scheme != NULL)
            send_params(request, PARAMS("REQUEST_SCHEME", rows[i].scheme));
        if (strcmp(meta_url_scheme(request), rows[i].expected) != 0)
            fail_msg("HTTPS=%s REQUEST_SCHEME=%s", rows[i].https, rows[i].scheme);
    }
}

/* What a front sends of the path (NULL: not at all), and what the application must see. */
struct path_row {
    const char *script_name, *path_info, *uri, *document_uri, *script_filename;
    const char *expected_script_name, *expected_path_info; /* NULL: it is not mounted there */
};

static void assert_paths(struct request *request, const struct path_routes *routes,
                         const struct path_row *rows, size_t count)
{
    static const char *const names[] = {"SCRIPT_NAME", "PATH_INFO", "REQUEST_URI", "DOCUMENT_URI",
                                        "SCRIPT_FILENAME"};
    for (size_t i = 0; i < count; i++) {
        const char *const *sent = &rows[i].script_name;
        const char *const values[] = {sent[0], sent[1], sent[2], sent[3], sent[4]};
        const char *params[11] = {NULL};
        size_t n = 0;
        for (size_t j = 0; j < COUNT(names); j++) {
            if (values[j] != NULL) {
                params[n++] = names[j];
                params[n++] = values[j];
            }
        }
        enum meta_result result = prepare(request, params, routes, 0);
        const char *script_name = request_value(request, "SCRIPT_NAME"),
                   *path_info = request_value(request, "PATH_INFO");
        if (rows[i].expected_script_name == NULL) {
            if (result != META_NOT_MOUNTED)
                fail_msg("row %zu: %s: mounted", i, rows[i].uri);
        } else if (result != META_FINE || strcmp(script_name, rows[i].expected_script_name) != 0 ||
                   strcmp(path_info, rows[i].expected_path_info) != 0)
            fail_msg("row %zu: %s: %d, \"%s\" + \"%s\", not \"%s\" + \"%s\"", i, rows[i].uri,
                     result, script_name, path_info, rows[i].expected_script_name,
                     rows[i].expected_path_info);
        for (size_t j = 2; j < COUNT(names); j++)
            assert_value(request, names[j], values[j]); /* the rest stays as it was sent */
    }
}

/* clang-format off */
static void test_an_automatic_mount_keeps_the_split_of_the_front(void **state)
{
    static const struct path_row rows[] = {
        /* PATH_INFO was sent, even an empty one: the front has split */
        {"/app", "/a/b", "/app/a/b", NULL, NULL, "/app", "/a/b"},
        {"/app", "/", "/app/", NULL, NULL, "/app", "/"},
        {"/app", "", "/app", "/app", NULL, "/app", ""},
        {"", "/", "/", NULL, NULL, "", "/"},
        {"", "/app/a/b", "/app/a/b", NULL, NULL, "", "/app/a/b"},
        {"", "", "/", NULL, NULL, "", "/"},
        {NULL, "/a/b", "/a/b", NULL, NULL, "", "/a/b"},
        {NULL, "", "/a", NULL, NULL, "", "/"},
        {"/", "/a/b", "/a/b", NULL, NULL, "", "/a/b"},
        {"/", "", "/", NULL, NULL, "", "/"},
        {"/", "a/b", "/a/b", NULL, NULL, "", "/a/b"},
        {"//", "/a", "/a", NULL, NULL, "", "/a"},
        {"", "//evil/a//b", "//evil/a//b", NULL, NULL, "", "/evil/a//b"},
        {"", "///", "///", NULL, NULL, "", "/"},
        {"/", "//evil", "//evil", NULL, NULL, "", "/evil"},
        {"/app.wsgi", "/a/b", "/app/a/b", NULL, "/srv/app.wsgi", "/app.wsgi", "/a/b"},
        {"/app.wsgi", "", "/app.wsgi/a/b", "/app.wsgi", "/srv/app.wsgi", "/app.wsgi", ""},
        {"/app", "/a b", "/app/a%20b", NULL, NULL, "/app", "/a b"},
        {"/app", "/caf\xc3\xa9", "/app/caf%C3%A9", NULL, NULL, "/app", "/caf\xc3\xa9"},
        {"/app", "//a", "/app//a", NULL, NULL, "/app", "//a"},
        {"/app", "/a", "*", NULL, NULL, "/app", "/a"},
    };
    assert_paths(*state, &automatic, rows, COUNT(rows));
}

static void test_an_automatic_mount_is_the_root_where_the_front_did_not_split(void **state)
{
    static const struct path_row rows[] = {
        {"/", NULL, "/", "/", "/srv/", "", "/"},
        {"/app", NULL, "/app", "/app", "/srv/app", "", "/app"},
        {"/app/", NULL, "/app/", "/app/", NULL, "", "/app/"},
        {"/app/a/b", NULL, "/app/a/b?c=d", "/app/a/b", NULL, "", "/app/a/b"},
        {"/app/a b", NULL, "/app/a%20b", NULL, "proxy:fcgi://h:1/a b", "", "/app/a b"},
        {"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", NULL, NULL, "", "/app/caf\xc3\xa9"},
        {NULL, NULL, "/app/a%20b?c", "/app/a b", NULL, "", "/app/a b"},
        {NULL, NULL, "/app/a%20b?c", NULL, NULL, "", "/app/a b"},
        {NULL, NULL, "http://host:80/a?b", NULL, NULL, "", "/a"},
        {NULL, NULL, "http://host", NULL, NULL, "", "/"},
        {"/a", NULL, "http://host/a", NULL, NULL, "", "/a"},
        {NULL, NULL, "*", NULL, NULL, "", "/"},
        {NULL, NULL, "host:443", NULL, NULL, "", "/"},
        {NULL, NULL, NULL, NULL, NULL, "", "/"},
        {"//evil", NULL, "//evil", NULL, NULL, "", "/evil"},
        {"/a;b", NULL, "/a;b", NULL, NULL, "", "/a;b"},
    };
    assert_paths(*state, &automatic, rows, COUNT(rows));
}

static void test_an_automatic_mount_of_a_script_file(void **state)
{
    char folder[] = "/tmp/fcgihost-unit-XXXXXX", file[64], below[64], proxied[96];
    char picture[64], below_picture[64], wrapper[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/here.wsgi", folder);
    snprintf(below, sizeof(below), "%s/here.wsgi/a/b", folder);
    snprintf(proxied, sizeof(proxied), "proxy:fcgi://localhost%s/here.wsgi/a/b", folder);
    FILE *made = fopen(file, "w");
    assert_non_null(made);
    fclose(made);
    snprintf(picture, sizeof(picture), "%s/me.gif", folder);
    snprintf(below_picture, sizeof(below_picture), "%s/me.gif/x.wsgi", folder);
    snprintf(wrapper, sizeof(wrapper), "%s/start", folder);
    assert_non_null(made = fopen(picture, "w"));
    fclose(made);
    assert_non_null(made = fopen(wrapper, "w"));
    fclose(made);
    assert_int_equal(chmod(wrapper, 0755), 0);
    ONE_ROUTE(script, .program = PATH_SCRIPT, .script = "/etc/app.wsgi",
              .extensions = ".py .wsgi");
    const struct path_row rows[] = {
        /* a front that names the script has split, also where it sends no PATH_INFO */
        {"/app.wsgi", NULL, "/app.wsgi", NULL, "/srv/app.wsgi", "/app.wsgi", ""},
        {"/app", NULL, "/app", NULL, "/srv/app.wsgi", "/app", ""},
        {"/app", "/a", "/app/a", NULL, "/srv/app.wsgi", "/app", "/a"},
        {"/app", NULL, "/app", NULL, "proxy:fcgi://localhost//srv/app.wsgi", "/app", ""},
        {"/app.wsgi", "", "/app.wsgi/a/b", NULL, "/srv/app.wsgi", "/app.wsgi", "/a/b"},
        /* so has one that names a file */
        {"/here.wsgi", NULL, "/here.wsgi", NULL, file, "/here.wsgi", ""},
        {"/app", NULL, "/app", NULL, file, "/app", ""},
        {"/here.wsgi/a/b", NULL, "/here.wsgi/a/b", NULL, below, "/here.wsgi", "/a/b"},
        {"/here.wsgi/a/b", NULL, "/here.wsgi/a/b", NULL, proxied, "/here.wsgi", "/a/b"},
        /* and one whose file starts the host */
        {"/app", NULL, "/app", NULL, wrapper, "/app", ""},
        /* a file that only happens to be there is not what it has chosen */
        {"/me.gif", NULL, "/me.gif", NULL, picture, "", "/me.gif"},
        {"/me.gif/x.wsgi", NULL, "/me.gif/x.wsgi", NULL, below_picture, "", "/me.gif/x.wsgi"},
        /* but not with a folder, or with what is not there */
        {"/app", NULL, "/app", NULL, folder, "", "/app"},
        {"/x/setup.py", NULL, "/x/setup.py", NULL, "/srv/x/setup.py", "", "/x/setup.py"},
        /* a proxy's URL says nothing */
        {"/app/a/b", NULL, "/app/a/b", NULL, "proxy:fcgi://h:1/a/b", "", "/app/a/b"},
        {"/app", "/a", "/app/a", NULL, "proxy:fcgi://h:1/app", "/app", "/a"},
        /* and some fronts name none */
        {"/app/a/b", NULL, "/app/a/b", NULL, NULL, "", "/app/a/b"},
        {"/app", "", "/app/a/b", NULL, NULL, "/app", ""},
    };
    assert_paths(*state, &script, rows, COUNT(rows));
    unlink(wrapper);
    unlink(picture);
    unlink(file);
    rmdir(folder);
}

/* mod_proxy_scgi and mod_proxy_fcgi with proxy-scgi-pathinfo, proxy-fcgi-pathinfo: where the path
 * has what is encoded, SCRIPT_NAME holds the part of it up to there as well. */
static void test_a_path_info_that_apache_has_left_encoded(void **state)
{
    ONE_ROUTE(root, .mount = "");
    ONE_ROUTE(app, .mount = "/app");
    static const struct path_row split[] = {
        {"/app/a b", "/app/a%20b", "/app/a%20b", NULL, NULL, "", "/app/a b"},
        {"/app/a b", "/app/a%20b/c", "/app/a%20b/c?d", NULL, NULL, "", "/app/a b/c"},
        {"/caf\xc3\xa9", "/caf%c3%a9", "/caf%C3%A9", NULL, NULL, "", "/caf\xc3\xa9"},
        {"/app/a b", "/a%20b", "/app/a%20b", NULL, NULL, "/app", "/a b"},
        {"/app/a b", "/a%20b/c/d", "/app/a%20b/c/d", NULL, NULL, "/app", "/a b/c/d"},
        {"/app/x/a b", "/x/a%20b/c", "/app/x/a%20b/c", NULL, NULL, "/app", "/x/a b/c"},
        {"/app", "/a%20b", "/app/a%20b", NULL, NULL, "/app", "/a b"},
        /* a path that has percent signs of its own */
        {"/app", "/a%20b", "/app/a%2520b", NULL, NULL, "/app", "/a%20b"},
        {"", "/100%", "/100%25", NULL, NULL, "", "/100%"},
        {"", "/a%20b", "/a%2520b", NULL, NULL, "", "/a%20b"},
        {"/app", "/a%20b", NULL, NULL, NULL, "/app", "/a%20b"},
        {"/app", "/a%20b", "*", NULL, NULL, "/app", "/a%20b"},
        {"/app", "/a%20b", "/elsewhere", NULL, NULL, "/app", "/a%20b"},
        {"/app", "/a%00b", "/app/a%00b", NULL, NULL, "/app", "/a%00b"},
        {"/other", "/a%20b", "/app/a%20b", NULL, NULL, "/other", "/a%20b"},
    };
    static const struct path_row rooted[] = {
        {"/app/a b", "/app/a%20b/c", "/app/a%20b/c", NULL, NULL, "", "/app/a b/c"},
        {"/app/a b", "/a%20b/c", "/app/a%20b/c", NULL, NULL, "", "/app/a b/c"},
    };
    static const struct path_row mounted[] = {
        {"/app/a b", "/app/a%20b/c", "/app/a%20b/c", NULL, NULL, "/app", "/a b/c"},
        {"/app/a b", "/a%20b/c", "/app/a%20b/c", NULL, NULL, "/app", "/a b/c"},
    };
    assert_paths(*state, &automatic, split, COUNT(split));
    assert_paths(*state, &root, rooted, COUNT(rooted));
    assert_paths(*state, &app, mounted, COUNT(mounted));
}

static void test_a_mount_that_is_configured(void **state)
{
    ONE_ROUTE(app, .mount = "/app");
    static const struct path_row rows[] = {
        /* nginx, stock and split */
        {"/app/", NULL, "/app/", "/app/", "/srv/app/", "/app", "/"},
        {"/app/a/b", NULL, "/app/a/b?c", "/app/a/b", NULL, "/app", "/a/b"},
        {"/app", "/a/b", "/app/a/b", "/app/a/b", NULL, "/app", "/a/b"},
        {"/app", "", "/app", "/app", NULL, "/app", ""},
        {NULL, NULL, "/app/a/b", "/app/a/b", NULL, "/app", "/a/b"},
        {"/app", "/app/a/b", "/app/a/b", "/app/a/b", NULL, "/app", "/a/b"},
        /* Apache */
        {"/app/a/b", NULL, "/app/a/b", NULL, "proxy:fcgi://h:1/a/b", "/app", "/a/b"},
        {"", "/app/a/b", "/app/a/b", NULL, NULL, "/app", "/a/b"},
        {"/app.wsgi", "/a/b", "/app/a/b", NULL, "/srv/app.wsgi", "/app", "/a/b"},
        /* lighttpd */
        {"/app/a", "/b", "/app/a/b", NULL, NULL, "/app", "/a/b"},
        {"/app", NULL, "/app", NULL, NULL, "/app", ""},
        /* bytes */
        {"/app/a b", NULL, "/app/a%20b", NULL, NULL, "/app", "/a b"},
        {"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", NULL, NULL, "/app", "/caf\xc3\xa9"},
        /* elsewhere */
        {"/application", NULL, "/application", NULL, NULL, NULL, NULL},
        {"/app", "lication", "/application", NULL, NULL, NULL, NULL},
        {"/", NULL, "/", NULL, NULL, NULL, NULL},
        {NULL, NULL, "*", NULL, NULL, NULL, NULL},
        {NULL, NULL, "host:443", NULL, NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL, NULL, NULL},
        {NULL, NULL, "/app/../x", NULL, NULL, NULL, NULL},
    };
    assert_paths(*state, &app, rows, COUNT(rows));
}

static void test_the_root_as_a_mount_undoes_the_split_of_the_front(void **state)
{
    ONE_ROUTE(root, .mount = "");
    static const struct path_row rows[] = {
        {"/app", "/a/b", "/app/a/b", NULL, NULL, "", "/app/a/b"}, /* lighttpd "/" */
        {"/app", "", "/app", NULL, NULL, "", "/app"},
        {"/", NULL, "/", NULL, NULL, "", "/"},
        {"", "/", "/", NULL, NULL, "", "/"},
        {"/app.wsgi", "/a", "/a", NULL, NULL, "", "/a"}, /* a per-directory rewrite */
        /* Caddy, HAProxy and h2o pass slashes on: as a link "//evil" is another server */
        {"", "//evil", "//evil", NULL, NULL, "", "/evil"},
        {"//evil/x", NULL, "//evil/x?a", NULL, NULL, "", "/evil/x"},
        {NULL, "///evil//x", "///evil//x", NULL, NULL, "", "/evil//x"},
        {"", "//", "//", NULL, NULL, "", "/"},
        /* one of both is never empty */
        {"", "", "/", NULL, NULL, "", "/"},
        {NULL, NULL, "*", NULL, NULL, "", "/"},
        {NULL, NULL, NULL, NULL, NULL, "", "/"},
    };
    assert_paths(*state, &root, rows, COUNT(rows));
}
/* clang-format on */

/* More than one application: which one is it, and what does it see? */
static void test_several_mounts(void **state)
{
    static const struct path_route items[] = {
        {.mount = "/app", .application = 0},
        {.mount = "/app/api", .application = 1},
        {.mount = "/_auth", .application = 2},
        {.mount = NULL, .application = 3},
    };
    static const struct {
        const char *script_name, *path_info, *uri;
        unsigned application;
        const char *expected_script_name, *expected_path_info;
    } rows[] = {
        {"/app/x", NULL, "/app/x", 0, "/app", "/x"},
        {"/app", "/api/x", "/app/api/x", 1, "/app/api", "/x"},
        {"/app/api", NULL, "/app/api", 1, "/app/api", ""},
        {"/app/apis", NULL, "/app/apis", 0, "/app", "/apis"},
        /* h2o: nothing of the prefix but in the URI */
        {"", "/x", "/app/api/x", 1, "/app/api", "/x"},
        /* nginx's auth_request: the path is the location's, the URI the client's */
        {"/_auth", NULL, "/app/api/x", 2, "/_auth", ""},
        /* what no mount takes */
        {"/other", "/x", "/other/x", 3, "/other", "/x"},
        {"/other/x", NULL, "/other/x", 3, "", "/other/x"},
    };
    struct request *request = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *params[] = {"SCRIPT_NAME",
                                rows[i].script_name,
                                "REQUEST_URI",
                                rows[i].uri,
                                rows[i].path_info != NULL ? "PATH_INFO" : NULL,
                                rows[i].path_info,
                                NULL};
        const struct path_routes routes = {items, COUNT(items)}, fewer = {items, COUNT(items) - 1};
        assert_int_equal(prepare(request, params, &routes, 0), META_FINE);
        assert_int_equal(request->route->application, rows[i].application);
        assert_value(request, "SCRIPT_NAME", rows[i].expected_script_name);
        assert_value(request, "PATH_INFO", rows[i].expected_path_info);
        assert_int_equal(prepare(request, params, &fewer, 0),
                         rows[i].application == 3 ? META_NOT_MOUNTED : META_FINE);
    }
}

static void test_who_asks_for_an_authorizer(void **state)
{
    static const struct path_route items[] = {{.mount = "/private"}};
    const struct path_routes routes = {items, COUNT(items)};
    struct request *request = *state;
    prepare(request, PARAMS("FCGI_ROLE", "RESPONDER"), &automatic, 0);
    assert_false(meta_asks_authorizer(request));
    prepare(request, PARAMS("HTTP_FCGI_ROLE", "AUTHORIZER"), &automatic, 0);
    assert_false(meta_asks_authorizer(request));
    prepare(request, PARAMS("FCGI_ROLE", "AUTHORIZER"), &automatic, 0);
    assert_true(meta_asks_authorizer(request));
    request->role = ROLE_AUTHORIZER; /* it has that role anyway */
    assert_false(meta_asks_authorizer(request));

    /* Then the client's path is no other name for the one that is asked. */
    static const char *const asked[] = {"REQUEST_METHOD", "GET",        "SCRIPT_NAME", "/gate",
                                        "REQUEST_URI",    "/private/x", NULL};
    request_reset(request);
    send_params(request, asked);
    assert_int_equal(meta_prepare(request, &routes), META_FINE);
    request_reset(request);
    send_params(request, asked);
    request->is_question = true;
    assert_int_equal(meta_prepare(request, &routes), META_NOT_MOUNTED);
    /* Without any other it is the only one. */
    request_reset(request);
    send_params(request, PARAMS("REQUEST_METHOD", "GET", "REQUEST_URI", "/private/x"));
    request->is_question = true;
    assert_int_equal(meta_prepare(request, &routes), META_FINE);
}

static void test_an_authorizer_gets_no_body(void **state)
{
    static const struct path_route items[] = {{.mount = "", .application = 0},
                                              {.mount = "/gate", .takes_no_body = true}};
    struct path_routes routes = {items, COUNT(items), .some_take_no_body = true};
    static const struct {
        const char *uri, *length, *expected;
        int64_t content_length;
    } rows[] = {
        {"/gate", "21", "0", 0},     {"/gate/x?y", "9000000000", "0", 0},
        {"/gate", "0", "0", 0},      {"/gate", "", "", -1}, /* to the end of the stream */
        {"/gate", "21x", "21x", -1},                        /* meta_prepare refuses it */
        {"/gates", "21", "21", 21},
    };
    struct request *request = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        request_reset(request);
        send_params(request, PARAMS("CONTENT_LENGTH", rows[i].length, "REQUEST_URI", rows[i].uri));
        meta_read_content_length(request, 5);
        assert_int_equal(meta_drop_body(request, &routes), 0);
        assert_int_equal(request->content_length, rows[i].content_length);
        assert_value(request, "CONTENT_LENGTH", rows[i].expected);
    }
    request_reset(request); /* whatever is there, only an authorizer may answer this */
    send_params(request, PARAMS("CONTENT_LENGTH", "21", "FCGI_ROLE", "AUTHORIZER"));
    meta_read_content_length(request, 0);
    assert_int_equal(meta_drop_body(request, &automatic), 0);
    assert_int_equal(request->content_length, 0);
}

static void test_the_root_takes_what_no_other_mount_takes(void **state)
{
    static const struct path_route items[] = {{.mount = "", .application = 0},
                                              {.mount = "/api", .application = 1}};
    const struct path_routes routes = {items, COUNT(items)};
    struct request *request = *state;
    prepare(request, PARAMS("SCRIPT_NAME", "/apis", "REQUEST_URI", "/apis"), &routes, 0);
    assert_int_equal(request->route->application, 0);
    assert_value(request, "PATH_INFO", "/apis");
    prepare(request, PARAMS("SCRIPT_NAME", "", "PATH_INFO", "/x", "REQUEST_URI", "/api/x"), &routes,
            0);
    assert_int_equal(request->route->application, 1);
    assert_value(request, "SCRIPT_NAME", "/api");
}

static void test_a_script_root_learns_the_file(void **state)
{
    char folder[] = "/tmp/fcgihost-unit-XXXXXX", file[64], below[64], proxied[96], missing[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/here.wsgi", folder);
    snprintf(below, sizeof(below), "%s/here.wsgi/a/b", folder);
    snprintf(proxied, sizeof(proxied), "proxy:fcgi://localhost%s/here.wsgi/a/b", folder);
    snprintf(missing, sizeof(missing), "%s/gone.wsgi/a", folder);
    FILE *made = fopen(file, "w");
    assert_non_null(made);
    fclose(made);
    ONE_ROUTE(automatic_root, .program = PATH_SCRIPT_ROOT);
    ONE_ROUTE(mounted_root, .program = PATH_SCRIPT_ROOT, .mount = "/x");
    const struct {
        const char *script_name, *sent, *file, *expected_script_name, *expected_path_info;
    } rows[] = {
        {"/x/here.wsgi", file, file, "/x/here.wsgi", ""},
        {"/x/here.wsgi/a/b", below, file, "/x/here.wsgi", "/a/b"},
        {"/x/here.wsgi/a/b", proxied, file, "/x/here.wsgi", "/a/b"},
    };
    struct request *request = *state;
    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        const char *name = rows[i / 2].script_name;
        prepare(
            request,
            PARAMS("SCRIPT_NAME", name, "REQUEST_URI", name, "SCRIPT_FILENAME", rows[i / 2].sent),
            i % 2 == 0 ? &automatic_root : &mounted_root, 0);
        assert_value(request, "SCRIPT_FILENAME", rows[i / 2].file);
        assert_value(request, "SCRIPT_NAME", rows[i / 2].expected_script_name);
        assert_value(request, "PATH_INFO", rows[i / 2].expected_path_info);
    }
    /* What is not there stays as it came: the page says so. */
    prepare(request, PARAMS("SCRIPT_NAME", "/gone.wsgi/a", "SCRIPT_FILENAME", missing),
            &automatic_root, 0);
    assert_value(request, "SCRIPT_FILENAME", missing);
    unlink(file);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_server_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_server_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_pep_3333_wants_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_heads_of_fronts_that_leave_something_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_never_reach_an_application, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_look_like_those_but_stay, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_content_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_caddys_length_of_a_chunked_body_is_unknown, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reading_the_content_length_again_forgets_the_last_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_request_without_a_method, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_head_is_told_from_other_methods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bodies_that_are_worth_waiting_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_scheme, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_automatic_mount_keeps_the_split_of_the_front,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_an_automatic_mount_is_the_root_where_the_front_did_not_split, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_automatic_mount_of_a_script_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_path_info_that_apache_has_left_encoded, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_mount_that_is_configured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_are_absent_when_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several_mounts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_asks_for_an_authorizer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_authorizer_gets_no_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_root_takes_what_no_other_mount_takes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_script_root_learns_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_root_as_a_mount_undoes_the_split_of_the_front,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
