/* links: path_info.c */
#include "unit.h"

#include "http/path_info.h"

/* Into a block of exactly the size that the header asks for. NULL: there is no path. */
static bool decode(const char *uri, char *result)
{
    size_t n = strlen(uri) + 1;
    char *copy = (char *)exact_copy(uri, n), *out = (char *)exact_copy(uri, n);
    bool is_path = path_info_decode_uri(copy, out);
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

static void assert_target(size_t i, const struct path_source *sent,
                          const struct path_target *target, const struct path_target *expected)
{
    if (strcmp(target->script_name, expected->script_name) != 0 ||
        strcmp(target->path_info, expected->path_info) != 0)
        fail_msg("row %zu: %s: \"%s\" + \"%s\", not \"%s\" + \"%s\"", i, sent->request_uri,
                 target->script_name, target->path_info, expected->script_name,
                 expected->path_info);
}

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        char *buffer = malloc(path_info_buffer_bytes(&row->sent));
        assert_non_null(buffer);
        struct path_target target = {NULL, NULL, NULL};
        bool is_mounted = path_info_mount(&row->sent, row->mount, buffer, &target);
        if (is_mounted != (row->script_name != NULL))
            fail_msg("row %zu: %s, %s", i, row->sent.request_uri,
                     is_mounted ? target.path_info : "not mounted");
        if (is_mounted)
            assert_target(i, &row->sent, &target,
                          &(struct path_target){row->script_name, row->path_info, NULL});
        free(buffer);
    }
}

/* What a front sends for one URL, and what must come of it in each configuration: without a mount,
 * PATH_INFO below mount = /app (NULL: not below it), PATH_INFO with mount = /. */
struct front_row {
    struct path_source sent;
    const char *script_name, *path_info;
    const char *below_app, *below_root;
};

static void assert_front(const struct front_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct front_row *row = &rows[i];
        const struct row mounted[] = {
            {row->sent, "/app", row->below_app != NULL ? "/app" : NULL, row->below_app},
            {row->sent, "", "", row->below_root},
        };
        assert_rows(mounted, COUNT(mounted));
        char *buffer = malloc(path_info_buffer_bytes(&row->sent));
        assert_non_null(buffer);
        struct path_target target;
        path_info_split(&row->sent, NULL, buffer, &target);
        assert_target(i, &row->sent, &target,
                      &(struct path_target){row->script_name, row->path_info, NULL});
        free(buffer);
    }
}

/* clang-format off */
static void test_nginx(void **state)
{
    (void)state;
    static const struct front_row rows[] = {
        /* location /app/ with the stock fastcgi_params: SCRIPT_NAME is the whole path */
        {{"/app/", NULL, "/app/", "/app/"}, "", "/app/", "/", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app/a b", NULL, "/app/a%20b?x=/y", "/app/a b"}, "", "/app/a b", "/a b", "/app/a b"},
        {{"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", "/app/caf\xc3\xa9"}, "", "/app/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"/app/a/b", NULL, "/app//a/./c/../b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app/a/b", NULL, "/app/a%2Fb", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app/a;b=c", NULL, "/app/a;b=c", "/app/a;b=c"}, "", "/app/a;b=c", "/a;b=c", "/app/a;b=c"},
        /* location /app with fastcgi_split_path_info */
        {{"/app", "", "/app", "/app"}, "/app", "", "", "/app"},
        {{"/app", "/", "/app/", "/app/"}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", "/app/a/b"}, "/app", "/a/b", "/a/b", "/app/a/b"},
        {{"/application", "", "/application", "/application"}, "/application", "", NULL, "/application"},
        {{"/app", "lication", "/application", "/application"}, "/app", "lication", NULL, "/application"},
        /* location / with the stock fastcgi_params */
        {{"/", NULL, "/", "/"}, "", "/", NULL, "/"},
        {{"/app", NULL, "/app", "/app"}, "", "/app", "", "/app"},
        {{"/app/", NULL, "/app/", "/app/"}, "", "/app/", "/", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* location / with the split ^()(/.*)$ */
        {{"", "/", "/", "/"}, "", "/", NULL, "/"},
        {{"", "/app", "/app", "/app"}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", "/app/"}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* fastcgi.conf with fastcgi_index: the folder itself gets the index's name */
        {{"/app/index.wsgi", NULL, "/app/", "/app/index.wsgi"}, "", "/app/index.wsgi", "/index.wsgi", "/app/index.wsgi"},
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* .wsgi with a split and fastcgi.conf */
        {{"/app.wsgi", "", "/app.wsgi", "/app.wsgi"}, "/app.wsgi", "", NULL, "/app.wsgi"},
        {{"/app.wsgi", "/", "/app.wsgi/", "/app.wsgi/"}, "/app.wsgi", "/", NULL, "/app.wsgi/"},
        {{"/app.wsgi", "/a/b", "/app.wsgi/a/b", "/app.wsgi/a/b"}, "/app.wsgi", "/a/b", NULL, "/app.wsgi/a/b"},
        /* the same behind try_files, which loses what follows (path_info_script finds it) */
        {{"/app.wsgi", "", "/app.wsgi", "/app.wsgi"}, "/app.wsgi", "", NULL, "/app.wsgi"},
        {{"/app.wsgi", "", "/app.wsgi/", "/app.wsgi"}, "/app.wsgi", "", NULL, "/app.wsgi"},
        {{"/app.wsgi", "", "/app.wsgi/a/b", "/app.wsgi"}, "/app.wsgi", "", NULL, "/app.wsgi"},
        /* scgi_pass in location /app/, stock: neither is sent */
        {{NULL, NULL, "/app/", "/app/"}, "", "/app/", "/", "/app/"},
        {{NULL, NULL, "/app/a/b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{NULL, NULL, "/app/a%20b?c", "/app/a b"}, "", "/app/a b", "/a b", "/app/a b"},
        {{NULL, NULL, "/app/a%20b?c", NULL}, "", "/app/a b", "/a b", "/app/a b"},
        {{NULL, NULL, "/application", "/application"}, "", "/application", NULL, "/application"},
        /* scgi_pass with both named, at the root and below a prefix */
        {{"", "/", "/", "/"}, "", "/", NULL, "/"},
        {{"", "/app", "/app", "/app"}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", "/app/"}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", "/app/a/b"}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app", "", "/app", "/app"}, "/app", "", "", "/app"},
        {{"/app", "/", "/app/", "/app/"}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", "/app/a/b"}, "/app", "/a/b", "/a/b", "/app/a/b"},
        /* SCRIPT_NAME=/app PATH_INFO=$fastcgi_script_name: the prefix twice */
        {{"/app", "/app/", "/app/", "/app/"}, "/app", "/app/", "/", "/app/"},
        {{"/app", "/app/a/b", "/app/a/b", "/app/a/b"}, "/app", "/app/a/b", "/a/b", "/app/a/b"},
    };
    assert_front(rows, COUNT(rows));
}

static void test_apache(void **state)
{
    (void)state;
    static const struct front_row rows[] = {
        /* ProxyPass /app and ProxyPassMatch, fcgi and scgi */
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app/", NULL, "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app/a b", NULL, "/app/a%20b", NULL}, "", "/app/a b", "/a b", "/app/a b"},
        {{"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", NULL}, "", "/app/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"/app/a", NULL, "/app//a", NULL}, "", "/app/a", "/a", "/app/a"},
        {{"/app/a;b=c", NULL, "/app/a;b=c", NULL}, "", "/app/a;b=c", "/a;b=c", "/app/a;b=c"},
        {{"/app/b", NULL, "/app/x/../b", NULL}, "", "/app/b", "/b", "/app/b"},
        {{"/app/a/b", NULL, "http://host/app/a/b?c", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app/a/b", NULL, "/app/a%2Fb", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* ProxyPass / */
        {{"/", NULL, "/", NULL}, "", "/", NULL, "/"},
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app/", NULL, "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* ProxyPass with proxy-fcgi-pathinfo=1, fcgi and scgi: PATH_INFO stays encoded */
        {{"/app", "/", "/app", NULL}, "/app", "/", "", "/app"},
        {{"/app", "/", "/app/", NULL}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/a/b", "/a/b", "/app/a/b"},
        {{"/app", "/a%20b", "/app/a%20b", NULL}, "/app", "/a%20b", "/a%20b", "/app/a%20b"},
        /* ProxyPass /app fcgi://h/app with pathinfo */
        {{"", "/app", "/app", NULL}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* ProxyPassMatch .wsgi into the document root */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL}, "", "/app.wsgi", NULL, "/app.wsgi"},
        {{"/app.wsgi/", NULL, "/app.wsgi/", NULL}, "", "/app.wsgi/", NULL, "/app.wsgi/"},
        {{"/app.wsgi/a/b", NULL, "/app.wsgi/a/b", NULL}, "", "/app.wsgi/a/b", NULL, "/app.wsgi/a/b"},
        /* SetHandler in <Location /app>, ScriptAlias /app, Alias /app to a .wsgi file */
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app", "/", "/app/", NULL}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/a/b", "/a/b", "/app/a/b"},
        /* SetHandler in <Location /app> when there is a folder app/a */
        {{"/app/a", "/b", "/app/a/b", NULL}, "/app/a", "/b", "/a/b", "/app/a/b"},
        /* SetHandler in FilesMatch, FcgidWrapper: .wsgi (path_info_script knows better) */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL}, "", "/app.wsgi", NULL, "/app.wsgi"},
        {{"/app.wsgi", "/", "/app.wsgi/", NULL}, "/app.wsgi", "/", NULL, "/app.wsgi/"},
        {{"/app.wsgi", "/a/b", "/app.wsgi/a/b", NULL}, "/app.wsgi", "/a/b", NULL, "/app.wsgi/a/b"},
        /* mod_fcgid, ScriptAlias / */
        {{"", "/", "/", NULL}, "", "/", NULL, "/"},
        {{"", "/app", "/app", NULL}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* RewriteRule /app to /app.wsgi: REQUEST_URI keeps what the client asked for */
        {{"/app.wsgi", NULL, "/app", NULL}, "", "/app.wsgi", "", "/app.wsgi"},
        {{"/app.wsgi", "/", "/app/", NULL}, "/app.wsgi", "/", "/", "/app.wsgi/"},
        {{"/app.wsgi", "/a/b", "/app/a/b", NULL}, "/app.wsgi", "/a/b", "/a/b", "/app.wsgi/a/b"},
        /* a per-directory rewrite to app.wsgi/$1: the client sees no prefix */
        {{"/app.wsgi", "/", "/", NULL}, "/app.wsgi", "/", NULL, "/"},
        {{"/app.wsgi", "/app", "/app", NULL}, "/app.wsgi", "/app", "", "/app"},
        {{"/app.wsgi", "/app/", "/app/", NULL}, "/app.wsgi", "/app/", "/", "/app/"},
        {{"/app.wsgi", "/app/a/b", "/app/a/b", NULL}, "/app.wsgi", "/app/a/b", "/a/b", "/app/a/b"},
        /* AllowEncodedSlashes NoDecode */
        {{"/app", "/a%2Fb", "/app/a%2Fb", NULL}, "/app", "/a%2Fb", "/a%2Fb", "/app/a%2Fb"},
    };
    assert_front(rows, COUNT(rows));
}

static void test_lighttpd(void **state)
{
    (void)state;
    static const struct front_row rows[] = {
        /* "/app", fcgi and scgi */
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app", "/", "/app/", NULL}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/a/b", "/a/b", "/app/a/b"},
        {{"/app", "/a b", "/app/a%20b", NULL}, "/app", "/a b", "/a b", "/app/a b"},
        {{"/app", "/caf\xc3\xa9", "/app/caf%C3%A9", NULL}, "/app", "/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"/app", "/a", "/app//a", NULL}, "/app", "/a", "/a", "/app/a"},
        {{"/application", NULL, "/application", NULL}, "", "/application", NULL, "/application"},
        /* "/" with fix-root-scriptname */
        {{"", "/", "/", NULL}, "", "/", NULL, "/"},
        {{"", "/app", "/app", NULL}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        /* "/" without: the first segment is taken as SCRIPT_NAME */
        {{"/", NULL, "/", NULL}, "", "/", NULL, "/"},
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app", "/", "/app/", NULL}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/a/b", "/a/b", "/app/a/b"},
        /* "/app/": wrong, and made right by a mount */
        {{"/app/", NULL, "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"/app/a", "/b", "/app/a/b", NULL}, "/app/a", "/b", "/a/b", "/app/a/b"},
        /* .wsgi */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL}, "", "/app.wsgi", NULL, "/app.wsgi"},
        {{"/app.wsgi", "/", "/app.wsgi/", NULL}, "/app.wsgi", "/", NULL, "/app.wsgi/"},
        {{"/app.wsgi", "/a/b", "/app.wsgi/a/b", NULL}, "/app.wsgi", "/a/b", NULL, "/app.wsgi/a/b"},
    };
    assert_front(rows, COUNT(rows));
}

static void test_haproxy(void **state)
{
    (void)state;
    static const struct front_row rows[] = {
        /* without path-info: SCRIPT_NAME is the whole path, as the client sent it */
        {{"/", NULL, "/", NULL}, "", "/", NULL, "/"},
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app/", NULL, "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"/app/a/b", NULL, "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app/a b", NULL, "/app/a%20b", NULL}, "", "/app/a b", "/a b", "/app/a b"},
        {{"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", NULL}, "", "/app/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"/app//a", NULL, "/app//a", NULL}, "", "/app//a", "//a", "/app//a"},
        {{"/app/a;b=c", NULL, "/app/a;b=c", NULL}, "", "/app/a;b=c", "/a;b=c", "/app/a;b=c"},
        {{"/app/a/b", NULL, "/app/a%2Fb", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"/app", NULL, "/app?x=1", NULL}, "", "/app", "", "/app"},
        {{"/app/a/../b", NULL, "/app/a/../b", NULL}, "", "/app/a/../b", "/a/../b", "/app/a/../b"},
        {{"//app/a", NULL, "//app/a", NULL}, "", "//app/a", "/a", "//app/a"},
        {{"/app/x", NULL, "/%61pp/x", NULL}, "", "/app/x", "/x", "/app/x"},
        {{"/application", NULL, "/application", NULL}, "", "/application", NULL, "/application"},
        /* path-info ^(/app)(/.*)?$: an empty PATH_INFO is not sent */
        {{"/app", NULL, "/app", NULL}, "", "/app", "", "/app"},
        {{"/app", "/", "/app/", NULL}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", NULL}, "/app", "/a/b", "/a/b", "/app/a/b"},
        {{"/app", "/a b", "/app/a%20b", NULL}, "/app", "/a b", "/a b", "/app/a b"},
        {{"/app", "/caf\xc3\xa9", "/app/caf%C3%A9", NULL}, "/app", "/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"/app", "//a", "/app//a", NULL}, "/app", "//a", "//a", "/app//a"},
        {{"/app", "/a;b=c", "/app/a;b=c", NULL}, "/app", "/a;b=c", "/a;b=c", "/app/a;b=c"},
        {{"/app", "/a/b", "/app/a%2Fb", NULL}, "/app", "/a/b", "/a/b", "/app/a/b"},
        {{"/app", "/a/../b", "/app/a/../b", NULL}, "/app", "/a/../b", "/a/../b", "/app/a/../b"},
    };
    assert_front(rows, COUNT(rows));
}

static void test_caddy(void **state)
{
    (void)state;
    static const struct front_row rows[] = {
        /* no split: PATH_INFO is the whole path, as the client sent it */
        {{"", "/", "/", ""}, "", "/", NULL, "/"},
        {{"", "/app", "/app", ""}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", ""}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", ""}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"", "/app/a b", "/app/a%20b", ""}, "", "/app/a b", "/a b", "/app/a b"},
        {{"", "/app/caf\xc3\xa9", "/app/caf%C3%A9", ""}, "", "/app/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"", "/app//a", "/app//a", ""}, "", "/app//a", "//a", "/app//a"},
        {{"", "/app/a;b=c", "/app/a;b=c", ""}, "", "/app/a;b=c", "/a;b=c", "/app/a;b=c"},
        {{"", "/app/a/b", "/app/a%2Fb", ""}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"", "/app", "/app?x=1", ""}, "", "/app", "", "/app"},
        {{"", "/app/a/../b", "/app/a/../b", ""}, "", "/app/a/../b", "/a/../b", "/app/a/../b"},
        {{"", "//app/a", "//app/a", ""}, "", "//app/a", "/a", "//app/a"},
        {{"", "/application", "/application", ""}, "", "/application", NULL, "/application"},
        /* split /app; /application is split too */
        {{"/app", "", "/app", "/app"}, "/app", "", "", "/app"},
        {{"/app", "/", "/app/", "/app"}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", "/app"}, "/app", "/a/b", "/a/b", "/app/a/b"},
        {{"/app", "lication", "/application", "/app"}, "/app", "lication", NULL, "/application"},
        /* handle_path /app with env SCRIPT_NAME /app */
        {{"/app", "/", "/app/", ""}, "/app", "/", "/", "/app/"},
        {{"/app", "/a/b", "/app/a/b", ""}, "/app", "/a/b", "/a/b", "/app/a/b"},
        /* handle_path /app: the prefix is in REQUEST_URI alone */
        {{"", "/", "/app/", ""}, "", "/", "/", "/"},
        {{"", "/a/b", "/app/a/b", ""}, "", "/a/b", "/a/b", "/a/b"},
    };
    assert_front(rows, COUNT(rows));
}

static void test_h2o(void **state)
{
    (void)state;
    static const struct front_row rows[] = {
        /* SCRIPT_NAME is always empty, below /app as at / */
        {{"", "/", "/", NULL}, "", "/", NULL, "/"},
        {{"", "/app", "/app", NULL}, "", "/app", "", "/app"},
        {{"", "/app/", "/app/", NULL}, "", "/app/", "/", "/app/"},
        {{"", "/app/a/b", "/app/a/b", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"", "/app/a b", "/app/a%20b", NULL}, "", "/app/a b", "/a b", "/app/a b"},
        {{"", "/app/caf\xc3\xa9", "/app/caf%C3%A9", NULL}, "", "/app/caf\xc3\xa9", "/caf\xc3\xa9", "/app/caf\xc3\xa9"},
        {{"", "/app//a", "/app//a", NULL}, "", "/app//a", "//a", "/app//a"},
        {{"", "/app/a;b=c", "/app/a;b=c", NULL}, "", "/app/a;b=c", "/a;b=c", "/app/a;b=c"},
        {{"", "/app/a/b", "/app/a%2Fb", NULL}, "", "/app/a/b", "/a/b", "/app/a/b"},
        {{"", "/app", "/app?x=1", NULL}, "", "/app", "", "/app"},
        {{"", "/app/b", "/app/a/../b", NULL}, "", "/app/b", "/b", "/app/b"},
        {{"", "//app/a", "//app/a", NULL}, "", "//app/a", "/a", "//app/a"},
        {{"", "/app/x", "/%61pp/x", NULL}, "", "/app/x", "/x", "/app/x"},
    };
    assert_front(rows, COUNT(rows));
}

static void test_fronts_that_pass_the_path_on_unchanged(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{"/app", "//a", "/app//a", NULL}, "/app", "/app", "//a"},
        {{"/app", "/app//a", "/app//a", NULL}, "/app", "/app", "//a"}, /* the prefix doubled */
        {{"/x/../app/a", NULL, "/x/../app/a", NULL}, "/app", "/app", "/a"},
        {{"", "//a//b", "//a//b", NULL}, "", "", "//a//b"},
        {{"/app.wsgi", "/a/b", "/app/a/b", NULL}, "/app.wsgi", "/app.wsgi", "/a/b"},
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

/* Regular files are those that context lists, with a space behind each. */
static bool is_listed(const char *path, const void *context)
{
    size_t n = strlen(path);
    for (const char *p = context; (p = strstr(p, path)) != NULL; p++)
        if (n > 0 && (p == context || p[-1] == ' ') && p[n] == ' ')
            return true;
    return false;
}

/* What comes of SCRIPT_FILENAME; file NULL: it names none, and the split is as without it. */
struct script_row {
    struct path_source sent; /* … and SCRIPT_FILENAME */
    const char *file, *script_name, *path_info;
};

/* clang-format off */
static void test_the_script_file_that_a_front_chose(void **state)
{
    (void)state;
    static const struct path_files files = {
        is_listed, "/srv/app.wsgi /srv/a b.wsgi /srv/a%20b.wsgi /srv/c d.wsgi /usr/bin/fcgihost /srv/sub/app.py "};
    static const struct script_row rows[] = {
        /* nginx, .wsgi with a split and fastcgi.conf */
        {{"/app.wsgi", "", "/app.wsgi", "/app.wsgi", "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        {{"/app.wsgi", "/", "/app.wsgi/", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/"},
        {{"/app.wsgi", "/a/b", "/app.wsgi/a/b", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/a/b"},
        /* the same behind try_files */
        {{"/app.wsgi", "", "/app.wsgi/", "/app.wsgi", "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/"},
        {{"/app.wsgi", "", "/app.wsgi/a/b?c", "/app.wsgi", "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/a/b"},
        {{"/app.wsgi", "", "/app.wsgi/caf%C3%A9", "/app.wsgi", "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/caf\xc3\xa9"},
        {{"/app.wsgi", "", "/app.wsgix", "/app.wsgi", "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        /* nginx without a split: there is no such file */
        {{"/app/a/b", NULL, "/app/a/b", "/app/a/b", "/usr/share/nginx/html/app/a/b"}, NULL, "", "/app/a/b"},
        {{"/app.wsgi/a", NULL, "/app.wsgi/a", NULL, "/srv/app.wsgi/a"}, "/srv/app.wsgi", "/app.wsgi", "/a"},
        /* Apache, ProxyPassMatch .wsgi into the document root */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL, "proxy:fcgi://h:1/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        {{"/app.wsgi/", NULL, "/app.wsgi/", NULL, "proxy:fcgi://h:1/srv/app.wsgi/"}, "/srv/app.wsgi", "/app.wsgi", "/"},
        {{"/app.wsgi/a/b", NULL, "/app.wsgi/a/b", NULL, "proxy:fcgi://h:1/srv/app.wsgi/a/b"}, "/srv/app.wsgi", "/app.wsgi", "/a/b"},
        {{"/app.wsgi/a b", NULL, "/app.wsgi/a%20b", NULL, "proxy:fcgi://h:1/srv/app.wsgi/a%20b"}, "/srv/app.wsgi", "/app.wsgi", "/a b"},
        {{"/app.wsgi/a/b", NULL, "/app.wsgi/a/b?c", NULL, "proxy:fcgi://h:1/srv/app.wsgi/a/b?c"}, "/srv/app.wsgi", "/app.wsgi", "/a/b"},
        {{"/c d.wsgi/x", NULL, "/c%20d.wsgi/x", NULL, "proxy:fcgi://h:1/srv/c%20d.wsgi/x"}, "/srv/c d.wsgi", "/c d.wsgi", "/x"},
        {{"/a b.wsgi", NULL, "/a%20b.wsgi", NULL, "proxy:fcgi://h:1/srv/a%20b.wsgi"}, "/srv/a%20b.wsgi", "/a b.wsgi", ""}, /* raw first */
        {{"/c d.wsgi", NULL, "/c%20d.wsgi", NULL, "proxy:fcgi://h:1/srv/c%20d.wsgi?x"}, "/srv/c d.wsgi", "/c d.wsgi", ""},
        {{"/x", NULL, "/x", NULL, "proxy:fcgi://h:1/srv/%00app.wsgi"}, NULL, "", "/x"},
        /* SetHandler in FilesMatch, GENERIC, an Alias, a URL's authority alone */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL, "proxy:fcgi://localhost//srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        {{"/app.wsgi", "/a", "/app.wsgi/a", NULL, "proxy:fcgi://localhost//srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/a"},
        {{"/app.wsgi", "/a", "/app.wsgi/a", NULL, "//srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/a"},
        {{"/app", NULL, "/app", NULL, "proxy:fcgi://localhost/srv/app.wsgi"}, "/srv/app.wsgi", "/app", ""},
        {{"/app", "/a/b", "/app/a/b", NULL, "proxy:scgi://localhost/srv/app.wsgi"}, "/srv/app.wsgi", "/app", "/a/b"},
        {{"/a", NULL, "/a", NULL, "proxy:fcgi://localhost"}, NULL, "", "/a"},
        {{"/a", NULL, "/a", NULL, "proxy:fcgi:///srv/app.wsgi"}, "/srv/app.wsgi", "/a", ""},
        {{"/a", NULL, "/a", NULL, "proxy:/srv/app.wsgi"}, NULL, "", "/a"},
        /* mod_fcgid: FcgidWrapper, ScriptAlias (the wrapper itself), ScriptAlias / */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        {{"/app", NULL, "/app", NULL, "/usr/bin/fcgihost"}, "/usr/bin/fcgihost", "/app", ""},
        {{"/app", "/a/b", "/app/a/b", NULL, "/usr/bin/fcgihost"}, "/usr/bin/fcgihost", "/app", "/a/b"},
        {{"", "/app", "/app", NULL, "/usr/bin/fcgihost"}, "/usr/bin/fcgihost", "", "/app"},
        /* rewrites: the front's own SCRIPT_NAME is kept */
        {{"/app.wsgi", NULL, "/app", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        {{"/app.wsgi", "/a", "/app/a", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/a"},
        {{"/app.wsgi", "/app/a", "/app/a", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", "/app/a"},
        /* lighttpd, .wsgi and an alias; in a folder */
        {{"/app.wsgi", NULL, "/app.wsgi", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
        {{"/app", "/a/b", "/app/a/b", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app", "/a/b"},
        {{"/sub/app.py/x/y", NULL, "/sub/app.py/x/y", NULL, "/srv/sub/app.py/x/y"}, "/srv/sub/app.py", "/sub/app.py", "/x/y"},
        /* HAProxy, Caddy, h2o: no such file, or none sent */
        {{"/app/a/b", NULL, "/app/a/b", NULL, "/srv/app/a/b"}, NULL, "", "/app/a/b"},
        {{"/app", "/a/b", "/app/a/b", NULL, "/srv/app"}, NULL, "/app", "/a/b"},
        {{"", "/app/a/b", "/app/a/b", "", "/srv"}, NULL, "", "/app/a/b"},
        {{"", "/app/a/b", "/app/a/b", NULL, NULL}, NULL, "", "/app/a/b"},
        {{"/app", "", "/app", NULL, ""}, NULL, "/app", ""},
        /* SCRIPT_NAME that the tail does not belong to is trusted; one that was not sent is empty */
        {{"/other", NULL, "/other", NULL, "/srv/app.wsgi/a"}, "/srv/app.wsgi", "/other", ""},
        {{NULL, NULL, "/a/b", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "", "/a/b"},
        {{NULL, NULL, NULL, NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "", ""},
        {{"/app.wsgi", NULL, "*", NULL, "/srv/app.wsgi"}, "/srv/app.wsgi", "/app.wsgi", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct script_row *row = &rows[i];
        char *buffer = malloc(path_info_buffer_bytes(&row->sent));
        assert_non_null(buffer);
        struct path_target target;
        struct path_target expected = {row->script_name, row->path_info, NULL};
        if (path_info_script(&row->sent, &files, buffer, &target) != (row->file != NULL))
            fail_msg("row %zu: %s: is there a file?", i, row->sent.script_filename);
        if (row->file != NULL) {
            assert_string_equal(target.file, row->file);
            assert_target(i, &row->sent, &target, &expected);
        }
        path_info_split(&row->sent, &files, buffer, &target);
        assert_target(i, &row->sent, &target, &expected);
        free(buffer);
    }
}

static void test_files_that_end_as_scripts_do(void **state)
{
    (void)state;
    static const char *const scripts[] = {"/a/b.py", "/b.wsgi", "b.py", "/b.gif.py", "/.b.wsgi"};
    static const char *const others[] = {"",         "/",          "/.py",      "/a.py/",
                                         "/a.py/b",  "/a.py.bak",  "/a.wsgi~",  "/a.PY",
                                         "/a.pyc",   "/apy",       "/a.wsgi /", "/a.py .wsgi.",
                                         "/a.wsg",   ".wsgi",      "/a.gif"};
    for (size_t i = 0; i < COUNT(scripts); i++)
        if (!path_info_has_extension(scripts[i], ".py .wsgi"))
            fail_msg("%s is no script", scripts[i]);
    for (size_t i = 0; i < COUNT(others); i++)
        if (path_info_has_extension(others[i], ".py .wsgi"))
            fail_msg("%s is a script", others[i]);
    assert_false(path_info_has_extension("/a.py", ""));
    assert_false(path_info_has_extension("/a.py", NULL));
    assert_true(path_info_has_extension("/a.cgi", "  .cgi "));
}

static void test_what_the_configuration_of_a_front_lacks(void **state)
{
    (void)state;
    static const struct {
        struct path_source sent;
        enum path_advice advice;
        const char *prefix;
    } rows[] = {
        /* ProxyPass /app fcgi://localhost */
        {{"/app/a/b", NULL, "/app/a/b", NULL, "proxy:fcgi://localhost/a/b"}, PATH_ADVICE_MOUNT, "/app"},
        {{"/app/a/b", NULL, "/app/a/b?c", NULL, "proxy:scgi://localhost:4000/a/b"}, PATH_ADVICE_MOUNT, "/app"},
        {{"/app/a b", NULL, "/app/a%20b", NULL, "proxy:fcgi://localhost/a%20b"}, PATH_ADVICE_MOUNT, "/app"},
        {{"/app/caf\xc3\xa9", NULL, "/app/caf%C3%A9", NULL, "proxy:fcgi://localhost/caf%C3%A9"}, PATH_ADVICE_MOUNT, "/app"},
        {{"/app/a", NULL, "/app/a", NULL, "proxy:fcgi://localhost//a"}, PATH_ADVICE_MOUNT, "/app"}, /* … fcgi://localhost/ */
        {{"/x/app/a/", NULL, "/x/app/a/", NULL, "proxy:fcgi://localhost/a/"}, PATH_ADVICE_MOUNT, "/x/app"},
        /* the folder itself does not tell */
        {{"/app", NULL, "/app", NULL, "proxy:fcgi://localhost/"}, PATH_ADVICE_NONE, NULL},
        {{"/app/", NULL, "/app/", NULL, "proxy:fcgi://localhost/"}, PATH_ADVICE_NONE, NULL},
        {{"/app", NULL, "/app", NULL, "proxy:fcgi://localhost"}, PATH_ADVICE_NONE, NULL},
        /* ProxyPass /, ProxyPass /app fcgi://h/app, ProxyPassMatch into the document root */
        {{"/app/a", NULL, "/app/a", NULL, "proxy:fcgi://localhost/app/a"}, PATH_ADVICE_NONE, NULL},
        {{"/app.wsgi/a", NULL, "/app.wsgi/a", NULL, "proxy:fcgi://localhost/srv/app.wsgi/a"}, PATH_ADVICE_NONE, NULL},
        {{"/app/a", NULL, "/app/a", NULL, "proxy:fcgi://localhost/b"}, PATH_ADVICE_NONE, NULL},
        {{"/appa", NULL, "/appa", NULL, "proxy:fcgi://localhost/a"}, PATH_ADVICE_NONE, NULL},
        {{"//a", NULL, "//a", NULL, "proxy:fcgi://localhost/a"}, PATH_ADVICE_NONE, NULL},
        /* PATH_INFO was sent, a file's name, nothing at all */
        {{"/app", "/a", "/app/a", NULL, "proxy:fcgi://localhost/a"}, PATH_ADVICE_NONE, NULL},
        {{"/app/a", NULL, "/app/a", NULL, "/a"}, PATH_ADVICE_NONE, NULL},
        {{"/app/a", NULL, "/app/a", NULL, "proxy:/a"}, PATH_ADVICE_NONE, NULL},
        {{"/app/a", NULL, "/app/a", NULL, NULL}, PATH_ADVICE_NONE, NULL},
        {{NULL, NULL, "/app/a", NULL, "proxy:fcgi://localhost/a"}, PATH_ADVICE_NONE, NULL},
        {{NULL, NULL, NULL, NULL, NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app/a", NULL, NULL, NULL, "proxy:fcgi://localhost/a%00"}, PATH_ADVICE_NONE, NULL},
        /* nginx: SCRIPT_NAME=/app PATH_INFO=$fastcgi_script_name */
        {{"/app", "/app/a/b", "/app/a/b?c", "/app/a/b"}, PATH_ADVICE_PREFIX_TWICE, "/app"},
        {{"/app", "/app", "/app", "/app"}, PATH_ADVICE_PREFIX_TWICE, "/app"},
        {{"/app", "/app/a", "/app//a", NULL}, PATH_ADVICE_PREFIX_TWICE, "/app"},
        {{"/app", "/app/a", "/app/app/a", NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app", "/application", "/application", NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app", "/a", "/app/a", NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app", "", "/app", NULL}, PATH_ADVICE_NONE, NULL},
        {{"", "/app/a", "/app/a", NULL}, PATH_ADVICE_NONE, NULL},
        {{"/", "/", "/", NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app", "/app/a", NULL, NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app", "/app/a", "*", NULL}, PATH_ADVICE_NONE, NULL},
        {{"/app.wsgi", "/app/a", "/app/a", NULL}, PATH_ADVICE_NONE, NULL}, /* a per-directory rewrite */
        /* lighttpd: "/" without fix-root-scriptname, "/app/", and right ones */
        {{"/", NULL, "/", NULL, "/srv/", "lighttpd/1.4.69"}, PATH_ADVICE_LIGHTTPD_ROOT, ""},
        {{"/app/", NULL, "/app/", NULL, "/srv/app/", "lighttpd/1.4.69"}, PATH_ADVICE_LIGHTTPD_SLASH, "/app"},
        {{"/app", NULL, "/app", NULL, "/srv/app", "lighttpd/1.4.69"}, PATH_ADVICE_NONE, NULL},
        {{"/app", "/", "/app/", NULL, "/srv/app", "lighttpd/1.4.69"}, PATH_ADVICE_NONE, NULL},
        {{"", "/", "/", NULL, "/srv/", "lighttpd/1.4.69"}, PATH_ADVICE_NONE, NULL},
        {{"", NULL, "/", NULL, "/srv/", "lighttpd/1.4.69"}, PATH_ADVICE_NONE, NULL},
        {{NULL, NULL, "/", NULL, NULL, "lighttpd/1.4.69"}, PATH_ADVICE_NONE, NULL},
        /* nginx and HAProxy send the same, and are right */
        {{"/app/", NULL, "/app/", "/app/", NULL, "nginx/1.22.1"}, PATH_ADVICE_NONE, NULL},
        {{"/", NULL, "/", NULL, "/srv/", "HAProxy 2.6.12"}, PATH_ADVICE_NONE, NULL},
        {{"/", NULL, "/", NULL, NULL, NULL}, PATH_ADVICE_NONE, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *buffer = malloc(path_info_buffer_bytes(&rows[i].sent));
        assert_non_null(buffer);
        const char *prefix;
        enum path_advice advice = path_info_advise(&rows[i].sent, buffer, &prefix);
        if (advice != rows[i].advice)
            fail_msg("row %zu: %s: advice %d", i, rows[i].sent.request_uri, advice);
        if (advice != PATH_ADVICE_NONE)
            assert_string_equal(prefix, rows[i].prefix);
        free(buffer);
    }
}
/* clang-format on */

static void test_a_script_is_not_looked_for_in_endless_folders(void **state)
{
    (void)state;
    static const struct path_files files = {is_listed, "/srv/app.wsgi "};
    char name[2048] = "/srv/app.wsgi";
    for (int i = 0; i < 500; i++)
        strcat(name, "/a");
    struct path_source source = {.script_name = "/app.wsgi", .script_filename = name};
    char *buffer = malloc(path_info_buffer_bytes(&source));
    assert_non_null(buffer);
    struct path_target target;
    assert_false(path_info_script(&source, &files, buffer, &target));
    name[strlen("/srv/app.wsgi") + 20] = '\0';
    assert_true(path_info_script(&source, &files, buffer, &target));
    free(buffer);
}

static void test_a_file_that_is_not_there_is_named_without_the_proxy(void **state)
{
    (void)state;
    static const struct path_files files = {is_listed, ""};
    static const char *const rows[][2] = {
        {"/srv/a.wsgi", "/srv/a.wsgi"},
        {"//srv/a.wsgi/x", "/srv/a.wsgi/x"},
        {"proxy:fcgi://localhost//srv/a%20b.wsgi?q=1", "/srv/a b.wsgi"},
        {"proxy:unix:/s|fcgi://localhost/srv/a.wsgi", "/srv/a.wsgi"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct path_source source = {.script_filename = rows[i][0]};
        struct path_target target = {0};
        char *buffer = malloc(path_info_buffer_bytes(&source));
        assert_non_null(buffer);
        assert_false(path_info_script(&source, &files, buffer, &target));
        assert_string_equal(target.file, rows[i][1]);
        free(buffer);
    }
}

static void test_random_sources_stay_within_the_buffer(void **state)
{
    (void)state;
    static const char *const parts[] = {"/app", "/",   "..",   "%2F", "//",
                                        "a",    "%00", "/./a", "?",   "proxy:http://h"};
    static const struct path_files files = {is_listed, "/app /a /app/a "};
    static const char *const mounts[] = {"", "/app", "/a", "/app/a"};
    uint32_t seed = 77;
    for (int round = 0; round < 50000; round++) {
        char texts[5][128] = {"", "", "", "", ""}, *sent[5];
        for (int i = 0; i < 5; i++) {
            for (uint32_t j = next_random(&seed) % 6; j > 0; j--)
                strcat(texts[i], parts[next_random(&seed) % COUNT(parts)]);
            sent[i] = next_random(&seed) % 4 == 0
                          ? NULL
                          : (char *)exact_copy(texts[i], strlen(texts[i]) + 1);
        }
        struct path_source source = {sent[0], sent[1], sent[2], sent[3], sent[4], NULL};
        const char *mount = mounts[next_random(&seed) % COUNT(mounts)];
        char *buffer = malloc(path_info_buffer_bytes(&source));
        assert_non_null(buffer);
        struct path_target target;
        if (path_info_mount(&source, mount, buffer, &target)) {
            assert_string_equal(target.script_name, mount);
            assert_true(mount[0] == '\0' || target.path_info[0] == '/' ||
                        target.path_info[0] == '\0');
        }
        const char *prefix;
        path_info_advise(&source, buffer, &prefix);
        if (path_info_script(&source, &files, buffer, &target))
            assert_true(is_listed(target.file, files.context));
        char *spare = malloc(path_info_buffer_bytes(&source));
        assert_non_null(spare);
        path_info_decode(&source, spare);
        path_info_split(&source, NULL, buffer, &target);
        path_info_clean_root(&target, spare);
        if (target.script_name[0] == '\0')
            assert_true(target.path_info[0] == '/' && target.path_info[1] != '/');
        free(spare);
        free(buffer);
        for (int i = 0; i < 5; i++)
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
        cmocka_unit_test(test_haproxy),
        cmocka_unit_test(test_caddy),
        cmocka_unit_test(test_h2o),
        cmocka_unit_test(test_fronts_that_pass_the_path_on_unchanged),
        cmocka_unit_test(test_only_whole_segments_are_below_a_mount),
        cmocka_unit_test(test_request_uris_that_are_no_path),
        cmocka_unit_test(test_the_script_file_that_a_front_chose),
        cmocka_unit_test(test_files_that_end_as_scripts_do),
        cmocka_unit_test(test_what_the_configuration_of_a_front_lacks),
        cmocka_unit_test(test_a_script_is_not_looked_for_in_endless_folders),
        cmocka_unit_test(test_a_file_that_is_not_there_is_named_without_the_proxy),
        cmocka_unit_test(test_random_sources_stay_within_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
