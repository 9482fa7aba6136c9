/* Whether a fresh program takes the process's place.
 *
 * links: replacement.c handover.c config_error.c */
#include <errno.h>

#include "life_fakes.h"

#include "life/replacement.h"

static struct config config;
static struct replacement replacement;

static int set_up(void **state)
{
    (void)state;
    forget();
    fake_predecessor = NULL;
    atomic_store(&is_spawners, false);
    replacement_init(&replacement, &config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free((void *)(uintptr_t)replacement.startup.data);
    return 0;
}

static bool is_planned_for(enum lifecycle_reason reason)
{
    replacement_decide(&replacement, reason);
    return atomic_load(&replacement.is_planned);
}

static void
test_at_a_limit_the_process_is_replaced_only_if_a_web_server_made_its_socket(void **state)
{
    (void)state;
    static const enum lifecycle_reason limits[] = {REASON_REQUESTS, REASON_LIFETIME, REASON_MEMORY,
                                                   REASON_REQUEST_TIME, REASON_RESTART};
    for (size_t i = 0; i < COUNT(limits); i++) {
        atomic_store(&is_spawners, false);
        assert_false(is_planned_for(limits[i]));
        atomic_store(&is_spawners, true);
        assert_true(is_planned_for(limits[i]));
    }
}

static void test_a_signal_or_shutdown_is_an_exit_whoever_made_the_socket(void **state)
{
    (void)state;
    static const enum lifecycle_reason exits[] = {REASON_SIGTERM, REASON_SIGINT,   REASON_SIGUSR1,
                                                  REASON_SIGQUIT, REASON_SHUTDOWN, REASON_STARTUP};
    atomic_store(&is_spawners, true);
    for (size_t i = 0; i < COUNT(exits); i++)
        assert_false(is_planned_for(exits[i]));
}

static void test_code_that_has_changed_replaces_the_process_whoever_made_the_socket(void **state)
{
    (void)state;
    atomic_store(&is_spawners, false);
    assert_true(is_planned_for(REASON_RELOAD));
    assert_false(replacement.is_start_again);
    atomic_store(&replacement.is_exit_wanted, true);
    assert_false(is_planned_for(REASON_RELOAD));
}

static void test_a_failed_start_is_tried_again_unless_an_exit_is_wanted(void **state)
{
    (void)state;
    assert_true(is_planned_for(REASON_RETRY));
    atomic_store(&replacement.is_exit_wanted, true);
    assert_false(is_planned_for(REASON_RETRY));
}

static void test_an_exit_that_is_wanted_during_the_drain_takes_the_plan_back_once(void **state)
{
    (void)state;
    assert_true(is_planned_for(REASON_RETRY));
    replacement_reconsider(&replacement);
    assert_string_equal(told, "");
    atomic_store(&replacement.is_exit_wanted, true);
    replacement_reconsider(&replacement);
    replacement_reconsider(&replacement);
    assert_string_equal(told, "give_up_handover|stop_accepting|unpark|");
    assert_false(atomic_load(&replacement.is_planned));
}

static void test_what_is_not_planned_does_not_run(void **state)
{
    (void)state;
    assert_int_equal(replacement_run(&replacement), 0);
    assert_true(is_planned_for(REASON_RETRY));
    atomic_store(&replacement.is_exit_wanted, true);
    assert_int_equal(replacement_run(&replacement), 0);
    assert_string_equal(told, "");
}

static void
test_the_next_program_gets_what_a_failed_start_knew_and_a_failure_is_logged(void **state)
{
    (void)state;
    char text[] = "attempt 3";
    assert_int_equal(replacement_keep_startup(&replacement, text, strlen(text)), 0);
    text[0] = 'X'; /* it was copied */
    replacement.started_us = 77;
    replacement.programs = calloc(1, sizeof(*replacement.programs));
    replacement.programs[0] = (struct handover_program){.number = 2, .error = "no shop"};
    replacement.program_count = 1;
    assert_true(is_planned_for(REASON_RETRY));
    assert_int_equal(replacement_run(&replacement), -1);
    assert_string_equal(told, "hand_over|reexec, started 77, again, attempt 3|"
                              "knows that program 2 failed: no shop|"
                              "log_error: the program could not be executed anew: no such file or "
                              "directory: start it again|");
}

static void
test_several_attempts_to_start_have_one_start_time_and_other_programs_their_own(void **state)
{
    (void)state;
    struct handover predecessor = {.started_us = 5, .started_ms = 6, .is_start_again = true};
    fake_predecessor = &predecessor;
    replacement_init(&replacement, &config);
    assert_int_equal(replacement.started_us, 5);
    assert_int_equal(replacement.started_ms, 6);
    predecessor.is_start_again = false;
    replacement_init(&replacement, &config);
    assert_true(replacement.started_us > 5 && replacement.started_ms > 6);
}

static void test_what_the_status_counts_is_handed_over_with_the_reason_counted(void **state)
{
    (void)state;
    static const struct {
        enum lifecycle_reason reason;
        enum restart_reason restart;
    } reasons[] = {{REASON_REQUESTS, RESTART_REQUESTS}, {REASON_LIFETIME, RESTART_LIFETIME},
                   {REASON_MEMORY, RESTART_MEMORY},     {REASON_REQUEST_TIME, RESTART_TIMEOUT},
                   {REASON_RESTART, RESTART_RELOAD},    {REASON_RELOAD, RESTART_RELOAD}};
    struct handover predecessor = {.status = {.generation = 4, .restarts = {1, 1, 1, 1, 1, 1, 1}}};
    fake_predecessor = &predecessor;
    atomic_store(&is_spawners, true);
    for (size_t i = 0; i < COUNT(reasons); i++) {
        replacement_init(&replacement, &config);
        assert_true(is_planned_for(reasons[i].reason));
        replacement_run(&replacement);
        assert_int_equal(fake_status.generation, 5);
        for (int reason = 0; reason < FIGURES_REASONS; reason++)
            assert_int_equal(fake_status.restarts[reason],
                             reason == (int)reasons[i].restart ? 2 : 1);
    }
    replacement_init(&replacement, &config);
    assert_true(is_planned_for(REASON_RETRY)); /* it replaces nothing that served */
    replacement_run(&replacement);
    assert_memory_equal(&fake_status, &predecessor.status, sizeof(fake_status));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_at_a_limit_the_process_is_replaced_only_if_a_web_server_made_its_socket),
        TEST(test_a_signal_or_shutdown_is_an_exit_whoever_made_the_socket),
        TEST(test_code_that_has_changed_replaces_the_process_whoever_made_the_socket),
        TEST(test_a_failed_start_is_tried_again_unless_an_exit_is_wanted),
        TEST(test_an_exit_that_is_wanted_during_the_drain_takes_the_plan_back_once),
        TEST(test_what_is_not_planned_does_not_run),
        TEST(test_the_next_program_gets_what_a_failed_start_knew_and_a_failure_is_logged),
        TEST(test_what_the_status_counts_is_handed_over_with_the_reason_counted),
        TEST(test_several_attempts_to_start_have_one_start_time_and_other_programs_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
