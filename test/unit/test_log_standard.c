/* What goes to descriptors 1 and 2 of a host comes out of its log. Each case is a process of its
 * own, as is the relay.
 *
 * links: log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c */
#include "log_fixture.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/log_standard.h"

enum { LINE_BYTES = 64 << 10 };

/* Returns once the file has it; a test that waits in vain never ends. */
static const char *wait_for(const char *text)
{
    while (access(path, R_OK) < 0 || strstr(read_file(path), text) == NULL)
        usleep(1000);
    return read_file(path);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    while ((text = strstr(text, part)) != NULL) {
        count++;
        text++;
    }
    return count;
}

/* In the child: to a file. */
static int take(void)
{
    CHECK(log_open(path, LOG_LEVEL_INFO) == 0);
    return log_standard_take() == 0 ? 0 : __LINE__;
}

static bool put_text_to(int fd, const char *text)
{
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static int print(void)
{
    CHECK(take() == 0);
    CHECK(put_text_to(1, "one\ntw"));
    CHECK(put_text_to(2, "o\n"));
    CHECK(system("echo of a child; echo and its errors >&2") == 0);
    CHECK(put_text_to(1, "\n\x1b[2J and \xff\nwithout an end"));
    return 0;
}

static void test_lines_of_both_and_of_children_are_messages(void **state)
{
    (void)state;
    assert_in_child(print);
    const char *text = wait_for("without an end\n");
    assert_non_null(strstr(text, "info: one\n"));
    assert_non_null(strstr(text, "info: two\n"));
    assert_non_null(strstr(text, "info: of a child\n"));
    assert_non_null(strstr(text, "info: and its errors\n"));
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "[2J and "));
    assert_int_equal(count_of(text, "\n"), count_of(text, "info: "));
}

static int print_own_number(void)
{
    char text[64];
    CHECK(take() == 0);
    snprintf(text, sizeof(text), "from %d.", (int)getpid());
    CHECK(put_text_to(2, text));
    return 0;
}

static void test_they_have_the_host_s_number_not_the_relay_s(void **state)
{
    (void)state;
    long written, printed;
    assert_in_child(print_own_number);
    assert_int_equal(
        sscanf(strchr(wait_for(".\n"), '['), "[%ld] info: from %ld.", &written, &printed), 2);
    assert_int_equal(written, printed);
}

static int print_long(void)
{
    static char text[2 * LINE_BYTES + 100];
    CHECK(take() == 0);
    memset(text, 'l', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    for (size_t sent = 0; sent < sizeof(text);) {
        ssize_t n = write(1, text + sent, sizeof(text) - sent);
        CHECK(n > 0);
        sent += (size_t)n;
    }
    CHECK(put_text_to(1, "after it\n"));
    return 0;
}

static void test_a_line_too_long_is_cut_in_pieces_and_nothing_is_lost(void **state)
{
    (void)state;
    size_t l = 0;
    int fd;
    assert_in_child(print_long);
    /* The file is larger than read_file() takes. */
    struct stat status;
    static char text[4 * LINE_BYTES];
    do {
        usleep(1000);
        memset(text, 0, sizeof(text));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(fstat(fd, &status), 0);
        (void)!read(fd, text, sizeof(text) - 1);
        close(fd);
    } while (strstr(text, "after it\n") == NULL);
    for (const char *p = strstr(text, "info: "); p != NULL && (p = strchr(p, 'l')) != NULL; p++)
        l++;
    assert_int_equal(l, 2 * LINE_BYTES + 99);
    assert_int_equal(count_of(text, "info: "), 4);
}

static int wait_for_children(void)
{
    CHECK(take() == 0);
    errno = 0;
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    CHECK(system("exit 3") >> 8 == 3);
    return 0;
}

static int print_short_lines(void)
{
    static char lines[LINE_BYTES];
    CHECK(take() == 0);
    for (size_t i = 0; i < LINE_BYTES; i += 2)
        memcpy(lines + i, "y\n", 2);
    for (unsigned i = 0; i < 4; i++)
        CHECK(write(1, lines, LINE_BYTES) == LINE_BYTES);
    CHECK(put_text_to(1, "the end\n"));
    return 0;
}

static void test_a_burst_of_short_lines_is_written_whole_where_the_file_takes_it(void **state)
{
    (void)state;
    assert_in_child(print_short_lines);
    /* The file is larger than read_file() takes. */
    static char text[256 * LINE_BYTES];
    do {
        usleep(1000);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof(text) - 1);
        assert_true(n >= 0 && n < (ssize_t)sizeof(text) - 1);
        text[n] = '\0';
        close(fd);
    } while (strstr(text, "the end\n") == NULL && strstr(text, "dropped") == NULL);
    assert_int_equal(count_of(text, "info: y\n"), 4 * LINE_BYTES / 2);
}

static void test_the_application_s_wait_never_sees_the_relay(void **state)
{
    (void)state;
    assert_in_child(wait_for_children);
}

static int have_pipe(void)
{
    int fds[2];
    char byte;
    CHECK(pipe(fds) == 0);
    CHECK(take() == 0);
    close(fds[1]);
    CHECK(read(fds[0], &byte, 1) == 0); /* which ends once the relay has closed its copy */
    return 0;
}

static void test_the_relay_holds_no_descriptor_of_the_host(void **state)
{
    (void)state;
    assert_in_child(have_pipe);
}

/* The relay: the only child, which wait() does not see. 0: there is none. */
static pid_t relay_pid(void)
{
    char name[64];
    long pid = 0;
    snprintf(name, sizeof(name), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld", &pid) != 1)
        pid = 0;
    fclose(file);
    return (pid_t)pid;
}

static int signal_relay(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    char name[64], text[16] = "";
    CHECK(take() == 0);
    pid_t relay = relay_pid();
    CHECK(relay > 0);
    snprintf(name, sizeof(name), "/proc/%d/comm", (int)relay);
    while (strncmp(text, "fcgihost-log", 12) != 0) { /* it has begun to ignore them before */
        FILE *file = fopen(name, "re");
        CHECK(file != NULL && fgets(text, sizeof(text), file) != NULL);
        fclose(file);
    }
    for (size_t i = 0; i < COUNT(signals); i++)
        CHECK(kill(relay, signals[i]) == 0);
    CHECK(put_text_to(1, "after signals\n"));
    return 0;
}

static void test_no_signal_that_ends_the_host_ends_the_relay(void **state)
{
    (void)state;
    assert_in_child(signal_relay);
    wait_for("info: after signals\n");
}

static int be_killed(void)
{
    CHECK(take() == 0);
    CHECK(put_text_to(2, "Fatal: last words\nand more"));
    raise(SIGKILL);
    return 0;
}

static void test_what_a_host_said_as_it_died_is_in_the_log(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        log_close();
        _exit(be_killed());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_non_null(strstr(wait_for("info: and more\n"), "info: Fatal: last words\n"));
}

static int give_back(void)
{
    int fds[2];
    char text[64] = "";
    CHECK(pipe(fds) == 0);
    dup2(fds[1], STDOUT_FILENO);
    dup2(fds[1], STDERR_FILENO);
    CHECK(take() == 0);
    CHECK(log_standard_error() > STDERR_FILENO);
    CHECK((fcntl(log_standard_error(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(put_text_to(log_standard_error(), "a"));
    CHECK(put_text_to(1, "to the log\n"));
    log_standard_give_back();
    CHECK(put_text_to(1, "b") && put_text_to(2, "c"));
    CHECK(read(fds[0], text, sizeof(text) - 1) == 3);
    CHECK(strcmp(text, "abc") == 0);
    return 0;
}

static void test_given_back_they_are_what_the_process_was_started_with(void **state)
{
    (void)state;
    assert_in_child(give_back);
    wait_for("info: to the log\n");
}

static int follow(void)
{
    char moved[160];
    CHECK(take() == 0);
    CHECK(put_text_to(1, "before\n"));
    wait_for("info: before\n");
    snprintf(moved, sizeof(moved), "%s.1", path);
    CHECK(rename(path, moved) == 0);
    while (access(path, R_OK) < 0) /* which nobody but the relay makes */
        usleep(1000);
    CHECK(put_text_to(1, "after\n"));
    wait_for("info: after\n");
    CHECK(strstr(read_file(moved), "after") == NULL);
    CHECK(unlink(moved) == 0);
    return 0;
}

static void test_a_log_file_that_was_moved_away_is_followed(void **state)
{
    (void)state;
    assert_in_child(follow);
}

/* Standard error as a pipe, with a log that goes there. */
static int fds_of_log[2];

static int open_on_pipe(enum log_format format)
{
    CHECK(fds_of_log[0] > 0 || pipe(fds_of_log) == 0);
    dup2(fds_of_log[1], STDERR_FILENO);
    log_set_format(format);
    CHECK(log_open("stderr", LOG_LEVEL_INFO) == 0);
    return log_standard_take() == 0 ? 0 : __LINE__;
}

static const char *read_log(void)
{
    static char text[4096];
    ssize_t n = read(fds_of_log[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int stay_with_stderr(void)
{
    int out[2];
    CHECK(pipe(out) == 0);
    dup2(out[1], STDOUT_FILENO);
    CHECK(open_on_pipe(LOG_FORMAT_TEXT) == 0);
    CHECK(log_standard_error() == STDERR_FILENO);
    CHECK(relay_pid() == 0);
    CHECK(put_text_to(2, "as it is\n"));
    CHECK(strcmp(read_log(), "as it is\n") == 0);
    char byte;
    CHECK(put_text_to(1, "o") && read(out[0], &byte, 1) == 1 && byte == 'o');
    return 0;
}

static void test_where_the_log_is_standard_error_both_stay_as_they_are(void **state)
{
    (void)state;
    assert_in_child(stay_with_stderr);
}

static int join(void)
{
    int null_fd = open("/dev/null", O_WRONLY);
    struct stat before, after;
    dup2(null_fd, STDOUT_FILENO);
    CHECK(fstat(STDOUT_FILENO, &before) == 0);
    CHECK(open_on_pipe(LOG_FORMAT_TEXT) == 0);
    CHECK(put_text_to(1, "print\n"));
    CHECK(strcmp(read_log(), "print\n") == 0);
    log_standard_give_back();
    CHECK(fstat(STDOUT_FILENO, &after) == 0 && after.st_rdev == before.st_rdev);
    return 0;
}

static int join_closed(void)
{
    CHECK(pipe(fds_of_log) == 0);
    close(STDOUT_FILENO);
    CHECK(open_on_pipe(LOG_FORMAT_TEXT) == 0);
    CHECK(put_text_to(1, "print\n"));
    CHECK(strstr(read_log(), "print\n") != NULL);
    return 0;
}

static void test_standard_output_that_leads_nowhere_joins_standard_error(void **state)
{
    (void)state;
    assert_in_child(join);
    assert_in_child(join_closed);
}

static int print_json(void)
{
    CHECK(open_on_pipe(LOG_FORMAT_JSON) == 0);
    CHECK(put_text_to(1, "say \"hello\"\n"));
    const char *text = read_log();
    CHECK(text[0] == '{' && strstr(text, "\"message\":\"say \\\"hello\\\"\"") != NULL);
    CHECK(strstr(text, "\"event_id\":\"application-output\"") != NULL);
    return 0;
}

static void test_in_a_log_of_json_each_line_is_an_object(void **state)
{
    (void)state;
    assert_in_child(print_json);
}

static int run_out(void)
{
    struct stat before[2], after[2];
    CHECK(log_open(path, LOG_LEVEL_INFO) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(fstat(1 + i, &before[i]) == 0);
    int free_fd = dup(0);
    close(free_fd);
    struct rlimit limit = {.rlim_cur = (rlim_t)free_fd + 1, .rlim_max = 1024};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    errno = 0;
    CHECK(log_standard_take() == -1 && errno == EMFILE);
    CHECK(relay_pid() == 0);
    for (int i = 0; i < 2; i++)
        CHECK(fstat(1 + i, &after[i]) == 0 && after[i].st_ino == before[i].st_ino);
    CHECK(log_standard_error() == STDERR_FILENO);
    return 0;
}

static void test_without_descriptors_it_fails_and_leaves_both_as_they_are(void **state)
{
    (void)state;
    assert_in_child(run_out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines_of_both_and_of_children_are_messages),
        TEST(test_they_have_the_host_s_number_not_the_relay_s),
        TEST(test_a_line_too_long_is_cut_in_pieces_and_nothing_is_lost),
        TEST(test_a_burst_of_short_lines_is_written_whole_where_the_file_takes_it),
        TEST(test_the_application_s_wait_never_sees_the_relay),
        TEST(test_the_relay_holds_no_descriptor_of_the_host),
        TEST(test_no_signal_that_ends_the_host_ends_the_relay),
        TEST(test_what_a_host_said_as_it_died_is_in_the_log),
        TEST(test_given_back_they_are_what_the_process_was_started_with),
        TEST(test_a_log_file_that_was_moved_away_is_followed),
        TEST(test_where_the_log_is_standard_error_both_stay_as_they_are),
        TEST(test_standard_output_that_leads_nowhere_joins_standard_error),
        TEST(test_in_a_log_of_json_each_line_is_an_object),
        TEST(test_without_descriptors_it_fails_and_leaves_both_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
