/* links: own_file.c */
/* Log and pid files, in folders where others put something in the way. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own_file.h"

enum { NOBODY = 65534, APPEND = O_WRONLY | O_APPEND | O_CREAT };

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_own_file.XXXXXX");
    return mkdtemp(folder) == NULL || chdir(folder) < 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_text(const char *path, const char *expected)
{
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

static unsigned count_names(void)
{
    unsigned count = 0;
    char line[256];
    FILE *names = popen("ls -A", "re");
    assert_non_null(names);
    while (fgets(line, sizeof(line), names) != NULL)
        count++;
    pclose(names);
    return count;
}

static void make_link(const char *target, const char *path, uid_t owner)
{
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(lchown(path, owner, owner), 0);
}

static void append(const char *path, const char *text)
{
    int fd = own_file_open(path, APPEND, 0640);
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_refused(const char *path, int number)
{
    assert_int_equal(own_file_open(path, APPEND, 0640), -1);
    assert_int_equal(errno, number);
    assert_non_null(own_file_refusal(number));
    assert_int_equal(own_file_replace(path, "1\n"), -1);
    assert_int_equal(errno, number);
}

static void test_a_file_is_made_and_found_again(void **state)
{
    (void)state;
    char absolute[128];
    assert_int_equal(mkdir("a", 0700), 0);
    append("a/log", "one ");
    append("a/../a//log", "two ");
    snprintf(absolute, sizeof(absolute), "%s/a/log", folder);
    append(absolute, "three");
    assert_text("a/log", "one two three");
}

static void test_errors_are_those_of_open(void **state)
{
    (void)state;
    write_file("file", "");
    assert_int_equal(own_file_open("none/log", APPEND, 0640), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(own_file_open("file/log", APPEND, 0640), -1);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(own_file_open(folder, APPEND, 0640), -1);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(own_file_open("file/", APPEND, 0640), -1);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(own_file_open("", APPEND, 0640), -1);
    assert_null(own_file_refusal(ENOENT));
}

static void test_own_links_lead_on(void **state)
{
    (void)state;
    char absolute[128];
    assert_int_equal(mkdir("a", 0700), 0);
    assert_int_equal(mkdir("a/b", 0700), 0);
    snprintf(absolute, sizeof(absolute), "%s/link", folder);
    make_link("a/b", "link", geteuid());
    make_link("../../log", "a/b/up", geteuid());
    make_link(absolute, "a/absolute", geteuid());
    append("link/up", "one ");
    append("a/absolute/up", "two");
    assert_text("log", "one two");
    make_link("circle", "circle", geteuid());
    assert_int_equal(own_file_open("circle", APPEND, 0640), -1);
    assert_int_equal(errno, ELOOP);
}

static void test_descriptors_of_proc_can_be_written_to(void **state)
{
    (void)state;
    char path[64], read_back[8] = "";
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[1]);
    append(path, "one");
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[1]);
    append(path, "two");
    assert_int_equal(read(ends[0], read_back, sizeof(read_back)), 6);
    assert_memory_equal(read_back, "onetwo", 6);
    close(ends[0]);
    close(ends[1]);
}

static void test_root_follows_no_link_of_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    write_file("secret", "secret");
    assert_int_equal(mkdir("theirs", 0755), 0);
    assert_int_equal(chown("theirs", NOBODY, NOBODY), 0);
    make_link("../secret", "theirs/log", NOBODY);
    make_link("..", "theirs/folder", NOBODY);
    make_link("theirs/log", "mine", 0);
    assert_refused("theirs/log", ELOOP);
    assert_refused("theirs/folder/secret", ELOOP);
    assert_refused("mine", ELOOP);
    own_file_remove("theirs/folder/secret", "secret");
    assert_text("secret", "secret");
}

static void test_root_writes_to_no_second_name_of_a_file_in_another_s_folder(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    write_file("secret", "secret");
    assert_int_equal(mkdir("theirs", 0755), 0);
    assert_int_equal(chown("theirs", NOBODY, NOBODY), 0);
    assert_int_equal(link("secret", "theirs/log"), 0);
    assert_int_equal(own_file_open("theirs/log", APPEND, 0640), -1);
    assert_int_equal(errno, EMLINK);
    /* Where nobody else can write it is the administrator's own. */
    assert_int_equal(own_file_open("secret", O_WRONLY | O_APPEND, 0) < 0, 0);
    /* A pid file takes the name's place, and leaves the file alone. */
    assert_int_equal(own_file_replace("theirs/log", "1\n"), 0);
    assert_text("secret", "secret");
}

static void test_another_s_file_in_a_folder_of_all_is_not_written_to(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir("tmp", 0755), 0);
    assert_int_equal(chmod("tmp", 01777), 0);
    write_file("tmp/log", "theirs");
    assert_int_equal(chown("tmp/log", NOBODY, NOBODY), 0);
    assert_int_equal(own_file_open("tmp/log", APPEND, 0640), -1);
    assert_int_equal(errno, EPERM);
    assert_text("tmp/log", "theirs");
}

static int follow_as_nobody(void)
{
    if (seteuid(NOBODY) < 0 || own_file_open("release/log", APPEND, 0640) < 0)
        return 1;
    return own_file_open("tmp/log", APPEND, 0640) == -1 && errno == ELOOP ? 0 : 2;
}

static void test_others_than_root_follow_links_but_in_a_folder_of_all(void **state)
{
    (void)state;
    int status;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(mkdir("v1", 0755), 0);
    assert_int_equal(chown("v1", NOBODY, NOBODY), 0);
    assert_int_equal(mkdir("tmp", 0755), 0);
    assert_int_equal(chmod("tmp", 01777), 0);
    make_link("v1", "release", 4321);
    make_link("../v1/log", "tmp/log", 4321);
    pid_t child = fork();
    if (child == 0)
        _exit(follow_as_nobody());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_a_text_is_replaced_as_a_whole(void **state)
{
    (void)state;
    struct stat before, now;
    mode_t mask = umask(022);
    write_file("pid", "a long text that was there before\n");
    assert_int_equal(stat("pid", &before), 0);
    assert_int_equal(own_file_replace("pid", "1\n"), 0);
    umask(mask);
    assert_text("pid", "1\n");
    assert_int_equal(stat("pid", &now), 0);
    assert_true(now.st_ino != before.st_ino);
    assert_int_equal(now.st_mode & 07777, 0644);
    assert_int_equal(count_names(), 1);
}

static void test_devices_stay_devices(void **state)
{
    (void)state;
    struct stat status;
    if (geteuid() != 0 || mknod("null", S_IFCHR | 0600, makedev(1, 3)) < 0)
        skip();
    assert_int_equal(own_file_replace("null", "1\n"), 0);
    own_file_remove("null", "");
    assert_int_equal(stat("null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
}

/* As a full disk does; but for the first byte, so that there would be something. */
static int replace_beyond_the_limit(void)
{
    struct rlimit limit = {1, 1};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return 1;
    return own_file_replace("pid", "12345\n") == -1 ? 0 : 2;
}

static void test_a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned had = 0; had < 2; had++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(replace_beyond_the_limit());
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(count_names(), had);
        if (had == 1)
            assert_text("pid", "1\n");
        write_file("pid", "1\n");
    }
}

static void test_only_the_file_with_that_text_is_removed(void **state)
{
    (void)state;
    write_file("pid", "12\n");
    own_file_remove("pid", "1\n");
    own_file_remove("pid", "12\n3");
    own_file_remove("none", "12\n");
    assert_text("pid", "12\n");
    assert_int_equal(mkfifo("fifo", 0600), 0);
    own_file_remove("fifo", "");
    assert_int_equal(count_names(), 2);
    own_file_remove("pid", "12\n");
    assert_int_equal(count_names(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_is_made_and_found_again),
        TEST(test_errors_are_those_of_open),
        TEST(test_own_links_lead_on),
        TEST(test_descriptors_of_proc_can_be_written_to),
        TEST(test_root_follows_no_link_of_another_user),
        TEST(test_root_writes_to_no_second_name_of_a_file_in_another_s_folder),
        TEST(test_another_s_file_in_a_folder_of_all_is_not_written_to),
        TEST(test_others_than_root_follow_links_but_in_a_folder_of_all),
        TEST(test_a_text_is_replaced_as_a_whole),
        TEST(test_devices_stay_devices),
        TEST(test_a_full_disk_leaves_nothing),
        TEST(test_only_the_file_with_that_text_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
