/* links: log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_queue.h"

enum { TEXT_SIZE = 4 << 20 };

static char folder[64], path[128];
static char text[TEXT_SIZE];

static atomic_bool is_held, is_in_write; /* a write takes until it is let go */

ssize_t write(int fd, const void *bytes, size_t count)
{
    while (atomic_load(&is_held)) {
        atomic_store(&is_in_write, true);
        usleep(1000);
    }
    return syscall(SYS_write, fd, bytes, count);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_log_queue.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/log", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_close();
    unlink(path);
    return rmdir(folder);
}

/* A FIFO that nobody reads takes the log; the descriptor reads it. */
static int open_fifo(void)
{
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    assert_int_equal(log_queue_start(), 0);
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* All that comes until it holds the word. */
static const char *read_until(int fd, const char *word)
{
    size_t used = 0;
    do {
        ssize_t n = read(fd, text + used, sizeof(text) - 1 - used);
        assert_true(n != 0 && used < sizeof(text) - 1);
        if (n < 0)
            usleep(1000);
        else
            used += (size_t)n;
        text[used] = '\0';
    } while (strstr(text, word) == NULL);
    return text;
}

static size_t count_lines(const char *all, const char *word)
{
    size_t count = 0;
    for (const char *at = all; (at = strstr(at, word)) != NULL; at += strlen(word))
        count++;
    return count;
}

static void fill(size_t count)
{
    for (size_t i = 0; i < count; i++)
        log_info("test-message", "number %zu %0*d", i, 1000, 0);
}

static void test_who_logs_waits_for_no_reader_and_nothing_is_lost_or_swapped(void **state)
{
    (void)state;
    int fd = open_fifo();
    fill(500);
    log_info("test-message", "the last");
    const char *all = read_until(fd, "the last");
    for (size_t i = 0; i < 500; i++) {
        char word[32];
        snprintf(word, sizeof(word), "number %zu 000", i);
        all = strstr(all, word);
        assert_non_null(all);
    }
    assert_int_equal(log_dropped(), 0);
    close(fd);
}

static void test_what_there_is_no_room_for_is_counted_and_told_of_in_its_place(void **state)
{
    (void)state;
    int fd = open_fifo();
    fill(3000);
    unsigned long long dropped = log_dropped();
    assert_true(dropped > 0 && dropped < 3000);
    const char *all = read_until(fd, " dropped, as the log could not be written\n");
    unsigned long long told = 0;
    sscanf(strstr(all, "warning: ") + strlen("warning: "), "%llu messages were", &told);
    assert_int_equal(told, dropped);
    assert_int_equal(count_lines(all, "number "), 3000 - dropped);
    log_info("test-message", "after it");
    read_until(fd, "after it\n");
    assert_int_equal(log_dropped(), dropped);
    close(fd);
}

static void test_a_flush_gives_up_when_nobody_reads_and_the_close_as_well(void **state)
{
    (void)state;
    int fd = open_fifo();
    fill(200);
    assert_false(log_flush());
    log_close();
    log_queue_start();
    assert_true(log_flush());
    close(fd);
}

static void *read_slowly(void *argument)
{
    int fd = *(int *)argument;
    read_until(fd, "the last\n");
    return NULL;
}

static void test_a_flush_waits_for_one_who_reads(void **state)
{
    (void)state;
    int fd = open_fifo();
    pthread_t reader;
    fill(900);
    log_info("test-message", "the last");
    pthread_create(&reader, NULL, read_slowly, &fd);
    assert_true(log_flush());
    pthread_join(reader, NULL);
    close(fd);
}

static void *log_for_ever(void *argument)
{
    atomic_bool *is_over = argument;
    while (!atomic_load(is_over))
        log_info("test-message", "from a thread");
    return NULL;
}

static void test_a_forked_child_writes_itself_what_is_its_own(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* another thread's locks in its malloc() stay held in the child */
#endif
    pthread_t threads[2];
    atomic_bool is_over = false;
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    assert_int_equal(log_queue_start(), 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, log_for_ever, &is_over);
    for (int i = 0; i < 200; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            log_info("test-message", "from a child");
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(log_flush());
    FILE *file = fopen(path, "re");
    char line[256];
    int count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        assert_non_null(strstr(line, "] info: from a "));
        count += strstr(line, "child") != NULL;
    }
    fclose(file);
    assert_int_equal(count, 200);
}

static void test_a_file_that_was_moved_away_is_opened_anew_without_a_word(void **state)
{
    (void)state;
    char moved[160];
    snprintf(moved, sizeof(moved), "%s.1", path);
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    assert_int_equal(log_queue_start(), 0);
    log_info("test-message", "before");
    assert_int_equal(rename(path, moved), 0);
    while (access(path, F_OK) < 0)
        usleep(1000);
    log_info("test-message", "after");
    assert_true(log_flush());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_null(strstr(read_until(fd, "after\n"), "before"));
    close(fd);
    assert_int_equal(unlink(moved), 0);
}

static void test_what_is_logged_after_a_reopen_is_in_the_new_file(void **state)
{
    (void)state;
    char moved[160];
    snprintf(moved, sizeof(moved), "%s.1", path);
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    assert_int_equal(log_queue_start(), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(rename(path, moved), 0);
        log_reopen();
        log_info("test-message", "after %d", i);
        assert_true(log_flush());
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        assert_true(status.st_size > 0);
    }
    assert_int_equal(unlink(moved), 0);
}

static void *log_one(void *unused)
{
    log_info("test-message", "held");
    return unused;
}

static void *mend(void *unused)
{
    log_mend();
    return unused;
}

static void test_the_sink_is_mended_when_the_write_that_goes_on_is_done(void **state)
{
    (void)state;
    pthread_t writer, mender;
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    assert_int_equal(log_queue_start(), 0);
    int fd = log_descriptor(), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    atomic_store(&is_held, true);
    assert_int_equal(pthread_create(&writer, NULL, log_one, NULL), 0);
    while (!atomic_load(&is_in_write))
        usleep(1000);
    dup2(null, fd);
    assert_int_equal(pthread_create(&mender, NULL, mend, NULL), 0);
    usleep(50000);
    int meanwhile = log_descriptor();
    atomic_store(&is_held, false);
    pthread_join(writer, NULL);
    pthread_join(mender, NULL);
    assert_int_equal(meanwhile, fd);
    assert_true(log_descriptor() != fd);
    close(fd);
    close(null);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_logs_waits_for_no_reader_and_nothing_is_lost_or_swapped),
        TEST(test_what_there_is_no_room_for_is_counted_and_told_of_in_its_place),
        TEST(test_a_flush_gives_up_when_nobody_reads_and_the_close_as_well),
        TEST(test_a_flush_waits_for_one_who_reads),
        TEST(test_a_forked_child_writes_itself_what_is_its_own),
        TEST(test_a_file_that_was_moved_away_is_opened_anew_without_a_word),
        TEST(test_what_is_logged_after_a_reopen_is_in_the_new_file),
        TEST(test_the_sink_is_mended_when_the_write_that_goes_on_is_done),
    };

    return cmocka_run_group_tests_name("log_queue", tests, NULL, NULL);
}
