/* What a process and its children know of forks. The order of the tests matters: a fork can't be
 * undone.
 *
 * links: fork.c */
#include "unit.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"

extern char **environ;

static void wait_for(pid_t child, int expected)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), expected);
}

static void test_at_first_there_is_no_child(void **state)
{
    (void)state;
    fork_init();
    assert_false(fork_is_child());
    assert_false(fork_has_happened());
}

static void test_a_program_that_is_started_is_no_fork(void **state)
{
    (void)state;
    pid_t child;
    char name[] = "true", *arguments[] = {name, NULL};
    assert_int_equal(posix_spawnp(&child, name, NULL, NULL, arguments, environ), 0);
    wait_for(child, 0);
    assert_false(fork_has_happened());
    child = vfork();
    if (child == 0)
        _exit(7);
    wait_for(child, 7);
    assert_false(fork_has_happened());
}

static void test_a_forked_child_knows_and_so_do_its_own(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        int of_grandchild = 0;
        if (!fork_is_child() || fork_has_happened())
            _exit(1);
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(fork_is_child() ? 3 : 4);
        waitpid(grandchild, &of_grandchild, 0);
        _exit(WEXITSTATUS(of_grandchild) == 3 && fork_is_child() && fork_has_happened() ? 0 : 2);
    }
    wait_for(child, 0);
    assert_false(fork_is_child());
    assert_true(fork_has_happened());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_first_there_is_no_child),
        cmocka_unit_test(test_a_program_that_is_started_is_no_fork),
        cmocka_unit_test(test_a_forked_child_knows_and_so_do_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
