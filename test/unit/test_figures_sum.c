/* What all processes together are: sums, and a program as it is in the worst of them.
 *
 * links: figures_sum.c counters.c */
#include "unit.h"

#include <math.h>

#include "status/formats.h"

static struct figures figures;
static struct process_figures *processes[3];

static int set_up(void **state)
{
    (void)state;
    figures = (struct figures){.now_ms = 3500, .processes = processes, .process_count = 2};
    for (unsigned i = 0; i < COUNT(processes); i++) {
        processes[i] = calloc(1, sizeof(*processes[i]));
        processes[i]->place = i + 1;
        processes[i]->generation = 1;
        processes[i]->oldest_waiting_s = NAN;
        processes[i]->application_count = processes[i]->import_count = 1;
        snprintf(processes[i]->state, sizeof(processes[i]->state), "serving");
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(processes); i++)
        free(processes[i]);
    return 0;
}

static struct program_figures *application(int process)
{
    return &processes[process]->applications[0];
}

static void test_counters_are_added_to_those_of_workers_that_have_ended(void **state)
{
    (void)state;
    struct figures_sums sums;
    figures.ended = (struct counters_totals){.requests = 100, .by_class[1] = 100, .timeouts = 1};
    figures.ended_log_dropped = 7;
    for (unsigned i = 0; i < 2; i++) {
        *processes[i] =
            (struct process_figures){.totals = {.requests = 5, .by_class[1] = 5, .slow = 2},
                                     .threads_busy = 1 + i,
                                     .threads_busiest = 3,
                                     .responses_sending = 4,
                                     .thread_count = 10,
                                     .requests_waiting = 6,
                                     .connections_open = 20,
                                     .connections_idle = 15,
                                     .connections_max = 50,
                                     .log_dropped = 1,
                                     .oldest_waiting_s = i == 0 ? NAN : 1.5};
    }
    figures_sum(&figures, &sums);
    assert_int_equal(sums.totals.requests, 110);
    assert_int_equal(sums.totals.by_class[1], 110);
    assert_int_equal(sums.totals.slow, 4);
    assert_int_equal(sums.totals.timeouts, 1);
    assert_int_equal(sums.threads_busy, 3);
    assert_int_equal(sums.threads_busiest, 6);
    assert_int_equal(sums.sending, 8);
    assert_int_equal(sums.in_flight, 11);
    assert_int_equal(sums.threads, 20);
    assert_int_equal(sums.waiting, 12);
    assert_int_equal(sums.open, 40);
    assert_int_equal(sums.idle, 30);
    assert_int_equal(sums.max, 100);
    assert_int_equal(sums.log_dropped, 9);
    assert_true(sums.oldest_waiting_s == 1.5);
}

static void test_without_a_process_nothing_is_known(void **state)
{
    (void)state;
    struct figures_sums sums;
    struct program_figures program;
    figures.process_count = 0;
    figures_sum(&figures, &sums);
    assert_int_equal(sums.totals.requests, 0);
    assert_int_equal(sums.in_flight, 0);
    assert_true(isnan(sums.oldest_waiting_s));
    assert_false(figures_program(&figures, PROGRAM_APPLICATION, 0, &program));
    assert_false(figures_missing(&figures, &program));
}

static void test_the_larger_one_is_a_number_if_either_is(void **state)
{
    (void)state;
    assert_true(larger_known(1, 2) == 2 && larger_known(2, 1) == 2);
    assert_true(larger_known(NAN, 1) == 1 && larger_known(1, NAN) == 1);
    assert_true(isnan(larger_known(NAN, NAN)));
    assert_true(larger_known(-1, NAN) == -1);
}

static void test_an_application_is_as_bad_as_in_the_worst_process(void **state)
{
    (void)state;
    struct program_figures sum;
    *application(0) = (struct program_figures){
        .name = "a", .state = PROGRAM_LOADED, .attempts = 1, .generation = 4, .loaded_in_s = 2};
    *application(1) = (struct program_figures){.name = "a",
                                               .state = PROGRAM_FAILED,
                                               .attempts = 3,
                                               .generation = 1,
                                               .loaded_in_s = NAN,
                                               .last_error = "no",
                                               .next_attempt_ms = 4500};
    for (int i = 0; i < 2; i++) { /* whichever comes first */
        assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
        assert_int_equal(sum.state, PROGRAM_FAILED);
        assert_int_equal(sum.attempts, 3);
        assert_int_equal(sum.generation, 4);
        assert_string_equal(sum.last_error, "no");
        assert_true(program_next_attempt_s(&sum, &figures) == 1 && sum.loaded_in_s == 2);
        struct program_figures other = *application(0);
        *application(0) = *application(1);
        *application(1) = other;
    }
    application(1)->state = PROGRAM_LOADING;
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.state, PROGRAM_LOADING);
    assert_false(figures_program(&figures, PROGRAM_APPLICATION, 1, &sum));
}

static void test_of_several_that_failed_the_first_attempt_to_come_counts(void **state)
{
    (void)state;
    struct program_figures sum;
    for (int i = 0; i < 2; i++)
        *application(i) = (struct program_figures){
            .name = "a", .state = PROGRAM_FAILED, .next_attempt_ms = i == 0 ? 9000 : 5000};
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.next_attempt_ms, 5000);
    application(1)->next_attempt_ms = 0; /* it is not tried again there */
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.next_attempt_ms, 9000);
}

static void test_code_that_cannot_be_loaded_in_one_process_is_said_with_its_error(void **state)
{
    (void)state;
    struct program_figures sum;
    *application(0) =
        (struct program_figures){.name = "a", .state = PROGRAM_LOADED, .last_error = "old"};
    *application(1) = (struct program_figures){
        .name = "a", .state = PROGRAM_LOADED, .is_outdated = true, .last_error = "new"};
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.state, PROGRAM_LOADED);
    assert_true(sum.is_outdated);
    assert_string_equal(sum.last_error, "new");
}

static void test_a_successor_that_loads_hides_nothing_and_one_that_fails_is_seen(void **state)
{
    (void)state;
    struct program_figures sum;
    *application(0) = (struct program_figures){.name = "a", .state = PROGRAM_LOADED};
    *application(1) = (struct program_figures){.name = "a", .state = PROGRAM_LOADING};
    processes[1]->place = processes[0]->place;
    processes[1]->generation = 2;
    snprintf(processes[1]->state, sizeof(processes[1]->state), "starting");
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.state, PROGRAM_LOADED);
    application(1)->state = PROGRAM_FAILED;
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.state, PROGRAM_FAILED);
    application(1)->state = PROGRAM_LOADING;
    snprintf(processes[0]->state, sizeof(processes[0]->state), "draining");
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.state, PROGRAM_LOADING);
}

static void test_processes_of_two_configurations_are_listed_by_the_newer_one(void **state)
{
    (void)state;
    struct program_figures sum;
    snprintf(application(1)->name, 256, "new");
    application(0)->attempts = 9;
    processes[1]->generation = 2;
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_string_equal(sum.name, "new");
    assert_int_equal(sum.attempts, 0);
    processes[1]->application_count = processes[1]->import_count = 0; /* it does not answer */
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.attempts, 9);
}

static void test_the_same_name_at_another_mount_is_another_application(void **state)
{
    (void)state;
    struct program_figures sum;
    *application(0) = (struct program_figures){.name = "a", .mount = "/x", .state = PROGRAM_LOADED};
    *application(1) = (struct program_figures){.name = "a", .mount = "/y", .state = PROGRAM_FAILED};
    assert_true(figures_program(&figures, PROGRAM_APPLICATION, 0, &sum));
    assert_int_equal(sum.state, PROGRAM_LOADED);
}

static void test_what_is_missing_is_required_and_has_failed_before_it_loads(void **state)
{
    (void)state;
    struct program_figures missing;
    figures.process_count = 1;
    struct program_figures *import = &processes[0]->imports[0];
    *application(0) =
        (struct program_figures){.name = "app", .is_required = true, .state = PROGRAM_LOADED};
    *import = (struct program_figures){.name = "import", .state = PROGRAM_FAILED};
    assert_false(figures_missing(&figures, &missing)); /* it is not required */
    application(0)->state = PROGRAM_WAITING;
    assert_true(figures_missing(&figures, &missing));
    assert_string_equal(missing.name, "app");
    import->is_required = true;
    assert_true(figures_missing(&figures, &missing));
    assert_string_equal(missing.name, "import");
    import->state = PROGRAM_LOADING; /* both load: imports come first */
    application(0)->state = PROGRAM_LOADING;
    assert_true(figures_missing(&figures, &missing));
    assert_string_equal(missing.name, "import");
    application(0)->state = PROGRAM_FAILED;
    assert_true(figures_missing(&figures, &missing));
    assert_string_equal(missing.name, "app");
}

static void test_what_python_told_ages_and_a_retry_comes_nearer(void **state)
{
    (void)state;
    struct process_figures *process = processes[0];
    struct item_figures resource = {.kind = ITEM_RESOURCE, .seconds = 10},
                        lock = {.kind = ITEM_LOCK, .seconds = 10},
                        unknown = {.kind = ITEM_LOCK, .seconds = NAN};
    assert_true(isnan(items_age_s(process, &figures))); /* it has told nothing */
    process->items_told_ms = 1000;
    assert_true(items_age_s(process, &figures) == 2.5);
    assert_true(item_seconds(process, &resource, &figures) == 7.5);
    assert_true(item_seconds(process, &lock, &figures) == 12.5);
    assert_true(isnan(item_seconds(process, &unknown, &figures)));
    figures.now_ms = 60000;
    assert_true(item_seconds(process, &resource, &figures) == 0); /* and is due since */
    figures.now_ms = 500; /* told while the figures were being collected */
    assert_true(items_age_s(process, &figures) == 0);
    assert_true(item_seconds(process, &lock, &figures) == 10);
}

static void test_the_next_attempt_is_never_in_the_past(void **state)
{
    (void)state;
    struct program_figures program = {.next_attempt_ms = 0};
    assert_true(isnan(program_next_attempt_s(&program, &figures)));
    program.next_attempt_ms = 4000;
    assert_true(program_next_attempt_s(&program, &figures) == 0.5);
    program.next_attempt_ms = 1;
    assert_true(program_next_attempt_s(&program, &figures) == 0);
}

static void test_each_state_has_a_word(void **state)
{
    (void)state;
    assert_string_equal(program_state_name(PROGRAM_WAITING), "loading");
    assert_string_equal(program_state_name(PROGRAM_LOADING), "loading");
    assert_string_equal(program_state_name(PROGRAM_LOADED), "loaded");
    assert_string_equal(program_state_name(PROGRAM_FAILED), "failed");
    assert_string_equal(program_state_name((enum program_state)4711), "loading"); /* a worker's */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_counters_are_added_to_those_of_workers_that_have_ended),
        TEST(test_without_a_process_nothing_is_known),
        TEST(test_the_larger_one_is_a_number_if_either_is),
        TEST(test_an_application_is_as_bad_as_in_the_worst_process),
        TEST(test_of_several_that_failed_the_first_attempt_to_come_counts),
        TEST(test_code_that_cannot_be_loaded_in_one_process_is_said_with_its_error),
        TEST(test_a_successor_that_loads_hides_nothing_and_one_that_fails_is_seen),
        TEST(test_processes_of_two_configurations_are_listed_by_the_newer_one),
        TEST(test_the_same_name_at_another_mount_is_another_application),
        TEST(test_what_is_missing_is_required_and_has_failed_before_it_loads),
        TEST(test_what_python_told_ages_and_a_retry_comes_nearer),
        TEST(test_the_next_attempt_is_never_in_the_past),
        TEST(test_each_state_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
