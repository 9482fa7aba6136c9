/* Which command is run, and what comes before it: each only writes down its name. main.c is
 * included, as the test has a main() of its own.
 *
 * links: config_error.c */
#include "unit.h"

#define main fcgihost_main
int fcgihost_main(int argc, char **argv);
#include "main.c"
#undef main

#include <fcntl.h>
#include <sys/socket.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* most fakes use none of theirs */

static const char *failing; /* the step that fails; NULL: none does */
static struct handover before;
static bool has_predecessor;
static struct command_line parsed; /* what is on the command line, … */
static struct config given;        /* … and in the file */
static int parse_result;
static char told[1024], message[CONFIG_MESSAGE_SIZE];
static struct config_kept kept; /* when the command line was read */

static void tell(const char *what)
{
    strncat(told, what, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
}

static int step(const char *what)
{
    tell(what);
    errno = EACCES;
    return failing != NULL && strcmp(failing, what) == 0 ? -1 : 0;
}

/* Fakes */

#define NOTHING(name, parameters)                                                                  \
    void name parameters                                                                           \
    {                                                                                              \
        tell(#name);                                                                               \
    }

NOTHING(process_open_standard, (void))
NOTHING(process_ignore_signals, (void))
NOTHING(fork_init, (void))
NOTHING(command_line_clear, (struct command_line * line))
NOTHING(config_clear, (struct config * config))
NOTHING(log_close, (void))
NOTHING(command_line_print_help, (void))
NOTHING(settings_table_print, (const char *format))
NOTHING(process_take_root_files, (const struct handover_root_files *files))
NOTHING(python_update_warn, (void))

int reexec_init(char **argv)
{
    return step("reexec_init");
}

const struct handover *reexec_predecessor(void)
{
    return has_predecessor ? &before : NULL;
}

void sd_notify_init(bool is_worker)
{
    tell(is_worker ? "notify-worker" : "notify");
}

int config_init(struct config *config, struct config_error *error)
{
    memset(config, 0, sizeof(*config));
    strcpy(error->message, "out of memory");
    return step("config_init");
}

int request_seed_hash(void)
{
    return step("seed-hash");
}

int request_id_seed(void)
{
    return step("seed-id");
}

enum command_line_result command_line_parse(char **argv, struct command_line *line,
                                            struct config *config, struct config_error *error)
{
    tell("parse");
    kept = config->kept;
    *line = parsed;
    *config = given;
    strcpy(error->message, "wrong");
    return (enum command_line_result)parse_result;
}

int config_check(const struct config *config, struct config_error *error)
{
    strcpy(error->message, "check");
    return step("check");
}

int config_check_scripts(const struct config *config, struct config_error *error)
{
    strcpy(error->message, "scripts");
    return step("scripts");
}

int privileges_find(const struct config *config, bool is_anew, struct privileges *privileges,
                    struct config_error *error)
{
    assert_int_equal(is_anew, has_predecessor);
    *privileges = (struct privileges){.user = {.uid = 4, .gid = 7}, .gid = 5};
    strcpy(error->message, "privileges");
    return step("privileges");
}

void log_sink_give_files(uid_t uid, gid_t gid)
{
    assert_int_equal(uid, 4);
    assert_int_equal(gid, 5);
    tell("give-log");
}

void log_set_format(enum log_format format)
{
}

int log_open(const char *destination, enum log_level level)
{
    return step("log");
}

const char *own_file_refusal(int number)
{
    return NULL;
}

void config_describe_place(const struct config *config, const char *section, const char *key,
                           char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "x.ini:3: ");
}

int config_blame(const struct config *c, const char *section, const char *key,
                 struct config_error *error)
{
    error->blame = CONFIG_BLAMES_FILE;
    return -1;
}

int identity_init(const struct config *config)
{
    return step("identity");
}

int manager_run(char **argv, const struct config *config)
{
    tell("manager");
    return 10;
}

int run_server(const struct config *config, const struct privileges *privileges)
{
    tell("server");
    return 11;
}

int run_once_check(const struct config *config)
{
    tell("check-command");
    return 12;
}

int run_once(const struct command_line *line, const struct config *config,
             const struct privileges *privileges)
{
    tell(line != NULL ? "call" : "cgi");
    return 13;
}

int control_client_status(const char *file, const struct config_list *listen, const char *format)
{
    tell("status");
    return 14;
}

int control_client_reload(const char *file, const struct config_list *listen)
{
    tell("reload");
    return 15;
}

static enum config_blame blame; /* of what fails: the flag that gave it, or the file */

const char *py_interpreter_version(void)
{
    return "3";
}

int start_error(const struct config_error *error, enum exit_code code)
{
    snprintf(message, sizeof(message), "%s", error->message);
    return code;
}

int start_error_setting(const struct config_error *error, enum exit_code code)
{
    return start_error(error, blame == CONFIG_BLAMES_FLAG   ? EXIT_USAGE
                              : blame == CONFIG_BLAMES_FILE ? EXIT_CONFIG
                                                            : code);
}

int start_error_errno(const char *what)
{
    snprintf(message, sizeof(message), "can't start: %s", what);
    return EXIT_RUN_TIME;
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&before, 0, sizeof(before));
    memset(&parsed, 0, sizeof(parsed));
    memset(&given, 0, sizeof(given));
    given.processes = 1;
    failing = NULL;
    has_predecessor = false;
    parse_result = COMMAND_LINE_OK;
    message[0] = '\0';
    unsetenv("GATEWAY_INTERFACE");
    return 0;
}

static int run_main(void)
{
    static char name[] = "fcgihost";
    static char *argv[] = {name, NULL};
    told[0] = '\0';
    return fcgihost_main(1, argv);
}

static void test_a_server_is_what_runs_unless_something_else_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(run_main(), 11);
    assert_string_equal(told, "process_open_standard reexec_init notify fork_init "
                              "process_ignore_signals config_init seed-hash seed-id parse check "
                              "scripts privileges give-log log identity python_update_warn server "
                              "command_line_clear config_clear log_close ");
}

static void test_each_command_has_its_own_code(void **state)
{
    (void)state;
    static const struct {
        enum command command;
        const char *step;
        int code;
    } rows[] = {
        {COMMAND_CHECK, "check-command ", 12},    {COMMAND_CALL, "call ", 13},
        {COMMAND_STATUS, "status ", 14},          {COMMAND_RELOAD, "reload ", 15},
        {COMMAND_HELP, "command_line_print_", 0}, {COMMAND_PRINT_INI, "settings_table_print ", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        parsed.command = rows[i].command;
        assert_int_equal(run_main(), rows[i].code);
        assert_non_null(strstr(told, rows[i].step));
        assert_null(strstr(told, "server"));
        assert_non_null(strstr(told, "command_line_clear config_clear log_close "));
    }
}

/* They are for people who ask another host: the log and the sockets are that one's. */
static void test_a_command_about_another_host_opens_no_log(void **state)
{
    (void)state;
    static const enum command commands[] = {COMMAND_STATUS, COMMAND_RELOAD, COMMAND_PRINT_INI};
    for (size_t i = 0; i < COUNT(commands); i++) {
        parsed.command = commands[i];
        run_main();
        assert_null(strstr(told, " log "));
        assert_null(strstr(told, "check"));
    }
}

static void test_several_processes_have_a_manager(void **state)
{
    (void)state;
    given.processes = 2;
    assert_int_equal(run_main(), 10);
    given.processes = 1;
    given.manager = true;
    assert_int_equal(run_main(), 10);
}

/* Its configuration still says that there are several processes. */
static void test_a_managers_worker_is_a_server_and_a_manager_executed_anew_a_manager(void **state)
{
    (void)state;
    given.processes = 2;
    has_predecessor = true;
    before.worker.is_set = true;
    assert_int_equal(run_main(), 11);
    assert_non_null(strstr(told, "notify-worker "));
    before = (struct handover){.member_count = 1};
    assert_int_equal(run_main(), 10);
    assert_non_null(strstr(told, "notify "));
}

/* What was checked at the first start may have been replaced since; a host that serves goes on. */
static void test_a_successor_goes_on_with_the_configuration_that_was_read(void **state)
{
    (void)state;
    has_predecessor = true;
    before.folder = "/srv";
    before.file.path = "/srv/x.ini";
    before.file.text = (struct handover_bytes){(const uint8_t *)"[log]\n", 6};
    assert_int_equal(run_main(), 11);
    assert_true(kept.is_set);
    assert_string_equal(kept.folder, "/srv");
    assert_string_equal(kept.path, "/srv/x.ini");
    assert_int_equal(kept.bytes, 6);
    assert_null(strstr(told, "scripts"));
    assert_null(strstr(told, "python_update_warn"));
    char *files = strstr(told, "process_take_root_files ");
    assert_non_null(files); /* before the log is opened, which may be one of them */
    assert_true(files < strstr(told, " log "));
    has_predecessor = false;
    run_main();
    assert_false(kept.is_set);
}

/* Runs it with a standard input of this kind. */
static int run_with_input(int fd)
{
    int saved = dup(STDIN_FILENO);
    assert_true(dup2(fd, STDIN_FILENO) >= 0);
    close(fd);
    int code = run_main();
    dup2(saved, STDIN_FILENO);
    close(saved);
    return code;
}

static int open_null(void)
{
    return open("/dev/null", O_RDONLY);
}

static void test_a_cgi_environment_without_a_socket_is_plain_cgi(void **state)
{
    (void)state;
    assert_int_equal(run_with_input(open_null()), 11); /* no GATEWAY_INTERFACE */
    setenv("GATEWAY_INTERFACE", "CGI/1.1", 1);
    assert_int_equal(run_with_input(open_null()), 13);
    assert_non_null(strstr(told, "cgi "));
    given.processes = 2; /* which is for servers */
    assert_int_equal(run_with_input(open_null()), 13);
    given.listen.count = 1;
    given.processes = 1;
    assert_int_equal(run_with_input(open_null()), 11);
}

/* A web server that starts FastCGI programs passes its own environment. */
static void test_a_socket_as_standard_input_is_served_whatever_the_environment_says(void **state)
{
    (void)state;
    setenv("GATEWAY_INTERFACE", "CGI/1.1", 1);
    assert_int_equal(run_with_input(socket(AF_UNIX, SOCK_STREAM, 0)), 11);
}

static void test_a_mistake_in_the_file_and_one_of_the_command_have_different_codes(void **state)
{
    (void)state;
    static const char *const steps[] = {"scripts", "privileges"};
    failing = "check";
    given.file = NULL;
    assert_int_equal(run_main(), EXIT_USAGE);
    assert_string_equal(message, "check");
    given.file = message;
    assert_int_equal(run_main(), EXIT_CONFIG);
    for (size_t i = 0; i < COUNT(steps); i++) {
        failing = steps[i];
        blame = CONFIG_BLAMES_FLAG;
        assert_int_equal(run_main(), EXIT_USAGE);
        assert_string_equal(message, steps[i]);
        blame = CONFIG_BLAMES_FILE;
        assert_int_equal(run_main(), EXIT_CONFIG);
    }
    blame = CONFIG_BLAMES_NONE; /* the user database could not tell */
    assert_int_equal(run_main(), EXIT_RUN_TIME);
}

static void test_a_log_that_can_not_be_opened_is_named_with_its_place(void **state)
{
    (void)state;
    static char destination[] = "/x/log";
    given.log_destination = destination;
    failing = "log";
    assert_int_equal(run_main(), EXIT_CONFIG);
    assert_string_equal(message, "x.ini:3: [log] destination \"/x/log\": permission denied: name a "
                                 "file that this user may write to, or stderr");
    assert_null(strstr(told, "server"));
}

static void test_what_fails_before_the_command_line_is_read_ends_the_start(void **state)
{
    (void)state;
    static const char *const steps[] = {"reexec_init", "config_init", "seed-hash", "seed-id"};
    for (size_t i = 0; i < COUNT(steps); i++) {
        failing = steps[i];
        assert_int_equal(run_main(), EXIT_RUN_TIME);
        assert_null(strstr(told, "parse"));
        assert_true(message[0] != '\0');
        message[0] = '\0';
    }
    failing = "seed-id";
    run_main();
    assert_non_null(strstr(message, "getrandom(2)"));
}

static void test_a_wrong_command_line_says_so_once(void **state)
{
    (void)state;
    parse_result = COMMAND_LINE_WRONG_USAGE;
    assert_int_equal(run_main(), EXIT_USAGE);
    assert_string_equal(message, "wrong");
    message[0] = '\0';
    given.reported = 2; /* --check has named them all */
    parse_result = COMMAND_LINE_WRONG_CONFIG;
    assert_int_equal(run_main(), EXIT_CONFIG);
    assert_string_equal(message, "");
    assert_null(strstr(told, "server"));
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_server_is_what_runs_unless_something_else_is_asked_for),
        TEST(test_each_command_has_its_own_code),
        TEST(test_a_command_about_another_host_opens_no_log),
        TEST(test_several_processes_have_a_manager),
        TEST(test_a_managers_worker_is_a_server_and_a_manager_executed_anew_a_manager),
        TEST(test_a_successor_goes_on_with_the_configuration_that_was_read),
        TEST(test_a_cgi_environment_without_a_socket_is_plain_cgi),
        TEST(test_a_socket_as_standard_input_is_served_whatever_the_environment_says),
        TEST(test_a_mistake_in_the_file_and_one_of_the_command_have_different_codes),
        TEST(test_a_log_that_can_not_be_opened_is_named_with_its_place),
        TEST(test_what_fails_before_the_command_line_is_read_ends_the_start),
        TEST(test_a_wrong_command_line_says_so_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
