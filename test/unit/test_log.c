/* The log's levels, standard error as its destination, and errno.
 *
 * links: log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c */
#include "log_fixture.h"

#include "base/log_gather.h"

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

static void log_gathered_times(const char *event, unsigned count)
{
    struct log_topic gathered = {.event = event, .is_gathered = true};
    for (unsigned i = 0; i < count; i++)
        log_about(LOG_LEVEL_WARNING, &gathered, "again");
}

/* How many messages the file has of this kind, or says that there were more. */
static unsigned long count_told(const char *event)
{
    static const char written[] = "] warning: again\n";
    char more[64];
    unsigned long count = 0;
    snprintf(more, sizeof(more), "] warning: %s: ", event);
    for (const char *at = read_file(path); (at = strchr(at, ']')) != NULL; at++)
        if (strncmp(at, written, strlen(written)) == 0)
            count++;
        else if (strncmp(at, more, strlen(more)) == 0)
            count += strtoul(at + strlen(more), NULL, 10);
    return count;
}

static void test_what_was_gathered_is_told_of_at_the_close(void **state)
{
    (void)state;
    log_gathered_times("test-close", LOG_GATHER_FIRST + 500);
    log_close();
    assert_int_equal(count_told("test-close"), LOG_GATHER_FIRST + 500);
}

static void test_what_was_gathered_is_told_of_with_the_first_one_of_another_second(void **state)
{
    enum { SECOND_US = 1000000 };

    (void)state;
    log_gathered_times("test-next", LOG_GATHER_FIRST + 500);
    usleep(SECOND_US);
    log_gathered_times("test-next", 1);
    assert_int_equal(count_told("test-next"), LOG_GATHER_FIRST + 501);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_levels),
        TEST(test_what_was_gathered_is_told_of_at_the_close),
        TEST(test_what_was_gathered_is_told_of_with_the_first_one_of_another_second),
        TEST(test_errno_is_kept),
        TEST(test_stderr),
        TEST(test_pipe_that_is_full_and_non_blocking_gets_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
