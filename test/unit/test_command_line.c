/* links: command_line.c config_load.c config_application.c config_environment.c config_error.c
 * config_file.c settings_table.c config_assignment.c config_text.c config_value.c address.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/command_line.h"
#include "config/config_load.h"

struct fixture {
    struct config config;
    struct config_error error;
    struct command_line command_line;
};

/* The tests run in a folder of their own, which this names. */
static char folder[64];

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    *state = &fixture;
    return config_init(&fixture.config, &fixture.error);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    command_line_clear(&fixture->command_line);
    config_clear(&fixture->config);
    unlink("fcgihost.ini");
    return 0;
}

/* arguments: separated by "|", since none of them holds one. */
static enum command_line_result parse(struct fixture *fixture, const char *arguments)
{
    static char text[512];
    char *argv[32] = {(char[]){"fcgihost"}};
    char *rest = text;
    size_t count = 1;

    snprintf(text, sizeof(text), "%s", arguments);
    while (arguments[0] != '\0' && rest != NULL)
        argv[count++] = strsep(&rest, "|");
    fixture->error.message[0] = '\0';
    command_line_clear(&fixture->command_line);
    config_clear(&fixture->config);
    assert_int_equal(config_init(&fixture->config, &fixture->error), 0);
    return command_line_parse(argv, &fixture->command_line, &fixture->config, &fixture->error);
}

static void assert_fine(struct fixture *fixture, const char *arguments)
{
    if (parse(fixture, arguments) != COMMAND_LINE_OK)
        fail_msg("%s: %s", arguments, fixture->error.message);
    assert_string_equal(fixture->error.message, "");
}

static void assert_usage(struct fixture *fixture, const char *arguments, const char *expected)
{
    assert_int_equal(parse(fixture, arguments), COMMAND_LINE_WRONG_USAGE);
    assert_string_equal(fixture->error.message, expected);
}

static void write_ini(const char *text)
{
    FILE *file = fopen("fcgihost.ini", "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void assert_path(const char *got, const char *name)
{
    char expected[256];

    snprintf(expected, sizeof(expected), "%s/%s", folder, name);
    assert_non_null(got);
    assert_string_equal(got, expected);
}

static void test_nothing_at_all_serves(void **state)
{
    struct fixture *fixture = *state;

    assert_fine(fixture, "");
    assert_int_equal(fixture->command_line.command, COMMAND_SERVE);
    assert_null(fixture->config.file);
    assert_int_equal(fixture->config.threads, 4);
    assert_false(fixture->config.add_current_dir);
}

static void test_flags(void **state)
{
    struct fixture *fixture = *state;

    assert_fine(fixture, "-l|unix:/a|--listen=127.0.0.1:9|-t|7|--set|log.level=debug|a.b:c");
    assert_int_equal(fixture->config.listen.count, 2);
    assert_string_equal(fixture->config.listen.items[0], "unix:/a");
    assert_string_equal(fixture->config.listen.items[1], "127.0.0.1:9");
    assert_int_equal(fixture->config.threads, 7);
    assert_int_equal(fixture->config.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(fixture->config.applications->wsgi, "a.b:c");
    assert_fine(fixture, "--threads|3|-t5|a:b|--threads=9");
    assert_int_equal(fixture->config.threads, 9);
}

static void test_app_is_a_module_or_a_script(void **state)
{
    struct fixture *fixture = *state;

    assert_fine(fixture, "shop.web:app");
    assert_string_equal(fixture->config.applications->wsgi, "shop.web:app");
    assert_null(fixture->config.applications->script);
    assert_true(fixture->config.add_current_dir);
    assert_fine(fixture, "hello.py");
    assert_path(fixture->config.applications->script, "hello.py");
    assert_null(fixture->config.applications->wsgi);
    assert_true(fixture->config.add_current_dir);
    assert_fine(fixture, "./x.wsgi");
    assert_path(fixture->config.applications->script, "x.wsgi");
    assert_fine(fixture, "app/main");
    assert_path(fixture->config.applications->script, "app/main");
    assert_fine(fixture, "/srv/x");
    assert_string_equal(fixture->config.applications->script, "/srv/x");
    assert_fine(fixture, "--|-x.py");
    assert_path(fixture->config.applications->script, "-x.py");
}

static void test_app_that_is_neither(void **state)
{
    assert_usage(
        *state, "hello",
        "APP: \"hello\" is not package.module:callable: add \":\" and the callable's name, "
        "like :application");
    assert_usage(*state, ".py",
                 "APP: \".py\" is not package.module:callable: add \":\" and the callable's name, "
                 "like :application");
    assert_usage(*state, "|a:b", "\"\", \"a:b\": two applications: give one APP");
    assert_usage(*state, "a:b|-t|3|c:d", "\"a:b\", \"c:d\": two applications: give one APP");
    assert_usage(*state, "a:b|--set|application.wsgi=c:d",
                 "APP, --set application.wsgi: both are given: keep one");
    assert_usage(*state, "a:b|--set|application.script=/x.py",
                 "APP, --set application.script: both are given: keep one");
}

static void test_file_in_the_current_folder_is_read(void **state)
{
    struct fixture *fixture = *state;

    write_ini("[server]\nthreads = 3\nbacklog = 5\nlisten = unix:x.sock\n"
              "[application]\nwsgi = a:b\n");
    assert_fine(fixture, "");
    assert_string_equal(fixture->config.file, "fcgihost.ini");
    assert_int_equal(fixture->config.threads, 3);
    assert_path(fixture->config.listen.items[0] + 5, "x.sock");
    assert_fine(fixture, "-t|8|-l|unix:/y|--set|server.listen=unix:/z");
    assert_int_equal(fixture->config.threads, 8);
    assert_int_equal(fixture->config.backlog, 5);
    assert_int_equal(fixture->config.listen.count, 2);
    assert_string_equal(fixture->config.listen.items[0], "unix:/y");
    assert_string_equal(fixture->config.listen.items[1], "unix:/z");
}

static void test_app_leaves_the_file_in_the_current_folder_unread(void **state)
{
    struct fixture *fixture = *state;

    write_ini("not an ini file");
    assert_fine(fixture, "a:b");
    assert_null(fixture->config.file);
    assert_string_equal(fixture->config.applications->wsgi, "a:b");
}

static void test_app_replaces_the_application_of_a_given_file(void **state)
{
    struct fixture *fixture = *state;

    write_ini("[server]\nthreads = 3\n"
              "[application]\nscript = old.py\ncallable = old\nextensions = .old\nmount = /shop\n");
    assert_fine(fixture, "a:b|-c|fcgihost.ini");
    assert_string_equal(fixture->config.applications->wsgi, "a:b");
    assert_null(fixture->config.applications->script);
    assert_string_equal(fixture->config.applications->callable, "application");
    assert_string_equal(fixture->config.applications->mount, "/shop");
    assert_string_equal(fixture->config.applications->extensions, ".py .wsgi");
    assert_int_equal(fixture->config.threads, 3);
    assert_int_equal(config_check(&fixture->config, &fixture->error), 0);
    assert_fine(fixture, "new.py|-c|fcgihost.ini|--set|application.callable=new");
    assert_path(fixture->config.applications->script, "new.py");
    assert_string_equal(fixture->config.applications->callable, "new");
}

static void test_wrong_file_is_wrong_configuration(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(parse(fixture, "--config|none.ini"), COMMAND_LINE_WRONG_CONFIG);
    assert_string_equal(fixture->error.message, "none.ini: can't be read: no such file or "
                                                "directory: check the path and its permissions");
    write_ini("[server]\nthreads = 0\n");
    assert_int_equal(parse(fixture, ""), COMMAND_LINE_WRONG_CONFIG);
    assert_string_equal(
        fixture->error.message,
        "fcgihost.ini:2: [server] threads: \"0\" is out of range (1 to 1024): write "
        "a number within it");
    write_ini("[server]\nenvironment_file = none\n");
    assert_int_equal(parse(fixture, ""), COMMAND_LINE_WRONG_CONFIG);
    assert_non_null(strstr(fixture->error.message, "fcgihost.ini:2: [server] environment_file \""));
    write_ini("[server]\nthreads = 0\n");
    /* The flag wins over what the file says, not over that it is wrong. */
    assert_int_equal(parse(fixture, "-t|2"), COMMAND_LINE_WRONG_CONFIG);
    unlink("fcgihost.ini");
    assert_int_equal(mkdir("fcgihost.ini", 0700), 0);
    assert_int_equal(parse(fixture, ""), COMMAND_LINE_WRONG_CONFIG);
    assert_int_equal(rmdir("fcgihost.ini"), 0);
    assert_string_equal(fixture->error.message,
                        "fcgihost.ini: is a folder: give the path of an ini file in it");
}

static void test_wrong_values_of_flags(void **state)
{
    assert_usage(*state, "-t|x",
                 "--threads: \"x\" is not a number: write a whole number from 1 to 1024");
    assert_usage(
        *state, "--listen|9000",
        "--listen: \"9000\" is not an address: write unix:PATH, HOST:PORT, [V6]:PORT or fd:N");
    assert_usage(*state, "--listen=", "--listen: empty: write a value, or leave it out");
    assert_usage(*state, "--set|server.threads=0",
                 "--set server.threads: \"0\" is out of range (1 to 1024): write a number within "
                 "it");
    assert_usage(*state, "--set|server.thread=1",
                 "--set server.thread: unknown key: did you mean \"threads\"?");
    assert_usage(*state, "--set|threads",
                 "--set: \"threads\" has no \"=\": write SECTION.KEY=VALUE, like server.threads=8");
}

static void test_wrong_flags(void **state)
{
    assert_usage(*state, "--frobnicate", "--frobnicate: unknown option: see fcgihost --help");
    assert_usage(*state, "--frob\n|a:b", "--frob\\x0a: unknown option: see fcgihost --help");
    assert_usage(*state, "--procesess|2", "--procesess: unknown option: see fcgihost --help");
    assert_usage(*state, "-x", "-x: unknown option: see fcgihost --help");
    assert_usage(*state, "-xt|3", "-x: unknown option: see fcgihost --help");
    assert_usage(*state, "-t", "--threads: no N given: see fcgihost --help");
    assert_usage(*state, "--set", "--set: no SECTION.KEY=VALUE given: see fcgihost --help");
    assert_usage(*state, "a:b|--config", "--config: no FILE given: see fcgihost --help");
    assert_usage(*state, "--check=yes", "--check: takes no value: see fcgihost --help");
    assert_usage(*state, "-c|a.ini|-c|b.ini", "--config: given twice: keep one");
}

static void test_commands(void **state)
{
    struct fixture *fixture = *state;

    assert_fine(fixture, "--check|a:b");
    assert_int_equal(fixture->command_line.command, COMMAND_CHECK);
    assert_fine(fixture, "-V");
    assert_int_equal(fixture->command_line.command, COMMAND_VERSION);
    assert_fine(fixture, "--version");
    assert_int_equal(fixture->command_line.command, COMMAND_VERSION);
    assert_fine(fixture, "-h");
    assert_int_equal(fixture->command_line.command, COMMAND_HELP);
    assert_fine(fixture, "--help");
    assert_int_equal(fixture->command_line.command, COMMAND_HELP);
    assert_fine(fixture, "--print-ini");
    assert_int_equal(fixture->command_line.command, COMMAND_PRINT_INI);
    assert_usage(fixture, "--check|--call|/|a:b",
                 "--check, --call, --status, --reload: two are given: keep one");
}

/* Somebody who asks for help may well stand in a folder with a broken file. */
static void test_help_reads_no_file(void **state)
{
    struct fixture *fixture = *state;

    write_ini("not an ini file");
    assert_fine(fixture, "--help");
    assert_fine(fixture, "-c|none.ini|--version");
    assert_fine(fixture, "--print-ini");
}

static void test_call(void **state)
{
    struct fixture *fixture = *state;

    assert_fine(fixture, "--call|/x?y=1|a:b");
    assert_int_equal(fixture->command_line.command, COMMAND_CALL);
    assert_string_equal(fixture->command_line.call_path, "/x?y=1");
    assert_string_equal(fixture->command_line.method, "GET");
    assert_null(fixture->command_line.data_file);
    assert_int_equal(fixture->command_line.header_count, 0);
    assert_fine(fixture, "--data|body.txt|--call|/|--header|A: b|a:b|--header|C:");
    assert_string_equal(fixture->command_line.method, "POST");
    assert_string_equal(fixture->command_line.data_file, "body.txt");
    assert_int_equal(fixture->command_line.header_count, 2);
    assert_string_equal(fixture->command_line.headers[0], "A: b");
    assert_string_equal(fixture->command_line.headers[1], "C:");
    assert_fine(fixture, "--call|/|--method|PUT|--data|x|a:b");
    assert_string_equal(fixture->command_line.method, "PUT");
}

static void test_wrong_calls(void **state)
{
    static const char without_call[] = "--method, --data, --header: only valid with --call PATH";

    assert_usage(*state, "--method|GET|a:b", without_call);
    assert_usage(*state, "--data|x|a:b", without_call);
    assert_usage(*state, "--header|A: b|a:b|--check", without_call);
    assert_usage(*state, "--call|x|a:b",
                 "--call: \"x\" is not a URL path: write one that starts with \"/\"");
    assert_usage(*state, "--call|/|--method|G T",
                 "--method: \"G T\" is not a method: write one like POST");
    assert_usage(*state, "--call|/|--method|",
                 "--method: \"\" is not a method: write one like POST");
    assert_usage(*state, "--call|/|--header|A",
                 "--header: \"A\" is not a header: write 'NAME: VALUE' in one line");
    assert_usage(*state, "--call|/|--header|: b",
                 "--header: \": b\" is not a header: write 'NAME: VALUE' in one line");
    assert_usage(*state, "--call|/|--header|A b: c",
                 "--header: \"A b: c\" is not a header: write 'NAME: VALUE' in one line");
    assert_usage(*state, "--call|/|--header|A: b\nC: d",
                 "--header: \"A: b\\x0aC: d\" is not a header: write 'NAME: VALUE' in one line");
}

static void test_help_has_one_line_for_each_flag(void **state)
{
    static const char *const starts[] = {
        "  -c, --config FILE ",    "  -l, --listen ADDRESS ",
        "  -t, --threads N ",      "      --set SECTION.KEY=VALUE ",
        "      --check ",          "      --call PATH ",
        "      --method M ",       "      --data FILE ",
        "      --header 'NAME: V", "      --print-ini ",
        "  -V, --version ",        "  -h, --help ",
        "[server]\n  listen ",
    };
    char text[16384];
    int saved = dup(STDOUT_FILENO);
    int fd = open("help.txt", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ssize_t length;

    (void)state;
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    command_line_print_help();
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    length = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    unlink("help.txt");
    assert_true(length > 0);
    text[length] = '\0';
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (strstr(text, starts[i]) == NULL)
            fail_msg("not there: %s", starts[i]);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_command_line.XXXXXX");
    return mkdtemp(folder) == NULL || chdir(folder) < 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_at_all_serves),
        TEST(test_flags),
        TEST(test_app_is_a_module_or_a_script),
        TEST(test_app_that_is_neither),
        TEST(test_file_in_the_current_folder_is_read),
        TEST(test_app_leaves_the_file_in_the_current_folder_unread),
        TEST(test_app_replaces_the_application_of_a_given_file),
        TEST(test_wrong_file_is_wrong_configuration),
        TEST(test_wrong_values_of_flags),
        TEST(test_wrong_flags),
        TEST(test_commands),
        TEST(test_help_reads_no_file),
        TEST(test_call),
        TEST(test_wrong_calls),
        TEST(test_help_has_one_line_for_each_flag),
    };

    return cmocka_run_group_tests_name("command_line", tests, make_folder, remove_folder);
}
