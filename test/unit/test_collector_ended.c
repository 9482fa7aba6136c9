/* What the status knows of programs that failed, and of workers that end while it asks them; the
 * workers answer what a test says.
 *
 * links: collector.c ended_workers.c counters.c */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/config_application.h"
#include "status/collector.h"
#include "status/queue_length.h"
#include "status/worker_socket.h"

enum { FIRST = 10, SECOND = 11 };

static unsigned long long told_by[SECOND + 1]; /* requests, by a worker's number; 0: it is silent */
static unsigned long long
    ends_with; /* the first one, while the second one is asked; 0: it does not */

/* Fakes */

struct process_figures *worker_fetch_figures(long pid)
{
    if (pid == SECOND && ends_with > 0)
        collector_worker_ended(FIRST, &(struct counters_totals){.requests = ends_with});
    ends_with = pid == SECOND ? 0 : ends_with;
    if (told_by[pid] == 0)
        return NULL;
    struct process_figures *process = calloc(1, sizeof(*process));
    process->pid = pid;
    process->totals.requests = told_by[pid];
    return process;
}

const char *config_describe_application(const struct config_application *application)
{
    return application->wsgi;
}

void poller_get_load(struct poller *poller, struct poller_load *load)
{
    (void)poller;
    *load = (struct poller_load){0};
}

const char *poller_listener_name(const struct poller *poller, size_t i)
{
    (void)poller, (void)i;
    return "unix:/run/a";
}

int poller_listener_fd(struct poller *poller, size_t i)
{
    (void)poller, (void)i;
    return -1;
}

long queue_length(int fd)
{
    (void)fd;
    return -1;
}

bool activity_get(struct activity *activity, struct activity_report *report)
{
    (void)activity, (void)report;
    return false;
}

void activities_sum(const struct activities *activities, struct counters_totals *totals)
{
    (void)activities, (void)totals;
}

uint64_t memory_resident(void)
{
    return 0;
}

unsigned long long log_dropped(void)
{
    return 0;
}

/* Tests */

static void test_what_failed_is_failed_for_the_next_program_too_and_nothing_else(void **state)
{
    (void)state;
    static char shop_app[] = "shop:app", blog_app[] = "blog:app", db[] = "db", cache[] = "cache";
    static struct config_application applications[] = {{.wsgi = shop_app}, {.wsgi = blog_app}};
    static char *imports[] = {db, cache};
    static struct config config = {.applications = applications,
                                   .application_count = 2,
                                   .imports = {.items = imports, .count = 2}};
    collector_init(&config, "3.11", 1, 0);
    collector_program_begins(PROGRAM_IMPORT, 0, 1);
    collector_program_loaded(PROGRAM_IMPORT, 0);
    collector_program_begins(PROGRAM_IMPORT, 1, 4);
    collector_program_failed(PROGRAM_IMPORT, 1, "no cache", 60);
    collector_program_begins(PROGRAM_APPLICATION, 0, 3);
    collector_program_failed(PROGRAM_APPLICATION, 0, "no shop", 600);

    struct handover_program *programs;
    size_t count;
    collector_hand_over_programs(&programs, &count);
    assert_int_equal(count, 2);
    assert_true(programs[0].is_import && !programs[1].is_import);
    assert_true(programs[0].number == 1 && programs[1].number == 0);
    struct handover_program shop = programs[1];
    free(programs);
    assert_string_equal(shop.error, "no shop");
    assert_true(shop.next_attempt_ms > clock_ms());

    shop.error = "no shop yet"; /* as the next program, which has tried nothing so far */
    for (unsigned i = 0; i < 2; i++) {
        collector_program_loaded(PROGRAM_IMPORT, i);
        collector_program_begins(PROGRAM_APPLICATION, i, 1);
        collector_program_loaded(PROGRAM_APPLICATION, i);
    }
    struct program_figures start;
    assert_false(collector_get_start(&start));
    collector_resume_programs(&shop, 1);
    assert_true(collector_get_start(&start));
    assert_string_equal(start.name, "shop:app");
    assert_int_equal(start.state, PROGRAM_FAILED);
    assert_int_equal(start.attempts, 3);
    assert_true(start.next_attempt_ms == shop.next_attempt_ms);
    assert_string_equal(start.last_error, "no shop yet");
    collector_resume_programs(&(struct handover_program){.number = 7, .error = "of more"}, 1);
}

/* Both workers are there again; in all, those that have ended. */
static unsigned long long begin_round(unsigned long long first, unsigned long long second)
{
    static const struct worker_note workers[] = {{.pid = FIRST, .place = 1, .state = "serving"},
                                                 {.pid = SECOND, .place = 2, .state = "draining"}};
    told_by[FIRST] = first;
    told_by[SECOND] = second;
    collector_set_workers(workers, 2, 1);
    struct figures *figures = collect_figures();
    unsigned long long ended = figures->ended.requests;
    assert_int_equal(figures->process_count, 2);
    figures_free(figures);
    return ended;
}

static void assert_second_alone(unsigned long long ended)
{
    struct figures *figures = collect_figures();
    assert_int_equal(figures->process_count, 1);
    assert_int_equal(figures->processes[0]->pid, SECOND);
    assert_int_equal(figures->ended.requests, ended);
    figures_free(figures);
}

static void test_what_a_worker_counted_after_it_was_asked_is_not_lost_when_it_ends(void **state)
{
    (void)state;
    unsigned long long ended = begin_round(5, 100);
    collector_worker_ended(FIRST, &(struct counters_totals){.requests = 8});
    assert_false(collector_has_worker(FIRST));
    assert_true(collector_has_worker(SECOND));
    assert_second_alone(ended + 8);
    assert_second_alone(ended + 8);
}

static void test_one_that_ends_while_others_are_asked_counts_once(void **state)
{
    (void)state;
    unsigned long long ended = begin_round(5, 100);
    ends_with = 9;
    assert_second_alone(ended + 9);
    assert_second_alone(ended + 9);
}

static void test_one_that_does_not_answer_has_the_state_and_the_counts_of_before(void **state)
{
    (void)state;
    unsigned long long ended = begin_round(5, 100);
    told_by[SECOND] = 0;
    struct figures *figures = collect_figures();
    assert_int_equal(figures->process_count, 2);
    assert_string_equal(figures->processes[1]->state, "draining");
    assert_int_equal(figures->processes[1]->place, 2);
    assert_int_equal(figures->processes[1]->totals.requests, 100);
    assert_int_equal(figures->ended.requests, ended);
    figures_free(figures);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_failed_is_failed_for_the_next_program_too_and_nothing_else),
        cmocka_unit_test(test_what_a_worker_counted_after_it_was_asked_is_not_lost_when_it_ends),
        cmocka_unit_test(test_one_that_ends_while_others_are_asked_counts_once),
        cmocka_unit_test(test_one_that_does_not_answer_has_the_state_and_the_counts_of_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
