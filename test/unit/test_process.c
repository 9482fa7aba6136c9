/* What is set up for the process before Python starts. What changes the process for good happens in
 * a child of the test.
 *
 * links: process.c descriptors.c own_file.c config_error.c */
#include "unit.h"

#include "base/log.h"
#include "base/log_sink.h"
#include "config/config_load.h"
#include "life/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* most fakes use none of theirs */

static struct config config;
static struct config_error error;
static struct privileges privileges;
static bool is_user_changed, is_take_failing;
static unsigned warned;
static int inherited_log_fd;
static char folder[64], path[96], expected_pid[24];

/* Fakes */

bool privileges_change_user(const struct privileges *given)
{
    return is_user_changed;
}

int privileges_take(const struct config *c, const struct privileges *given,
                    struct config_error *failure)
{
    return is_take_failing ? config_error_set(failure, "not root") : 0;
}

void config_describe_place(const struct config *c, const char *section, const char *key, char *text,
                           size_t text_bytes)
{
    snprintf(text, text_bytes, "x.ini:3: ");
}

int config_blame(const struct config *c, const char *section, const char *key,
                 struct config_error *described)
{
    described->blame = CONFIG_BLAMES_FILE;
    return -1;
}

void log_warning(const char *event, const char *format, ...)
{
    warned++;
}

const char *log_sink_path(void)
{
    return NULL;
}

int log_sink_fd(void)
{
    return 77;
}

void log_sink_inherit(int fd)
{
    inherited_log_fd = fd;
}

/* Tests */

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    config.umask_mode = -1;
    is_user_changed = is_take_failing = false;
    warned = 0;
    inherited_log_fd = -1;
    strcpy(folder, "/tmp/fcgihost-process-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/pid", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* What the function returns, called in a child, which it may change as it likes. */
static int in_child(int (*function)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(function());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int close_and_open_standard(void)
{
    struct stat null, status;
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    process_open_standard();
    if (stat("/dev/null", &null) < 0 || fstat(STDIN_FILENO, &status) < 0 ||
        status.st_rdev != null.st_rdev || fstat(STDERR_FILENO, &status) < 0 ||
        status.st_rdev != null.st_rdev)
        return 1;
    if ((fcntl(STDIN_FILENO, F_GETFL) & O_ACCMODE) != O_RDONLY ||
        (fcntl(STDERR_FILENO, F_GETFL) & O_ACCMODE) != O_WRONLY)
        return 2;
    return 0;
}

/* Otherwise the next socket is standard error, and the first message is sent to a client. */
static void test_closed_standard_descriptors_become_the_null_device(void **state)
{
    (void)state;
    assert_int_equal(in_child(close_and_open_standard), 0);
}

static int write_into_broken_pipe(void)
{
    int ends[2];
    process_ignore_signals();
    if (pipe(ends) < 0)
        return 1;
    close(ends[0]);
    return write(ends[1], "x", 1) == -1 && errno == EPIPE ? 0 : 2;
}

static int write_beyond_limit(void)
{
    const struct rlimit none = {0, 0};
    process_ignore_signals();
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0)
        return 1;
    return write(fd, "x", 1) == -1 && errno == EFBIG ? 0 : 2;
}

static void test_a_write_that_can_not_be_done_is_an_error_and_no_signal(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_into_broken_pipe), 0);
    assert_int_equal(in_child(write_beyond_limit), 0);
}

static int take_stdout(void)
{
    int out[2], err[2];
    char text[16] = "";
    if (pipe(out) < 0 || pipe(err) < 0 || dup2(out[1], STDOUT_FILENO) < 0 ||
        dup2(err[1], STDERR_FILENO) < 0)
        return 1;
    int fd = process_take_stdout();
    if (fd <= STDERR_FILENO || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
        return 2;
    if (write(fd, "response", 8) != 8 || write(STDOUT_FILENO, "print", 5) != 5)
        return 3;
    if (read(out[0], text, sizeof(text)) != 8 || memcmp(text, "response", 8) != 0)
        return 4;
    return read(err[0], text, sizeof(text)) == 5 && memcmp(text, "print", 5) == 0 ? 0 : 5;
}

static void test_what_is_printed_does_not_get_into_the_response(void **state)
{
    (void)state;
    assert_int_equal(in_child(take_stdout), 0);
}

static struct rlimit files;

static int raise_descriptors(void)
{
    struct rlimit limit = files;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 255;
    process_raise_descriptors(&config, false);
    getrlimit(RLIMIT_NOFILE, &limit);
    return (int)(limit.rlim_cur / 10) + (warned ? 100 : 0);
}

static void test_the_limit_of_open_files_is_raised_as_far_as_is_needed(void **state)
{
    (void)state;
    config.backlog = 100;
    config.threads = 10;
    config.processes = 1;
    files = (struct rlimit){.rlim_cur = 100, .rlim_max = 800};
    assert_int_equal(in_child(raise_descriptors), (256 + 100 + 80) / 10);
    files.rlim_cur = 700; /* more than is needed: it stays */
    assert_int_equal(in_child(raise_descriptors), 70);
    files = (struct rlimit){.rlim_cur = 100, .rlim_max = 200};
    assert_int_equal(in_child(raise_descriptors), 20 + 100); /* and the log says so */
}

static void test_a_manager_needs_open_files_for_its_workers(void **state)
{
    (void)state;
    config.processes = 50;
    files = (struct rlimit){.rlim_cur = 100, .rlim_max = 800};
    assert_int_equal(in_child(raise_descriptors), (256 + 6 * 50) / 10);
}

static int raise_again(void)
{
    struct rlimit limit = {.rlim_cur = 50, .rlim_max = 50};
    setrlimit(RLIMIT_NOFILE, &limit);
    config.backlog = 1000;
    process_raise_descriptors(&config, true);
    return (int)warned;
}

static void test_a_low_limit_is_not_told_again_after_each_replacement(void **state)
{
    (void)state;
    assert_int_equal(in_child(raise_again), 0);
}

static int become(void)
{
    char found[128];
    config.directory = folder;
    config.umask_mode = 027;
    if (process_become(&config, &privileges, &error) < 0)
        return 1;
    if (getcwd(found, sizeof(found)) == NULL || strcmp(found, folder) != 0)
        return 2;
    return umask(0) == 027 ? 0 : 3;
}

static void test_folder_and_umask_are_taken_on(void **state)
{
    (void)state;
    assert_int_equal(in_child(become), 0);
}

static int become_with_defaults(void)
{
    umask(033);
    return process_become(&config, &privileges, &error) == 0 && umask(0) == 033 ? 0 : 1;
}

static void test_an_umask_that_is_not_set_stays_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(in_child(become_with_defaults), 0);
}

static void test_folders_that_can_not_be_used_are_named_with_the_reason(void **state)
{
    (void)state;
    static char missing[] = "/nowhere/at/all", file[] = "/dev/null";
    config.directory = missing;
    assert_int_equal(process_become(&config, &privileges, &error), -1);
    assert_non_null(strstr(error.message, "x.ini:3: [server] directory \"/nowhere/at/all\": "));
    config.directory = NULL;
    config.temporary = missing;
    assert_int_equal(process_become(&config, &privileges, &error), -1);
    assert_non_null(strstr(error.message, "[server] temporary \"/nowhere/at/all\": "));
    config.temporary = file;
    assert_int_equal(process_become(&config, &privileges, &error), -1);
    config.temporary = folder;
    assert_int_equal(process_become(&config, &privileges, &error), 0);
}

static void test_who_can_not_become_the_user_goes_no_further(void **state)
{
    (void)state;
    static char missing[] = "/nowhere";
    is_take_failing = true;
    config.directory = missing;
    assert_int_equal(process_become(&config, &privileges, &error), -1);
    assert_string_equal(error.message, "not root");
}

/* The pid file */

static void read_pid_file(char *text, size_t text_bytes)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, text_bytes - 1) : -1;
    text[n >= 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    snprintf(expected_pid, sizeof(expected_pid), "%ld\n", (long)getpid());
}

static int write_and_remove(void)
{
    char text[64];
    config.pid_file = path;
    if (process_write_pid_file(&config, &error) < 0)
        return 1;
    read_pid_file(text, sizeof(text));
    if (strcmp(text, expected_pid) != 0)
        return 2;
    process_remove_pid_file(&config);
    return access(path, F_OK) < 0 && errno == ENOENT ? 0 : 3;
}

static void test_the_pid_file_holds_the_pid_until_the_process_removes_it(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_and_remove), 0);
}

static int remove_others(void)
{
    char text[64];
    config.pid_file = path;
    if (process_write_pid_file(&config, &error) < 0)
        return 1;
    unlink(path); /* a second host has put its own there */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (write(fd, "1\n", 2) != 2)
        return 2;
    process_remove_pid_file(&config);
    read_pid_file(text, sizeof(text));
    return strcmp(text, "1\n") == 0 ? 0 : 3;
}

static void test_the_pid_file_of_another_host_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(in_child(remove_others), 0);
}

static int reuse_descriptor(void)
{
    char text[64], other[128];
    config.pid_file = path;
    if (process_write_pid_file(&config, &error) < 0)
        return 1;
    int fd = process_root_files().pid_file_fd;
    snprintf(other, sizeof(other), "%s/other", folder);
    int reused = open(other, O_RDWR | O_CREAT, 0600); /* as a careless application may do */
    unlink(other);
    if (fd < 0 || reused < 0 || dup2(reused, fd) < 0 || write(fd, "data", 4) != 4)
        return 2;
    process_remove_pid_file(&config);
    return pread(reused, text, sizeof(text), 0) == 4 ? 0 : 3;
}

static void test_a_file_of_the_application_at_its_number_is_not_emptied(void **state)
{
    (void)state;
    assert_int_equal(in_child(reuse_descriptor), 0);
}

static int write_nowhere(void)
{
    static char missing[] = "/nowhere/pid";
    config.pid_file = missing;
    return process_write_pid_file(&config, &error) == -1 &&
                   strstr(error.message, "[server] pid_file \"/nowhere/pid\": ") != NULL
               ? 0
               : 1;
}

static void test_a_pid_file_that_can_not_be_written_is_named(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_nowhere), 0);
    assert_int_equal(process_write_pid_file(&config, &error), 0); /* none is configured */
    process_remove_pid_file(&config);
}

/* Executed anew */

static int pass_on(void)
{
    config.pid_file = path;
    is_user_changed = true;
    if (process_write_pid_file(&config, &error) < 0 ||
        process_become(&config, &privileges, &error) < 0)
        return 1;
    struct handover_root_files root = process_root_files();
    return root.is_set && root.log_fd == -1 && root.pid_file_fd > STDERR_FILENO ? 0 : 2;
}

static void test_a_program_executed_anew_gets_what_root_opened_if_the_user_has_changed(void **state)
{
    (void)state;
    assert_int_equal(in_child(pass_on), 0);
    unlink(path);
    assert_false(process_root_files().is_set);
}

static int take_on(void)
{
    int fd = open("/dev/null", O_RDWR);
    struct handover_root_files root = {.is_set = true, .log_fd = 5, .pid_file_fd = fd};
    process_take_root_files(&root);
    if (inherited_log_fd != 5 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
        return 1;
    config.pid_file = path; /* is written already, by root */
    if (process_write_pid_file(&config, &error) < 0 || access(path, F_OK) == 0)
        return 2;
    return process_root_files().is_set && process_root_files().pid_file_fd == fd ? 0 : 3;
}

static void test_what_root_opened_is_taken_over_and_passed_on_again(void **state)
{
    (void)state;
    assert_int_equal(in_child(take_on), 0);
}

static int take_bad(void)
{
    struct handover_root_files root = {.is_set = true, .log_fd = -1, .pid_file_fd = STDOUT_FILENO};
    process_take_root_files(&root);
    if (process_root_files().pid_file_fd != -1)
        return 1;
    root.pid_file_fd = 9999; /* closed */
    process_take_root_files(&root);
    return process_root_files().pid_file_fd == -1 ? 0 : 2;
}

static void test_descriptors_that_can_not_be_a_pid_file_are_not_taken_over(void **state)
{
    (void)state;
    assert_int_equal(in_child(take_bad), 0);
    process_take_root_files(&(struct handover_root_files){.log_fd = 3});
    assert_int_equal(inherited_log_fd, -1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_closed_standard_descriptors_become_the_null_device),
        TEST(test_a_write_that_can_not_be_done_is_an_error_and_no_signal),
        TEST(test_what_is_printed_does_not_get_into_the_response),
        TEST(test_the_limit_of_open_files_is_raised_as_far_as_is_needed),
        TEST(test_a_manager_needs_open_files_for_its_workers),
        TEST(test_a_low_limit_is_not_told_again_after_each_replacement),
        TEST(test_folder_and_umask_are_taken_on),
        TEST(test_an_umask_that_is_not_set_stays_as_it_is),
        TEST(test_folders_that_can_not_be_used_are_named_with_the_reason),
        TEST(test_who_can_not_become_the_user_goes_no_further),
        TEST(test_the_pid_file_holds_the_pid_until_the_process_removes_it),
        TEST(test_the_pid_file_of_another_host_is_left_alone),
        TEST(test_a_file_of_the_application_at_its_number_is_not_emptied),
        TEST(test_a_pid_file_that_can_not_be_written_is_named),
        TEST(test_a_program_executed_anew_gets_what_root_opened_if_the_user_has_changed),
        TEST(test_what_root_opened_is_taken_over_and_passed_on_again),
        TEST(test_descriptors_that_can_not_be_a_pid_file_are_not_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
