/* Which numbers connections may use, with limits of all sizes and standard streams closed.
 *
 * links: descriptors.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/descriptors.h"

static struct rlimit limit_before;

static int set_up(void **state)
{
    (void)state;
    return getrlimit(RLIMIT_NOFILE, &limit_before);
}

static int tear_down(void **state)
{
    (void)state;
    return setrlimit(RLIMIT_NOFILE, &limit_before);
}

static void set_limit(rlim_t limit)
{
    struct rlimit changed = {.rlim_cur = limit, .rlim_max = limit_before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &changed), 0);
}

static void test_an_eighth_is_left_to_the_application_and_64_at_most(void **state)
{
    (void)state;
    static const struct {
        rlim_t limit;
        int connections;
    } cases[] = {{8, 7},     {16, 14},   {20, 18},   {256, 224},
                 {504, 441}, {512, 448}, {513, 449}, {1024, 960}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (cases[i].limit > limit_before.rlim_max)
            continue;
        set_limit(cases[i].limit);
        assert_int_equal(descriptors_find_limit(), cases[i].connections);
    }
}

static void test_a_number_below_the_limit_is_left_or_not(void **state)
{
    (void)state;
    int next = dup(0), again;
    close(next);
    assert_true(descriptors_are_left(0, next + 1));
    assert_false(descriptors_are_left(0, next));
    assert_true(descriptors_are_left(0, INT_MAX));
    assert_false(descriptors_are_left(-1, INT_MAX)); /* is not open */
    again = dup(0);
    assert_int_equal(again, next); /* the probe is closed */
    close(again);
    set_limit((rlim_t)next);
    assert_false(descriptors_are_left(0, INT_MAX));
}

static void test_other_numbers_are_not_moved(void **state)
{
    (void)state;
    int fd = dup(0);
    assert_true(fd > STDERR_FILENO);
    errno = 4711;
    assert_int_equal(descriptors_above_standard(fd), fd);
    assert_int_equal(descriptors_above_standard(-1), -1);
    assert_int_equal(errno, 4711); /* of whoever failed to open it */
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
}

/* With descriptor 0 to 2 closed for the moment, as an application may have done. */
static void assert_moved(int standard)
{
    int saved = fcntl(standard, F_DUPFD_CLOEXEC, 10), fds[2];
    close(standard);
    int result = pipe(fds), got = fds[0] == standard ? fds[0] : fds[1], moved = -1, flags = 0;
    bool is_null = false;
    char byte = 0;
    struct stat status;
    if (result == 0 && got == standard) {
        moved = descriptors_above_standard(got);
        is_null = fstat(standard, &status) == 0 && status.st_rdev == makedev(1, 3);
        flags = fcntl(moved, F_GETFD);
        if (fds[0] == standard)
            result = write(fds[1], "x", 1) == 1 && read(moved, &byte, 1) == 1 ? 0 : -1;
    }
    close(moved);
    close(fds[0] == standard ? fds[1] : fds[0]);
    dup2(saved, standard);
    close(saved);
    assert_int_equal(result, 0);
    assert_int_equal(byte, 'x');
    assert_true(moved > STDERR_FILENO);
    assert_true((flags & FD_CLOEXEC) != 0);
    assert_true(is_null);
}

static void test_one_in_the_place_of_a_standard_stream_is_moved_away(void **state)
{
    (void)state;
    fflush(NULL);
    for (int standard = 0; standard <= STDERR_FILENO; standard++)
        assert_moved(standard);
}

/* os.close(1), os.open(): the application expects the number that it has just closed. */
static void test_one_that_was_closed_just_now_is_left_to_the_application(void **state)
{
    (void)state;
    int saved = fcntl(1, F_DUPFD_CLOEXEC, 10), got[2];
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        close(1);
        descriptors_plug_standard();
        got[i] = dup(saved);
        descriptors_plug_standard(); /* sees it open, so the next time counts as the first */
    }
    dup2(saved, 1);
    close(saved);
    for (int i = 0; i < 2; i++) {
        if (got[i] > STDERR_FILENO)
            close(got[i]);
        assert_int_equal(got[i], 1);
    }
}

/* open() takes the lowest number. */
static void
test_one_that_is_plugged_does_not_take_a_lower_one_that_was_closed_just_now(void **state)
{
    (void)state;
    int saved[] = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10)};
    bool are_open[2][2];
    fflush(NULL);
    close(1);
    descriptors_plug_standard();
    close(0);
    for (int i = 0; i < 2; i++) {
        descriptors_plug_standard();
        for (int fd = 0; fd < 2; fd++)
            are_open[i][fd] = fcntl(fd, F_GETFD) >= 0;
    }
    for (int fd = 0; fd < 2; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    assert_false(are_open[0][0]);
    assert_true(are_open[1][0] && are_open[1][1]);
}

static void test_closed_standard_streams_become_dev_null_and_others_stay(void **state)
{
    (void)state;
    struct stat before, stays, statuses[2];
    int saved[] = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10)};
    fflush(NULL);
    fstat(2, &before);
    int next = dup(0);
    close(next);
    close(0);
    close(1);
    descriptors_plug_standard();
    descriptors_plug_standard();
    for (int fd = 0; fd < 2; fd++)
        fstat(fd, &statuses[fd]);
    fstat(2, &stays);
    int free_number = fcntl(2, F_DUPFD_CLOEXEC, 3);
    for (int fd = 0; fd < 2; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    close(free_number);
    assert_int_equal(free_number, next);
    for (int fd = 0; fd < 2; fd++)
        assert_int_equal(statuses[fd].st_rdev, makedev(1, 3));
    assert_true(stays.st_dev == before.st_dev && stays.st_ino == before.st_ino);
}

static void test_one_that_cannot_be_moved_is_closed(void **state)
{
    (void)state;
    int saved = fcntl(0, F_DUPFD_CLOEXEC, 10), next = dup(0);
    close(next);
    set_limit((rlim_t)STDERR_FILENO + 1);
    errno = 0;
    int moved = descriptors_above_standard(0), error = errno;
    bool is_closed = fcntl(0, F_GETFD) < 0;
    setrlimit(RLIMIT_NOFILE, &limit_before);
    dup2(saved, 0);
    close(saved);
    assert_int_equal(moved, -1);
    assert_true(error == EMFILE || error == EINVAL);
    assert_true(is_closed);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_eighth_is_left_to_the_application_and_64_at_most),
        TEST(test_a_number_below_the_limit_is_left_or_not),
        TEST(test_other_numbers_are_not_moved),
        TEST(test_one_in_the_place_of_a_standard_stream_is_moved_away),
        TEST(test_one_that_was_closed_just_now_is_left_to_the_application),
        TEST(test_one_that_is_plugged_does_not_take_a_lower_one_that_was_closed_just_now),
        TEST(test_closed_standard_streams_become_dev_null_and_others_stay),
        TEST(test_one_that_cannot_be_moved_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
