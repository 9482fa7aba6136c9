/* links: log.c log_gather.c log_line.c log_json.c log_queue.c
 * log_sink.c log_standard.c log_syslog.c own_file.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/log_line.h"
#include "base/log_syslog.h"

enum { TEXT_SIZE = 1 << 17, PREFIX = 30 };

static const struct log_topic topic = {.event = "test-message"};
static char folder[64];
static char path[128];

/* Stands for syslog's daemon. */
static int syslog_fd = -1;

static int open_syslog(void)
{
    static char name[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(name, sizeof(name), "%s/syslog", folder);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/syslog", folder);
    log_syslog_path = name;
    syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return bind(syslog_fd, (struct sockaddr *)&address, sizeof(address));
}

/* The next datagram, without its time: "<27>fcgihost[1]: text". */
static const char *next_syslog(void)
{
    static char text[TEXT_SIZE];
    ssize_t length = recv(syslog_fd, text, sizeof(text) - 1, 0);

    if (length < 20)
        return "(nothing)";
    text[length] = '\0';
    memmove(text + 4, text + 20, (size_t)length - 20 + 1);
    return text;
}

static bool is_syslogged(int priority, const char *message)
{
    static char expected[TEXT_SIZE];

    snprintf(expected, sizeof(expected), "<%d>fcgihost[%d]: %s", priority, (int)getpid(), message);
    return strcmp(next_syslog(), expected) == 0;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_log.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/x.log", folder);
    return log_open(path, LOG_LEVEL_INFO);
}

static int tear_down(void **state)
{
    (void)state;
    log_close();
    unlink(path);
    if (syslog_fd >= 0) {
        close(syslog_fd);
        unlink(log_syslog_path);
    }
    syslog_fd = -1;
    return rmdir(folder);
}

/* All of a file; good until the next call. */
static const char *read_file(const char *name)
{
    static char text[TEXT_SIZE];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof(text) - 1);

    assert_true(length >= 0);
    close(fd);
    text[length] = '\0';
    return text;
}

/* What follows date and time in the only line. */
static const char *after_time(const char *text)
{
    assert_true(strlen(text) > PREFIX);
    return text + PREFIX;
}

static void assert_logged(const char *message)
{
    static char expected[TEXT_SIZE];

    snprintf(expected, sizeof(expected), "[%d] info: %s\n", (int)getpid(), message);
    assert_string_equal(after_time(read_file(path)), expected);
}

static void assert_text(const char *text, size_t text_bytes, const char *expected)
{
    assert_int_equal(truncate(path, 0), 0);
    log_text(LOG_LEVEL_INFO, &topic, text, text_bytes);
    assert_logged(expected);
}

static void test_form_of_a_line(void **state)
{
    char pattern[200];
    regex_t regex;

    (void)state;
    log_warning("test-message", "%s %d", "answer", 42);
    snprintf(pattern, sizeof(pattern),
             "^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}"
             "[+-][0-9][0-9]:[0-9][0-9] \\[%d\\] warning: answer 42\n$",
             (int)getpid());
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    assert_int_equal(regexec(&regex, read_file(path), 0, NULL, 0), 0);
    regfree(&regex);
}

static void test_times_keep_the_offset_that_the_log_was_opened_with(void **state)
{
    char expected[32];
    time_t now;
    struct tm local;

    (void)state;
    log_close();
    setenv("TZ", "XXX-05:45", 1);
    tzset();
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    now = time(NULL);
    localtime_r(&now, &local);
    setenv("TZ", "America/Chicago", 1); /* as Django does */
    tzset();
    log_info("test-message", "x");
    unsetenv("TZ");
    tzset();
    assert_memory_equal(read_file(path) + 23, "+05:45 ", 7);
    strftime(expected, sizeof(expected), "%Y-%m-%dT%H:", &local);
    if (local.tm_min != 59)
        assert_memory_equal(read_file(path), expected, strlen(expected));
}

static void test_dates_are_those_of_the_calendar(void **state)
{
    char text[LOG_TIME_BYTES], expected[40];

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    log_line_fix_offset();
    for (time_t time = -90000; time < (time_t)1 << 32; time += 86400 * 27 + 3601) {
        struct timespec moment = {.tv_sec = time, .tv_nsec = 7000000};
        struct tm fields;

        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007+00:00",
                 gmtime_r(&time, &fields));
        log_line_format_time(&moment, text);
        assert_string_equal(text, expected);
    }
    unsetenv("TZ");
    tzset();
}

static void log_all_levels(void)
{
    log_error("test-message", "e");
    log_warning("test-message", "w");
    log_info("test-message", "i");
    log_debug("test-message", "d");
    log_text(LOG_LEVEL_DEBUG, &topic, "t", 1);
}

static void test_levels(void **state)
{
    static const char letters[] = "ewid";

    (void)state;
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        int lines = 0;
        const char *text;

        log_close();
        unlink(path);
        assert_int_equal(log_open(path, (enum log_level)level), 0);
        assert_int_equal(log_threshold(), level);
        log_all_levels();
        text = read_file(path);
        for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
            assert_int_equal(at[-1], lines < 4 ? letters[lines] : 't');
            lines++;
        }
        assert_int_equal(lines, level == LOG_LEVEL_DEBUG ? 5 : level + 1);
    }
}

static void test_control_characters_are_escaped(void **state)
{
    (void)state;
    assert_text("a\x1b[2J\r\x7f\0b", 9, "a\\x1b[2J\\x0d\\x7f\\x00b");
    assert_text("tab\there, caf\xc3\xa9 \xe2\x82\xac", 19, "tab\there, caf\xc3\xa9 \xe2\x82\xac");
    assert_text("\x01", 1, "\\x01");
    assert_text("\xc2\x9b" "2J\xc2", 5, "\\xc2\\x9b" "2J\xc2");
    assert_text("\xc2\xa0", 2, "\xc2\xa0");
    assert_text("%s%n", 4, "%s%n");
}

static void test_line_breaks_are_indented_so_nothing_can_be_forged(void **state)
{
    (void)state;
    assert_text("one\ntwo\n\n  three", 16, "one\n  two\n  \n    three");
    assert_text("one\n2026-11-21T09:30:00.123+00:00 [1] error: forged", 51,
                "one\n  2026-11-21T09:30:00.123+00:00 [1] error: forged");
}

static void test_final_line_breaks_are_dropped(void **state)
{
    (void)state;
    assert_text("one\n\n", 5, "one");
    assert_text("\n", 1, "");
    assert_text("", 0, "");
    assert_text("\n\none", 5, "\n  \n  one");
}

static void test_messages_of_every_length_around_the_buffer(void **state)
{
    static char text[5000];
    char expected[6000];

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t length = 1900; length < 2100; length++) {
        snprintf(expected, sizeof(expected), "%.*s", (int)length, text);
        assert_text(text, length, expected);
    }
    assert_int_equal(truncate(path, 0), 0);
    log_info("test-message", "%.*s", 4900, text);
    snprintf(expected, sizeof(expected), "%.4900s", text);
    assert_logged(expected);
}

static void test_long_text_is_whole(void **state)
{
    enum { LINES = TEXT_SIZE / 8 };
    char *text = malloc(LINES);
    const char *got;

    (void)state;
    memset(text, '\n', LINES);
    text[LINES - 1] = 'x';
    log_text(LOG_LEVEL_ERROR, &topic, text, LINES);
    free(text);
    got = strchr(read_file(path), '\n');
    assert_int_equal(strlen(got), 3 * (LINES - 1) + strlen("x\n"));
    assert_string_equal(got + strlen(got) - 6, " \n  x\n");
}

static void test_errno_is_kept(void **state)
{
    (void)state;
    errno = 4711;
    log_info("test-message", "x");
    log_text(LOG_LEVEL_INFO, &topic, "x", 1);
    log_debug("test-message", "x");
    log_reopen();
    assert_int_equal(errno, 4711);
    log_close();
    assert_int_equal(log_open("/dev/full", LOG_LEVEL_INFO), 0);
    errno = 4711;
    log_info("test-message", "x");
    assert_int_equal(errno, 4711);
    log_text(LOG_LEVEL_INFO, &topic, "x", 1);
    assert_int_equal(errno, 4711);
}

/* Stands for a full disk: a write stops at the limit. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_what_does_not_fit_leaves_no_half_line_and_is_told_of_later(void **state)
{
    (void)state;
    log_info("test-message", "first");
    size_t first_bytes = strlen(read_file(path));
    limit_file_size(first_bytes + 20);
    log_info("test-message", "second");
    log_info("test-message", "third");
    assert_int_equal(strlen(read_file(path)), first_bytes);
    assert_int_equal(log_dropped(), 2);
    limit_file_size(RLIM_INFINITY);
    log_info("test-message", "fourth");
    const char *text = read_file(path);
    assert_non_null(strstr(text, "info: fourth\n"));
    assert_non_null(strstr(text, "warning: 2 messages were dropped, as the log could not be written\n"));
    assert_null(strstr(text, "\n\n"));
}

static void assert_mode(mode_t mask)
{
    struct stat status;
    mode_t before;

    unlink(path);
    before = umask(mask);
    log_reopen();
    umask(before);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void test_file_is_appended_to_private_and_not_inherited(void **state)
{
    (void)state;
    assert_mode(0);
    assert_mode(0777);
    assert_true(fcntl(log_descriptor(), F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(log_descriptor(), F_GETFL) & O_APPEND);
}

static void test_reopen_follows_a_rotation_with_the_same_descriptor(void **state)
{
    char rotated[160];
    int fd = log_descriptor();

    (void)state;
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    log_info("test-message", "before");
    assert_int_equal(rename(path, rotated), 0);
    log_info("test-message", "between");
    log_reopen();
    log_info("test-message", "after");
    assert_int_equal(log_descriptor(), fd);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_logged("after");
    assert_non_null(strstr(read_file(rotated), "info: between\n"));
    assert_int_equal(unlink(rotated), 0);
}

static void test_reopen_that_fails_keeps_the_old_file(void **state)
{
    char rotated[160];

    (void)state;
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    assert_int_equal(rename(path, rotated), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    log_reopen();
    log_info("test-message", "still here");
    assert_int_equal(rmdir(path), 0);
    assert_non_null(strstr(read_file(rotated),
                           ": can't be opened again: Is a directory: the old one "
                           "stays in use\n"));
    assert_non_null(strstr(read_file(rotated), "info: still here\n"));
    assert_int_equal(unlink(rotated), 0);
}

static void test_file_that_cannot_be_opened(void **state)
{
    (void)state;
    log_close();
    assert_int_equal(log_open("/nonexistent/x.log", LOG_LEVEL_INFO), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(log_descriptor(), STDERR_FILENO);
}

static void test_file_of_another_keeps_its_mode(void **state)
{
    struct stat status;

    (void)state;
    log_close();
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0604);
}

enum { THREADS = 8, MESSAGES = 200 };

static void *log_in_thread(void *argument)
{
    char text[300];

    memset(text, *(const char *)argument, sizeof(text));
    for (int i = 0; i < MESSAGES; i++)
        log_info("test-message", "%.*s\nsecond", (int)sizeof(text) - i, text);
    return NULL;
}

static void test_threads_never_mix_their_lines_while_the_file_is_reopened(void **state)
{
    static const char letters[] = "abcdefgh";
    pthread_t threads[THREADS];
    FILE *file;
    char line[1024];
    int count = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_in_thread, (void *)&letters[i]), 0);
    for (int i = 0; i < 50; i++)
        log_reopen();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    file = fopen(path, "r");
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *text = strstr(line, "info: ");

        assert_non_null(text);
        text += 6;
        assert_int_equal(strspn(text, (char[]){text[0], '\0'}), strlen(text) - 1);
        assert_non_null(fgets(line, sizeof(line), file));
        assert_string_equal(line, "  second\n");
        count++;
    }
    fclose(file);
    assert_int_equal(count, THREADS * MESSAGES);
}

/* stderr: looked at in a child, whose descriptor 2 can be anything. It returns 0, or the line that
 * failed. */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

static void assert_in_child(int (*body)(void))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        int line;

        log_close();
        line = body();
        if (line != 0)
            dprintf(STDOUT_FILENO, "failed in the child at line %d\n", line);
        _exit(line != 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int log_to_stderr(void)
{
    int fds[2];
    char text[256];
    ssize_t length;

    CHECK(pipe(fds) == 0);
    dup2(fds[1], STDERR_FILENO);
    log_info("test-message", "before log_open");
    CHECK(log_open("stderr", LOG_LEVEL_ERROR) == 0);
    CHECK((fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) == 0); /* it is others' too */
    log_info("test-message", "below the level");
    log_error("test-message", "after it");
    log_reopen();
    length = read(fds[0], text, sizeof(text) - 1);
    CHECK(length > 0);
    text[length] = '\0';
    CHECK(strstr(text, "info: before log_open\n") != NULL);
    CHECK(strstr(text, "error: after it\n") != NULL);
    CHECK(strstr(text, "below") == NULL);
    log_close();
    CHECK(fcntl(STDERR_FILENO, F_GETFD) >= 0);
    return 0;
}

static void test_stderr(void **state)
{
    (void)state;
    assert_in_child(log_to_stderr);
}

static int log_to_full_pipe(void)
{
    static char text[TEXT_SIZE / 4];
    int fds[2];
    size_t count = 0;
    pid_t reader;
    int status;

    CHECK(pipe(fds) == 0);
    CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
    CHECK(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
    dup2(fds[1], STDERR_FILENO);
    reader = fork();
    if (reader == 0) {
        ssize_t length;

        close(fds[1]);
        close(STDERR_FILENO);
        while ((length = read(fds[0], text, 1000)) > 0)
            count += (size_t)length;
        _exit(count < sizeof(text));
    }
    close(fds[0]);
    close(fds[1]);
    memset(text, 'x', sizeof(text));
    log_text(LOG_LEVEL_ERROR, &topic, text, sizeof(text));
    dup2(STDOUT_FILENO, STDERR_FILENO);
    CHECK(waitpid(reader, &status, 0) == reader && status == 0);
    return 0;
}

static void test_pipe_that_is_full_and_non_blocking_gets_all(void **state)
{
    (void)state;
    assert_in_child(log_to_full_pipe);
}

static int log_to_null(void)
{
    CHECK(open_syslog() == 0);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    CHECK(log_open("stderr", LOG_LEVEL_INFO) == 0);
    log_error("test-message", "one\ntwo %d\x1b", 3);
    log_debug("test-message", "below the level");
    log_warning("test-message", "w");
    log_info("test-message", "i");
    CHECK(is_syslogged(27, "one"));
    CHECK(is_syslogged(27, "  two 3\\x1b"));
    CHECK(is_syslogged(28, "w"));
    CHECK(is_syslogged(30, "i"));
    unlink(log_syslog_path);
    return 0;
}

static void test_null_device_becomes_syslog(void **state)
{
    (void)state;
    assert_in_child(log_to_null);
}

static int log_to_closed(void)
{
    int fd;

    CHECK(open_syslog() == 0);
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    CHECK(log_open("stderr", LOG_LEVEL_INFO) == 0);
    /* Nothing else can become descriptor 2 now, and the application's children have one. */
    CHECK(fcntl(STDERR_FILENO, F_GETFD) == 0);
    fd = open("/dev/null", O_RDONLY);
    CHECK(fd != STDERR_FILENO);
    log_info("test-message", "x");
    CHECK(is_syslogged(30, "x"));
    unlink(log_syslog_path);
    return 0;
}

static void test_closed_stderr_becomes_syslog_and_is_plugged(void **state)
{
    (void)state;
    assert_in_child(log_to_closed);
}

static int log_to_file_without_stderr(void)
{
    close(STDERR_FILENO);
    CHECK(log_open(path, LOG_LEVEL_INFO) == 0);
    CHECK(log_descriptor() > STDERR_FILENO);
    return 0;
}

static void test_file_never_becomes_descriptor_2(void **state)
{
    (void)state;
    assert_in_child(log_to_file_without_stderr);
}

static int log_to_syslog(void)
{
    static char text[5000];

    CHECK(log_open("syslog", LOG_LEVEL_DEBUG) == 0);
    CHECK(log_descriptor() == -1); /* nobody listens */
    log_debug("test-message", "lost");
    CHECK(log_dropped() == 1);
    CHECK(open_syslog() == 0);
    log_debug("test-message", "%s", "%s");
    CHECK(is_syslogged(31, "%s"));
    CHECK(is_syslogged(28, "1 message was dropped, as the log could not be written"));
    memset(text, 'x', sizeof(text) - 1);
    log_text(LOG_LEVEL_INFO, &topic, text, sizeof(text) - 1);
    CHECK(is_syslogged(30, text));
    unlink(log_syslog_path);
    return 0;
}

static void test_syslog(void **state)
{
    (void)state;
    assert_in_child(log_to_syslog);
}

/* Also of the longest text, each byte of which is escaped. */
static int log_objects_to_syslog(void)
{
    static char text[1 << 18];
    memset(text, 0x1b, sizeof(text));
    CHECK(open_syslog() == 0);
    log_set_format(LOG_FORMAT_JSON);
    CHECK(log_open("syslog", LOG_LEVEL_INFO) == 0);
    log_text(LOG_LEVEL_INFO, &topic, text, sizeof(text));
    log_info("test-message", "next");
    const char *object = next_syslog();
    CHECK(strstr(object, "\"message\":\"\\u001b\\u001b") != NULL);
    CHECK(strcmp(strstr(object, ",\"event_id\""), ",\"event_id\":\"test-message\"}") == 0);
    CHECK(strstr(next_syslog(), "\"message\":\"next\"") != NULL);
    unlink(log_syslog_path);
    return 0;
}

static void test_syslog_gets_whole_objects(void **state)
{
    (void)state;
    assert_in_child(log_objects_to_syslog);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_form_of_a_line),
        TEST(test_times_keep_the_offset_that_the_log_was_opened_with),
        TEST(test_dates_are_those_of_the_calendar),
        TEST(test_levels),
        TEST(test_control_characters_are_escaped),
        TEST(test_line_breaks_are_indented_so_nothing_can_be_forged),
        TEST(test_final_line_breaks_are_dropped),
        TEST(test_messages_of_every_length_around_the_buffer),
        TEST(test_long_text_is_whole),
        TEST(test_errno_is_kept),
        TEST(test_what_does_not_fit_leaves_no_half_line_and_is_told_of_later),
        TEST(test_file_is_appended_to_private_and_not_inherited),
        TEST(test_reopen_follows_a_rotation_with_the_same_descriptor),
        TEST(test_reopen_that_fails_keeps_the_old_file),
        TEST(test_file_that_cannot_be_opened),
        TEST(test_file_of_another_keeps_its_mode),
        TEST(test_threads_never_mix_their_lines_while_the_file_is_reopened),
        TEST(test_stderr),
        TEST(test_pipe_that_is_full_and_non_blocking_gets_all),
        TEST(test_null_device_becomes_syslog),
        TEST(test_closed_stderr_becomes_syslog_and_is_plugged),
        TEST(test_file_never_becomes_descriptor_2),
        TEST(test_syslog),
        TEST(test_syslog_gets_whole_objects),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
