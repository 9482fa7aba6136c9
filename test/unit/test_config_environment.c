/* links: config_load.c config_application.c config_environment.c config_error.c config_file.c
 * settings_table.c config_assignment.c config_text.c config_value.c address.c
 */
/* Variables of the environment: what they may be, and who wins. */
#include "config_fixture.h"

#include "config/config_environment.h"

static const char *value_of(const struct fixture *fixture, const char *name)
{
    const struct config_variables *variables = &fixture->config.environment;

    for (size_t i = 0; i < variables->count; i++)
        if (strcmp(variables->items[i].name, name) == 0)
            return variables->items[i].value;
    return NULL;
}

static void assert_variable(struct fixture *fixture, const char *name, const char *value)
{
    const char *got = value_of(fixture, name);

    assert_non_null(got);
    assert_string_equal(got, value);
}

static void write_variables(const char *text, size_t bytes)
{
    FILE *file = fopen("variables", "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void read_variables(struct fixture *fixture, const char *text)
{
    write_variables(text, strlen(text));
    set(fixture, "server.environment_file=variables");
    if (config_environment_read(&fixture->config, &fixture->error) < 0)
        fail_msg("%s", fixture->error.message);
    unlink("variables");
}

static void assert_variables_refused(struct fixture *fixture, const char *text, size_t bytes,
                                     const char *expected)
{
    config_environment_clear(&fixture->config);
    write_variables(text, bytes);
    set(fixture, "server.environment_file=variables");
    assert_int_equal(config_environment_read(&fixture->config, &fixture->error), -1);
    unlink("variables");
    if (strstr(fixture->error.message, expected) == NULL)
        fail_msg("%s", fixture->error.message);
    assert_null(strstr(fixture->error.message, "secret"));
}

static void test_a_value_is_literal_and_may_be_empty(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture,
              "[environment]\nQUOTED = \"a 'b\"\nREFERENCE=%(QUOTED)s $HOME \\n\n"
              "EMPTY =\nwith.dot-and=2=3:4\nLIST = a ; b #c ;\nSEPARATOR = ;\n; COMMENT = 1\n"
              "  INDENTED = ;x ; \n");
    assert_variable(fixture, "QUOTED", "\"a 'b\"");
    assert_variable(fixture, "REFERENCE", "%(QUOTED)s $HOME \\n");
    assert_variable(fixture, "EMPTY", "");
    assert_variable(fixture, "with.dot-and", "2=3:4");
    assert_variable(fixture, "LIST", "a ; b #c ;");
    assert_variable(fixture, "SEPARATOR", ";");
    assert_variable(fixture, "INDENTED", ";x ;");
    assert_int_equal(fixture->config.environment.count, 7);
}

static void test_upper_and_lower_case_are_two_names(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[environment]\nname = 1\nNAME = 2\n");
    assert_variable(fixture, "name", "1");
    assert_variable(fixture, "NAME", "2");
    assert_null(value_of(fixture, "Name"));
}

static void test_a_name_is_given_once(void **state)
{
    struct fixture *fixture = *state;

    assert_file_refused(fixture, "[environment]\nA = 1\nB = 2\nA = 3\n",
                        "fcgihost.ini:4: [environment] A: duplicate key, the first is in line 2: "
                        "remove one of the two");
}

static void test_a_name_has_no_space_and_is_not_too_long_for_the_file(void **state)
{
    struct fixture *fixture = *state;
    char text[256], expected[256], name[51];

    assert_file_refused(fixture, "[environment]\nexport A = hidden\n",
                        "fcgihost.ini:2: [environment] export A: \"export A\" is not a variable "
                        "name: write letters, digits and \"_\"");
    memset(name, 'N', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text), "[environment]\n%s = 1\n", name);
    snprintf(expected, sizeof(expected),
             "fcgihost.ini:2: \"%.49s...\": a name has at most 49 characters here: write it into "
             "[server] environment_file, or give it with --set",
             name);
    assert_file_refused(fixture, text, expected);
    snprintf(text, sizeof(text), "environment.%s=1", name);
    set(fixture, text);
    assert_variable(fixture, name, "1");
}

static void test_set_takes_the_value_as_it_is_and_a_name_with_dots(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "environment.A.B= x ");
    set(fixture, "environment.C=");
    set(fixture, "environment.D=a.b=c");
    assert_variable(fixture, "A.B", " x ");
    assert_variable(fixture, "C", "");
    assert_variable(fixture, "D", "a.b=c");
    assert_set_refused(
        fixture, "environment.=x",
        "--set environment.: \"\" is not a variable name: write letters, digits and \"_\"");
}

static void test_the_environment_file_has_long_lines_comments_and_windows_ends(void **state)
{
    struct fixture *fixture = *state;
    char text[5000], value[4097];

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    snprintf(text, sizeof(text),
             "\xef\xbb\xbf# comment\n; too\n\nLONG=%s\r\nSPACED =  a ; b \n"
             "EMPTY=\nLAST=1",
             value);
    read_variables(fixture, text);
    assert_variable(fixture, "LONG", value);
    assert_variable(fixture, "SPACED", "a ; b");
    assert_variable(fixture, "EMPTY", "");
    assert_variable(fixture, "LAST", "1");
    assert_int_equal(fixture->config.environment.count, 4);
}

static void test_the_environment_file_wins_over_the_ini_file_and_set_over_both(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[environment]\nA = ini\nB = ini\nC = ini\n");
    set(fixture, "environment.C=set");
    read_variables(fixture, "B=file\nC=file\n");
    assert_variable(fixture, "A", "ini");
    assert_variable(fixture, "B", "file");
    assert_variable(fixture, "C", "set");
}

static void test_an_error_names_the_line_but_no_value(void **state)
{
    struct fixture *fixture = *state;

    assert_variables_refused(fixture, "A=1\nsecret\n", 11, "variables:2: no \"=\"");
    assert_variables_refused(fixture, "export secret=1\n", 16,
                             "variables:1: no variable name before");
    assert_variables_refused(fixture, "=secret\n", 8, "variables:1: no variable name before");
    assert_variables_refused(fixture, "A=secret\nA=secret\n", 18,
                             "variables:2: a name that an earlier line has");
    assert_variables_refused(fixture, "A=sec\0ret\n", 10, "variables: has a NUL byte");
    set(fixture, "server.environment_file=none");
    assert_int_equal(config_environment_read(&fixture->config, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "no such file or directory"));
}

static void test_a_file_that_never_ends_is_refused(void **state)
{
    struct fixture *fixture = *state;
    set(fixture, "server.environment_file=/dev/zero");
    assert_int_equal(config_environment_read(&fixture->config, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "can't be read: file too large"));
}

static void test_what_was_kept_is_not_read_again(void **state)
{
    struct fixture *fixture = *state;

    write_variables("A=new\n", 6);
    set(fixture, "server.environment_file=variables");
    fixture->config.kept =
        (struct config_kept){.is_set = true, .environment = "A=old\n", .environment_bytes = 6};
    assert_int_equal(config_environment_read(&fixture->config, &fixture->error), 0);
    unlink("variables");
    assert_variable(fixture, "A", "old");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_value_is_literal_and_may_be_empty),
        TEST(test_upper_and_lower_case_are_two_names),
        TEST(test_a_name_is_given_once),
        TEST(test_a_name_has_no_space_and_is_not_too_long_for_the_file),
        TEST(test_set_takes_the_value_as_it_is_and_a_name_with_dots),
        TEST(test_the_environment_file_has_long_lines_comments_and_windows_ends),
        TEST(test_the_environment_file_wins_over_the_ini_file_and_set_over_both),
        TEST(test_an_error_names_the_line_but_no_value),
        TEST(test_a_file_that_never_ends_is_refused),
        TEST(test_what_was_kept_is_not_read_again),
    };

    return cmocka_run_group_tests_name("config_environment", tests, make_folder, remove_folder);
}
