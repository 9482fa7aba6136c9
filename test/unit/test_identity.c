/* What tells hosts apart, and where their control sockets are.
 *
 * links: identity.c strbuf.c */
#include "unit.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_assignment.h"
#include "status/identity.h"

static char base[64];
static struct config config;
static bool has_no_folder;

/* Fakes: a relative path is one below base. */

char *config_assignment_find_folder(const struct config *of)
{
    assert_ptr_equal(of, &config);
    return has_no_folder ? NULL : strdup(base);
}

char *config_assignment_make_absolute(const char *path, const char *folder)
{
    char text[PATH_MAX];
    snprintf(text, sizeof(text), "%s%s%s", path[0] == '/' ? "" : folder, path[0] == '/' ? "" : "/",
             path);
    return strdup(text);
}

static char first[] = "unix:/run/x.sock", second[] = "127.0.0.1:9000", file[] = "x.ini",
            link_name[] = "link.ini", missing[] = "missing.ini";
static char *both[] = {first, second};

static const char *in_base(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/test_identity.XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    fclose(fopen(in_base("x.ini"), "w"));
    config = (struct config){.file = file, .listen = {.items = both, .count = 2}};
    has_no_folder = false;
    unsetenv("RUNTIME_DIRECTORY");
    unsetenv("XDG_RUNTIME_DIR");
    return symlink("x.ini", in_base("link.ini"));
}

static int tear_down(void **state)
{
    (void)state;
    unlink(in_base("x.ini"));
    unlink(in_base("link.ini"));
    return rmdir(base);
}

static void assert_text(const char *config_file, const char *rest)
{
    char expected[512];
    snprintf(expected, sizeof(expected), "config %s\n%s", in_base(config_file), rest);
    assert_int_equal(identity_init(&config), 0);
    assert_string_equal(identity_text(), expected);
}

static void test_a_host_is_its_configuration_file_and_its_addresses(void **state)
{
    (void)state;
    static const char addresses[] = "listen unix:/run/x.sock\nlisten 127.0.0.1:9000\n";
    assert_string_equal(identity_text(), ""); /* before it is known */
    assert_text("x.ini", addresses);
    config.file = link_name; /* without links */
    assert_text("x.ini", addresses);
    config.file = missing; /* removed since it was read */
    assert_text("missing.ini", addresses);
    config.kept = (struct config_kept){.is_set = true, .path = link_name};
    assert_text("x.ini", addresses); /* as at the first start */
    config.listen.count = 0;
    assert_text("x.ini", "");
}

static void test_without_a_file_there_are_addresses_alone(void **state)
{
    (void)state;
    config.file = NULL;
    assert_int_equal(identity_init(&config), 0);
    assert_string_equal(identity_text(), "listen unix:/run/x.sock\nlisten 127.0.0.1:9000\n");
    config.file = file;
    config.kept = (struct config_kept){.is_set = true}; /* there was none then */
    config.listen.count = 1;
    assert_int_equal(identity_init(&config), 0);
    assert_string_equal(identity_text(), "listen unix:/run/x.sock\n");
    config.listen.count = 0;
    assert_int_equal(identity_init(&config), 0);
    assert_string_equal(identity_text(), "");
}

static void test_a_folder_that_is_not_known_fails(void **state)
{
    (void)state;
    has_no_folder = true;
    assert_int_equal(identity_init(&config), -1);
}

static void test_what_is_asked_for_must_be_there_whole(void **state)
{
    (void)state;
    static const char text[] = "config /etc/a.ini\nlisten unix:/a\nlisten :9000\n";
    struct config_list none = {.count = 0}, one = {.items = both, .count = 1};
    char a[] = "unix:/a", port[] = ":9000", part[] = "unix:/", more[] = "unix:/ab",
         of_file[] = "/etc/a.ini";
    assert_true(identity_matches(text, NULL, &none));
    assert_true(identity_matches(text, "/etc/a.ini", &none));
    static const char *const wrong[] = {"/etc/a", "/etc/a.ini2", "etc/a.ini", "", "unix:/a"};
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_false(identity_matches(text, wrong[i], &none));
    char *good[] = {port, a};
    assert_true(
        identity_matches(text, "/etc/a.ini", &(struct config_list){.items = good, .count = 2}));
    char *bad[] = {part, more, of_file};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *pair[] = {a, bad[i]};
        assert_false(
            identity_matches(text, NULL, &(struct config_list){.items = pair, .count = 2}));
    }
    assert_false(identity_matches("", NULL, &one));
    assert_false(identity_matches("\n\nlisten", NULL, &one));
    assert_false(identity_matches("listen:unix:/run/x.sock\n", NULL, &one));
    assert_true(identity_matches("listen unix:/run/x.sock", NULL, &one)); /* no line's end */
    assert_true(identity_matches("", NULL, &none));
}

/* "a|b|", until one is wanted. */
static char visited[4096];

static bool visit(const char *folder, void *wanted)
{
    size_t used = strlen(visited);
    snprintf(visited + used, sizeof(visited) - used, "%s|", folder);
    return wanted != NULL && strcmp(folder, wanted) == 0;
}

static bool walk(const char *wanted)
{
    visited[0] = '\0';
    return identity_each_folder(visit, (void *)(uintptr_t)wanted);
}

static void test_folders_come_in_their_order_until_one_is_right(void **state)
{
    (void)state;
    assert_false(walk(NULL));
    assert_string_equal(visited, "/run/fcgihost|");
    setenv("RUNTIME_DIRECTORY", "/run/site:/run/second", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
    assert_false(walk(NULL));
    assert_string_equal(visited, "/run/site|/run/fcgihost|/run/user/1000|");
    assert_true(walk("/run/fcgihost"));
    assert_string_equal(visited, "/run/site|/run/fcgihost|");
    assert_true(walk("/run/site"));
    assert_string_equal(visited, "/run/site|");
    assert_true(walk("/run/user/1000"));
}

static void test_a_folder_that_is_relative_is_none(void **state)
{
    (void)state;
    setenv("RUNTIME_DIRECTORY", "site", 1);
    setenv("XDG_RUNTIME_DIR", "", 1);
    assert_false(walk(NULL));
    assert_string_equal(visited, "/run/fcgihost|");
}

static void test_a_path_fits_a_socket_or_is_none(void **state)
{
    (void)state;
    char path[CONTROL_PATH_BYTES], folder[CONTROL_PATH_BYTES];
    assert_true(identity_control_path("/run", 4711, path));
    assert_string_equal(path, "/run/fcgihost-4711.sock");
    size_t longest = CONTROL_PATH_BYTES - sizeof("/fcgihost-1.sock");
    memset(folder, 'f', sizeof(folder));
    folder[longest] = '\0';
    assert_true(identity_control_path(folder, 1, path));
    assert_int_equal(strlen(path), CONTROL_PATH_BYTES - 1);
    assert_int_equal(identity_control_pid(path + longest + 1), 1);
    assert_false(identity_control_path(folder, 10, path));
}

static void test_a_name_says_whose_socket_it_is(void **state)
{
    (void)state;
    assert_int_equal(identity_control_pid("fcgihost-4711.sock"), 4711);
    assert_int_equal(identity_control_pid("fcgihost-2147483647.sock"), INT_MAX);
    static const char *const others[] = {
        "",
        "fcgihost",
        "fcgihost-",
        "fcgihost-.sock",
        "fcgihost-1",
        "fcgihost-1.sock.new",
        "fcgihost-1.socket",
        "fcgihost-0.sock",
        "fcgihost--1.sock",
        "fcgihost-x.sock",
        "Fcgihost-1.sock",
        "xfcgihost-1.sock",
        /* Each would be taken for that of another number, or a second time for the same one. */
        "fcgihost- 1.sock",
        "fcgihost-+1.sock",
        "fcgihost-01.sock",
        "fcgihost-2147483648.sock",
        "fcgihost-4294967297.sock",
        "fcgihost-99999999999999999999.sock",
    };
    for (size_t i = 0; i < COUNT(others); i++)
        assert_int_equal(identity_control_pid(others[i]), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_host_is_its_configuration_file_and_its_addresses),
        TEST(test_without_a_file_there_are_addresses_alone),
        TEST(test_a_folder_that_is_not_known_fails),
        TEST(test_what_is_asked_for_must_be_there_whole),
        TEST(test_folders_come_in_their_order_until_one_is_right),
        TEST(test_a_folder_that_is_relative_is_none),
        TEST(test_a_path_fits_a_socket_or_is_none),
        TEST(test_a_name_says_whose_socket_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
