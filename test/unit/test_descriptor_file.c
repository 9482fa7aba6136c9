/* Files of the test's own, whose descriptors others close.
 *
 * links: descriptor_file.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor_file.h"

static int fstat_error; /* not 0: fstat() fails with it */

int fstat(int fd, struct stat *status)
{
    if (fstat_error != 0) {
        errno = fstat_error;
        return -1;
    }
    return fstatat(fd, "", status, AT_EMPTY_PATH);
}

static void test_a_descriptor_is_lost_once_it_is_closed_or_anothers(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int other = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct descriptor_file file = descriptor_file_of(fd);
    assert_false(descriptor_file_is_lost(file, fd));
    assert_true(descriptor_file_is_lost(file, other));
    assert_int_equal(dup2(other, fd), fd);
    assert_true(descriptor_file_is_lost(file, fd));
    close(fd);
    assert_true(descriptor_file_is_lost(file, fd));
    close(other);
}

static void test_where_it_can_not_be_told_nothing_is_lost(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOMEM, EBADF};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct descriptor_file file = descriptor_file_of(fd);
    for (size_t i = 0; i < COUNT(errors); i++) {
        fstat_error = errors[i];
        bool is_lost = descriptor_file_is_lost(file, fd);
        struct descriptor_file unknown = descriptor_file_of(fd);
        fstat_error = 0;
        assert_int_equal(is_lost, errors[i] == EBADF);
        assert_int_equal(unknown.inode, 0);
        assert_false(descriptor_file_is_lost(unknown, fd));
    }
    close(fd);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_descriptor_is_lost_once_it_is_closed_or_anothers),
        cmocka_unit_test(test_where_it_can_not_be_told_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
