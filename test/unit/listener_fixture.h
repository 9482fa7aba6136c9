/* What the tests of the listeners share: a folder for each test, and sockets that the module did
 * not make. */
#ifndef FCGIHOST_TEST_LISTENER_FIXTURE_H
#define FCGIHOST_TEST_LISTENER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config_load.h"
#include "net/listener_set.h"

struct fixture {
    struct config config;
    struct config_error error;
    struct listener_set set;
};

/* Every test runs in a folder of its own, so that it sees what another one left. */
static char folder[64];

static inline int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    *state = &fixture;
    snprintf(folder, sizeof(folder), "/tmp/test_listener.XXXXXX");
    return mkdtemp(folder) == NULL || chdir(folder) < 0 ||
           config_init(&fixture.config, &fixture.error) < 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;

    listener_close_all(&fixture->set);
    config_clear(&fixture->config);
    /* Fails if a socket file was left. */
    return rmdir(folder);
}

static inline void set(struct fixture *fixture, const char *assignment)
{
    assert_int_equal(config_set(&fixture->config, assignment, &fixture->error), 0);
}

static inline void open_all(struct fixture *fixture)
{
    if (listener_open_all(&fixture->set, &fixture->config, &fixture->error) != 0)
        fail_msg("%s", fixture->error.message);
}

/* expected: what follows the path in the message. */
static inline void assert_refused(struct fixture *fixture, const char *expected)
{
    const char *reason;

    fixture->error.message[0] = '\0';
    assert_int_equal(listener_open_all(&fixture->set, &fixture->config, &fixture->error), -1);
    assert_int_equal(fixture->set.count, 0);
    assert_null(fixture->set.items);
    reason = strstr(fixture->error.message, "\": ");
    assert_non_null(reason);
    assert_string_equal(reason + 3, expected);
}

static inline struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

/* A listening socket that the module did not make. */
static inline int listen_foreign(const char *path)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static inline bool can_connect(const char *path)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = connect(fd, (struct sockaddr *)&address, sizeof(address));

    close(fd);
    return result == 0;
}

static inline ino_t inode_of(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

static inline mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

static inline void write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
}

static inline void assert_flags(int fd)
{
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* Runs body in a child, where descriptors, environment and user can be changed; it returns 0 when
 * all was well, else the number of the line. */
static inline void assert_in_child(int (*body)(struct fixture *), struct fixture *fixture)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        int line = body(fixture);

        if (line != 0)
            fprintf(stderr, "failed in the child at line %d: %s\n", line, fixture->error.message);
        _exit(line != 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
