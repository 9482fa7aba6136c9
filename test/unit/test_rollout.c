/* The configuration and the sockets that workers are started with, before, while and after they
 * change: real files and sockets in a folder of the test's own.
 *
 * links: rollout.c command_line.c config_load.c config_application.c config_environment.c
 * config_error.c config_file.c settings_table.c config_places.c config_assignment.c config_text.c
 * config_value.c listener.c listener_set.c listener_unix.c address.c user.c */
#include "life_fakes.h"
#include "listener_fixture.h"

#include "config/command_line.h"
#include "life/privileges.h"
#include "manager/rollout.h"

static struct rollout rollout;
static struct config_error error;
static bool is_user_unknown;
static char program[] = "fcgihost", option[] = "-c", file[] = "f.ini";
static char *arguments[] = {program, option, file, NULL};

/* The next calloc() fails. A sanitizer has its own. */
static bool is_memory_out;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { CAN_FAIL = true };
void *__libc_calloc(size_t count, size_t n);

void *calloc(size_t count, size_t n)
{
    bool fails = is_memory_out;
    is_memory_out = false;
    errno = fails ? ENOMEM : errno;
    return fails ? NULL : __libc_calloc(count, n);
}

#else
enum { CAN_FAIL = false };
#endif

int privileges_find(const struct config *config, bool is_anew, struct privileges *privileges,
                    struct config_error *found)
{
    (void)config;
    (void)privileges;
    return is_user_unknown && !is_anew ? config_error_set(found, "no such user") : 0;
}

/* listen: addresses, with spaces between. */
static void write_ini(const char *listen, unsigned processes)
{
    FILE *ini = fopen(file, "w");
    assert_non_null(ini);
    fprintf(ini, "[server]\nprocesses = %u\n", processes);
    for (const char *at = listen; *at != '\0'; at += strspn(at, " ")) {
        size_t bytes = strcspn(at, " ");
        fputs("listen = ", ini);
        fwrite(at, 1, bytes, ini);
        fputs("\n", ini);
        at += bytes;
    }
    fprintf(ini, "[application]\nscript = app.py\n");
    assert_int_equal(fclose(ini), 0);
}

static void begin_first(struct fixture *fixture, const char *listen)
{
    struct command_line line;
    char *argv[] = {program, option, file, NULL};
    write_ini(listen, 2);
    if (command_line_parse(argv, &line, &fixture->config, &error) != COMMAND_LINE_OK)
        fail_msg("%s", error.message);
    command_line_clear(&line);
    assert_int_equal(rollout_init(&rollout, arguments, &fixture->config, &error), 0);
}

static int begin(void **state)
{
    forget();
    fake_predecessor = NULL;
    is_user_unknown = false;
    if (set_up(state) != 0)
        return -1;
    fclose(fopen("app.py", "w"));
    begin_first(*state, "unix:a");
    return 0;
}

static int end(void **state)
{
    rollout_close(&rollout);
    rollout_clear(&rollout);
    unlink(file);
    unlink("app.py");
    return tear_down(state); /* fails if a socket file was left */
}

static int fd_of(bool is_next, size_t i)
{
    const struct listener_set *set = &rollout_outfit(&rollout, is_next)->listeners;
    return i < set->count ? set->items[i].fd : -1;
}

/* Which socket a descriptor leads to: a set has descriptors of its own to those that it shares. */
static ino_t socket_of(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return status.st_ino;
}

static void
test_until_a_reload_succeeds_both_the_old_sockets_and_the_new_ones_are_open(void **state)
{
    struct fixture *fixture = *state;
    int old_fd = fd_of(false, 0);
    write_ini("unix:b", 5);
    const struct config *config = rollout_begin(&rollout);
    assert_non_null(config);
    assert_int_equal(config->processes, 5);
    assert_true(can_connect("a") && can_connect("b"));
    assert_ptr_equal(rollout_outfit(&rollout, false)->config, &fixture->config);
    assert_ptr_equal(rollout_outfit(&rollout, true)->config, config);
    assert_int_equal(fd_of(false, 0), old_fd);
    rollout_succeed(&rollout);
    assert_ptr_equal(rollout_outfit(&rollout, false)->config, config);
    assert_ptr_equal(rollout_outfit(&rollout, true)->config, config);
    assert_int_equal(inode_of("a"), 0);
    assert_int_equal(fcntl(old_fd, F_GETFD), -1);
    assert_true(can_connect("b"));
    rollout_succeed(&rollout); /* of changed code, without another configuration */
    assert_true(can_connect("b"));
}

static void test_a_socket_that_stays_is_the_same_all_the_time(void **state)
{
    (void)state;
    ino_t inode = inode_of("a");
    ino_t socket = socket_of(fd_of(false, 0));
    for (int i = 0; i < 3; i++) {
        write_ini(i % 2 == 0 ? "unix:a unix:b" : "unix:a", 2);
        assert_non_null(rollout_begin(&rollout));
        rollout_succeed(&rollout);
        assert_int_equal(socket_of(fd_of(false, 0)), socket);
        assert_int_equal(inode_of("a"), inode);
        assert_true(can_connect("a"));
    }
}

static void test_a_wrong_configuration_changes_nothing_and_the_log_says_what_to_do(void **state)
{
    struct fixture *fixture = *state;
    write_ini("nonsense", 2);
    assert_null(rollout_begin(&rollout));
    assert_true(was_told("log_error: reload: "));
    assert_true(was_told("nonsense"));
    assert_true(was_told("; nothing is changed: fix it, and reload again|"));
    assert_ptr_equal(rollout_outfit(&rollout, true)->config, &fixture->config);
    assert_true(can_connect("a"));
}

static void test_without_memory_nothing_is_changed_and_the_log_says_so(void **state)
{
    struct fixture *fixture = *state;
    if (!CAN_FAIL)
        skip();
    is_memory_out = true;
    assert_null(rollout_begin(&rollout));
    assert_true(was_told("log_error: reload: cannot allocate memory; nothing is changed"));
    assert_ptr_equal(rollout_outfit(&rollout, true)->config, &fixture->config);
}

static void test_a_configuration_that_could_not_be_started_with_is_refused(void **state)
{
    (void)state;
    is_user_unknown = true;
    assert_null(rollout_begin(&rollout));
    assert_true(was_told("log_error: reload: no such user; nothing is changed"));
    is_user_unknown = false;
    forget();
    unlink("app.py");
    assert_null(rollout_begin(&rollout));
    assert_true(was_told("app.py"));
    forget();
    fclose(fopen("app.py", "w"));
    write_ini("unix:no-such-folder/b", 2);
    assert_null(rollout_begin(&rollout));
    assert_true(was_told("no-such-folder"));
    assert_false(rollout.has_next);
}

static void test_what_a_reload_that_failed_had_opened_is_closed_again(void **state)
{
    struct fixture *fixture = *state;
    write_ini("unix:a unix:b", 2);
    assert_non_null(rollout_begin(&rollout));
    int fd = fd_of(true, 1);
    assert_ptr_equal(rollout_fail(&rollout), &fixture->config);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(inode_of("b"), 0);
    assert_ptr_equal(rollout_outfit(&rollout, true)->config, &fixture->config);
    assert_true(can_connect("a"));
    assert_ptr_equal(rollout_fail(&rollout), &fixture->config); /* nothing more happens */
    assert_true(can_connect("a"));
}

static void test_a_second_reload_takes_the_sockets_of_the_first_that_it_still_names(void **state)
{
    (void)state;
    write_ini("unix:b unix:c", 2);
    assert_non_null(rollout_begin(&rollout));
    ino_t b = socket_of(fd_of(true, 0));
    ino_t inode = inode_of("b");
    write_ini("unix:b unix:d", 7);
    assert_int_equal(rollout_begin(&rollout)->processes, 7);
    assert_int_equal(socket_of(fd_of(true, 0)), b);
    assert_int_equal(inode_of("b"), inode);
    assert_int_equal(inode_of("c"), 0);
    assert_true(can_connect("a") && can_connect("b") && can_connect("d"));
    write_ini("wrong", 2);
    assert_null(rollout_begin(&rollout)); /* the second one goes on */
    assert_int_equal(rollout_outfit(&rollout, true)->config->processes, 7);
    rollout_succeed(&rollout);
    assert_int_equal(socket_of(fd_of(false, 0)), b);
    assert_true(can_connect("b") && can_connect("d"));
}

/* The test's own copy, as a worker has one. */
static void test_at_the_end_nobody_can_connect_and_who_has_is_still_accepted(void **state)
{
    (void)state;
    int worker_fd = dup(fd_of(false, 0)), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = unix_address("a");
    char name[64];
    write_ini("unix:a unix:b", 2);
    assert_non_null(rollout_begin(&rollout));
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(link("a", "other-name"), 0);
    rollout_close(&rollout);
    assert_int_equal(inode_of("a"), 0);
    assert_int_equal(inode_of("b"), 0);
    assert_false(can_connect("other-name")); /* the backlog is closed to new ones */
    int accepted = accept(worker_fd, NULL, NULL);
    assert_true(accepted >= 0);
    snprintf(name, sizeof(name), "other-name");
    unlink(name);
    close(accepted);
    close(client);
    close(worker_fd);
}

static void test_a_socket_that_others_have_too_is_not_made_to_refuse(void **state)
{
    (void)state;
    char listen[32];
    int foreign = listen_foreign("given");
    snprintf(listen, sizeof(listen), "fd:%d", dup(foreign));
    write_ini(listen, 2);
    assert_non_null(rollout_begin(&rollout));
    rollout_succeed(&rollout);
    rollout_close(&rollout);
    assert_true(can_connect("given"));
    close(foreign);
    unlink("given");
}

static void test_the_next_manager_takes_the_sockets_that_were_handed_over(void **state)
{
    struct fixture *fixture = *state;
    static struct rollout next;
    struct handover_listener listener = listener_describe(&rollout.current.listeners.items[0]);
    struct handover handover = {.listeners = &listener, .listener_count = 1};
    listener.fd = dup(listener.fd); /* as exec() keeps it */
    fake_predecessor = &handover;
    ino_t inode = inode_of("a");
    assert_int_equal(rollout_init(&next, arguments, &fixture->config, &error), 0);
    assert_int_equal(rollout_outfit(&next, false)->listeners.items[0].fd, listener.fd);
    assert_int_equal(inode_of("a"), inode);
    rollout_close(&next);
    assert_int_equal(inode_of("a"), 0);
    rollout_clear(&next);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_until_a_reload_succeeds_both_the_old_sockets_and_the_new_ones_are_open),
        TEST(test_a_socket_that_stays_is_the_same_all_the_time),
        TEST(test_a_wrong_configuration_changes_nothing_and_the_log_says_what_to_do),
        TEST(test_without_memory_nothing_is_changed_and_the_log_says_so),
        TEST(test_a_configuration_that_could_not_be_started_with_is_refused),
        TEST(test_what_a_reload_that_failed_had_opened_is_closed_again),
        TEST(test_a_second_reload_takes_the_sockets_of_the_first_that_it_still_names),
        TEST(test_at_the_end_nobody_can_connect_and_who_has_is_still_accepted),
        TEST(test_a_socket_that_others_have_too_is_not_made_to_refuse),
        TEST(test_the_next_manager_takes_the_sockets_that_were_handed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
