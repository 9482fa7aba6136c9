/* What the status is told, and what it then says: of a process alone, and of a manager with
 * workers, which are fakes that answer, are silent, or end meanwhile.
 *
 * links: collector.c ended_workers.c counters.c */
#include "unit.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/config_application.h"
#include "status/collector.h"
#include "status/queue_length.h"
#include "status/worker_socket.h"

enum { APPLICATIONS = 2, IMPORTS = 2, THREADS = 3, WORKERS_MAX = 512 };

static struct config config;
static struct poller poller;
static struct activities activities;
static struct activity items[THREADS];
static struct listener_set listeners;
static struct listener listener_items[100];
static atomic_ullong later_ms; /* how much the clock goes before the real one */

int clock_gettime(clockid_t id, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, id, now);
    now->tv_sec += (time_t)(atomic_load(&later_ms) / 1000);
    return (int)result;
}

/* Fakes */

static struct poller_load load;
static const char *busy[THREADS];             /* what threads do; NULL: nothing */
static struct process_figures *answers[1000]; /* by the last digits of a worker's number */
static unsigned fetches;
static long ends_meanwhile; /* the worker that ends while others are asked; 0: none */
static unsigned fetch_ms;   /* how long one takes */

const char *config_describe_application(const struct config_application *application)
{
    return application->wsgi;
}

uint64_t memory_resident(void)
{
    return 1 << 20;
}

unsigned long long log_dropped(void)
{
    return 7;
}

long queue_length(int fd)
{
    return fd * 10;
}

void poller_get_load(struct poller *of, struct poller_load *out)
{
    assert_ptr_equal(of, &poller);
    *out = load;
}

int poller_listener_fd(struct poller *of, size_t i)
{
    (void)of;
    return 5 + (int)i;
}

const char *poller_listener_name(const struct poller *of, size_t i)
{
    (void)of;
    return i == 0 ? "unix:/run/x.sock" : "127.0.0.1:9000";
}

bool activity_get(struct activity *activity, struct activity_report *report)
{
    const char *what = busy[activity - items];
    if (what == NULL)
        return false;
    snprintf(report->request, sizeof(report->request), "%s", what);
    snprintf(report->request_id, sizeof(report->request_id), "id");
    report->age_ms = 2500;
    return true;
}

void activities_sum(const struct activities *of, struct counters_totals *totals)
{
    assert_ptr_equal(of, &activities);
    *totals = (struct counters_totals){.requests = 40};
}

struct process_figures *worker_fetch_figures(long pid)
{
    fetches++;
    atomic_fetch_add(&later_ms, fetch_ms);
    if (ends_meanwhile != 0) {
        collector_worker_ended(ends_meanwhile, &(struct counters_totals){.requests = 30});
        ends_meanwhile = 0;
    }
    const struct process_figures *answer = answers[pid % 1000];
    struct process_figures *copy = answer != NULL ? malloc(sizeof(*copy)) : NULL;
    if (copy != NULL) {
        memcpy(copy, answer, sizeof(*copy));
        copy->pid = pid;
    }
    return copy;
}

static char shop[] = "shop:app", admin[] = "admin:app", at_root[] = "", at_admin[] = "/admin";
static char database[] = "shop.database", cache[] = "shop.cache";
static struct config_application applications[] = {{.wsgi = shop},
                                                   {.wsgi = admin, .mount = at_admin}};
static char *imports[FIGURES_IMPORTS_MAX + 5] = {database, cache};

/* What it was told before stays until it is told anew: the module is the process's only one. */
static void init(void)
{
    config = (struct config){.applications = applications,
                             .application_count = APPLICATIONS,
                             .imports = {.items = imports, .count = IMPORTS},
                             .require = false,
                             .backlog = 511};
    collector_init(&config, "3.11.2", 123456, 0);
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&later_ms, 0);
    init();
    memset(&load, 0, sizeof(load));
    memset(busy, 0, sizeof(busy));
    return 0;
}

static struct process_figures *collect(void)
{
    static struct process_figures *last;
    free(last);
    last = collect_process();
    assert_non_null(last);
    return last;
}

/* A process alone */

static void test_at_first_nothing_is_known_but_the_configuration(void **state)
{
    (void)state;
    const struct process_figures *process = collect();
    assert_int_equal(process->pid, getpid());
    assert_int_equal(process->place, 1);
    assert_int_equal(process->generation, 1);
    assert_string_equal(process->state, "starting");
    assert_int_equal(process->started_us, 123456);
    assert_int_equal(process->rss_bytes, 1 << 20);
    assert_int_equal(process->log_dropped, 7);
    assert_true(isnan(process->oldest_waiting_s));
    assert_int_equal(process->thread_count, 0);
    assert_int_equal(process->items_told_ms, 0);
    assert_int_equal(process->application_count, APPLICATIONS);
    assert_string_equal(process->applications[0].name, "shop:app");
    assert_false(process->applications[0].has_mount);
    assert_true(process->applications[0].is_required);
    assert_true(process->applications[1].has_mount);
    assert_string_equal(process->applications[1].mount, "/admin");
    assert_int_equal(process->import_count, IMPORTS);
    assert_string_equal(process->imports[1].name, "shop.cache");
    assert_false(process->imports[1].is_required);
    assert_int_equal(process->imports[1].state, PROGRAM_WAITING);
    assert_true(isnan(process->imports[1].loaded_in_s));
    struct figures *figures = collect_figures();
    assert_string_equal(figures->python, "3.11.2");
    assert_int_equal(figures->up_ms, figures->now_ms); /* since 0, whatever the time of day was */
    assert_int_equal(figures->process_count, 1);
    assert_int_equal(figures->starts, 1);
    assert_int_equal(figures->listener_count, 0);
    figures_free(figures);
    figures_free(NULL);
}

static void test_the_root_s_mount_is_a_slash_and_long_names_are_cut(void **state)
{
    (void)state;
    static char longest[1000];
    memset(longest, 'n', sizeof(longest) - 1);
    struct config_application long_ones[] = {{.wsgi = longest, .mount = at_root},
                                             {.wsgi = admin, .mount = longest}};
    struct config changed = config;
    changed.applications = long_ones;
    changed.require = true;
    for (size_t i = 0; i < COUNT(imports); i++)
        imports[i] = longest;
    changed.imports.count = COUNT(imports);
    collector_init(&changed, "3", 1, 0);
    const struct process_figures *process = collect();
    assert_string_equal(process->applications[0].mount, "/");
    assert_int_equal(strlen(process->applications[0].name),
                     sizeof(process->applications[0].name) - 1);
    assert_int_equal(strlen(process->applications[1].mount),
                     sizeof(process->applications[1].mount) - 1);
    assert_int_equal(process->import_count, FIGURES_IMPORTS_MAX);
    assert_true(process->imports[FIGURES_IMPORTS_MAX - 1].is_required);
    imports[0] = database;
    imports[1] = cache;
}

static void test_a_program_s_attempts_from_loading_to_loaded(void **state)
{
    (void)state;
    collector_program_begins(PROGRAM_IMPORT, 1, 1);
    const struct program_figures *program = &collect()->imports[1];
    assert_int_equal(program->state, PROGRAM_LOADING);
    assert_int_equal(program->attempts, 1);
    collector_program_failed(PROGRAM_IMPORT, 1, "ImportError: no", 60);
    program = &collect()->imports[1];
    assert_int_equal(program->state, PROGRAM_FAILED);
    assert_string_equal(program->last_error, "ImportError: no");
    uint64_t now_ms = clock_ms();
    assert_true(program->next_attempt_ms >= now_ms && program->next_attempt_ms <= now_ms + 60000);
    collector_program_begins(PROGRAM_IMPORT, 1, 2);
    program = &collect()->imports[1];
    assert_int_equal(program->next_attempt_ms, 0);
    assert_int_equal(program->attempts, 2);
    collector_program_loaded(PROGRAM_IMPORT, 1);
    program = &collect()->imports[1];
    assert_int_equal(program->state, PROGRAM_LOADED);
    assert_int_equal(program->generation, 1);
    assert_true(program->loaded_in_s >= 0);
    assert_int_equal(collect()->imports[0].state, PROGRAM_WAITING);
    assert_int_equal(collect()->applications[1].state, PROGRAM_WAITING);
}

static void test_one_that_is_not_tried_again_has_no_next_attempt(void **state)
{
    (void)state;
    static const double never[] = {NAN, INFINITY, -1};
    for (size_t i = 0; i < COUNT(never); i++) {
        collector_program_failed(PROGRAM_APPLICATION, 0, "no", never[i]);
        assert_int_equal(collect()->applications[0].next_attempt_ms, 0);
    }
}

static void test_new_code_is_a_new_generation_and_code_that_cannot_be_loaded_is_none(void **state)
{
    (void)state;
    collector_program_loaded(PROGRAM_APPLICATION, 1);
    collector_program_reloaded(1, "SyntaxError: no");
    const struct program_figures *program = &collect()->applications[1];
    assert_true(program->is_outdated);
    assert_int_equal(program->state, PROGRAM_LOADED); /* the old code serves */
    assert_int_equal(program->generation, 1);
    assert_string_equal(program->last_error, "SyntaxError: no");
    collector_program_reloaded(1, NULL);
    program = &collect()->applications[1];
    assert_false(program->is_outdated);
    assert_int_equal(program->generation, 2);
    assert_string_equal(program->last_error, "");
}

static void test_what_is_not_in_the_configuration_is_not_noted(void **state)
{
    (void)state;
    collector_program_begins(PROGRAM_IMPORT, IMPORTS, 1);
    collector_program_loaded(PROGRAM_APPLICATION, APPLICATIONS);
    collector_program_failed(PROGRAM_IMPORT, SIZE_MAX, "no", 1);
    collector_program_reloaded(1000, "no");
    const struct process_figures *process = collect();
    assert_int_equal(process->application_count, APPLICATIONS);
    assert_int_equal(process->import_count, IMPORTS);
}

static void test_the_start_waits_for_required_imports_and_then_for_applications(void **state)
{
    (void)state;
    struct program_figures start;
    assert_false(collector_get_start(&start)); /* nothing has begun */
    collector_program_begins(PROGRAM_IMPORT, 0, 1);
    assert_false(collector_get_start(&start)); /* is not required */
    collector_program_failed(PROGRAM_APPLICATION, 1, "no", 1);
    assert_true(collector_get_start(&start));
    assert_string_equal(start.name, "admin:app");
    config.require = true;
    collector_init(&config, "3", 1, 0);
    collector_program_begins(PROGRAM_APPLICATION, 0, 1);
    collector_program_begins(PROGRAM_IMPORT, 1, 1);
    assert_true(collector_get_start(&start));
    assert_string_equal(start.name, "shop.cache");
    collector_program_loaded(PROGRAM_IMPORT, 1);
    assert_true(collector_get_start(&start));
    assert_string_equal(start.name, "shop:app");
    collector_program_loaded(PROGRAM_APPLICATION, 0);
    assert_false(collector_get_start(&start));
}

static void test_items_are_what_python_told_last(void **state)
{
    (void)state;
    static struct item_figures many[FIGURES_ITEMS_MAX];
    for (int i = 0; i < FIGURES_ITEMS_MAX; i++)
        many[i] = (struct item_figures){.kind = ITEM_POOL, .size = (unsigned)i};
    collector_set_items(many, FIGURES_ITEMS_MAX, 9);
    const struct process_figures *process = collect();
    assert_int_equal(process->item_count, FIGURES_ITEMS_MAX);
    assert_int_equal(process->items_left_out, 9);
    assert_memory_equal(process->items, many, sizeof(many));
    assert_true(process->items_told_ms > 0);
    collector_set_items(many + 5, 1, 0);
    process = collect();
    assert_int_equal(process->item_count, 1);
    assert_int_equal(process->items[0].size, 5);
    assert_int_equal(process->items_left_out, 0);
}

static void test_threads_and_connections_are_looked_up(void **state)
{
    (void)state;
    activities = (struct activities){.items = items, .count = THREADS};
    atomic_store(&activities.busiest, 3);
    atomic_store(&activities.sending, 4);
    busy[1] = "GET /slow";
    load = (struct poller_load){
        .open = 6, .idle = 5, .max = 100, .waiting = 2, .oldest_waiting_ms = 1500, .parked = 1};
    collector_attach_poller(&poller);
    collector_attach_threads(&activities);
    collector_set_state("serving");
    const struct process_figures *process = collect();
    assert_string_equal(process->state, "serving");
    assert_int_equal(process->connections_open, 6);
    assert_int_equal(process->connections_idle, 5);
    assert_int_equal(process->connections_max, 100);
    assert_int_equal(process->requests_waiting, 3);
    assert_true(process->oldest_waiting_s == 1.5);
    assert_int_equal(process->totals.requests, 40);
    assert_int_equal(process->threads_busiest, 3);
    assert_int_equal(process->responses_sending, 4);
    assert_int_equal(process->threads_busy, 1);
    assert_int_equal(process->thread_count, THREADS);
    assert_int_equal(process->threads[2].number, 3);
    assert_false(process->threads[2].is_busy);
    assert_string_equal(process->threads[2].request, "");
    assert_true(process->threads[1].is_busy);
    assert_string_equal(process->threads[1].request, "GET /slow");
    assert_string_equal(process->threads[1].request_id, "id");
    assert_true(process->threads[1].seconds == 2.5);
    load.waiting = 0;
    assert_true(isnan(collect()->oldest_waiting_s)); /* the parked ones wait for no thread */
}

static void test_listeners_have_their_names_and_queues(void **state)
{
    (void)state;
    collector_attach_poller(&poller);
    poller.listener_count = 2;
    struct figures *figures = collect_figures();
    poller.listener_count = 0;
    assert_int_equal(figures->listener_count, 2);
    assert_string_equal(figures->listeners[1].address, "127.0.0.1:9000");
    assert_int_equal(figures->listeners[1].queued, 60);
    assert_int_equal(figures->listeners[1].backlog, 511);
    figures_free(figures);
}

static void test_what_a_program_counted_goes_on_in_the_next(void **state)
{
    (void)state;
    collector_count_restart(RESTART_MEMORY);
    collector_count_restart(RESTART_MEMORY);
    struct handover_status status = {.generation = 0};
    collector_hand_over(&status);
    assert_int_equal(status.restarts[RESTART_MEMORY], 2);
    assert_int_equal(status.generation, 1);
    status.restarts[RESTART_CRASH] = 5;
    status.generation = 9;
    collector_resume(&status);
    collector_count_restart(RESTART_CRASH);
    struct figures *figures = collect_figures();
    assert_int_equal(figures->restarts[RESTART_MEMORY], 2);
    assert_int_equal(figures->restarts[RESTART_CRASH], 6);
    assert_int_equal(figures->generation, 9);
    figures_free(figures);
    status.generation = 0; /* of an older program, which did not tell */
    collector_resume(&status);
    collector_hand_over(&status);
    assert_int_equal(status.generation, 9);
    status = (struct handover_status){.generation = 1};
    collector_resume(&status);
}

static void test_programs_that_failed_are_handed_over_and_taken_up_again(void **state)
{
    (void)state;
    struct handover_program *programs;
    size_t count;
    collector_program_begins(PROGRAM_IMPORT, 0, 3);
    collector_program_failed(PROGRAM_IMPORT, 0, "import", 5);
    collector_program_begins(PROGRAM_APPLICATION, 1, 4);
    collector_program_failed(PROGRAM_APPLICATION, 1, "application", NAN);
    collector_program_loaded(PROGRAM_APPLICATION, 0);
    collector_hand_over_programs(&programs, &count);
    assert_int_equal(count, 2);
    assert_true(programs[0].is_import);
    assert_int_equal(programs[0].number, 0);
    assert_int_equal(programs[0].attempts, 3);
    assert_string_equal(programs[0].error, "import");
    assert_true(programs[0].next_attempt_ms > 0);
    assert_false(programs[1].is_import);
    assert_int_equal(programs[1].number, 1);
    assert_int_equal(programs[1].next_attempt_ms, 0);
    struct handover_program left[] = {
        {.is_import = true, .number = 1, .attempts = 6, .error = "told", .next_attempt_ms = 99},
        {.number = 4711, .error = "of another configuration"},
        {.number = 1, .attempts = 4, .error = "application"}};
    init();
    collector_resume_programs(left, COUNT(left));
    const struct process_figures *process = collect();
    assert_int_equal(process->imports[1].state, PROGRAM_FAILED);
    assert_int_equal(process->imports[1].attempts, 6);
    assert_int_equal(process->imports[1].next_attempt_ms, 99);
    assert_string_equal(process->imports[1].last_error, "told");
    assert_int_equal(process->imports[0].state, PROGRAM_WAITING);
    assert_int_equal(process->applications[1].attempts, 4);
    free(programs);
    collector_program_loaded(PROGRAM_IMPORT, 1);
    collector_program_loaded(PROGRAM_APPLICATION, 1);
    collector_hand_over_programs(&programs, &count);
    assert_int_equal(count, 0);
    free(programs);
}

/* Written by one thread and read by another, a program is what it was at one moment. */
static atomic_bool is_over;

static void *write_states(void *unused)
{
    for (unsigned i = 0; !atomic_load(&is_over); i++) {
        struct item_figures both[2] = {{.size = i}, {.size = i}};
        collector_set_items(both, 2, 0);
        collector_program_begins(PROGRAM_IMPORT, 0, i + 1);
        collector_program_failed(PROGRAM_IMPORT, 0, "no", 1);
    }
    return unused;
}

static void test_a_reader_sees_no_half_of_what_is_being_told(void **state)
{
    (void)state;
    pthread_t writer;
    struct program_figures start;
    atomic_store(&is_over, false);
    pthread_create(&writer, NULL, write_states, NULL);
    for (int i = 0; i < 2000; i++) {
        const struct process_figures *process = collect();
        if (process->item_count == 2)
            assert_int_equal(process->items[0].size, process->items[1].size);
        collector_get_start(&start);
    }
    atomic_store(&is_over, true);
    pthread_join(writer, NULL);
}

/* A manager: from here on the module is one's */

static struct process_figures *answer_of(unsigned worker, unsigned long long requests)
{
    answers[worker] = calloc(1, sizeof(**answers));
    answers[worker]->totals.requests = requests;
    snprintf(answers[worker]->state, sizeof(answers[worker]->state), "serving");
    answers[worker]->place = 99; /* what it says itself does not count */
    return answers[worker];
}

static void set_workers(size_t count)
{
    static struct worker_note notes[WORKERS_MAX + 10];
    for (size_t i = 0; i < COUNT(notes); i++)
        notes[i] = (struct worker_note){.pid = (long)(1000 + i + 1),
                                        .place = (unsigned)i % 4 + 1,
                                        .generation = 3,
                                        .state = "starting"};
    collector_set_workers(notes, count, 3);
}

static int set_up_manager(void **state)
{
    fetches = fetch_ms = 0;
    ends_meanwhile = 0;
    return set_up(state);
}

static int tear_down_manager(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        free(answers[i]);
        answers[i] = NULL;
    }
    set_workers(0);
    figures_free(collect_figures()); /* those that were there have ended */
    return 0;
}

static void
test_a_manager_tells_of_its_workers_those_that_answer_and_those_that_do_not(void **state)
{
    (void)state;
    answer_of(1, 10);
    set_workers(2);
    assert_true(collector_has_worker(1001));
    assert_false(collector_has_worker(1003));
    struct figures *figures = collect_figures();
    assert_int_equal(figures->process_count, 2);
    assert_int_equal(figures->generation, 3);
    assert_int_equal(figures->starts, 2);
    assert_int_equal(figures->processes[0]->pid, 1001);
    assert_string_equal(figures->processes[0]->state, "serving");
    assert_int_equal(figures->processes[0]->place, 1);
    assert_int_equal(figures->processes[0]->generation, 3);
    assert_int_equal(figures->processes[0]->totals.requests, 10);
    assert_int_equal(figures->processes[1]->pid, 1002);
    assert_string_equal(figures->processes[1]->state, "starting");
    assert_int_equal(figures->processes[1]->place, 2);
    assert_int_equal(figures->processes[1]->application_count, 0);
    assert_true(isnan(figures->processes[1]->oldest_waiting_s));
    figures_free(figures);
}

static void test_what_a_silent_worker_told_before_still_counts(void **state)
{
    (void)state;
    answer_of(1, 10);
    set_workers(1);
    figures_free(collect_figures());
    free(answers[1]);
    answers[1] = NULL;
    struct figures *figures = collect_figures();
    assert_int_equal(figures->processes[0]->totals.requests, 10);
    figures_free(figures);
}

static void test_a_worker_that_ends_while_it_is_asked_is_counted_once(void **state)
{
    (void)state;
    answer_of(1, 10);
    answer_of(2, 20);
    set_workers(2);
    struct figures *figures = collect_figures();
    unsigned long long before = figures->ended.requests;
    figures_free(figures);
    ends_meanwhile = 1001;
    figures = collect_figures();
    assert_int_equal(figures->process_count, 1);
    assert_int_equal(figures->processes[0]->pid, 1002);
    assert_int_equal(figures->ended.requests, before + 30);
    assert_false(collector_has_worker(1001));
    figures_free(figures);
    collector_worker_ended(4711, &(struct counters_totals){.requests = 5}); /* nobody knew it */
    figures = collect_figures();
    assert_int_equal(figures->ended.requests, before + 35);
    assert_int_equal(figures->process_count, 1);
    figures_free(figures);
}

static void test_more_workers_than_there_is_room_for_are_left_out(void **state)
{
    (void)state;
    set_workers(WORKERS_MAX + 10);
    struct figures *figures = collect_figures();
    assert_int_equal(figures->process_count, WORKERS_MAX);
    assert_int_equal(figures->starts, 4); /* places */
    assert_false(collector_has_worker(1000 + WORKERS_MAX + 1));
    figures_free(figures);
}

static void test_slow_workers_are_not_waited_for_without_an_end(void **state)
{
    (void)state;
    set_workers(100);
    fetch_ms = 1000;
    struct figures *figures = collect_figures();
    assert_int_equal(figures->process_count, 100);
    assert_true(fetches < 5);
    figures_free(figures);
}

static void test_a_manager_s_sockets_are_copied(void **state)
{
    (void)state;
    listeners = (struct listener_set){.items = listener_items, .count = COUNT(listener_items)};
    for (size_t i = 0; i < COUNT(listener_items); i++) {
        listener_items[i].fd = (int)i;
        snprintf(listener_items[i].name, sizeof(listener_items[i].name), "unix:/%zu", i);
    }
    collector_set_listeners(&listeners, 128);
    snprintf(listener_items[3].name, sizeof(listener_items[3].name), "changed");
    struct figures *figures = collect_figures();
    assert_int_equal(figures->listener_count, 64);
    assert_string_equal(figures->listeners[3].address, "unix:/3");
    assert_int_equal(figures->listeners[3].queued, 30);
    assert_int_equal(figures->listeners[3].backlog, 128);
    figures_free(figures);
    listeners.count = 1;
    collector_set_listeners(&listeners, 5);
    figures = collect_figures();
    assert_int_equal(figures->listener_count, 1);
    figures_free(figures);
}

#define ALONE(function) cmocka_unit_test_setup(function, set_up)
#define MANAGER(function)                                                                          \
    cmocka_unit_test_setup_teardown(function, set_up_manager, tear_down_manager)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(test_at_first_nothing_is_known_but_the_configuration),
        ALONE(test_the_root_s_mount_is_a_slash_and_long_names_are_cut),
        ALONE(test_a_program_s_attempts_from_loading_to_loaded),
        ALONE(test_one_that_is_not_tried_again_has_no_next_attempt),
        ALONE(test_new_code_is_a_new_generation_and_code_that_cannot_be_loaded_is_none),
        ALONE(test_what_is_not_in_the_configuration_is_not_noted),
        ALONE(test_the_start_waits_for_required_imports_and_then_for_applications),
        ALONE(test_items_are_what_python_told_last),
        ALONE(test_threads_and_connections_are_looked_up),
        ALONE(test_listeners_have_their_names_and_queues),
        ALONE(test_what_a_program_counted_goes_on_in_the_next),
        ALONE(test_programs_that_failed_are_handed_over_and_taken_up_again),
        ALONE(test_a_reader_sees_no_half_of_what_is_being_told),
        MANAGER(test_a_manager_tells_of_its_workers_those_that_answer_and_those_that_do_not),
        MANAGER(test_what_a_silent_worker_told_before_still_counts),
        MANAGER(test_a_worker_that_ends_while_it_is_asked_is_counted_once),
        MANAGER(test_more_workers_than_there_is_room_for_are_left_out),
        MANAGER(test_slow_workers_are_not_waited_for_without_an_end),
        MANAGER(test_a_manager_s_sockets_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
