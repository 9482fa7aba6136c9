/* The log's file: its mode, its rotation, a full disk, and many threads.
 *
 * links: log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c */
#include "log_fixture.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/log_sink.h"

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
    assert_non_null(
        strstr(text, "warning: 2 messages were dropped, as the log could not be written\n"));
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
    enum { SIZE = 300 };
    char text[SIZE + sizeof("\nsecond")];

    memset(text, *(const char *)argument, SIZE);
    memcpy(text + SIZE, "\nsecond", sizeof("\nsecond"));
    for (int i = 0; i < MESSAGES; i++)
        log_text(LOG_LEVEL_INFO, &topic, text + i, strlen("\nsecond") + SIZE - (size_t)i);
    return NULL;
}

static void test_what_got_the_number_of_its_descriptor_is_left_alone_once_it_is_mended(void **state)
{
    (void)state;
    int fd = log_descriptor();
    close(fd);
    int other = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (other != fd) {
        dup2(other, fd);
        close(other);
    }
    log_mend();
    log_info("test-message", "mended");
    assert_true(log_descriptor() != fd);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    assert_non_null(strstr(read_file(path), "mended"));
    log_mend(); /* nothing to mend */
    log_info("test-message", "again");
    assert_non_null(strstr(read_file(path), "again"));
    close(fd);
}

static void test_a_reopen_puts_no_file_behind_a_number_that_is_another_one_s(void **state)
{
    (void)state;
    struct stat before, after;
    int fd = log_descriptor(), other = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(fstat(other, &before), 0);
    dup2(other, fd);
    close(other);
    assert_false(log_sink_has_moved());
    log_reopen();
    log_info("test-message", "reopened");
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_size, 0);
    assert_non_null(strstr(read_file(path), "reopened"));
    close(fd);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_does_not_fit_leaves_no_half_line_and_is_told_of_later),
        TEST(test_file_is_appended_to_private_and_not_inherited),
        TEST(test_reopen_follows_a_rotation_with_the_same_descriptor),
        TEST(test_reopen_that_fails_keeps_the_old_file),
        TEST(test_file_that_cannot_be_opened),
        TEST(test_file_of_another_keeps_its_mode),
        TEST(test_what_got_the_number_of_its_descriptor_is_left_alone_once_it_is_mended),
        TEST(test_a_reopen_puts_no_file_behind_a_number_that_is_another_one_s),
        TEST(test_threads_never_mix_their_lines_while_the_file_is_reopened),
        TEST(test_file_never_becomes_descriptor_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
