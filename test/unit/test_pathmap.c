/* links: pathmap.c */
#include "unit.h"

#include "pathmap.h"

/* Into a block of exactly the size that the header asks for. NULL: there is no path. */
static bool decode(const char *uri, char *result)
{
    size_t n = strlen(uri) + 1;
    char *copy = (char *)exact_copy(uri, n), *out = (char *)exact_copy(uri, n);
    bool is_path = pathmap_decode_uri(copy, out);
    if (is_path)
        strcpy(result, out);
    exact_free((uint8_t *)copy);
    exact_free((uint8_t *)out);
    return is_path;
}

static void assert_path(const char *uri, const char *expected)
{
    char path[4096];
    assert_true(strlen(uri) < sizeof(path));
    if (!decode(uri, path)) {
        if (expected != NULL)
            fail_msg("\"%s\" has no path", uri);
        return;
    }
    if (expected == NULL)
        fail_msg("\"%s\" has the path \"%s\"", uri, path);
    assert_string_equal(path, expected);
}

static void test_the_path_of_a_uri(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/", "/a/"},
        {"/a/b.c~d-e_f", "/a/b.c~d-e_f"},
        /* query and fragment */
        {"/a?b", "/a"},
        {"/a?", "/a"},
        {"/?/b", "/"},
        {"/a?b?c#d", "/a"},
        {"/a#b", "/a"},
        {"/a#b?c", "/a"},
        {"/a%3Fb?c", "/a?b"},
        {"/a%23b", "/a#b"},
        /* percent */
        {"/a%20b", "/a b"},
        {"/a+b", "/a+b"},
        {"/caf%C3%A9", "/caf\xc3\xa9"},
        {"/caf%c3%a9", "/caf\xc3\xa9"},
        {"/%ff", "/\xff"},
        {"/a%2Fb", "/a/b"},
        {"/a%2fb", "/a/b"},
        {"/a%252Fb", "/a%2Fb"}, /* once */
        {"/a%25", "/a%"},
        {"/a%", "/a%"},
        {"/a%2", "/a%2"},
        {"/a%2?b", "/a%2"},
        {"/a%?20", "/a%"},
        {"/a%zz", "/a%zz"},
        {"/a%2z", "/a%2z"},
        {"/a%z2", "/a%z2"},
        {"/a%%20", "/a% "},
        {"/a%+1", "/a%+1"},
        {"/%00", NULL},
        {"/a/b%00c", NULL},
        {"/a?%00", "/a"},
        {"/a%0", "/a%0"},
        {"/a%0Ab", "/a\nb"},
        /* slashes */
        {"//", "/"},
        {"//a", "/a"},
        {"/a//b", "/a/b"},
        {"/a///", "/a/"},
        {"/a%2F%2Fb", "/a/b"},
        {"/%2Fa", "/a"},
        {"//host/a", "/host/a"},
        /* dots */
        {"/.", "/"},
        {"/./", "/"},
        {"/a/.", "/a/"},
        {"/a/./b", "/a/b"},
        {"/..", "/"},
        {"/../", "/"},
        {"/../a", "/a"},
        {"/../../../a", "/a"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/a/../b", "/b"},
        {"/a/b/../c", "/a/c"},
        {"/a/b/../../c", "/c"},
        {"/a/b/..", "/a/"},
        {"/a//../b", "/b"},
        {"/a/%2e%2E/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/a%2F..%2Fb", "/b"},
        {"/a/%2e/b", "/a/b"},
        {"/...", "/..."},
        {"/a/..b/.c", "/a/..b/.c"},
        {"/a..", "/a.."},
        {"/a./b", "/a./b"},
        /* semicolons are a part of it */
        {"/a;b=c", "/a;b=c"},
        {"/a;b=c/d;e", "/a;b=c/d;e"},
        {"/..;/a", "/..;/a"},
        {"/a%3Bb", "/a;b"},
        /* absolute */
        {"http://host", "/"},
        {"http://host/", "/"},
        {"http://host/a/b?c", "/a/b"},
        {"http://host:8080/a", "/a"},
        {"http://[::1]:80/a", "/a"},
        {"https://user@host/a/../b", "/b"},
        {"http://host?a=/b", "/"},
        {"http://host#/b", "/"},
        {"http:///a", "/a"},
        {"http://host//a", "/a"},
        {"http://host/a?b=http://other/c", "/a"},
        {"/a?b=http://other/c", "/a"},
        {"/http://other/c", "/http:/other/c"},
        /* none at all */
        {"", NULL},
        {"*", NULL},
        {"host:443", NULL},
        {"[::1]:443", NULL},
        {"a", NULL},
        {"a/b", NULL},
        {"?a", NULL},
        {"#a", NULL},
        {"%2Fa", NULL},
        {"../a", NULL},
        {"a/b://c/d", NULL},
        {"a?b://c/d", NULL},
        {"http:/a", NULL},
        {"http:a", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_path(rows[i][0], rows[i][1]);
}

static void test_every_prefix_of_a_nasty_uri(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "/a%2F..//%2e%2e/./b%C3%A9;c=d/..%00/%zz%?q=%41#f",
        "HTTP://u:p@[::1]:80//..%2f../%2/%%%25%2F.%2e/...//.?x",
        "//////..//..//.//./a/../../b/./",
        "/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f",
    };
    for (size_t i = 0; i < COUNT(uris); i++) {
        for (size_t n = 0; n <= strlen(uris[i]); n++) {
            char prefix[128], path[128];
            memcpy(prefix, uris[i], n);
            prefix[n] = '\0';
            if (!decode(prefix, path))
                continue;
            assert_int_equal(path[0], '/');
            assert_null(strstr(path, "//"));
            assert_null(strstr(path, "/./"));
            assert_null(strstr(path, "/../"));
        }
    }
}

static void test_random_uris_have_a_clean_path_or_none(void **state)
{
    (void)state;
    static const char *const parts[] = {"/", "//",  ".",   "..", "a",   "%2F", "%2e",
                                        "%", "%2",  "?",   "#",  "://", "%C",  ";",
                                        ":", "%25", "%41", "\\", "../", "/..", "/."};
    uint32_t seed = 5;
    for (int round = 0; round < 100000; round++) {
        char uri[128] = "", path[128];
        for (uint32_t i = next_random(&seed) % 16; i > 0; i--)
            strcat(uri, parts[next_random(&seed) % COUNT(parts)]);
        if (!decode(uri, path))
            continue;
        size_t n = strlen(path);
        assert_true(n <= strlen(uri));
        assert_int_equal(path[0], '/');
        assert_null(strstr(path, "//"));
        assert_null(strstr(path, "/./"));
        assert_null(strstr(path, "/../"));
        assert_false(n >= 2 && strcmp(path + n - 2, "/.") == 0);
        assert_false(n >= 3 && strcmp(path + n - 3, "/..") == 0);
    }
}

/* What a front sends (NULL: not at all), where the application is mounted, and what must come of
 * it. script_name NULL: it is not below the mount. */
struct row {
    struct path_source sent; /* SCRIPT_NAME, PATH_INFO, REQUEST_URI, DOCUMENT_URI */
    const char *mount, *script_name, *path_info;
};

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        char *buffer = malloc(pathmap_buffer_bytes(&row->sent));
        assert_non_null(buffer);
        struct path_target target = {NULL, NULL};
        bool is_mounted = pathmap_mount(&row->sent, row->mount, buffer, &target);
        if (is_mounted != (row->script_name != NULL))
            fail_msg("row %zu: %s, %s", i, row->sent.request_uri,
                     is_mounted ? target.path_info : "not mounted");
        if (is_mounted && (strcmp(target.script_name, row->script_name) != 0 ||
                           strcmp(target.path_info, row->path_info) != 0))
            fail_msg("row %zu: %s: \"%s\" + \"%s\", not \"%s\" + \"%s\"", i, row->sent.request_uri,
                     target.script_name, target.path_info, row->script_name, row->path_info);
        free(buffer);
    }
}

/* clang-format off */
static void test_nginx(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* location /app/, stock fastcgi_params: SCRIPT_NAME is the whole path */
        {{"/app/", NULL, "/app/", "/app/"}, "/app", "/app", "/"},
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b"}, "/app", "/app", "/a/b"},
        {{"/app/a b", NULL, "/app/a%20b?x=/y", "/app/a b"}, "/app", "/app", "/a b"},
        {{"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", "/app/caf\xc3\xa9"}, "/app", "/app", "/caf\xc3\xa9"},
        {{"/app/a/b", NULL, "/app//a/./c/../b", "/app/a/b"}, "/app", "/app", "/a/b"},
        {{"/app/a/b", NULL, "/app/a%2Fb", "/app/a/b"}, "/app", "/app", "/a/b"},
        {{"/app/a;b=c", NULL, "/app/a;b=c", "/app/a;b=c"}, "/app", "/app", "/a;b=c"},
        /* location /app with fastcgi_split_path_info */
        {{"/app", "", "/app", "/app"}, "/app", "/app", ""},
        {{"/app", "/", "/app/", "/app/"}, "/app", "/app", "/"},
        {{"/app", "/a/b", "/app/a/b", "/app/a/b"}, "/app", "/app", "/a/b"},
        {{"/application", "", "/application", "/application"}, "/app", NULL, NULL},
        {{"/app", "lication", "/application", "/application"}, "/app", NULL, NULL},
        /* location /, stock */
        {{"/", NULL, "/", "/"}, "", "", "/"},
        {{"/app", NULL, "/app", "/app"}, "", "", "/app"},
        {{"/app/", NULL, "/app/", "/app/"}, "", "", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b"}, "", "", "/app/a/b"},
        {{"/", NULL, "/", "/"}, "/app", NULL, NULL},
        {{"/app", NULL, "/app", "/app"}, "/app", "/app", ""},
        /* location / with split ^()(/.*)$ */
        {{"", "/", "/", "/"}, "", "", "/"},
        {{"", "/app", "/app", "/app"}, "", "", "/app"},
        {{"", "/app/", "/app/", "/app/"}, "", "", "/app/"},
        {{"", "/app/a/b", "/app/a/b", "/app/a/b"}, "", "", "/app/a/b"},
        /* fastcgi.conf with fastcgi_index: the one that goes wrong at the folder itself */
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b"}, "/app", "/app", "/a/b"},
        /* .wsgi with split and fastcgi.conf */
        {{"/app.wsgi", "", "/app.wsgi", "/app.wsgi"}, "/app.wsgi", "/app.wsgi", ""},
        {{"/app.wsgi", "/", "/app.wsgi/", "/app.wsgi/"}, "/app.wsgi", "/app.wsgi", "/"},
        {{"/app.wsgi", "/a/b", "/app.wsgi/a/b", "/app.wsgi/a/b"}, "/app.wsgi", "/app.wsgi", "/a/b"},
        /* the PHP snippet with try_files: only REQUEST_URI has the tail; mounted, it is not asked */
        {{"/app.wsgi", "", "/app.wsgi", "/app.wsgi"}, "/app.wsgi", "/app.wsgi", ""},
        /* scgi_pass, stock /app/: DOCUMENT_URI and REQUEST_URI only */
        {{NULL, NULL, "/app/", "/app/"}, "/app", "/app", "/"},
        {{NULL, NULL, "/app/a/b", "/app/a/b"}, "/app", "/app", "/a/b"},
        {{NULL, NULL, "/app/a%20b?c", "/app/a b"}, "/app", "/app", "/a b"},
        {{NULL, NULL, "/app/a%20b?c", NULL}, "/app", "/app", "/a b"},
        {{NULL, NULL, "/a/b", "/a/b"}, "", "", "/a/b"},
        {{NULL, NULL, "/application", "/application"}, "/app", NULL, NULL},
        /* scgi_pass, explicit */
        {{"", "/", "/", "/"}, "", "", "/"},
        {{"/app", "/a/b", "/app/a/b", "/app/a/b"}, "/app", "/app", "/a/b"},
        /* SCRIPT_NAME=/app PATH_INFO=$fastcgi_script_name: the prefix doubled */
        {{"/app", "/app/", "/app/", "/app/"}, "/app", "/app", "/"},
        {{"/app", "/app/a/b", "/app/a/b", "/app/a/b"}, "/app", "/app", "/a/b"},
    };
    assert_rows(rows, COUNT(rows));
}

static void test_apache(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* ProxyPass /app, fcgi and scgi: PATH_INFO never sent */
        {{"/app", NULL, "/app", NULL}, "/app", "/app", ""},
        {{"/app/", NULL, "/app/", NULL}, "/app", "/app", "/"},
        {{"/app/a/b", NULL, "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        {{"/app/a b", NULL, "/app/a%20b", NULL}, "/app", "/app", "/a b"},
        {{"/app/a/b", NULL, "http://host/app/a/b?c", NULL}, "/app", "/app", "/a/b"},
        /* ProxyPass / */
        {{"/", NULL, "/", NULL}, "", "", "/"},
        {{"/app", NULL, "/app", NULL}, "", "", "/app"},
        {{"/app/", NULL, "/app/", NULL}, "", "", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", NULL}, "", "", "/app/a/b"},
        /* with proxy-fcgi-pathinfo=1 */
        {{"/app", "/", "/app", NULL}, "/app", "/app", ""},
        {{"/app", "/", "/app/", NULL}, "/app", "/app", "/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        /* ProxyPass /app fcgi://h/app with pathinfo */
        {{"", "/app", "/app", NULL}, "/app", "/app", ""},
        {{"", "/app/", "/app/", NULL}, "/app", "/app", "/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        /* ProxyPassMatch .wsgi into the document root */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL}, "/app.wsgi", "/app.wsgi", ""},
        {{"/app.wsgi/", NULL, "/app.wsgi/", NULL}, "/app.wsgi", "/app.wsgi", "/"},
        {{"/app.wsgi/a/b", NULL, "/app.wsgi/a/b", NULL}, "/app.wsgi", "/app.wsgi", "/a/b"},
        /* SetHandler in <Location /app>: split by what is on the disk */
        {{"/app", NULL, "/app", NULL}, "/app", "/app", ""},
        {{"/app", "/", "/app/", NULL}, "/app", "/app", "/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        {{"/app/a", "/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        /* mod_fcgid, ScriptAlias /app; an Alias; SetHandler in FilesMatch */
        {{"/app", NULL, "/app", NULL}, "/app", "/app", ""},
        {{"/app", "/", "/app/", NULL}, "/app", "/app", "/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        {{"/app", "/a/b", "/app//a/../a/b", NULL}, "/app", "/app", "/a/b"},
        /* mod_fcgid, ScriptAlias / */
        {{"", "/", "/", NULL}, "", "", "/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "", "", "/app/a/b"},
        /* RewriteRule /app → /app.wsgi: REQUEST_URI keeps /app, and either can be the mount */
        {{"/app.wsgi", NULL, "/app", NULL}, "/app", "/app", ""},
        {{"/app.wsgi", "/", "/app/", NULL}, "/app", "/app", "/"},
        {{"/app.wsgi", "/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        {{"/app.wsgi", "/a/b", "/app/a/b", NULL}, "/app.wsgi", "/app.wsgi", "/a/b"},
        /* per-directory rewrite → app.wsgi/$1: the client sees no prefix */
        {{"/app.wsgi", "/", "/", NULL}, "", "", "/"},
        {{"/app.wsgi", "/app/a/b", "/app/a/b", NULL}, "", "", "/app/a/b"},
        {{"/app.wsgi", "/app/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        /* AllowEncodedSlashes On, and NoDecode, which keeps %2F */
        {{"/app/a/b", NULL, "/app/a%2Fb", NULL}, "/app", "/app", "/a/b"},
        {{"/app", "/a%2Fb", "/app/a%2Fb", NULL}, "/app", "/app", "/a%2Fb"},
    };
    assert_rows(rows, COUNT(rows));
}

static void test_lighttpd(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* "/app", fcgi and scgi */
        {{"/app", NULL, "/app", NULL}, "/app", "/app", ""},
        {{"/app", "/", "/app/", NULL}, "/app", "/app", "/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        {{"/application", NULL, "/application", NULL}, "/app", NULL, NULL},
        {{"/app", "/a b", "/app/a%20b", NULL}, "/app", "/app", "/a b"},
        /* "/" with fix-root-scriptname */
        {{"", "/", "/", NULL}, "", "", "/"},
        {{"", "/app", "/app", NULL}, "", "", "/app"},
        {{"", "/app/", "/app/", NULL}, "", "", "/app/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "", "", "/app/a/b"},
        /* "/" without: the first segment is taken as SCRIPT_NAME */
        {{"/", NULL, "/", NULL}, "", "", "/"},
        {{"/app", NULL, "/app", NULL}, "", "", "/app"},
        {{"/app", "/", "/app/", NULL}, "", "", "/app/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "", "", "/app/a/b"},
        /* "/app/": wrong, and made right by a mount */
        {{"/app/", NULL, "/app/", NULL}, "/app", "/app", "/"},
        {{"/app/a", "/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
        /* .wsgi, alias /app → .wsgi */
        {{"/app.wsgi", "/a/b", "/app.wsgi/a/b", NULL}, "/app.wsgi", "/app.wsgi", "/a/b"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/app", "/a/b"},
    };
    assert_rows(rows, COUNT(rows));
}

static void test_fronts_that_pass_the_path_on_unchanged(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* HAProxy, Caddy, h2o: // and .. */
        {{"/app//a", NULL, "/app//a", NULL}, "/app", "/app", "//a"},
        {{"/app", "//a", "/app//a", NULL}, "/app", "/app", "//a"},
        {{"/app", "/a/../b", "/app/a/../b", NULL}, "/app", "/app", "/a/../b"},
        {{"//app/a", NULL, "//app/a", NULL}, "/app", "/app", "/a"},
        {{"/app", "/app//a", "/app//a", NULL}, "/app", "/app", "//a"}, /* the prefix doubled */
        {{"/x/../app/a", NULL, "/x/../app/a", NULL}, "/app", "/app", "/a"},
        {{"", "//a//b", "//a//b", NULL}, "", "", "//a//b"},
    };
    assert_rows(rows, COUNT(rows));
}

static void test_only_whole_segments_are_below_a_mount(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{"/application", NULL, "/application", NULL}, "/app", NULL, NULL},
        {{"/app", "lication", "/application", NULL}, "/app", NULL, NULL},
        {{NULL, "/application/x", "/application/x", NULL}, "/app", NULL, NULL},
        {{"/ap", NULL, "/ap", NULL}, "/app", NULL, NULL},
        {{"/App", NULL, "/App", NULL}, "/app", NULL, NULL},
        {{"/app.wsgi", NULL, "/app.wsgi", NULL}, "/app", NULL, NULL},
        {{"/app;x", NULL, "/app;x", NULL}, "/app", NULL, NULL},
        {{"/app;x", NULL, "/app;x", NULL}, "", "", "/app;x"},
        {{"/other/app/x", NULL, "/other/app/x", NULL}, "/app", NULL, NULL},
        {{"/a/b/c", NULL, "/a/b/c", NULL}, "/a/b", "/a/b", "/c"},
        {{"/a/bc", NULL, "/a/bc", NULL}, "/a/b", NULL, NULL},
        {{"/caf\xc3\xa9/x", NULL, "/caf%C3%A9/x", NULL}, "/caf\xc3\xa9", "/caf\xc3\xa9", "/x"},
        {{"/a b/x", NULL, "/a%20b/x", NULL}, "/a b", "/a b", "/x"},
        {{NULL, NULL, "/%61pp/x", NULL}, "/app", "/app", "/x"},
        {{NULL, NULL, "/app/../x", NULL}, "/app", NULL, NULL},
        {{NULL, NULL, "/app/%2e%2e/x", NULL}, "/app", NULL, NULL},
        {{NULL, NULL, "/app%2Fx", NULL}, "/app", "/app", "/x"},
    };
    assert_rows(rows, COUNT(rows));
}

static void test_request_uris_that_are_no_path(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{NULL, NULL, "http://host/app/a?b", NULL}, "/app", "/app", "/a"},
        {{NULL, NULL, "http://host", NULL}, "", "", "/"},
        {{NULL, NULL, "http://host/app", NULL}, "/app", "/app", ""},
        {{"/app/a", NULL, "*", NULL}, "/app", "/app", "/a"},
        {{"/app/a", NULL, "host:443", NULL}, "/app", "/app", "/a"},
        {{"/app", "/a", NULL, NULL}, "/app", "/app", "/a"},
        {{"/app", "/a", "", NULL}, "/app", "/app", "/a"},
        {{"/app", "/a", "/app/a%00", NULL}, "/app", "/app", "/a"},
        {{NULL, NULL, "*", NULL}, "/app", NULL, NULL},
        {{NULL, NULL, "*", NULL}, "", "", ""},
        {{NULL, NULL, "host:443", NULL}, "/app", NULL, NULL},
        {{NULL, NULL, NULL, NULL}, "/app", NULL, NULL},
        {{NULL, NULL, NULL, NULL}, "", "", ""},
        {{NULL, NULL, NULL, "/app/a"}, "/app", "/app", "/a"},
        {{NULL, NULL, "/app/a", "*"}, "/app", "/app", "/a"},
        {{NULL, NULL, "/app/a", ""}, "/app", "/app", "/a"},
        {{NULL, NULL, "/app/a", "*"}, "", "", "/app/a"},
        {{NULL, NULL, "/app/a", ""}, "", "", "/app/a"},
        {{"", "", "/app/a", NULL}, "/app", "/app", "/a"},
        {{"", "", "/", NULL}, "", "", ""},
    };
    assert_rows(rows, COUNT(rows));
}
/* clang-format on */

static void test_random_sources_stay_within_the_buffer(void **state)
{
    (void)state;
    static const char *const parts[] = {"/app", "/",   "..",   "%2F", "//",
                                        "a",    "%00", "/./a", "?",   "http://h"};
    static const char *const mounts[] = {"", "/app", "/a", "/app/a"};
    uint32_t seed = 77;
    for (int round = 0; round < 50000; round++) {
        char texts[4][64] = {"", "", "", ""}, *sent[4];
        for (int i = 0; i < 4; i++) {
            for (uint32_t j = next_random(&seed) % 6; j > 0; j--)
                strcat(texts[i], parts[next_random(&seed) % COUNT(parts)]);
            sent[i] = next_random(&seed) % 4 == 0
                          ? NULL
                          : (char *)exact_copy(texts[i], strlen(texts[i]) + 1);
        }
        struct path_source source = {sent[0], sent[1], sent[2], sent[3]};
        const char *mount = mounts[next_random(&seed) % COUNT(mounts)];
        char *buffer = malloc(pathmap_buffer_bytes(&source));
        assert_non_null(buffer);
        struct path_target target;
        if (pathmap_mount(&source, mount, buffer, &target)) {
            assert_string_equal(target.script_name, mount);
            assert_true(mount[0] == '\0' || target.path_info[0] == '/' ||
                        target.path_info[0] == '\0');
        }
        free(buffer);
        for (int i = 0; i < 4; i++)
            if (sent[i] != NULL)
                exact_free((uint8_t *)sent[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_path_of_a_uri),
        cmocka_unit_test(test_every_prefix_of_a_nasty_uri),
        cmocka_unit_test(test_random_uris_have_a_clean_path_or_none),
        cmocka_unit_test(test_nginx),
        cmocka_unit_test(test_apache),
        cmocka_unit_test(test_lighttpd),
        cmocka_unit_test(test_fronts_that_pass_the_path_on_unchanged),
        cmocka_unit_test(test_only_whole_segments_are_below_a_mount),
        cmocka_unit_test(test_request_uris_that_are_no_path),
        cmocka_unit_test(test_random_sources_stay_within_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
