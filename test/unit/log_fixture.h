/* What the tests of the log share: a log file in a folder of its own, a socket that stands for
 * syslog's daemon, and children whose descriptor 2 can be anything. */
#ifndef FCGIHOST_TEST_LOG_FIXTURE_H
#define FCGIHOST_TEST_LOG_FIXTURE_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_line.h"
#include "base/log_syslog.h"

enum { TEXT_SIZE = 1 << 17, PREFIX = 30 };

static const struct log_topic topic = {.event = "test-message"};
static char folder[64];
static char path[128];

/* Stands for syslog's daemon. */
static int syslog_fd = -1;

static inline int open_syslog(void)
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
static inline const char *next_syslog(void)
{
    static char text[TEXT_SIZE];
    ssize_t length = recv(syslog_fd, text, sizeof(text) - 1, 0);

    if (length < 20)
        return "(nothing)";
    text[length] = '\0';
    memmove(text + 4, text + 20, (size_t)length - 20 + 1);
    return text;
}

static inline bool is_syslogged(int priority, const char *message)
{
    static char expected[TEXT_SIZE];

    snprintf(expected, sizeof(expected), "<%d>fcgihost[%d]: %s", priority, (int)getpid(), message);
    return strcmp(next_syslog(), expected) == 0;
}

static inline int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_log.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/x.log", folder);
    return log_open(path, LOG_LEVEL_INFO);
}

static inline int tear_down(void **state)
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
static inline const char *read_file(const char *name)
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
static inline const char *after_time(const char *text)
{
    assert_true(strlen(text) > PREFIX);
    return text + PREFIX;
}

static inline void assert_logged(const char *message)
{
    static char expected[TEXT_SIZE];

    snprintf(expected, sizeof(expected), "[%d] info: %s\n", (int)getpid(), message);
    assert_string_equal(after_time(read_file(path)), expected);
}

static inline void assert_text(const char *text, size_t text_bytes, const char *expected)
{
    assert_int_equal(truncate(path, 0), 0);
    log_text(LOG_LEVEL_INFO, &topic, text, text_bytes);
    assert_logged(expected);
}

/* For what runs in a child: it returns 0, or the line that failed. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

static inline void assert_in_child(int (*body)(void))
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
