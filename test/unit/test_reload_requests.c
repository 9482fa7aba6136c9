/* Who asked a manager for a reload, and how it ended.
 *
 * links: reload_requests.c */
#include "unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "manager/reload_requests.h"
#include "status/endpoints.h"

static const struct endpoints_reload *functions;
static int wake_fd;

void endpoints_use_reload(const struct endpoints_reload *reload)
{
    functions = reload;
}

static int set_up(void **state)
{
    (void)state;
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    reload_requests_open(wake_fd);
    return wake_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    reload_requests_take();
    reload_requests_end(true, "");
    return close(wake_fd);
}

static void assert_end(unsigned number, enum reload_state expected, const char *expected_text)
{
    char text[500] = "";
    assert_int_equal(functions->get(number, text, sizeof(text)), expected);
    assert_string_equal(text, expected_text);
}

static void test_who_asks_wakes_the_manager_which_takes_it_once(void **state)
{
    (void)state;
    eventfd_t count = 0;
    assert_false(reload_requests_take());
    unsigned number = functions->ask();
    assert_int_equal(eventfd_read(wake_fd, &count), 0);
    assert_int_equal(count, 1);
    assert_end(number, RELOAD_RUNNING, "");
    assert_true(reload_requests_take());
    assert_false(reload_requests_take());
    assert_end(number, RELOAD_RUNNING, "");
}

static void test_each_one_is_told_how_its_reload_ended(void **state)
{
    (void)state;
    unsigned first = functions->ask();
    reload_requests_take();
    reload_requests_end(false, "why it failed");
    unsigned second = functions->ask(), third = functions->ask();
    assert_int_equal(second, first + 1);
    assert_int_equal(third, first + 2);
    reload_requests_take();
    reload_requests_end(true, "replaced");
    assert_end(first, RELOAD_FAILED, "why it failed");
    assert_end(second, RELOAD_DONE, "replaced");
    assert_end(third, RELOAD_DONE, "replaced");
}

static void test_who_asks_while_workers_are_replaced_is_told_of_the_next_end(void **state)
{
    (void)state;
    unsigned first = functions->ask();
    reload_requests_take();
    unsigned second = functions->ask();
    reload_requests_end(true, "replaced");
    assert_end(first, RELOAD_DONE, "replaced");
    assert_end(second, RELOAD_RUNNING, "");
    assert_true(reload_requests_take());
    reload_requests_end(false, "why it failed");
    assert_end(second, RELOAD_FAILED, "why it failed");
}

static void test_a_reload_that_is_refused_says_nothing_of_the_one_under_way(void **state)
{
    (void)state;
    unsigned running = functions->ask();
    reload_requests_take();
    reload_requests_begin();
    unsigned wrong = functions->ask();
    reload_requests_take();
    reload_requests_refuse("the configuration is wrong");
    assert_end(running, RELOAD_RUNNING, "");
    assert_end(wrong, RELOAD_FAILED, "the configuration is wrong");
    unsigned mended = functions->ask();
    reload_requests_take();
    reload_requests_begin();
    reload_requests_end(true, "replaced");
    assert_end(running, RELOAD_DONE, "replaced");
    assert_end(wrong, RELOAD_FAILED, "the configuration is wrong");
    assert_end(mended, RELOAD_DONE, "replaced");
}

static void test_what_nobody_has_asked_for_and_what_is_long_over_is_unknown(void **state)
{
    (void)state;
    unsigned number = functions->ask();
    assert_end(0, RELOAD_UNKNOWN, "");
    assert_end(number + 1, RELOAD_UNKNOWN, "");
    reload_requests_take();
    reload_requests_end(true, "replaced");
    for (int i = 0; i < 16; i++) {
        assert_end(number, RELOAD_DONE, "replaced");
        functions->ask();
        reload_requests_take();
        reload_requests_end(true, "later");
    }
    assert_end(number, RELOAD_UNKNOWN, "");
}

static void test_an_end_that_nobody_asked_for_is_nobody_s(void **state)
{
    (void)state;
    reload_requests_end(false, "by SIGHUP");
    unsigned number = functions->ask();
    assert_end(number, RELOAD_RUNNING, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_who_asks_wakes_the_manager_which_takes_it_once),
        TEST(test_each_one_is_told_how_its_reload_ended),
        TEST(test_who_asks_while_workers_are_replaced_is_told_of_the_next_end),
        TEST(test_a_reload_that_is_refused_says_nothing_of_the_one_under_way),
        TEST(test_what_nobody_has_asked_for_and_what_is_long_over_is_unknown),
        TEST(test_an_end_that_nobody_asked_for_is_nobody_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
