/* links: children.c */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "life/children.h"

enum { MILLISECOND_NS = 1000000 };

/* A child that ends when it gets SIGTERM, or not even then. */
static pid_t start_child(bool is_stubborn)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, is_stubborn ? SIG_IGN : SIG_DFL);
        for (int i = 0; i < 60; i++)
            sleep(1);
        _exit(0);
    }
    nanosleep(&(struct timespec){.tv_nsec = 50 * MILLISECOND_NS}, NULL);
    return pid;
}

static bool is_listed(const struct child_list *list, pid_t pid)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->pids[i] == (uint64_t)pid)
            return true;
    return false;
}

static void test_children_are_listed_and_nobody_else(void **state)
{
    (void)state;
    struct child_list none = children_list();
    assert_int_equal(none.count, 0);
    free(none.pids);
    pid_t pid = start_child(false);
    struct child_list list = children_list();
    assert_int_equal(list.count, 1);
    assert_true(is_listed(&list, pid));
    children_end(&list, &(struct child_list){NULL, 0}, 1000);
    assert_int_equal(kill(pid, 0), -1); /* it has been waited for */
    free(list.pids);
}

static void test_what_ignores_sigterm_is_killed_and_the_spared_go_on(void **state)
{
    (void)state;
    pid_t spared = start_child(false), stubborn = start_child(true);
    struct child_list list = children_list();
    uint64_t pids[] = {(uint64_t)spared};
    children_end(&list, &(struct child_list){pids, 1}, 50);
    assert_int_equal(kill(stubborn, 0), -1);
    assert_int_equal(kill(spared, 0), 0);
    kill(spared, SIGKILL);
    waitpid(spared, NULL, 0);
    free(list.pids);
}

static void test_only_those_that_ended_are_reaped(void **state)
{
    (void)state;
    pid_t living = start_child(false), dead = start_child(false);
    struct child_list list = children_list();
    kill(dead, SIGKILL);
    while (list.count == 2)
        children_reap(&list);
    assert_int_equal(list.count, 1);
    assert_true(is_listed(&list, living));
    children_end(&list, &(struct child_list){NULL, 0}, 1000);
    free(list.pids);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_children_are_listed_and_nobody_else),
        cmocka_unit_test(test_what_ignores_sigterm_is_killed_and_the_spared_go_on),
        cmocka_unit_test(test_only_those_that_ended_are_reaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
