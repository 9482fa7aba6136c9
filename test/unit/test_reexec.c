/* Executing the program anew: the program is this test, which reports what it finds of its
 * predecessor. Each test starts it in a child with an action, which changes what applications
 * change and executes itself anew; the second program writes the report.
 *
 * links: reexec.c handover.c descriptors.c children.c config_error.c */
#include "unit.h"

#include "base/log.h"
#include "life/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GIVEN_FD = 40, OTHER_FD = 41, REPORT_BYTES = 8192 };

static char folder[64], report[REPORT_BYTES];
static const atomic_bool never;

void log_leave_standard(void)
{
}

/* FSTAT_ERROR: what it fails with for the descriptor of the memory. */
int fstat(int fd, struct stat *status)
{
    const char *number = getenv("FSTAT_ERROR");
    if (fd == GIVEN_FD && number != NULL) {
        errno = atoi(number);
        return -1;
    }
    return fstatat(fd, "", status, AT_EMPTY_PATH);
}

/* In the program */

/* Executes itself anew; returns, as the exit code, only on failure. */
static int run_anew(struct handover *handover)
{
    reexec_run(handover, &never);
    return 90;
}

static int act_plain(void)
{
    return run_anew(&(struct handover){.started_us = 5});
}

static int act_change_everything(void)
{
    const struct rlimit few = {.rlim_cur = 50, .rlim_max = 900};
    getenv("FIRST")[0] = '2'; /* in place, as Python's os.environ may */
    setenv("KEPT", "changed", 1);
    setenv("ADDED", "1", 1);
    umask(077);
    if (chdir("/") < 0 || setrlimit(RLIMIT_NOFILE, &few) < 0)
        return 91;
    signal(SIGALRM, SIG_IGN);
    signal(SIGWINCH, SIG_DFL); /* was ignored at the start */
    alarm(1);
    close(STDOUT_FILENO);
    return run_anew(&(struct handover){.started_us = 5});
}

static int act_hand_over_a_listener(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC), other = open("/dev/null", O_RDWR);
    if (dup2(fd, GIVEN_FD) < 0 || dup2(other, OTHER_FD) < 0)
        return 91;
    struct handover_listener listener = {.fd = GIVEN_FD, .name = "unix:/x", .path = ""};
    return run_anew(&(struct handover){.listeners = &listener, .listener_count = 1});
}

/* A number that was inherited, and is another file's by now. */
static int act_reuse_an_inherited_number(void)
{
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    return dup2(fd, GIVEN_FD) < 0 ? 91 : run_anew(&(struct handover){0});
}

static int act_be_cancelled(void)
{
    const atomic_bool yes = true;
    reexec_run(&(struct handover){0}, &yes);
    return errno == ECANCELED ? 77 : 91;
}

static pid_t start_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* never left behind */
        for (;;)
            pause();
    }
    return pid;
}

static int act_have_a_child(void)
{
    return start_sleeper() < 0 ? 91 : run_anew(&(struct handover){0});
}

static int act_have_a_child_of_a_failed_start(void)
{
    return start_sleeper() < 0 ? 91 : run_anew(&(struct handover){.is_start_again = true});
}

/* The file is replaced by one that can't be executed, while the process runs. */
static int act_lose_its_file(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n < 0 || reexec_is_program_changed())
        return 91;
    path[n] = '\0';
    if (strncmp(path, "/tmp/fcgihost-reexec-", 21) != 0)
        return 94; /* not the copy */
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
    if (write(fd, "\177nonsense", 9) != 9)
        return 92;
    close(fd);
    return reexec_is_program_changed() ? run_anew(&(struct handover){0}) : 93;
}

/* The successor is a child; this process waits for it and goes on. */
static int act_spawn(void)
{
    struct handover_listener listener = {.fd = GIVEN_FD, .name = "", .path = ""};
    int status, fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (dup3(fd, GIVEN_FD, O_CLOEXEC) < 0)
        return 91;
    pid_t pid = reexec_spawn(&(struct handover){.listeners = &listener, .listener_count = 1});
    if (pid <= 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return 92;
    return fcntl(GIVEN_FD, F_GETFD) == FD_CLOEXEC && reexec_predecessor() == NULL ? 77 : 93;
}

static int act_find_nothing(void)
{
    return 78;
}

static const struct {
    const char *name;
    int (*run)(void);
} actions[] = {
    {"plain", act_plain},
    {"change-everything", act_change_everything},
    {"hand-over-a-listener", act_hand_over_a_listener},
    {"reuse-an-inherited-number", act_reuse_an_inherited_number},
    {"be-cancelled", act_be_cancelled},
    {"have-a-child", act_have_a_child},
    {"have-a-child-of-a-failed-start", act_have_a_child_of_a_failed_start},
    {"lose-its-file", act_lose_its_file},
    {"spawn", act_spawn},
    {"find-nothing", act_find_nothing},
};

static void report_descriptor(FILE *file, const char *name, int fd)
{
    struct stat status;
    char path[64], target[128] = "";
    int flags = fcntl(fd, F_GETFD);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (flags < 0 || fstat(fd, &status) < 0 || readlink(path, target, sizeof(target) - 1) < 0)
        fprintf(file, "%s closed\n", name);
    else
        fprintf(file, "%s %s%s\n", name, target, flags & FD_CLOEXEC ? " close-on-exec" : "");
}

static const char *handler_of(int number)
{
    struct sigaction action;
    sigaction(number, NULL, &action);
    return action.sa_handler == SIG_IGN ? "ignored" : "default";
}

static int write_report(char **argv)
{
    const struct handover *before = reexec_predecessor();
    char current[256];
    struct rlimit files;
    mode_t mask = umask(0);
    FILE *file = fopen(argv[2], "w");
    if (file == NULL || getcwd(current, sizeof(current)) == NULL)
        return 95;
    getrlimit(RLIMIT_NOFILE, &files);
    fprintf(file, "pid %ld\naction %s\n", (long)getpid(), argv[1]);
    fprintf(file, "started %llu\n", (unsigned long long)before->started_us);
    fprintf(file, "folder %s\ncurrent %s\n", before->folder, current);
    fprintf(file, "umask %o\nfiles %llu\n", mask, (unsigned long long)files.rlim_cur);
    fprintf(file, "KEPT %s\nFIRST %s\n", getenv("KEPT"), getenv("FIRST"));
    fprintf(file, "ADDED %s\n", getenv("ADDED") != NULL ? "yes" : "no");
    fprintf(file, "variable %s\n", getenv("FCGIHOST_HANDOVER") != NULL ? "left" : "gone");
    fprintf(file, "alarm %s\nwinch %s\n", handler_of(SIGALRM), handler_of(SIGWINCH));
    fprintf(file, "timer %u\n", alarm(0));
    fprintf(file, "listeners %zu\nchildren %zu\n", before->listener_count, before->child_count);
    if (before->child_count > 0)
        fprintf(file, "child %s\n", kill((pid_t)before->children[0], 0) == 0 ? "alive" : "gone");
    fprintf(file, "late %llx\n", (unsigned long long)reexec_accept_signals());
    report_descriptor(file, "given", GIVEN_FD);
    report_descriptor(file, "other", OTHER_FD);
    report_descriptor(file, "output", STDOUT_FILENO);
    for (size_t i = 0; i < before->child_count; i++)
        kill((pid_t)before->children[i], SIGKILL);
    return fclose(file) == 0 ? 0 : 96;
}

/* argv: the program, an action, where the report goes. */
static int run_program(char **argv)
{
    if (reexec_init(argv) < 0)
        return errno == EPROTO || errno == EIO ? 79 : 97;
    if (reexec_predecessor() != NULL)
        return write_report(argv);
    for (size_t i = 0; i < COUNT(actions); i++)
        if (strcmp(actions[i].name, argv[1]) == 0)
            return getenv("FCGIHOST_HANDOVER") != NULL ? 98 : actions[i].run();
    return 99;
}

/* In the tests */

/* Starts the program with the action in a child; prepare: called there before. Returns the exit
 * code; the report is read, if there is one. */
static pid_t started;

static int start_file(const char *program, const char *action, void (*prepare)(void))
{
    char path[96];
    int status;
    snprintf(path, sizeof(path), "%s/report", folder);
    unlink(path);
    started = fork();
    assert_true(started >= 0);
    if (started == 0) {
        setenv("KEPT", "first", 1);
        setenv("FIRST", "1", 1);
        if (prepare != NULL)
            prepare();
        execl(program, "program", action, path, (char *)NULL);
        _exit(100);
    }
    assert_int_equal(waitpid(started, &status, 0), started);
    FILE *file = fopen(path, "r");
    size_t n = file != NULL ? fread(report, 1, sizeof(report) - 1, file) : 0;
    report[n] = '\0';
    if (file != NULL)
        fclose(file);
    unlink(path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

static int start(const char *action, void (*prepare)(void))
{
    return start_file("/proc/self/exe", action, prepare);
}

static void assert_reported(const char *line)
{
    char text[256];
    snprintf(text, sizeof(text), "%s\n", line);
    const char *found = strstr(report, text);
    if (found == NULL || (found != report && found[-1] != '\n'))
        fail_msg("\"%s\" is not in:\n%s", line, report);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fcgihost-reexec-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void enter_folder_with_umask(void)
{
    const struct rlimit files = {.rlim_cur = 300, .rlim_max = 900};
    umask(031);
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGWINCH, SIG_IGN);
    signal(SIGALRM, SIG_DFL);
    if (chdir(folder) < 0)
        _exit(101);
}

static void test_a_first_start_has_no_predecessor(void **state)
{
    (void)state;
    assert_int_equal(start("find-nothing", NULL), 78);
}

static void test_the_process_and_its_arguments_stay_and_the_handover_arrives(void **state)
{
    char line[64];
    (void)state;
    assert_int_equal(start("plain", NULL), 0);
    snprintf(line, sizeof(line), "pid %ld", (long)started);
    assert_reported(line);
    assert_reported("action plain");
    assert_reported("started 5");
    assert_reported("variable gone"); /* children of the application must not find it */
    assert_reported("listeners 0");
}

/* Whatever the application has made of the process. */
static void test_everything_else_is_as_at_the_first_start(void **state)
{
    char line[96];
    (void)state;
    assert_int_equal(start("change-everything", enter_folder_with_umask), 0);
    assert_reported("KEPT first");
    assert_reported("FIRST 1");
    assert_reported("ADDED no");
    assert_reported("umask 31");
    assert_reported("files 300");
    assert_reported("alarm default");
    assert_reported("winch ignored");
    snprintf(line, sizeof(line), "current %s", folder);
    assert_reported(line);
    snprintf(line, sizeof(line), "folder %s", folder);
    assert_reported(line);
    assert_null(strstr(report, "output closed"));
}

static void test_descriptors_that_are_handed_over_stay_open_and_no_others(void **state)
{
    (void)state;
    assert_int_equal(start("hand-over-a-listener", NULL), 0);
    assert_reported("listeners 1");
    assert_reported("given /dev/null close-on-exec"); /* children don't get it */
    assert_reported("other closed");
}

static void open_given(void)
{
    int fd = open("/dev/null", O_RDWR);
    dup2(fd, GIVEN_FD);
    close(fd);
}

/* As a supervising process wants that waits for its end, or a lock that was inherited. */
static void test_a_descriptor_that_was_inherited_is_inherited_again(void **state)
{
    (void)state;
    assert_int_equal(start("plain", open_given), 0);
    assert_reported("given /dev/null");
}

static void test_another_file_at_an_inherited_number_is_closed(void **state)
{
    (void)state;
    assert_int_equal(start("reuse-an-inherited-number", open_given), 0);
    assert_reported("given closed");
}

static void test_a_signal_before_the_point_of_no_return_cancels_it(void **state)
{
    (void)state;
    assert_int_equal(start("be-cancelled", NULL), 77);
    assert_string_equal(report, "");
}

static void test_children_go_on_and_are_handed_over(void **state)
{
    (void)state;
    assert_int_equal(start("have-a-child", NULL), 0);
    assert_reported("children 1");
    assert_reported("child alive");
}

/* Each attempt would leave its children behind. */
static void test_children_of_a_start_that_failed_are_ended(void **state)
{
    (void)state;
    assert_int_equal(start("have-a-child-of-a-failed-start", NULL), 0);
    assert_reported("children 0");
}

static void copy_program(const char *to)
{
    static char bytes[1 << 16];
    ssize_t n;
    int in = open("/proc/self/exe", O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, bytes, sizeof(bytes))) > 0)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
}

static void test_a_new_file_that_does_not_run_leaves_the_old_program_in_place(void **state)
{
    char program[96];
    (void)state;
    snprintf(program, sizeof(program), "%s/program", folder);
    copy_program(program);
    int code = start_file(program, "lose-its-file", NULL);
    unlink(program);
    assert_int_equal(code, 0);
    assert_reported("action lose-its-file");
}

static void test_a_spawned_successor_is_a_child_and_this_process_keeps_its_descriptors(void **state)
{
    char line[64];
    (void)state;
    assert_int_equal(start("spawn", NULL), 77);
    assert_reported("listeners 1");
    assert_reported("given /dev/null close-on-exec");
    snprintf(line, sizeof(line), "pid %ld\n", (long)started);
    assert_null(strstr(report, line));
}

/* What stands in FCGIHOST_HANDOVER is anybody's */

static const char *handover_text;

static void set_variable(void)
{
    setenv("FCGIHOST_HANDOVER", handover_text, 1);
}

static void test_a_variable_that_names_no_memory_is_removed_and_nothing_else(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "x", "-1", "0", "1", "2", "40x", "40", "99999999999999999999", "9999"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        handover_text = texts[i];
        assert_int_equal(start("find-nothing", set_variable), 78);
    }
}

/* Memory at GIVEN_FD for the program that is about to be executed, cut to kept bytes. */
static size_t kept;
static pid_t (*sender)(void);
static uint8_t first_byte;

static void put_memory(void)
{
    struct handover_writer writer;
    int *fds;
    size_t fd_count;
    struct handover handover = {.folder = "/", .started_us = 5};
    handover_write(&handover, sender(), &writer, &fds, &fd_count);
    writer.data[0] = first_byte;
    writer.data[HANDOVER_LATE_SIGNALS_OFFSET + 1] = 0x40; /* SIGTERM is 15: 1 << 14 is 14's */
    int fd = memfd_create("test", 0);
    if (write(fd, writer.data, kept < writer.bytes ? kept : writer.bytes) < 0 ||
        dup2(fd, GIVEN_FD) < 0)
        _exit(101);
    close(fd);
    set_variable();
}

static pid_t another(void)
{
    return getpid() + 1;
}

/* Whole memory that names this sender. */
static int start_with_memory_of(pid_t (*one)(void), void (*prepare)(void))
{
    handover_text = "40";
    kept = SIZE_MAX;
    first_byte = 'f';
    sender = one;
    return start("find-nothing", prepare);
}

static void test_a_child_of_another_host_does_not_take_that_ones_memory(void **state)
{
    (void)state;
    assert_int_equal(start_with_memory_of(another, put_memory), 78);
}

static void put_unreadable_memory(void)
{
    put_memory();
    setenv("FSTAT_ERROR", "5", 1); /* EIO */
}

/* A worker that took itself for a first start would be a manager beside its own. */
static void test_memory_that_cannot_be_looked_at_stops_the_start(void **state)
{
    (void)state;
    assert_int_equal(start_with_memory_of(getpid, put_unreadable_memory), 79);
}

static void test_signals_that_came_too_late_for_the_predecessor_are_told(void **state)
{
    (void)state;
    assert_int_equal(start_with_memory_of(getpid, put_memory), 0);
    assert_reported("late 4000");
    assert_reported("given closed"); /* the memory's */
}

static void test_memory_of_this_process_that_is_damaged_stops_the_start(void **state)
{
    (void)state;
    handover_text = "40";
    sender = getpid;
    first_byte = 'x';
    kept = SIZE_MAX;
    assert_int_equal(start("find-nothing", put_memory), 79);
    first_byte = 'f';
    for (kept = HANDOVER_HEADER_BYTES; kept < HANDOVER_HEADER_BYTES + 24; kept += 3)
        assert_int_equal(start("find-nothing", put_memory), 79);
    kept = HANDOVER_HEADER_BYTES - 1; /* too short to say whose it is */
    assert_int_equal(start("find-nothing", put_memory), 78);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_program(argv);
    const struct CMUnitTest tests[] = {
        TEST(test_a_first_start_has_no_predecessor),
        TEST(test_the_process_and_its_arguments_stay_and_the_handover_arrives),
        TEST(test_everything_else_is_as_at_the_first_start),
        TEST(test_descriptors_that_are_handed_over_stay_open_and_no_others),
        TEST(test_a_descriptor_that_was_inherited_is_inherited_again),
        TEST(test_another_file_at_an_inherited_number_is_closed),
        TEST(test_a_signal_before_the_point_of_no_return_cancels_it),
        TEST(test_children_go_on_and_are_handed_over),
        TEST(test_children_of_a_start_that_failed_are_ended),
        TEST(test_a_new_file_that_does_not_run_leaves_the_old_program_in_place),
        TEST(test_a_spawned_successor_is_a_child_and_this_process_keeps_its_descriptors),
        TEST(test_a_variable_that_names_no_memory_is_removed_and_nothing_else),
        TEST(test_memory_that_cannot_be_looked_at_stops_the_start),
        TEST(test_a_child_of_another_host_does_not_take_that_ones_memory),
        TEST(test_signals_that_came_too_late_for_the_predecessor_are_told),
        TEST(test_memory_of_this_process_that_is_damaged_stops_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
