/* The log in syslog: asked for, and where standard error leads nowhere.
 *
 * links: log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c
 * log_standard.c log_syslog.c own_file.c */
#include "log_fixture.h"

static int log_to_null(void)
{
    CHECK(open_syslog() == 0);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    CHECK(log_open("stderr", LOG_LEVEL_INFO) == 0);
    log_text(LOG_LEVEL_ERROR, &topic, "one\ntwo 3\x1b", strlen("one\ntwo 3\x1b"));
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

static int mend_syslog(void)
{
    CHECK(open_syslog() == 0);
    CHECK(log_open("syslog", LOG_LEVEL_INFO) == 0);
    int fd = log_descriptor();
    log_mend(); /* nothing to mend */
    CHECK(log_descriptor() == fd);
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    dup2(file, fd);
    log_mend();
    log_info("test-message", "mended");
    CHECK(log_descriptor() != fd);
    CHECK(is_syslogged(30, "mended"));
    struct stat before, after;
    CHECK(fstat(file, &before) == 0 && fstat(fd, &after) == 0);
    CHECK(after.st_ino == before.st_ino && after.st_size == 0);
    dup2(file, log_descriptor()); /* and is found by a message itself */
    fd = log_descriptor();
    log_info("test-message", "again");
    CHECK(fstat(fd, &after) == 0 && after.st_ino == before.st_ino && after.st_size == 0);
    CHECK(is_syslogged(30, "again"));
    unlink(log_syslog_path);
    return 0;
}

static void test_what_got_the_number_of_the_socket_is_left_alone(void **state)
{
    (void)state;
    assert_in_child(mend_syslog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_null_device_becomes_syslog),
        TEST(test_closed_stderr_becomes_syslog_and_is_plugged),
        TEST(test_syslog),
        TEST(test_syslog_gets_whole_objects),
        TEST(test_what_got_the_number_of_the_socket_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
