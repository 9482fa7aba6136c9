/* The control socket's file, in folders of the test's own.
 *
 * links: control_socket.c config_error.c */
#include "life_fakes.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "status/control_socket.h"

enum { OTHER_USER = 4711 };

static char base[64];
static const char *folders[4]; /* below base, in which identity_each_folder() looks; NULL ends it */
static struct control_socket opened;
static int open_before;

/* Fakes */

static const char *in(const char *folder)
{
    static char paths[4][CONTROL_PATH_BYTES * 2];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", base, folder);
    return path;
}

bool identity_each_folder(bool (*visit)(const char *folder, void *context), void *context)
{
    for (size_t i = 0; folders[i] != NULL; i++)
        if (visit(in(folders[i]), context))
            return true;
    return false;
}

bool identity_control_path(const char *folder, long pid, char path[CONTROL_PATH_BYTES])
{
    return snprintf(path, CONTROL_PATH_BYTES, "%s/%ld", folder, pid) < CONTROL_PATH_BYTES;
}

long identity_control_pid(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    return *end == '\0' ? pid : 0;
}

/* Files */

static const char *file(const char *folder, long pid)
{
    static char path[CONTROL_PATH_BYTES * 2];
    snprintf(path, sizeof(path), "%s/%ld", in(folder), pid);
    return path;
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static int listen_at(const char *path, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

/* The number of a process that has ended, with nobody listening at its file. */
static long leave_dead(const char *folder)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(listen_at(file(folder, pid), 1));
    return pid;
}

static int set_up(void **state)
{
    (void)state;
    forget();
    open_before = count_open();
    snprintf(base, sizeof(base), "/tmp/test_control_socket.XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    mkdir(in("a"), 0755);
    mkdir(in("b"), 0700);
    folders[0] = "a";
    folders[1] = "b";
    folders[2] = NULL;
    opened = (struct control_socket){.fd = -1};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    control_socket_close(&opened);
    static const char *const left[] = {"a", "b"};
    for (size_t i = 0; i < COUNT(left); i++) {
        DIR *entries = opendir(in(left[i]));
        for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
            if (entry->d_name[0] != '.')
                unlinkat(dirfd(entries), entry->d_name, 0);
        if (entries != NULL)
            closedir(entries);
        rmdir(in(left[i]));
    }
    rmdir(base);
    assert_false(exists(base));
    return count_open() - open_before;
}

static void assert_opened_in(const char *folder)
{
    control_socket_open(&opened);
    assert_true(opened.fd >= 0);
    assert_string_equal(opened.path, file(folder, (long)getpid()));
}

static void test_it_is_made_in_the_first_folder_for_its_user_alone(void **state)
{
    (void)state;
    struct stat status;
    assert_opened_in("a");
    assert_int_equal(lstat(opened.path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_true((fcntl(opened.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(opened.fd, F_GETFL) & O_NONBLOCK) != 0);
    int fd = control_socket_connect(opened.path), peer = accept(opened.fd, NULL, NULL);
    assert_true(fd >= 0 && peer >= 0);
    assert_true(control_socket_admits(peer));
    close(fd);
    close(peer);
    assert_string_equal(told, "");
}

static void test_a_folder_in_which_others_could_put_a_file_is_not_used(void **state)
{
    (void)state;
    static const mode_t modes[] = {0777, 0775, 0722, 01777};
    for (size_t i = 0; i < COUNT(modes); i++) {
        chmod(in("a"), modes[i]);
        assert_opened_in("b");
        control_socket_close(&opened);
    }
    chmod(in("a"), 0700);
    assert_opened_in("a");
}

static void test_a_folder_of_another_user_is_not_used(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(in("a"), OTHER_USER, OTHER_USER), 0);
    assert_opened_in("b");
}

static void test_a_folder_that_is_missing_or_a_file_is_not_used(void **state)
{
    (void)state;
    rmdir(in("a"));
    assert_opened_in("b");
    control_socket_close(&opened);
    close(open(in("a"), O_CREAT | O_WRONLY, 0600));
    assert_opened_in("b");
    unlink(in("a"));
}

static void test_a_path_too_long_for_a_socket_is_not_used(void **state)
{
    (void)state;
    char name[CONTROL_PATH_BYTES];
    size_t base_bytes = strlen(in("")), pid_bytes = strlen(file("", (long)getpid())) - base_bytes;
    /* Fits, but not with what it is called until it is ready; then not at all. */
    for (size_t more = 0; more < 10; more += 2) {
        size_t n = CONTROL_PATH_BYTES - base_bytes - pid_bytes - 4 + more;
        memset(name, 'n', n);
        name[n] = '\0';
        folders[0] = name;
        assert_int_equal(mkdir(in(name), 0700), 0);
        assert_opened_in("b");
        control_socket_close(&opened);
        assert_int_equal(rmdir(in(name)), 0);
    }
}

static void test_without_a_folder_there_is_none_and_one_line_says_so(void **state)
{
    (void)state;
    folders[0] = "missing";
    folders[1] = NULL;
    control_socket_open(&opened);
    assert_int_equal(opened.fd, -1);
    assert_non_null(strstr(told, "log_info: no control socket"));
    assert_ptr_equal(strchr(told, '|'), told + strlen(told) - 1);
    assert_int_equal(count_open(), open_before);
}

static void test_what_dead_hosts_left_is_removed_and_nothing_else(void **state)
{
    (void)state;
    long dead = leave_dead("a"), elsewhere = leave_dead("b"), other_namespace;
    /* Of a process that has no such number here, and listens. */
    other_namespace = leave_dead("a");
    unlink(file("a", other_namespace));
    int listening = listen_at(file("a", other_namespace), 1);
    close(listen_at(in("a/host.sock"), 1));
    close(listen_at(file("a", (long)getppid()), 1)); /* it lives, and may open it again */
    assert_opened_in("a");
    assert_false(exists(file("a", dead)));
    assert_true(exists(file("a", other_namespace)));
    assert_true(exists(in("a/host.sock")));
    assert_true(exists(file("a", (long)getppid())));
    assert_true(exists(file("b", elsewhere)));
    close(listening);
}

static void
test_it_takes_the_place_of_what_this_process_left_before_it_executed_itself(void **state)
{
    (void)state;
    char temporary[CONTROL_PATH_BYTES * 2 + 8];
    close(listen_at(file("a", (long)getpid()), 1));
    snprintf(temporary, sizeof(temporary), "%s.new", file("a", (long)getpid()));
    close(listen_at(temporary, 1));
    assert_opened_in("a");
    assert_false(exists(temporary));
    int fd = control_socket_connect(opened.path);
    assert_true(fd >= 0);
    close(fd);
}

static void test_a_folder_that_has_the_name_leaves_nothing_behind(void **state)
{
    (void)state;
    assert_int_equal(mkdir(file("a", (long)getpid()), 0700), 0);
    assert_opened_in("b");
    assert_int_equal(rmdir(file("a", (long)getpid())), 0);
    assert_int_equal(rmdir(in("a")), 0); /* it is empty */
}

static void remove_with_folder(const char *folder)
{
    assert_int_equal(unlink(opened.path), 0);
    assert_int_equal(rmdir(in(folder)), 0);
}

static void test_one_whose_folder_was_removed_is_made_again_when_that_is_back(void **state)
{
    (void)state;
    assert_opened_in("a");
    control_socket_heal(&opened);
    assert_string_equal(told, "");
    remove_with_folder("a");
    control_socket_heal(&opened);
    control_socket_heal(&opened);
    assert_true(opened.fd >= 0);
    assert_int_equal(mkdir(in("a"), 0755), 0);
    control_socket_heal(&opened);
    int fd = control_socket_connect(opened.path);
    assert_true(fd >= 0);
    close(fd);
    char expected[1000];
    snprintf(
        expected, sizeof(expected),
        "log_warning: control socket \"%s\": it was removed, and can't be made again yet: no such "
        "file or directory: until then fcgihost --status can't ask this host|log_info: control "
        "socket \"%s\": it was removed, and is made again|",
        opened.path, opened.path);
    assert_string_equal(told, expected);
}

static void test_each_loss_is_told_of_though_the_file_comes_back_by_itself(void **state)
{
    (void)state;
    assert_opened_in("a");
    for (int i = 0; i < 2; i++) {
        char moved[CONTROL_PATH_BYTES];
        snprintf(moved, sizeof(moved), "%s/moved", base);
        assert_int_equal(rename(in("a"), moved), 0);
        told[0] = '\0';
        control_socket_heal(&opened);
        assert_non_null(strstr(told, "it was removed, and can't be made again yet"));
        assert_int_equal(rename(moved, in("a")), 0);
        control_socket_heal(&opened);
    }
}

static void test_it_is_not_made_again_in_a_folder_in_which_others_could_put_a_file(void **state)
{
    (void)state;
    assert_opened_in("a");
    remove_with_folder("a");
    assert_int_equal(mkdir(in("a"), 0700), 0);
    assert_int_equal(chmod(in("a"), 0777), 0);
    control_socket_heal(&opened);
    assert_false(exists(opened.path));
    assert_non_null(strstr(told, "can't be made again yet: others may write to its folder"));
    struct control_socket workers = {.fd = dup(0)};
    control_socket_heal(&workers); /* it has no file */
    control_socket_close(&workers);
}

static void test_closing_removes_the_file_once(void **state)
{
    (void)state;
    assert_opened_in("a");
    char path[CONTROL_PATH_BYTES];
    memcpy(path, opened.path, sizeof(path));
    control_socket_close(&opened);
    assert_int_equal(opened.fd, -1);
    assert_false(exists(path));
    close(listen_at(path, 1)); /* another one's */
    control_socket_close(&opened);
    assert_true(exists(path));
    struct control_socket workers = {.fd = dup(0)};
    control_socket_close(&workers);
    assert_int_equal(workers.fd, -1);
}

/* In a child of that user, which connects: is it admitted? */
static bool is_admitted(uid_t user)
{
    int pipe_fds[2];
    char byte;
    chmod(opened.path, 0666);
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = setuid(user) == 0 ? control_socket_connect(opened.path) : -1;
        close(pipe_fds[1]);
        (void)!read(pipe_fds[0], &byte, 1);
        _exit(fd < 0);
    }
    struct pollfd ready = {.fd = opened.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 20000), 1);
    int peer = accept(opened.fd, NULL, NULL), result;
    bool is_it = control_socket_admits(peer);
    close(peer);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    return is_it;
}

static void test_root_and_the_host_s_own_user_may_ask_and_nobody_else(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    chmod(base, 0755);
    assert_opened_in("a");
    assert_true(is_admitted(0));
    assert_false(is_admitted(OTHER_USER));
    /* A host that runs as a user: root's peer, its own, another user's. */
    int roots[2], own[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, roots), 0);
    assert_int_equal(seteuid(OTHER_USER), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, own), 0);
    bool is_root = control_socket_admits(roots[0]), is_own = control_socket_admits(own[0]);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(seteuid(OTHER_USER + 1), 0);
    bool is_third = control_socket_admits(own[0]);
    assert_int_equal(seteuid(0), 0);
    for (int i = 0; i < 2; i++) {
        close(roots[i]);
        close(own[i]);
    }
    assert_true(is_root);
    assert_true(is_own);
    assert_false(is_third);
}

static void test_what_is_no_socket_admits_nobody(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY);
    assert_false(control_socket_admits(-1));
    assert_false(control_socket_admits(fd));
    close(fd);
}

static void test_who_cannot_be_reached_leaves_no_descriptor_and_says_why(void **state)
{
    (void)state;
    assert_int_equal(control_socket_connect(file("a", 1)), -1);
    assert_int_equal(errno, ENOENT);
    close(listen_at(file("a", 2), 1));
    assert_int_equal(control_socket_connect(file("a", 2)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(count_open(), open_before);
}

static void test_a_host_that_accepts_nobody_is_not_waited_for_without_an_end(void **state)
{
    (void)state;
    int stopped = listen_at(file("a", 3), 0), first = control_socket_connect(file("a", 3));
    assert_true(first >= 0);
    assert_int_equal(control_socket_connect(file("a", 3)), -1);
    assert_int_equal(errno, EAGAIN);
    close(first);
    close(stopped);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_made_in_the_first_folder_for_its_user_alone),
        TEST(test_a_folder_in_which_others_could_put_a_file_is_not_used),
        TEST(test_a_folder_of_another_user_is_not_used),
        TEST(test_a_folder_that_is_missing_or_a_file_is_not_used),
        TEST(test_a_path_too_long_for_a_socket_is_not_used),
        TEST(test_without_a_folder_there_is_none_and_one_line_says_so),
        TEST(test_what_dead_hosts_left_is_removed_and_nothing_else),
        TEST(test_it_takes_the_place_of_what_this_process_left_before_it_executed_itself),
        TEST(test_a_folder_that_has_the_name_leaves_nothing_behind),
        TEST(test_one_whose_folder_was_removed_is_made_again_when_that_is_back),
        TEST(test_each_loss_is_told_of_though_the_file_comes_back_by_itself),
        TEST(test_it_is_not_made_again_in_a_folder_in_which_others_could_put_a_file),
        TEST(test_closing_removes_the_file_once),
        TEST(test_root_and_the_host_s_own_user_may_ask_and_nobody_else),
        TEST(test_what_is_no_socket_admits_nobody),
        TEST(test_who_cannot_be_reached_leaves_no_descriptor_and_says_why),
        TEST(test_a_host_that_accepts_nobody_is_not_waited_for_without_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
