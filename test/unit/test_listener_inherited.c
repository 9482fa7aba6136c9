/* links: listener.c listener_set.c listener_unix.c user.c config_load.c config_application.c
 * config_environment.c config_error.c config_file.c settings_table.c config_assignment.c
 * config_text.c config_value.c address.c */
/* Sockets that are there already: fd:N, descriptor 0, systemd's. */
#include "listener_fixture.h"

static void set_descriptor(struct fixture *fixture, int fd)
{
    char assignment[64];

    snprintf(assignment, sizeof(assignment), "server.listen=fd:%d", fd);
    set(fixture, assignment);
}

static void test_given_descriptor(void **state)
{
    struct fixture *fixture = *state;
    int fd = listen_foreign("x.sock");

    set_descriptor(fixture, fd);
    open_all(fixture);
    assert_int_equal(fixture->set.items[0].fd, fd);
    assert_true(fixture->set.items[0].is_inherited);
    assert_false(fixture->set.items[0].is_tcp);
    assert_flags(fd);
    listener_close_all(&fixture->set);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    /* Whoever made it removes it. */
    assert_int_equal(unlink("x.sock"), 0);
}

static void test_given_tcp_descriptor_goes_through_the_allow_list(void **state)
{
    struct fixture *fixture = *state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(listen(fd, 8), 0);
    set_descriptor(fixture, fd);
    open_all(fixture);
    assert_true(fixture->set.items[0].is_tcp);
}

static void test_descriptors_that_are_no_listening_socket(void **state)
{
    struct fixture *fixture = *state;
    char expected[128];
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    set_descriptor(fixture, fds[0]);
    snprintf(
        expected, sizeof(expected),
        "descriptor %d is not a listening stream socket: pass one on which listen() was called",
        fds[0]);
    assert_refused(fixture, expected);
    assert_int_equal(dup3(fileno(stderr), fds[0], O_CLOEXEC), fds[0]);
    snprintf(expected, sizeof(expected), "descriptor %d is not a socket: pass a listening one",
             fds[0]);
    assert_refused(fixture, expected);
    /* A descriptor that is refused stays its owner's. */
    assert_int_equal(close(fds[0]), 0);
    snprintf(expected, sizeof(expected),
             "descriptor %d is not open: the program that starts fcgihost must pass it on", fds[0]);
    assert_refused(fixture, expected);
    close(fds[1]);
}

static int open_stdin(struct fixture *fixture)
{
    struct stat stdin_status;
    struct stat null_status;

    dup2(listen_foreign("x.sock"), STDIN_FILENO);
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == 0);
    CHECK(fixture->set.count == 1);
    CHECK(strcmp(fixture->set.items[0].name, "fd:0") == 0);
    CHECK(fixture->set.items[0].is_inherited);
    CHECK(fixture->set.items[0].fd > STDERR_FILENO);
    CHECK(can_connect("x.sock"));
    CHECK(fcntl(fixture->set.items[0].fd, F_GETFD) == FD_CLOEXEC);
    CHECK(fcntl(fixture->set.items[0].fd, F_GETFL) & O_NONBLOCK);
    /* The application reads nothing from stdin, and its children have one. */
    CHECK(fstat(STDIN_FILENO, &stdin_status) == 0 && stat("/dev/null", &null_status) == 0);
    CHECK(stdin_status.st_rdev == null_status.st_rdev);
    CHECK(fcntl(STDIN_FILENO, F_GETFD) == 0);
    listener_close_all(&fixture->set);
    CHECK(unlink("x.sock") == 0);
    return 0;
}

static void test_stdin_is_used_when_it_listens(void **state)
{
    assert_in_child(open_stdin, *state);
}

static int open_nothing(struct fixture *fixture)
{
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == -1);
    CHECK(strcmp(fixture->error.message,
                 "[server] listen: no address to listen on, and descriptor 0 is not a listening "
                 "socket: give --listen unix:PATH or --listen HOST:PORT, or start it from a web "
                 "server, spawn-fcgi or systemd") == 0);
    return 0;
}

static void test_nowhere_to_listen(void **state)
{
    assert_in_child(open_nothing, *state);
}

/* As systemd would start us, with these sockets as descriptors 3 and 4. */
static void prepare_systemd(const char *count, pid_t pid)
{
    int first = listen_foreign("3.sock");
    int second = listen_foreign("4.sock");
    char text[32];

    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
    first = fcntl(first, F_DUPFD, 10);
    second = fcntl(second, F_DUPFD, 10);
    dup2(first, 3);
    dup2(second, 4);
    snprintf(text, sizeof(text), "%ld", (long)pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", "a:b", 1);
    unlink("3.sock");
    unlink("4.sock");
}

static int open_from_systemd(struct fixture *fixture)
{
    prepare_systemd("2", getpid());
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == 0);
    CHECK(fixture->set.count == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(fixture->set.items[i].fd == 3 + i);
        CHECK(fixture->set.items[i].is_inherited);
        CHECK(fcntl(3 + i, F_GETFD) == FD_CLOEXEC);
    }
    CHECK(strcmp(fixture->set.items[1].name, "fd:4") == 0);
    CHECK(getenv("LISTEN_PID") == NULL);
    CHECK(getenv("LISTEN_FDS") == NULL);
    CHECK(getenv("LISTEN_FDNAMES") == NULL);
    return 0;
}

static void test_systemd_activation(void **state)
{
    assert_in_child(open_from_systemd, *state);
}

static int open_for_another(struct fixture *fixture)
{
    prepare_systemd("2", getppid());
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == -1);
    CHECK(strncmp(fixture->error.message, "[server] listen: no address to listen on", 40) == 0);
    return 0;
}

static void test_activation_of_another_process_is_none(void **state)
{
    assert_in_child(open_for_another, *state);
}

static int open_with_bad_count(struct fixture *fixture)
{
    prepare_systemd("2x", getpid());
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == -1);
    CHECK(strcmp(fixture->error.message, "listen: LISTEN_FDS is \"2x\", not a number: leave it to "
                                         "systemd, or give --listen ADDRESS") == 0);
    return 0;
}

static void test_activation_with_a_bad_count(void **state)
{
    assert_in_child(open_with_bad_count, *state);
}

static int open_what_does_not_listen(struct fixture *fixture)
{
    int fds[2];

    prepare_systemd("2", getpid());
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    dup2(fds[0], 4);
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == -1);
    CHECK(
        strcmp(fixture->error.message,
               "listen \"fd:4\": descriptor 4 is not a listening stream socket: pass one on which "
               "listen() was called") == 0);
    return 0;
}

static void test_activation_with_accept_yes_is_refused(void **state)
{
    assert_in_child(open_what_does_not_listen, *state);
}

static void test_inherited_socket_without_another_copy_is_ours(void **state)
{
    struct fixture *fixture = *state;

    set_descriptor(fixture, listen_foreign("x.sock"));
    open_all(fixture);
    assert_int_equal(listener_find_owner(&fixture->set.items[0]), LISTENER_OURS);
    assert_int_equal(unlink("x.sock"), 0);
}

/* Until the pipe is closed the child has a copy of everything. */
static pid_t fork_holder(int pipe_fds[2])
{
    pid_t child;

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char byte;

        close(pipe_fds[1]);
        _exit(read(pipe_fds[0], &byte, 1) != 0);
    }
    close(pipe_fds[0]);
    return child;
}

static void end_holder(pid_t child, int pipe_fds[2])
{
    int status;

    close(pipe_fds[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_inherited_socket_that_a_child_holds_is_shared(void **state)
{
    struct fixture *fixture = *state;
    int pipe_fds[2];
    pid_t child;

    set_descriptor(fixture, listen_foreign("x.sock"));
    open_all(fixture);
    child = fork_holder(pipe_fds);
    assert_int_equal(listener_find_owner(&fixture->set.items[0]), LISTENER_SHARED);
    end_holder(child, pipe_fds);
    assert_int_equal(listener_find_owner(&fixture->set.items[0]), LISTENER_OURS);
    assert_int_equal(unlink("x.sock"), 0);
}

/* A child of the application has a copy of it too, and must not keep the process from refusing. */
static void test_socket_of_its_own_is_ours_whoever_holds_a_copy(void **state)
{
    struct fixture *fixture = *state;
    int pipe_fds[2];
    pid_t child;

    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    child = fork_holder(pipe_fds);
    assert_int_equal(listener_find_owner(&fixture->set.items[0]), LISTENER_OURS);
    end_holder(child, pipe_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_given_descriptor),
        TEST(test_given_tcp_descriptor_goes_through_the_allow_list),
        TEST(test_descriptors_that_are_no_listening_socket),
        TEST(test_stdin_is_used_when_it_listens),
        TEST(test_nowhere_to_listen),
        TEST(test_systemd_activation),
        TEST(test_activation_of_another_process_is_none),
        TEST(test_activation_with_a_bad_count),
        TEST(test_activation_with_accept_yes_is_refused),
        TEST(test_inherited_socket_without_another_copy_is_ours),
        TEST(test_inherited_socket_that_a_child_holds_is_shared),
        TEST(test_socket_of_its_own_is_ours_whoever_holds_a_copy),
    };

    return cmocka_run_group_tests_name("listener_inherited", tests, NULL, NULL);
}
