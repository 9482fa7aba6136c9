/* links: listener.c listener_set.c listener_unix.c user.c config_load.c config_application.c
 * config_environment.c config_error.c config_file.c settings_table.c config_assignment.c
 * config_text.c config_value.c address.c */
/* Sockets that the module makes itself. */
#include "listener_fixture.h"

enum { NOBODY = 65534 };

/* Unix sockets */

static void test_unix_socket_is_made_and_removed(void **state)
{
    struct fixture *fixture = *state;
    char name[128];

    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    assert_int_equal(fixture->set.count, 1);
    snprintf(name, sizeof(name), "unix:%s/x.sock", folder);
    assert_string_equal(fixture->set.items[0].name, name);
    assert_int_equal(fixture->set.items[0].kind, ADDRESS_UNIX);
    assert_false(fixture->set.items[0].is_tcp);
    assert_false(fixture->set.items[0].is_inherited);
    assert_flags(fixture->set.items[0].fd);
    assert_true(can_connect("x.sock"));
    assert_int_equal(mode_of("x.sock"), 0600);
    listener_close_all(&fixture->set);
    assert_int_equal(inode_of("x.sock"), 0);
}

static void test_socket_mode_is_exact_under_any_umask(void **state)
{
    struct fixture *fixture = *state;
    static const char *const modes[] = {"0660", "0666", "0000", "0777", "0070"};
    static const mode_t masks[] = {0, 022, 077, 0777};

    set(fixture, "server.listen=unix:x.sock");
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        for (size_t j = 0; j < sizeof(masks) / sizeof(masks[0]); j++) {
            char assignment[64];
            mode_t before = umask(masks[j]);

            snprintf(assignment, sizeof(assignment), "server.socket_mode=%s", modes[i]);
            set(fixture, assignment);
            open_all(fixture);
            assert_int_equal(umask(before), masks[j]);
            assert_int_equal(mode_of("x.sock"), strtoul(modes[i], NULL, 8));
            listener_close_all(&fixture->set);
        }
    }
}

static void test_stale_socket_is_replaced(void **state)
{
    struct fixture *fixture = *state;

    close(listen_foreign("x.sock"));
    assert_false(can_connect("x.sock"));
    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    assert_true(can_connect("x.sock"));
}

static void test_a_file_that_is_lost_is_told_of_once(void **state)
{
    struct fixture *fixture = *state;
    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    struct listener *listener = &fixture->set.items[0];
    assert_false(listener_tells_loss(listener));
    assert_int_equal(rename("x.sock", "moved.sock"), 0);
    assert_true(listener_tells_loss(listener));
    assert_false(listener_tells_loss(listener));
    assert_int_equal(rename("moved.sock", "x.sock"), 0);
    assert_false(listener_tells_loss(listener));
    assert_int_equal(rename("x.sock", "moved.sock"), 0);
    close(listen_foreign("x.sock"));
    assert_true(listener_tells_loss(listener));
    assert_int_equal(unlink("x.sock"), 0);
    assert_int_equal(rename("moved.sock", "x.sock"), 0);
}

static void test_live_socket_is_refused_and_stays(void **state)
{
    struct fixture *fixture = *state;
    int fd = listen_foreign("x.sock");
    ino_t inode = inode_of("x.sock");

    set(fixture, "server.listen=unix:x.sock");
    assert_refused(fixture, "in use: stop the program that listens there, or use another path");
    assert_int_equal(inode_of("x.sock"), inode);
    assert_true(can_connect("x.sock"));
    close(fd);
    unlink("x.sock");
}

static void test_live_socket_with_a_full_backlog_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = unix_address("x.sock");
    int fd = listen_foreign("x.sock");
    int clients[64];
    size_t count = 0;

    assert_int_equal(listen(fd, 0), 0);
    for (; count < 64; count++) {
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(clients[count], (struct sockaddr *)&address, sizeof(address)) < 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
    }
    assert_true(count < 64);
    set(fixture, "server.listen=unix:x.sock");
    assert_refused(fixture, "in use: stop the program that listens there, or use another path");
    for (size_t i = 0; i <= count; i++)
        close(clients[i]);
    close(fd);
    assert_int_equal(unlink("x.sock"), 0);
}

static void test_what_is_no_socket_is_refused_and_stays(void **state)
{
    struct fixture *fixture = *state;
    static const char expected[] =
        "the path exists and is not a socket: remove it, or use another path";
    int fd = listen_foreign("real.sock");

    set(fixture, "server.listen=unix:x");
    write_file("x");
    assert_refused(fixture, expected);
    assert_int_equal(unlink("x"), 0);
    assert_int_equal(mkdir("x", 0700), 0);
    assert_refused(fixture, expected);
    assert_int_equal(rmdir("x"), 0);
    assert_int_equal(symlink("real.sock", "x"), 0);
    close(fd);
    assert_refused(fixture, expected);
    assert_int_equal(unlink("x"), 0);
    assert_int_equal(unlink("real.sock"), 0);
}

static void test_datagram_socket_in_the_way_is_refused_and_stays(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = unix_address("x.sock");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    set(fixture, "server.listen=unix:x.sock");
    assert_refused(
        fixture,
        "a socket is in the way (protocol wrong type for socket): remove it, or use another path");
    close(fd);
    assert_int_equal(unlink("x.sock"), 0);
}

static void test_file_of_another_is_not_unlinked(void **state)
{
    struct fixture *fixture = *state;
    int fd;

    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    assert_int_equal(rename("x.sock", "moved.sock"), 0);
    fd = listen_foreign("x.sock");
    listener_close_all(&fixture->set);
    assert_true(can_connect("x.sock"));
    close(fd);
    assert_int_equal(unlink("x.sock"), 0);
    assert_int_equal(unlink("moved.sock"), 0);
}

static int close_in_child(struct fixture *fixture)
{
    listener_unlink(&fixture->set.items[0]);
    listener_close_all(&fixture->set);
    return 0;
}

static void test_child_leaves_the_file(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    assert_in_child(close_in_child, fixture);
    assert_true(can_connect("x.sock"));
}

static void test_unlink_leaves_the_socket_listening(void **state)
{
    struct fixture *fixture = *state;
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);

    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    listener_unlink(&fixture->set.items[0]);
    assert_int_equal(inode_of("x.sock"), 0);
    assert_int_equal(
        getsockopt(fixture->set.items[0].fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size), 0);
    assert_int_equal(is_listening, 1);
    /* A successor's file is not ours, even with the same name. */
    write_file("x.sock");
    listener_close_all(&fixture->set);
    assert_int_equal(unlink("x.sock"), 0);
}

static void test_missing_folder(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:none/x.sock");
    assert_refused(fixture, "its folder does not exist: make it first");
    write_file("none");
    assert_refused(fixture, "its folder is a file: use another path");
    assert_int_equal(unlink("none"), 0);
}

static int open_as_nobody(struct fixture *fixture)
{
    const char *expected = "permission denied (folder owned by root): make the socket in a folder "
                           "that this user may write to";

    CHECK(seteuid(NOBODY) == 0);
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == -1);
    CHECK(strcmp(strstr(fixture->error.message, "\": ") + 3, expected) == 0);
    return 0;
}

static void test_denied_folder_names_its_owner(void **state)
{
    struct fixture *fixture = *state;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0755), 0);
    set(fixture, "server.listen=unix:x.sock");
    assert_in_child(open_as_nobody, fixture);
}

static int give_away_as_nobody(struct fixture *fixture)
{
    const char *expected =
        "[server] socket_owner, socket_group: operation not permitted: only root can give a socket "
        "to another user, or to a group that it is not in";

    CHECK(seteuid(NOBODY) == 0);
    CHECK(listener_open_all(&fixture->set, &fixture->config, &fixture->error) == -1);
    CHECK(strcmp(strstr(fixture->error.message, "\": ") + 3, expected) == 0);
    return 0;
}

static void test_only_root_gives_a_socket_away(void **state)
{
    struct fixture *fixture = *state;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0777), 0);
    set(fixture, "server.listen=unix:x.sock");
    set(fixture, "server.socket_owner=root");
    assert_in_child(give_away_as_nobody, fixture);
}

static void test_owner_and_group(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;

    if (geteuid() != 0)
        skip();
    set(fixture, "server.listen=unix:x.sock");
    set(fixture, "server.socket_owner=nobody");
    set(fixture, "server.socket_group=4321");
    set(fixture, "server.socket_mode=0660");
    open_all(fixture);
    assert_int_equal(lstat("x.sock", &status), 0);
    assert_int_equal(status.st_uid, NOBODY);
    assert_int_equal(status.st_gid, 4321);
    assert_int_equal(status.st_mode & 07777, 0660);
    listener_close_all(&fixture->set);
    assert_int_equal(inode_of("x.sock"), 0);
}

static void test_unknown_owner_leaves_nothing_behind(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:x.sock");
    set(fixture, "server.socket_owner=no-such-user");
    assert_refused(fixture, "[server] socket_owner: \"no-such-user\" is not a user here: write an "
                            "existing name or number");
    assert_int_equal(inode_of("x.sock"), 0);
    set(fixture, "server.socket_owner=0");
    set(fixture, "server.socket_group=12x");
    assert_refused(
        fixture,
        "[server] socket_group: \"12x\" is not a group here: write an existing name or number");
    assert_int_equal(inode_of("x.sock"), 0);
}

static void test_abstract_socket_has_no_file(void **state)
{
    struct fixture *fixture = *state;
    char assignment[128];

    snprintf(assignment, sizeof(assignment), "server.listen=unix:@%s", folder);
    set(fixture, assignment);
    open_all(fixture);
    assert_string_equal(fixture->set.items[0].path, "");
    assert_int_equal(fixture->set.items[0].kind, ADDRESS_UNIX);
    listener_close_all(&fixture->set);
    open_all(fixture);
}

/* Races */

enum { RACES = 300, RACERS = 4, WON = 'w', IN_USE = 'u', FAILED = 'f' };

/* Opens the socket when start ends, and keeps it until stop does. */
static void race(struct fixture *fixture, int start, int results, int stop)
{
    char byte;
    char result = IN_USE;

    (void)!read(start, &byte, 1);
    if (listener_open_all(&fixture->set, &fixture->config, &fixture->error) == 0)
        result = WON;
    else if (strstr(fixture->error.message, "\": in use: ") == NULL)
        result = FAILED;
    if (result == FAILED)
        fprintf(stderr, "%s\n", fixture->error.message);
    (void)!write(results, &result, 1);
    (void)!read(stop, &byte, 1);
    listener_close_all(&fixture->set);
    _exit(0);
}

/* How many serve, after as many as RACERS have begun in the same moment. -1: one said something
 * else, or who serves can't be reached, or is still reachable after its end. */
static int count_winners(struct fixture *fixture)
{
    int start[2], results[2], stop[2];
    char result[RACERS];
    int winners = 0;

    assert_int_equal(pipe(start) | pipe(results) | pipe(stop), 0);
    for (int i = 0; i < RACERS; i++) {
        if (fork() == 0) {
            close(start[1]);
            close(stop[1]);
            race(fixture, start[0], results[1], stop[0]);
        }
    }
    close(start[1]);
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(read(results[0], &result[i], 1), 1);
        winners += result[i] == WON ? 1 : result[i] == FAILED ? -RACERS : 0;
    }
    bool is_reachable = can_connect("x.sock");
    close(stop[1]);
    for (int i = 0; i < RACERS; i++)
        assert_true(wait(NULL) > 0);
    close(start[0]);
    close(results[0]);
    close(results[1]);
    close(stop[0]);
    return is_reachable && inode_of("x.sock") == 0 ? winners : -1;
}

static void test_of_those_who_begin_at_the_same_time_exactly_one_serves(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:x.sock");
    for (int i = 0; i < RACES; i++) {
        if (i % 2 == 1) /* that of a process that has died is in the way */
            close(listen_foreign("x.sock"));
        assert_int_equal(count_winners(fixture), 1);
    }
    /* And nothing else is left: tear_down removes the folder. */
}

static void test_a_lock_that_was_left_is_none(void **state)
{
    struct fixture *fixture = *state;
    int fd = open("x.sock.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    close(fd);
    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    assert_true(can_connect("x.sock"));
    assert_int_equal(inode_of("x.sock.lock"), 0);
}

static void test_a_file_that_has_the_lock_s_name_stays(void **state)
{
    struct fixture *fixture = *state;

    write_file("x.sock.lock");
    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    assert_int_equal(unlink("x.sock.lock"), 0);
    assert_int_equal(symlink("none", "x.sock.lock"), 0);
    listener_close_all(&fixture->set);
    open_all(fixture);
    assert_true(can_connect("x.sock"));
    assert_int_equal(unlink("x.sock.lock"), 0);
    assert_int_equal(inode_of("none"), 0);
}

/* TCP */

/* A port that was free a moment ago. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void set_port(struct fixture *fixture, const char *host, unsigned port)
{
    char assignment[128];

    snprintf(assignment, sizeof(assignment), "server.listen=%s:%u", host, port);
    set(fixture, assignment);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool result = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(fd);
    return result;
}

static void test_tcp_socket(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = free_port();
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    set_port(fixture, "127.0.0.1", port);
    open_all(fixture);
    assert_true(fixture->set.items[0].is_tcp);
    assert_false(fixture->set.items[0].is_inherited);
    assert_flags(fixture->set.items[0].fd);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static void test_port_in_use_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct listener_set other = {0};

    set_port(fixture, "127.0.0.1", free_port());
    open_all(fixture);
    assert_int_equal(listener_open_all(&other, &fixture->config, &fixture->error), -1);
    assert_string_equal(strstr(fixture->error.message, "\": ") + 3,
                        "in use: stop the program that listens there, or use another port");
}

static void test_address_of_another_machine_is_refused(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=192.0.2.1:9000");
    assert_refused(fixture, "not an address of this machine: use one that \"ip address\" shows");
}

static void test_ipv4_and_ipv6_share_a_port(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = free_port();

    if (!has_ipv6())
        skip();
    set_port(fixture, "[::]", port);
    set_port(fixture, "*", port);
    open_all(fixture);
    assert_int_equal(fixture->set.count, 2);
    assert_true(fixture->set.items[0].is_tcp);
}

/* Several */

static void test_several_at_once(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:a.sock");
    set_port(fixture, "127.0.0.1", free_port());
    set(fixture, "server.listen=unix:b.sock");
    open_all(fixture);
    assert_int_equal(fixture->set.count, 3);
    assert_true(can_connect("a.sock"));
    assert_true(can_connect("b.sock"));
}

static void test_one_that_fails_closes_the_others(void **state)
{
    struct fixture *fixture = *state;
    int next = dup(STDIN_FILENO);

    close(next);
    set(fixture, "server.listen=unix:a.sock");
    set(fixture, "server.listen=unix:none/b.sock");
    assert_refused(fixture, "its folder does not exist: make it first");
    assert_int_equal(inode_of("a.sock"), 0);
    assert_int_equal(fcntl(next, F_GETFD), -1);
}

static void test_the_same_address_twice_is_refused(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:a.sock");
    set(fixture, "server.listen=unix:./a.sock");
    assert_refused(fixture, "given twice: leave one out");
    assert_int_equal(inode_of("a.sock"), 0);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void test_refusing_hands_over_who_had_connected(void **state)
{
    struct fixture *fixture = *state;
    int clients[2];
    char byte;

    set(fixture, "server.listen=unix:x.sock");
    open_all(fixture);
    for (int i = 0; i < 2; i++) {
        clients[i] = connect_to("x.sock");
        assert_int_equal(write(clients[i], &"ab"[i], 1), 1);
    }
    listener_refuse(&fixture->set.items[0]);
    assert_false(can_connect("x.sock"));
    assert_int_equal(errno, ECONNREFUSED);
    for (int i = 0; i < 2; i++) {
        int fd = accept(fixture->set.items[0].fd, NULL, NULL);

        assert_true(fd >= 0);
        assert_int_equal(read(fd, &byte, 1), 1);
        assert_int_equal(byte, "ab"[i]);
        close(fd);
        close(clients[i]);
    }
    assert_int_equal(accept(fixture->set.items[0].fd, NULL, NULL), -1);
    assert_false(can_connect("x.sock"));
}

static void test_tcp_does_not_refuse_before_it_is_closed(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = free_port();
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd;

    set_port(fixture, "127.0.0.1", port);
    open_all(fixture);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    listener_refuse(&fixture->set.items[0]);
    fd = accept(fixture->set.items[0].fd, NULL, NULL);
    assert_true(fd >= 0);
    close(fd);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unix_socket_is_made_and_removed),
        TEST(test_socket_mode_is_exact_under_any_umask),
        TEST(test_stale_socket_is_replaced),
        TEST(test_a_file_that_is_lost_is_told_of_once),
        TEST(test_live_socket_is_refused_and_stays),
        TEST(test_live_socket_with_a_full_backlog_is_refused),
        TEST(test_what_is_no_socket_is_refused_and_stays),
        TEST(test_datagram_socket_in_the_way_is_refused_and_stays),
        TEST(test_file_of_another_is_not_unlinked),
        TEST(test_child_leaves_the_file),
        TEST(test_unlink_leaves_the_socket_listening),
        TEST(test_missing_folder),
        TEST(test_denied_folder_names_its_owner),
        TEST(test_only_root_gives_a_socket_away),
        TEST(test_owner_and_group),
        TEST(test_unknown_owner_leaves_nothing_behind),
        TEST(test_of_those_who_begin_at_the_same_time_exactly_one_serves),
        TEST(test_a_lock_that_was_left_is_none),
        TEST(test_a_file_that_has_the_lock_s_name_stays),
        TEST(test_abstract_socket_has_no_file),
        TEST(test_tcp_socket),
        TEST(test_port_in_use_is_refused),
        TEST(test_address_of_another_machine_is_refused),
        TEST(test_ipv4_and_ipv6_share_a_port),
        TEST(test_several_at_once),
        TEST(test_one_that_fails_closes_the_others),
        TEST(test_the_same_address_twice_is_refused),
        TEST(test_refusing_hands_over_who_had_connected),
        TEST(test_tcp_does_not_refuse_before_it_is_closed),
    };

    return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
