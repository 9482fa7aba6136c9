/* links: config_load.c config_application.c config_environment.c config_error.c config_file.c
 * settings_table.c config_assignment.c config_text.c config_value.c address.c
 */
/* What is refused in an ini file, and how the message reads. */
#include "config_fixture.h"

static void test_layout_of_lines(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "\xef\xbb\xbf; a comment\n"
                       "# = another [one]\n"
                       "\n"
                       "   \t\n"
                       "  ; indented\n"
                       "[server] ; of the server\r\n"
                       "\tthreads=7\t; seven\r\n"
                       "  backlog  =  8\r\n"
                       "[python]\n"
                       "path = /a;b=c:d # no comment ; a comment\n"
                       "[application]\n"
                       "[log]\n"
                       "level = debug");
    assert_int_equal(fixture->config.threads, 7);
    assert_int_equal(fixture->config.backlog, 8);
    assert_list(&fixture->config.path, "/a;b=c:d # no comment");
    assert_int_equal(fixture->config.log_level, LOG_LEVEL_DEBUG);
}

static void test_empty_file_is_fine(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "");
    assert_int_equal(fixture->config.threads, 4);
}

static void test_unknown_names_in_a_file(void **state)
{
    assert_file_refused(*state, "[server]\nthread = 3\n",
                        "fcgihost.ini:2: [server] thread: unknown key: did you mean \"threads\"?");
    assert_file_refused(*state, "\n[server]\nbytecode = no\n",
                        "fcgihost.ini:3: [server] bytecode: unknown key: it belongs in [python]");
    assert_file_refused(*state, "[server]\nbytecodes = no\n",
                        "fcgihost.ini:2: [server] bytecodes: unknown key: did you mean "
                        "\"bytecode\" in [python]?");
    assert_file_refused(*state, "[python]\nqqqqqqqq = 1\n",
                        "fcgihost.ini:2: [python] qqqqqqqq: unknown key: the keys here are home, "
                        "path, bytecode, switch_interval");
    assert_file_refused(*state, "[Server]\nthreads = 3\n",
                        "fcgihost.ini:1: [Server]: unknown section: did you mean [server]?");
    assert_file_refused(
        *state, "[]\n",
        "fcgihost.ini:1: []: unknown section: the sections are [server], [python], "
        "[application], [startup], [environment], [limits], [shutdown], [reload], [log], [status]");
    assert_file_refused(*state, "[nginx]\n",
                        "fcgihost.ini:1: [nginx]: unknown section: the sections are [server], "
                        "[python], [application], [startup], [environment], [limits], [shutdown], "
                        "[reload], [log], [status]");
}

static void test_bad_values_in_a_file(void **state)
{
    assert_file_refused(
        *state, "\n\n[server]\nthreads = 0\n",
        "fcgihost.ini:4: [server] threads: \"0\" is out of range (1 to 1024): write "
        "a number within it");
    assert_file_refused(*state, "[server]\nthreads = 4 # four\n",
                        "fcgihost.ini:2: [server] threads: \"4 # four\" is not a number: write a "
                        "whole number from 1 to 1024");
    assert_file_refused(*state, "[server]\nsocket_mode = rw\n",
                        "fcgihost.ini:2: [server] socket_mode: \"rw\" is not an octal mode: write "
                        "digits from 0 to 7, like 0660");
    assert_file_refused(*state, "[server]\nprotocol = http\n",
                        "fcgihost.ini:2: [server] protocol: \"http\" is not known: write one of "
                        "auto, fastcgi, scgi");
    assert_file_refused(*state, "[server]\nlisten = 9000\n",
                        "fcgihost.ini:2: [server] listen: \"9000\" is not an address: write "
                        "unix:PATH, HOST:PORT, [V6]:PORT or fd:N");
    assert_file_refused(*state, "[server]\nallow = 10.0.0.0/8, 10.0.0.0/40\n",
                        "fcgihost.ini:2: [server] allow: \"10.0.0.0/8, 10.0.0.0/40\" has no valid "
                        "prefix: write a number from 0 to 32 after the \"/\"");
    assert_file_refused(*state, "[server]\nallow = ,\n",
                        "fcgihost.ini:2: [server] allow: \",\" contains no address: write one, or "
                        "a block like 10.0.0.0/8");
    assert_file_refused(*state, "[limits]\nio_timeout = 5d\n",
                        "fcgihost.ini:2: [limits] io_timeout: \"5d\" has an unknown unit: write a "
                        "whole number with ms, s, m or h, like 30s");
    assert_file_refused(*state, "[limits]\nrequest_head = 64KB\n",
                        "fcgihost.ini:2: [limits] request_head: \"64KB\" has an unknown unit: "
                        "write a whole number, alone or with K, M or G, like 64K");
    assert_file_refused(*state, "[limits]\nrequest_body = 1025G\n",
                        "fcgihost.ini:2: [limits] request_body: \"1025G\" is out of range (0 to "
                        "1024G): write a size within it");
    assert_file_refused(*state, "[log]\nfront = maybe\n",
                        "fcgihost.ini:2: [log] front: \"maybe\" is not a switch: write yes or no "
                        "(true, false, on and off also do)");
    assert_file_refused(*state, "[application]\nwsgi = hello.py\n",
                        "fcgihost.ini:2: [application] wsgi: \"hello.py\" is not "
                        "package.module:callable: add \":\" and the callable's name, like "
                        ":application");
    assert_file_refused(*state, "[application]\ncallable = a.b\n",
                        "fcgihost.ini:2: [application] callable: \"a.b\" is not a Python name: "
                        "write letters, digits and _, like application");
    assert_file_refused(*state, "[application]\nmount = shop\n",
                        "fcgihost.ini:2: [application] mount: \"shop\" does not start with \"/\": "
                        "write a URL prefix like /shop, or / for root");
}

static void test_empty_values_are_refused(void **state)
{
    assert_file_refused(*state, "[server]\nthreads =\n",
                        "fcgihost.ini:2: [server] threads: empty: write a value, or leave it out");
    assert_file_refused(*state, "[python]\nhome = ; none\n",
                        "fcgihost.ini:2: [python] home: empty: write a value, or leave it out");
    assert_set_refused(*state,
                       "python.home=", "--set python.home: empty: write a value, or leave it out");
}

static void test_repetitions_are_refused(void **state)
{
    assert_file_refused(*state, "[server]\nthreads = 3\n\nthreads = 3\n",
                        "fcgihost.ini:4: [server] threads: duplicate key, the first is in line 2: "
                        "remove one of the two");
    assert_file_refused(*state, "[server]\n[log]\n[server]\n",
                        "fcgihost.ini:3: [server]: repeated section, the first is in line 1: move "
                        "these keys there");
    assert_file_refused(*state, "[application a]\nwsgi = a:b\n[application  a ]\n",
                        "fcgihost.ini:3: [application  a ]: repeated section, the first is in line "
                        "1: move these keys there");
    assert_file_refused(*state, "[application]\nwsgi = a:b\n[application a]\n[application]\n",
                        "fcgihost.ini:4: [application]: repeated section, the first is in line 1: "
                        "move these keys there");
    assert_file_refused(*state,
                        "[application a]\nwsgi = a:b\n[application b]\nwsgi = a:b\nwsgi = "
                        "a:b\n",
                        "fcgihost.ini:5: [application b] wsgi: duplicate key, the first is in line "
                        "4: remove one of the two");
    assert_file_refused(*state, "[application a]\nwsgis = a:b\n",
                        "fcgihost.ini:2: [application a] wsgis: unknown key: did you mean "
                        "\"wsgi\"?");
    assert_file_refused(*state, "[server]\nthreads = 3\n  threads = 4\n",
                        "fcgihost.ini:3: [server] threads: duplicate key, the first is in line 2: "
                        "remove one of the two");
}

static void test_lines_that_are_none(void **state)
{
    static const char no_equals[] =
        "no \"=\" after a key: write KEY = VALUE (a value does not go on "
        "in the next line, a repeatable key is written again)";
    char expected[512];

    snprintf(expected, sizeof(expected), "fcgihost.ini:2: \"threads\": %s", no_equals);
    assert_file_refused(*state, "[server]\nthreads\n", expected);
    snprintf(expected, sizeof(expected), "fcgihost.ini:2: \"threads: 8\": %s", no_equals);
    assert_file_refused(*state, "[server]\nthreads: 8\n", expected);
    snprintf(expected, sizeof(expected), "fcgihost.ini:2: \"wsgi a:b = c\": %s", no_equals);
    assert_file_refused(*state, "[application]\nwsgi a:b = c\n", expected);
    snprintf(expected, sizeof(expected), "fcgihost.ini:3: \"unix:/run/y.sock\": %s", no_equals);
    assert_file_refused(*state, "[server]\nlisten = unix:/run/x.sock\n    unix:/run/y.sock\n",
                        expected);
    assert_file_refused(*state, "[server]\n= 8\n",
                        "fcgihost.ini:2: \"= 8\": no key before the \"=\": write KEY = VALUE");
    assert_file_refused(*state, "threads = 8\n",
                        "fcgihost.ini:1: \"threads = 8\": a key outside any section: write "
                        "[SECTION] in a line above it");
    assert_file_refused(*state, "[server\nthreads = 8\n",
                        "fcgihost.ini:1: [server: not a section: write only [NAME] in this line");
    assert_file_refused(*state, "[server] threads = 8\n",
                        "fcgihost.ini:1: [server] threads = 8: not a section: write only [NAME] in "
                        "this line");
}

static void test_control_characters_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char with_nul[] = "[server]\nsocket_owner = a\0b\n";

    write_bytes(with_nul, sizeof(with_nul) - 1);
    assert_int_equal(config_read_file(&fixture->config, "fcgihost.ini", &fixture->error), -1);
    assert_string_equal(fixture->error.message,
                        "fcgihost.ini:2: control character \\x00 in column 17: remove it");
    assert_file_refused(fixture, "[server]\nsocket_owner = a\rthreads = 3\n",
                        "fcgihost.ini:2: control character \\x0d in column 17: remove it");
    assert_file_refused(fixture, "; \x1b[2J\n",
                        "fcgihost.ini:1: control character \\x1b in column 3: remove it");
}

/* "[python]\nhome = /xxx": its second line has so many characters. */
static void read_long_line(struct fixture *fixture, size_t length, const char *end)
{
    char text[8192] = "[python]\n";

    memset(text + 9, 'x', length);
    memcpy(text + 9, "home = /", 8);
    snprintf(text + 9 + length, sizeof(text) - 9 - length, "%s\n", end);
    write_bytes(text, strlen(text));
    config_read_file(&fixture->config, "fcgihost.ini", &fixture->error);
}

static void test_longest_line_is_kept_whole_and_a_longer_one_refused(void **state)
{
    struct fixture *fixture = *state;

    read_long_line(fixture, 197, "  ; with a comment behind it");
    assert_non_null(fixture->config.home);
    assert_int_equal(strlen(fixture->config.home), 190);
    for (size_t length = 198; length < 4200; length += length < 260 ? 1 : 997) {
        char expected[256];

        config_clear(&fixture->config);
        assert_int_equal(config_init(&fixture->config, &fixture->error), 0);
        read_long_line(fixture, length, "");
        snprintf(expected, sizeof(expected),
                 "fcgihost.ini:2: a line of %zu characters, the longest allowed is 197: "
                 "shorten the value, or give it with --set on the command line",
                 length);
        assert_string_equal(fixture->error.message, expected);
        assert_null(fixture->config.home);
    }
}

static void test_long_comments_are_no_matter(void **state)
{
    struct fixture *fixture = *state;
    char text[1024];

    memset(text, ';', sizeof(text));
    memcpy(text + 900, "\n[server]\nthreads = 3 ", 22);
    text[sizeof(text) - 1] = '\0';
    read_text(fixture, text);
    assert_int_equal(fixture->config.threads, 3);
}

static void test_long_names_are_refused(void **state)
{
    static const char name[] = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    char text[256];
    char expected[512];

    snprintf(text, sizeof(text), "[server]\n%.50s = 1\n", name);
    snprintf(expected, sizeof(expected),
             "fcgihost.ini:2: \"%.50s = 1\": a key has at most 49 characters: shorten it", name);
    assert_file_refused(*state, text, expected);
    snprintf(text, sizeof(text), "[%.50s]\n", name);
    snprintf(expected, sizeof(expected),
             "fcgihost.ini:1: [%.50s]: a section's name has at most 49 characters: shorten it",
             name);
    assert_file_refused(*state, text, expected);
    snprintf(text, sizeof(text), "[%.49s]\n", name);
    snprintf(
        expected, sizeof(expected),
        "fcgihost.ini:1: [%.49s]: unknown section: the sections are [server], [python], "
        "[application], [startup], [environment], [limits], [shutdown], [reload], [log], [status]",
        name);
    assert_file_refused(*state, text, expected);
}

static void test_a_value_in_quotes_is_refused(void **state)
{
    assert_file_refused(
        *state, "[application]\nwsgi = \"a:b\"\n",
        "fcgihost.ini:2: [application] wsgi: the value is in quotes, which would be "
        "part of it: write it without them");
    assert_file_refused(*state, "[server]\nthreads = '4'\n",
                        "fcgihost.ini:2: [server] threads: the value is in quotes, which would be "
                        "part of it: write it without them");
}

static void test_utf16_is_named(void **state)
{
    assert_file_refused(*state, "\xff\xfe[\n",
                        "fcgihost.ini:1: begins with the byte order mark (BOM) of UTF-16: save the "
                        "file as UTF-8");
}

static void test_first_error_ends_the_reading(void **state)
{
    assert_file_refused(
        *state, "[server]\nthreads = 0\nbacklog = 0\n[x]\n",
        "fcgihost.ini:2: [server] threads: \"0\" is out of range (1 to 1024): write "
        "a number within it");
    assert_file_refused(*state, "[x]\n[server]\nthreads = 0\n",
                        "fcgihost.ini:1: [x]: unknown section: the sections are [server], "
                        "[python], [application], [startup], [environment], [limits], [shutdown], "
                        "[reload], [log], [status]");
}

static void test_files_that_cannot_be_read(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(config_read_file(&fixture->config, "none.ini", &fixture->error), -1);
    assert_string_equal(fixture->error.message,
                        "none.ini: can't be read: no such file or directory: check the path and "
                        "its permissions");
    assert_int_equal(config_read_file(&fixture->config, folder, &fixture->error), -1);
    assert_string_equal(strchr(fixture->error.message, ':'),
                        ": is a folder: give the path of an ini file in it");
    if (geteuid() != 0) {
        write_bytes("", 0);
        assert_int_equal(chmod("fcgihost.ini", 0), 0);
        assert_int_equal(config_read_file(&fixture->config, "fcgihost.ini", &fixture->error), -1);
        assert_string_equal(fixture->error.message,
                            "fcgihost.ini: can't be read: permission denied: check the path and "
                            "its permissions");
        unlink("fcgihost.ini");
    }
}

static void assert_place(const struct fixture *fixture, const char *section, const char *key,
                         const char *expected)
{
    char text[128];

    config_describe_place(&fixture->config, section, key, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void test_where_a_value_stands_is_known_unless_a_flag_has_replaced_it(void **state)
{
    struct fixture *fixture = *state;

    assert_place(fixture, "server", "user", "");
    read_text(fixture, "[server]\n\nuser = app\nlisten = unix:a\n[status]\nlisten = unix:b\n"
                       "listen = unix:c\n");
    assert_place(fixture, "server", "user", "fcgihost.ini:3: ");
    assert_place(fixture, "server", "listen", "fcgihost.ini:4: ");
    assert_place(fixture, "status", "listen", "fcgihost.ini: "); /* which of the two? */
    assert_place(fixture, "server", "group", "fcgihost.ini: ");
    set(fixture, "server.user=other");
    assert_place(fixture, "server", "user", "fcgihost.ini: ");
}

static void assert_application_place(const struct fixture *fixture, size_t number,
                                     const char *expected)
{
    char text[128];

    config_describe_application_place(&fixture->config, &fixture->config.applications[number],
                                      "script", text, sizeof(text));
    assert_string_equal(text, expected);
}

static void test_the_key_of_an_application_has_its_line_or_else_its_section_s(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[application a]\nmount = /a\nscript = a.py\n[application b]\n"
                       "mount = /b\nscript = b.py\n");
    assert_application_place(fixture, 0, "fcgihost.ini:1: ");
    assert_application_place(fixture, 1, "fcgihost.ini:6: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_where_a_value_stands_is_known_unless_a_flag_has_replaced_it),
        TEST(test_the_key_of_an_application_has_its_line_or_else_its_section_s),
        TEST(test_layout_of_lines),
        TEST(test_empty_file_is_fine),
        TEST(test_unknown_names_in_a_file),
        TEST(test_bad_values_in_a_file),
        TEST(test_empty_values_are_refused),
        TEST(test_repetitions_are_refused),
        TEST(test_lines_that_are_none),
        TEST(test_control_characters_are_refused),
        TEST(test_longest_line_is_kept_whole_and_a_longer_one_refused),
        TEST(test_long_comments_are_no_matter),
        TEST(test_long_names_are_refused),
        TEST(test_a_value_in_quotes_is_refused),
        TEST(test_utf16_is_named),
        TEST(test_first_error_ends_the_reading),
        TEST(test_files_that_cannot_be_read),
    };

    return cmocka_run_group_tests_name("config_file", tests, make_folder, remove_folder);
}
