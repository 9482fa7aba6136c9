/* What a configuration names on this machine, with files that are not what they should be. How a
 * line begins is a fake.
 *
 * links: config_places.c config_error.c address.c user.c */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config_load.h"
#include "config/config_places.h"

enum { OTHER_USER = 4711 };

static char base[64], paths[8][128];
static struct config config;
static struct config_application application;
static char reported[4096]; /* "line|line|" */

void config_describe_place(const struct config *of, const char *section, const char *key,
                           char *text, size_t text_bytes)
{
    assert_ptr_equal(of, &config);
    snprintf(text, text_bytes, "%s.%s: ", section, key);
}

void config_describe_application_place(const struct config *of,
                                       const struct config_application *described, const char *key,
                                       char *text, size_t text_bytes)
{
    assert_ptr_equal(of, &config);
    assert_ptr_equal(described, &application);
    snprintf(text, text_bytes, "%s: ", key);
}

static enum config_blame source = CONFIG_BLAMES_FILE, blame;

int config_blame(const struct config *of, const char *section, const char *key,
                 struct config_error *error)
{
    assert_ptr_equal(of, &config);
    assert_true(section[0] != '\0' && key[0] != '\0');
    error->blame = source;
    return -1;
}

static void report(const struct config_error *error)
{
    size_t used = strlen(reported);
    snprintf(reported + used, sizeof(reported) - used, "%s|", error->message);
}

/* Below base; the number tells them apart. */
static char *path(int number, const char *name)
{
    snprintf(paths[number], sizeof(paths[0]), "%s/%s", base, name);
    return paths[number];
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/test_config_places.XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    close(open(path(0, "file"), O_CREAT | O_WRONLY, 0644));
    mkdir(path(0, "folder"), 0755);
    application = (struct config_application){.name = NULL};
    config = (struct config){.applications = &application, .application_count = 1};
    reported[0] = '\0';
    return chmod(base, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path(0, "file"));
    rmdir(path(0, "folder"));
    unsetenv("TMPDIR");
    return rmdir(base);
}

static void assert_fails(const char *expected)
{
    struct config_error error = {.message = ""};
    assert_int_equal(config_check_scripts(&config, &error), -1);
    if (strstr(error.message, expected) == NULL)
        fail_msg("%s", error.message);
}

static void assert_reported(unsigned count, const char *expected)
{
    reported[0] = '\0';
    assert_int_equal(config_check_places(&config, report, &blame), count);
    if (count > 0)
        assert_int_equal(blame, source);
    if (strstr(reported, expected) == NULL)
        fail_msg("%s", reported);
}

static void test_a_script_is_a_file_and_a_root_of_scripts_a_folder(void **state)
{
    (void)state;
    struct config_error error;
    assert_int_equal(config_check_scripts(&config, &error), 0);
    application.script = path(0, "file");
    application.script_root = path(1, "folder");
    assert_int_equal(config_check_scripts(&config, &error), 0);
    application.script_root = path(1, "file");
    assert_fails("script_root: [application] script_root \"/tmp/");
    assert_fails("/file\": is no folder: name a folder that this user may read");
    application.script = path(0, "folder");
    assert_fails("script: [application] script \"/tmp/");
    assert_fails("/folder\": is no file: name a script file that this user may read");
    application.script = path(0, "missing");
    application.name = path(2, "");
    assert_fails("/missing\": no such file or directory: name");
    assert_fails("[application /tmp/test_config_places");
}

static void test_of_several_applications_each_is_looked_at(void **state)
{
    (void)state;
    struct config_application both[2] = {{.wsgi = path(0, "module")},
                                         {.script = path(1, "missing")}};
    struct config_error error;
    config.applications = both;
    config.application_count = 0;
    assert_int_equal(config_check_scripts(&config, &error), 0);
    config.application_count = 1;
    assert_int_equal(config_check_scripts(&config, &error), 0);
    application = both[1];
    config.applications = &application;
    assert_int_equal(config_check_scripts(&config, &error), -1);
}

static void test_a_file_that_this_user_may_not_read_is_said_at_once(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    int fds[2];
    char message[512] = "";
    chmod(path(0, "file"), 0600);
    application.script = path(0, "file");
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct config_error error = {.message = ""};
        if (setgid(OTHER_USER) == 0 && setuid(OTHER_USER) == 0)
            config_check_scripts(&config, &error);
        (void)!write(fds[1], error.message, strlen(error.message));
        _exit(0);
    }
    close(fds[1]);
    assert_true(read(fds[0], message, sizeof(message) - 1) > 0);
    close(fds[0]);
    waitpid(child, NULL, 0);
    assert_non_null(strstr(message, "/file\": permission denied: name a script file"));
}

static void assert_temporary(const char *expected)
{
    const char *folder = config_find_temporary(&config);
    assert_string_equal(folder, expected);
    free((void *)(uintptr_t)folder);
}

static void test_temporary_files_lie_where_it_is_said_else_in_tmpdir_else_in_var_tmp(void **state)
{
    (void)state;
    unsetenv("TMPDIR");
    assert_temporary("/var/tmp");
    setenv("TMPDIR", "/elsewhere", 1);
    assert_temporary("/elsewhere");
    setenv("TMPDIR", "relative", 1);
    assert_temporary("/var/tmp");
    setenv("TMPDIR", "", 1);
    assert_temporary("/var/tmp");
    config.temporary = path(0, "folder");
    assert_temporary(path(0, "folder"));
}

static void test_a_configuration_without_mistakes_has_none(void **state)
{
    (void)state;
    char socket[200], standard[] = "stderr", tcp[] = "127.0.0.1:9000", fd[] = "fd:3",
                      root[] = "root", zero[] = "0";
    snprintf(socket, sizeof(socket), "unix:%s", path(0, "x.sock"));
    char *listen[] = {socket, tcp, fd};
    config.listen = config.status_listen = (struct config_list){.items = listen, .count = 3};
    config.user = config.group = config.socket_owner = root;
    config.socket_group = zero;
    config.directory = path(0, "folder");
    config.pid_file = path(1, "new.pid");
    config.log_destination = standard;
    assert_reported(0, "");
    config.log_destination = path(2, "file"); /* is appended to */
    assert_reported(0, "");
}

static void test_each_mistake_is_a_line_of_its_own(void **state)
{
    (void)state;
    char wrong[] = "nowhere", occupied[200], nobody[] = "no-such-user", lost[200];
    snprintf(occupied, sizeof(occupied), "unix:%s", path(0, "file"));
    snprintf(lost, sizeof(lost), "unix:%s", path(0, "missing/x.sock"));
    char *listen[] = {wrong, occupied, lost};
    config.listen = (struct config_list){.items = listen, .count = 3};
    assert_reported(3, "server.listen: [server] listen \"nowhere\": ");
    assert_reported(3, "/file\": exists and is not a socket: make the socket in a folder");
    assert_reported(3, "/x.sock\": no such file or directory: make");
    config.listen.count = 0;
    config.status_listen = (struct config_list){.items = listen, .count = 1};
    assert_reported(1, "status.listen: [status] listen \"nowhere\": ");
    config.status_listen.count = 0;
    config.user = config.group = config.socket_owner = config.socket_group = nobody;
    assert_reported(
        4, "[server] user \"no-such-user\": no such user: write an existing name or number|");
    assert_reported(4, "server.group: [server] group \"no-such-user\": no such group: ");
    assert_reported(4, "[server] socket_owner \"");
    assert_reported(4, "[server] socket_group \"");
    config.user = config.group = config.socket_owner = config.socket_group = NULL;
    config.pid_file = path(1, "folder");
    config.log_destination = path(2, "missing/x.log");
    assert_reported(2,
                    "/folder\": is a folder: name a file in a folder that this user may write to|");
    assert_reported(2, "log.destination: [log] destination \"");
    application.script = path(3, "missing");
    assert_reported(3, "script: [application] script \"");
}

static void test_the_process_s_folder_is_one(void **state)
{
    (void)state;
    config.directory = path(0, "missing");
    assert_reported(1, "server.directory: [server] directory \"");
    chmod(path(1, "file"), 0755); /* what may be executed is no folder yet */
    config.directory = path(1, "file");
    assert_reported(1, "/file\": not a directory: the process can't work there|");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_script_is_a_file_and_a_root_of_scripts_a_folder),
        TEST(test_of_several_applications_each_is_looked_at),
        TEST(test_a_file_that_this_user_may_not_read_is_said_at_once),
        TEST(test_temporary_files_lie_where_it_is_said_else_in_tmpdir_else_in_var_tmp),
        TEST(test_a_configuration_without_mistakes_has_none),
        TEST(test_each_mistake_is_a_line_of_its_own),
        TEST(test_the_process_s_folder_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
