/* links: python_update.c log.c log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c
 * log_sink.c log_standard.c log_syslog.c own_file.c */
/* Whether the system's Python is another file than at the build. */
#include "unit.h"

#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "interpreter/python_update.h"

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/test_python_update.XXXXXX");
    int fd = mkstemp(path);
    const struct timeval times[2] = {{.tv_sec = 1000}, {.tv_sec = 1700000000}};
    bool is_made = fd >= 0 && write(fd, "12345", 5) == 5 && close(fd) == 0;
    return is_made && utimes(path, times) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_the_same_file_is_no_update(void **state)
{
    (void)state;
    assert_false(python_update_is_due(path, "5-1700000000"));
}

static void test_another_size_or_time_is_one(void **state)
{
    (void)state;
    assert_true(python_update_is_due(path, "6-1700000000"));
    assert_true(python_update_is_due(path, "5-1700000001"));
    assert_true(python_update_is_due(path, "5-170000000"));
}

static void test_a_shared_library_needs_none(void **state)
{
    (void)state;
    assert_false(python_update_is_due(path, ""));
}

static void test_a_program_that_is_not_there_says_nothing(void **state)
{
    (void)state;
    assert_false(python_update_is_due("/nowhere/python3", "5-1700000000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_file_is_no_update, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_size_or_time_is_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_shared_library_needs_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_program_that_is_not_there_says_nothing, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
