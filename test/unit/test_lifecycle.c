/* links: lifecycle.c */
/* What ends the process, and when each part of the end is due. */
#include "unit.h"

#include "life/lifecycle.h"

enum { START = 1000, DRAIN_MS = 5000, CLEANUP_MS = 2000 };

static const struct config unlimited = {.drain_timeout_ms = DRAIN_MS,
                                        .cleanup_timeout_ms = CLEANUP_MS};

static struct lifecycle begin(const struct config *config)
{
    struct lifecycle lifecycle;
    memset(&lifecycle, 0xaa, sizeof(lifecycle));
    lifecycle_init(&lifecycle, config, START, 0);
    return lifecycle;
}

static void assert_step(struct lifecycle *lifecycle, struct lifecycle_view view,
                        enum lifecycle_action action, enum lifecycle_state state)
{
    assert_int_equal(lifecycle_step(lifecycle, &view), action);
    assert_int_equal(lifecycle->state, state);
}

static struct lifecycle begin_draining(const struct config *config, enum lifecycle_reason reason)
{
    struct lifecycle lifecycle = begin(config);
    assert_step(&lifecycle,
                (struct lifecycle_view){.now_ms = START, .asked = reason, .connections = 1},
                LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
    return lifecycle;
}

static void test_it_starts_until_it_is_loaded(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin(&unlimited);
    assert_int_equal(lifecycle.state, LIFECYCLE_STARTING);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = START}, LIFECYCLE_NOTHING,
                LIFECYCLE_STARTING);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = START, .is_loaded = true},
                LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
}

static void test_without_limits_it_serves_for_ever(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin(&unlimited);
    struct lifecycle_view view = {.now_ms = UINT64_MAX / 2,
                                  .requests = 1000000000,
                                  .resident_bytes = UINT64_MAX / 2,
                                  .is_loaded = true};
    for (int i = 0; i < 3; i++)
        assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    assert_int_equal(lifecycle.reason, REASON_NONE);
}

static void test_what_is_asked_for_ends_it(void **state)
{
    static const enum lifecycle_reason reasons[] = {
        REASON_SIGTERM,  REASON_SIGINT,  REASON_SIGUSR1, REASON_SIGQUIT,
        REASON_SHUTDOWN, REASON_RESTART, REASON_STARTUP,
    };
    (void)state;
    for (size_t i = 0; i < COUNT(reasons); i++) {
        for (int is_loaded = 0; is_loaded <= 1; is_loaded++) {
            struct lifecycle lifecycle = begin(&unlimited);
            struct lifecycle_view view = {.now_ms = START, .is_loaded = is_loaded};
            lifecycle_step(&lifecycle, &view);
            view.asked = reasons[i];
            assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
            assert_int_equal(lifecycle.reason, reasons[i]);
        }
    }
}

static void test_a_worker_that_is_signalled_serves_until_its_successor_does(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin(&unlimited);
    struct lifecycle_view view = {.now_ms = START, .is_loaded = true};
    lifecycle.is_managed = true;
    lifecycle_step(&lifecycle, &view);
    view.asked = REASON_SIGNALLED;
    assert_step(&lifecycle, view, LIFECYCLE_ASK, LIFECYCLE_SERVING);
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.asked = REASON_RETIRED;
    assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
}

static void test_a_worker_that_is_signalled_before_it_serves_ends_at_once(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin(&unlimited);
    lifecycle.is_managed = true;
    struct lifecycle_view view = {.now_ms = START, .asked = REASON_SIGNALLED};
    assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
}

/* Nothing happens just below the limit, and the end begins at it. */
static void assert_limit(const struct config *config, struct lifecycle_view below,
                         struct lifecycle_view at, enum lifecycle_reason reason)
{
    struct lifecycle lifecycle = begin(config);
    below.is_loaded = at.is_loaded = true;
    assert_step(&lifecycle, below, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    assert_step(&lifecycle, at, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
    assert_int_equal(lifecycle.reason, reason);
    lifecycle = begin(config);
    assert_step(&lifecycle, at, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
}

static void test_limits_end_it(void **state)
{
    struct config config = unlimited;
    (void)state;
    config.requests = 10;
    assert_limit(&config, (struct lifecycle_view){.requests = 9},
                 (struct lifecycle_view){.requests = 10}, REASON_REQUESTS);
    config = unlimited;
    config.lifetime_ms = 500;
    assert_limit(&config, (struct lifecycle_view){.now_ms = START + 499},
                 (struct lifecycle_view){.now_ms = START + 500}, REASON_LIFETIME);
    config = unlimited;
    config.memory_bytes = 1 << 20;
    assert_limit(&config, (struct lifecycle_view){.resident_bytes = (1 << 20) - 1},
                 (struct lifecycle_view){.resident_bytes = 1 << 20}, REASON_MEMORY);
}

static void test_jitter_adds_up_to_so_many_requests(void **state)
{
    struct config config = unlimited;
    struct lifecycle lifecycle;
    unsigned seen = 0;
    (void)state;
    config.requests = 100;
    config.requests_jitter = 7;
    for (uint64_t chance = UINT64_MAX - 50; chance != 50; chance++) {
        lifecycle_init(&lifecycle, &config, START, chance);
        assert_in_range(lifecycle.request_limit, 100, 107);
        seen |= 1u << (lifecycle.request_limit - 100);
    }
    assert_int_equal(seen, 0xff);
    config.requests_jitter = UINT32_MAX;
    lifecycle_init(&lifecycle, &config, START, UINT32_MAX);
    assert_true(lifecycle.request_limit == 100 + (unsigned long long)UINT32_MAX);
}

static void test_jitter_alone_is_no_limit(void **state)
{
    struct config config = unlimited;
    struct lifecycle lifecycle;
    (void)state;
    config.requests_jitter = 7;
    lifecycle_init(&lifecycle, &config, START, 3);
    assert_true(lifecycle.request_limit == 0);
}

static struct lifecycle begin_idle(void)
{
    struct config config = unlimited;
    config.idle_ms = 500;
    return begin(&config);
}

static void test_it_ends_after_so_long_without_a_request(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_idle();
    struct lifecycle_view view = {.now_ms = START + 499, .is_loaded = true};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.requests = 1;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.now_ms = START + 499 + 499;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    assert_false(lifecycle.is_idle);
    view.now_ms++;
    assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
    assert_int_equal(lifecycle.reason, REASON_IDLE);
}

static void test_a_request_that_runs_or_waits_is_not_idle(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_idle();
    struct lifecycle_view view = {
        .now_ms = START + 90000, .requests = 1, .busy = 1, .is_loaded = true};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.now_ms += 90000;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.busy = 0;
    view.now_ms += 499;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.now_ms++;
    assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
}

static void test_what_can_not_be_loaded_is_not_idle(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_idle();
    struct lifecycle_view view = {.now_ms = START + 90000};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_STARTING);
    view.is_loaded = true;
    view.now_ms += 499;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    view.now_ms++;
    assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
}

static void test_a_managers_worker_says_that_it_is_idle_and_serves_on(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_idle();
    struct lifecycle_view view = {.now_ms = START + 500, .is_loaded = true};
    lifecycle.is_managed = true;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    assert_true(lifecycle.is_idle);
    view.requests = 1;
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_SERVING);
    assert_false(lifecycle.is_idle);
}

static void test_drain_ends_with_the_last_connection(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_draining(&unlimited, REASON_SIGTERM);
    struct lifecycle_view view = {.now_ms = START + 10, .asked = REASON_SIGTERM, .connections = 1};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_DRAINING);
    view.connections = 0;
    assert_step(&lifecycle, view, LIFECYCLE_CLEAN, LIFECYCLE_CLEANING);
    assert_false(lifecycle.is_cut_off);
}

static void test_drain_that_takes_too_long_is_cut_off(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_draining(&unlimited, REASON_REQUESTS);
    struct lifecycle_view view = {.now_ms = START + DRAIN_MS - 1, .connections = 2};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_DRAINING);
    view.now_ms++;
    assert_step(&lifecycle, view, LIFECYCLE_CLEAN, LIFECYCLE_CLEANING);
    assert_true(lifecycle.is_cut_off);
    assert_int_equal(lifecycle.reason, REASON_REQUESTS);
}

static void test_last_connection_at_the_deadline_is_not_cut_off(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_draining(&unlimited, REASON_SIGTERM);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = START + DRAIN_MS}, LIFECYCLE_CLEAN,
                LIFECYCLE_CLEANING);
    assert_false(lifecycle.is_cut_off);
}

static void test_no_drain_at_all(void **state)
{
    struct config config = unlimited;
    (void)state;
    config.drain_timeout_ms = 0;
    struct lifecycle lifecycle = begin_draining(&config, REASON_SIGTERM);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = START, .connections = 1},
                LIFECYCLE_CLEAN, LIFECYCLE_CLEANING);
    assert_true(lifecycle.is_cut_off);
}

static void test_sigquit_does_not_drain(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_draining(&unlimited, REASON_SIGQUIT);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = START, .connections = 1},
                LIFECYCLE_CLEAN, LIFECYCLE_CLEANING);
    assert_false(lifecycle.is_cut_off);
}

static void test_without_the_host_s_descriptors_there_is_no_drain_and_nothing_is_asked(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin(&unlimited);
    lifecycle.is_managed = true;
    struct lifecycle_view view = {.now_ms = START, .is_loaded = true, .connections = 1};
    lifecycle_step(&lifecycle, &view);
    view.asked = REASON_DESCRIPTORS;
    assert_step(&lifecycle, view, LIFECYCLE_DRAIN, LIFECYCLE_DRAINING);
    assert_step(&lifecycle, view, LIFECYCLE_CLEAN, LIFECYCLE_CLEANING);
    assert_false(lifecycle.is_cut_off);
}

static void test_sigquit_cuts_a_drain_short(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_draining(&unlimited, REASON_SIGTERM);
    struct lifecycle_view view = {.now_ms = START + 1, .asked = REASON_SIGTERM, .connections = 1};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_DRAINING);
    view.asked = REASON_SIGQUIT;
    assert_step(&lifecycle, view, LIFECYCLE_CLEAN, LIFECYCLE_CLEANING);
    assert_false(lifecycle.is_cut_off);
    assert_int_equal(lifecycle.reason, REASON_SIGTERM);
}

static struct lifecycle begin_cleaning(uint64_t now_ms)
{
    struct lifecycle lifecycle = begin_draining(&unlimited, REASON_SIGTERM);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = now_ms}, LIFECYCLE_CLEAN,
                LIFECYCLE_CLEANING);
    return lifecycle;
}

static void test_it_leaves_once_when_python_is_over(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_cleaning(START + 100);
    struct lifecycle_view view = {.now_ms = START + 100};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_CLEANING);
    view.is_python_finalized = true;
    assert_step(&lifecycle, view, LIFECYCLE_EXIT, LIFECYCLE_STOPPED);
    view.asked = REASON_SIGQUIT;
    for (int i = 0; i < 3; i++)
        assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_STOPPED);
}

static void test_it_gives_python_up_once_when_it_takes_too_long(void **state)
{
    uint64_t now_ms = START + 100;
    (void)state;
    struct lifecycle lifecycle = begin_cleaning(now_ms);
    struct lifecycle_view view = {.now_ms = now_ms + CLEANUP_MS - 1};
    assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_CLEANING);
    view.now_ms++;
    assert_step(&lifecycle, view, LIFECYCLE_EXIT_ANYWAY, LIFECYCLE_STOPPED);
    view.is_python_finalized = true;
    for (int i = 0; i < 3; i++)
        assert_step(&lifecycle, view, LIFECYCLE_NOTHING, LIFECYCLE_STOPPED);
}

/* The time of the cleanups begins when the drain ends, not when the process was asked to. */
static void test_cleanups_have_their_own_time(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_cleaning(START + DRAIN_MS);
    assert_step(&lifecycle, (struct lifecycle_view){.now_ms = START + DRAIN_MS + CLEANUP_MS - 1},
                LIFECYCLE_NOTHING, LIFECYCLE_CLEANING);
}

static void test_python_that_ended_at_the_deadline_is_not_given_up(void **state)
{
    (void)state;
    struct lifecycle lifecycle = begin_cleaning(START);
    assert_step(&lifecycle,
                (struct lifecycle_view){.now_ms = START + CLEANUP_MS, .is_python_finalized = true},
                LIFECYCLE_EXIT, LIFECYCLE_STOPPED);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(lifecycle_state_name(LIFECYCLE_STARTING), "starting");
    assert_string_equal(lifecycle_state_name(LIFECYCLE_SERVING), "serving");
    assert_string_equal(lifecycle_state_name(LIFECYCLE_DRAINING), "draining");
    assert_string_equal(lifecycle_state_name(LIFECYCLE_CLEANING), "cleaning");
    assert_string_equal(lifecycle_state_name(LIFECYCLE_STOPPED), "cleaning");
    assert_string_equal(lifecycle_reason_name(REASON_SIGQUIT), "SIGQUIT");
    assert_string_equal(lifecycle_reason_name(REASON_MEMORY), "[limits] memory");
    assert_string_equal(lifecycle_reason_name(REASON_REQUEST_TIME), "[limits] request_time");
    assert_string_equal(lifecycle_reason_name(REASON_RELOAD), "[reload] mode = process");
    assert_string_equal(lifecycle_reason_name(REASON_STARTUP), "[startup] on_failure = exit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_starts_until_it_is_loaded),
        cmocka_unit_test(test_without_limits_it_serves_for_ever),
        cmocka_unit_test(test_what_is_asked_for_ends_it),
        cmocka_unit_test(test_a_worker_that_is_signalled_serves_until_its_successor_does),
        cmocka_unit_test(test_a_worker_that_is_signalled_before_it_serves_ends_at_once),
        cmocka_unit_test(test_limits_end_it),
        cmocka_unit_test(test_jitter_adds_up_to_so_many_requests),
        cmocka_unit_test(test_jitter_alone_is_no_limit),
        cmocka_unit_test(test_it_ends_after_so_long_without_a_request),
        cmocka_unit_test(test_a_request_that_runs_or_waits_is_not_idle),
        cmocka_unit_test(test_what_can_not_be_loaded_is_not_idle),
        cmocka_unit_test(test_a_managers_worker_says_that_it_is_idle_and_serves_on),
        cmocka_unit_test(test_drain_ends_with_the_last_connection),
        cmocka_unit_test(test_drain_that_takes_too_long_is_cut_off),
        cmocka_unit_test(test_last_connection_at_the_deadline_is_not_cut_off),
        cmocka_unit_test(test_no_drain_at_all),
        cmocka_unit_test(test_sigquit_does_not_drain),
        cmocka_unit_test(
            test_without_the_host_s_descriptors_there_is_no_drain_and_nothing_is_asked),
        cmocka_unit_test(test_sigquit_cuts_a_drain_short),
        cmocka_unit_test(test_it_leaves_once_when_python_is_over),
        cmocka_unit_test(test_it_gives_python_up_once_when_it_takes_too_long),
        cmocka_unit_test(test_cleanups_have_their_own_time),
        cmocka_unit_test(test_python_that_ended_at_the_deadline_is_not_given_up),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests_name("lifecycle", tests, NULL, NULL);
}
