/* The worker processes as the manager starts them, with a program that is never executed.
 *
 * links: worker_processes.c worker_plan.c restart_delay.c scoreboard.c channel.c counters.c descriptors.c
 * config_error.c */
#include "life_fakes.h"

#include <fcntl.h>

#include "manager/worker_processes.h"

static struct worker_processes processes;
static struct worker_plan plan;
static char file[] = "/etc/f.ini", file_text[] = "[server]\n";
static struct config config;
static struct listener items[2];
static struct worker_outfit outfit;
static struct channel_message message;

/* What the last worker was started with; its end of the channel is a copy. */
static struct handover started;
static struct handover_listener started_listener;
static int worker_fd, open_before;
static int spawn_error;

pid_t reexec_spawn(struct handover *handover)
{
    if (spawn_error != 0) {
        errno = spawn_error;
        return -1;
    }
    started = *handover;
    started_listener = handover->listeners[0];
    close(worker_fd);
    worker_fd = fcntl(handover->worker.channel_fd, F_DUPFD_CLOEXEC, 0);
    return 4711;
}

struct handover_listener listener_describe(const struct listener *listener)
{
    return (struct handover_listener){
        .fd = listener->fd, .name = listener->name, .path = listener->path};
}

static int set_up(void **state)
{
    (void)state;
    forget();
    spawn_error = 0;
    worker_fd = -1;
    config = (struct config){.file = file, .file_text = file_text, .file_bytes = 9};
    items[0] = (struct listener){.fd = 7, .name = "unix:/run/a", .path = "/run/a"};
    items[1] = (struct listener){.fd = 8, .name = "127.0.0.1:9"};
    outfit = (struct worker_outfit){.config = &config, .listeners = {items, 2}};
    open_before = count_open();
    worker_processes_init(&processes);
    worker_plan_init(&plan, 2, 10000);
    return 0;
}

/* Whatever a test did, no descriptor is left. */
static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        worker_processes_forget(&processes, i);
    for (unsigned place = 0; place < 2; place++)
        worker_processes_keep_startup(&processes, place, NULL, 0);
    close(worker_fd);
    return count_open() != open_before;
}

/* Of a place, from 0, in the slot with the same number. */
static int start(unsigned place, enum worker_plan_reason reason)
{
    struct worker_plan_action action = {
        .kind = ACTION_START, .worker = (int)place, .reason = reason};
    worker_processes_forget(&processes, (int)place);
    plan.workers[place] =
        (struct planned_worker){.state = WORKER_STARTING, .place = place, .generation = 3};
    assert_int_equal(worker_processes_start(&processes, &plan, &action, &outfit, 1000), 0);
    return (int)place;
}

static void assert_received(int fd, unsigned kind, size_t fd_count)
{
    assert_int_equal(channel_receive(fd, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, kind);
    assert_int_equal(message.fd_count, fd_count);
}

static void test_a_worker_is_told_its_place_its_channel_and_its_board(void **state)
{
    (void)state;
    int worker = start(1, REPLACE_NOT);
    assert_true(started.worker.is_set);
    assert_int_equal(started.worker.place, 2);
    assert_int_equal(started.worker.generation, 3);
    assert_int_equal(started.worker.board_fd, processes.members[worker].board_fd);
    assert_int_equal(plan.workers[worker].pid, 4711);
    assert_int_equal(channel_send(worker_fd, WORKER_REPORTS, "x", 1, NULL, 0), 0);
    assert_int_equal(worker_processes_receive(&processes, worker, &message), CHANNEL_MESSAGE);
    assert_int_equal(message.kind, WORKER_REPORTS);
    assert_int_equal(worker_processes_receive(&processes, worker, &message), CHANNEL_EMPTY);
    struct scoreboard *board = scoreboard_map(started.worker.board_fd);
    atomic_store(&board->requests, 42);
    assert_int_equal(atomic_load(&processes.members[worker].board->requests), 42);
    scoreboard_unmap(board);
}

static void test_a_worker_inherits_the_sockets_and_must_not_remove_their_files(void **state)
{
    (void)state;
    start(0, REPLACE_NOT);
    assert_int_equal(started.listener_count, 2);
    assert_int_equal(started_listener.fd, 7);
    assert_true(started_listener.is_inherited);
    assert_string_equal(started_listener.path, "");
    assert_string_equal(started.file.path, "/etc/f.ini");
    assert_int_equal(started.file.text.bytes, 9);
}

static void test_the_next_manager_keeps_the_files_and_the_configuration_as_it_was_read(void **state)
{
    (void)state;
    config.kept =
        (struct config_kept){.is_set = true, .path = "/etc/kept.ini", .text = "kept", .bytes = 4};
    struct handover handover = worker_processes_describe_outfit(&outfit, true);
    assert_string_equal(handover.listeners[0].path, "/run/a");
    assert_false(handover.listeners[0].is_inherited);
    assert_string_equal(handover.file.path, "/etc/kept.ini");
    assert_int_equal(handover.file.text.bytes, 4);
    free(handover.listeners);
}

static void test_a_program_that_can_t_be_executed_leaves_nothing_open(void **state)
{
    (void)state;
    struct worker_plan_action action = {.kind = ACTION_START};
    spawn_error = ENOENT;
    assert_int_equal(worker_processes_start(&processes, &plan, &action, &outfit, 1000), -1);
    assert_string_equal(told, "log_error: a worker can't be started: no such file or directory|");
    worker_processes_forget(&processes, action.worker);
    assert_int_equal(count_open(), open_before);
}

static void test_only_who_is_to_heal_learns_what_the_last_attempt_told(void **state)
{
    (void)state;
    worker_processes_keep_startup(&processes, 0, (const uint8_t *)"older", 5);
    worker_processes_keep_startup(&processes, 0, (const uint8_t *)"failed", 6);
    start(0, REPLACE_HEAL);
    assert_true(started.is_start_again);
    assert_int_equal(started.startup.bytes, 6);
    assert_memory_equal(started.startup.data, "failed", 6);
    start(1, REPLACE_HEAL);
    assert_false(started.is_start_again);
    assert_null(started.startup.data);
    start(0, REPLACE_LIMIT);
    assert_false(started.is_start_again);
    assert_null(started.startup.data);
    worker_processes_keep_startup(&processes, 0, NULL, 0);
    start(0, REPLACE_HEAL);
    assert_false(started.is_start_again);
}

static void test_a_worker_is_told_to_accept(void **state)
{
    (void)state;
    int worker = start(0, REPLACE_NOT);
    worker_processes_let_accept(&processes, worker);
    assert_received(worker_fd, MANAGER_ACCEPT, 0);
}

static void test_who_retires_and_its_heir_get_the_two_ends_of_one_channel(void **state)
{
    (void)state;
    int worker = start(0, REPLACE_NOT), old_fd = dup(worker_fd), ends[2];
    int heir = start(1, REPLACE_NOT);
    worker_processes_retire(&processes, worker, heir);
    assert_received(old_fd, MANAGER_RETIRE, 1);
    ends[0] = message.fds[0];
    assert_received(worker_fd, MANAGER_INHERIT, 1);
    ends[1] = message.fds[0];
    assert_int_equal(channel_send(ends[0], WORKER_BEQUEATHS, NULL, 0, NULL, 0), 0);
    assert_received(ends[1], WORKER_BEQUEATHS, 0);
    close(ends[0]); /* and the manager has no copy */
    assert_int_equal(channel_receive(ends[1], &message), CHANNEL_CLOSED);
    close(ends[1]);
    close(old_fd);
}

static void test_who_retires_gets_no_channel_if_nobody_inherits(void **state)
{
    (void)state;
    int worker = start(0, REPLACE_NOT), old_fd = dup(worker_fd);
    worker_processes_retire(&processes, worker, WORKER_PLAN_NOBODY);
    assert_received(old_fd, MANAGER_RETIRE, 0);
    int heir = start(1, REPLACE_NOT);
    close(worker_fd);
    worker_fd = -1; /* the heir has died */
    worker_processes_retire(&processes, worker, heir);
    assert_received(old_fd, MANAGER_RETIRE, 0);
    close(old_fd);
}

static void test_descriptors_that_a_worker_sends_are_closed(void **state)
{
    (void)state;
    int worker = start(0, REPLACE_NOT), before = count_open();
    assert_int_equal(channel_send(worker_fd, WORKER_REPORTS, NULL, 0, &worker_fd, 1), 0);
    assert_int_equal(worker_processes_receive(&processes, worker, &message), CHANNEL_MESSAGE);
    assert_int_equal(count_open(), before);
}

static void test_a_worker_that_has_closed_its_end_is_not_asked_again(void **state)
{
    (void)state;
    int worker = start(0, REPLACE_NOT);
    close(worker_fd);
    worker_fd = -1;
    assert_int_equal(worker_processes_receive(&processes, worker, &message), CHANNEL_CLOSED);
    assert_int_equal(processes.members[worker].channel_fd, -1);
    assert_int_equal(worker_processes_receive(&processes, worker, &message), CHANNEL_EMPTY);
}

static void test_the_next_manager_takes_over_the_workers_that_serve(void **state)
{
    (void)state;
    static struct worker_processes next_processes;
    static struct worker_plan next_plan;
    size_t count;
    start(0, REPLACE_NOT); /* loads for as long as the test runs */
    int worker = start(1, REPLACE_NOT);
    plan.workers[worker].state = WORKER_SERVING;
    plan.workers[worker].report = (struct worker_plan_report){
        .is_loaded = true, .failed_applications = 1, .failed_imports = 2};
    atomic_store(&processes.members[worker].board->requests, 42);
    struct handover_member *members = worker_processes_describe(&processes, &plan, &count);
    assert_int_equal(count, 1);
    assert_int_equal(members[0].place, 1);

    worker_processes_init(&next_processes);
    worker_plan_init(&next_plan, 2, 10000);
    worker_processes_take_over(&next_processes, &next_plan, members, count);
    free(members);
    int slot = next_plan.places[1].current;
    const struct planned_worker *taken = &next_plan.workers[slot];
    assert_int_equal(next_plan.places[0].current, WORKER_PLAN_NOBODY);
    assert_int_equal(taken->pid, 4711);
    assert_int_equal(taken->state, WORKER_SERVING);
    assert_int_equal(taken->generation, 3);
    assert_int_equal(taken->started_ms, 1000);
    assert_int_equal(taken->report.failed_applications, 1);
    assert_int_equal(taken->report.failed_imports, 2);
    assert_true(taken->report.is_settled);
    assert_int_equal(atomic_load(&next_processes.members[slot].board->requests), 42);
    worker_processes_let_accept(&next_processes, slot);
    assert_received(worker_fd, MANAGER_ACCEPT, 0);
    scoreboard_unmap(
        next_processes.members[slot].board); /* the descriptors are those of processes as well */
}

static void test_what_a_worker_was_serving_is_told_with_its_age(void **state)
{
    (void)state;
    char text[64], little[16];
    int worker = start(0, REPLACE_NOT);
    struct scoreboard *board = processes.members[worker].board;
    atomic_store(&board->threads, 3);
    worker_processes_describe_requests(&processes, worker, 5000, text, sizeof(text));
    assert_string_equal(text, "");
    scoreboard_set(&board->thread[0], "GET /a", 1800);
    scoreboard_set(&board->thread[2], "GET /b", 5001);
    worker_processes_describe_requests(&processes, worker, 5000, text, sizeof(text));
    assert_string_equal(text, "GET /a (3.2 s) and GET /b (0.0 s)");
    worker_processes_describe_requests(&processes, worker, 5000, little, sizeof(little));
    assert_string_equal(little, "GET /a (3.2 s) ");
    worker_processes_forget(&processes, worker);
    worker_processes_describe_requests(&processes, worker, 5000, text, sizeof(text));
    assert_string_equal(text, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_a_worker_is_told_its_place_its_channel_and_its_board),
        TEST(test_a_worker_inherits_the_sockets_and_must_not_remove_their_files),
        TEST(test_the_next_manager_keeps_the_files_and_the_configuration_as_it_was_read),
        TEST(test_a_program_that_can_t_be_executed_leaves_nothing_open),
        TEST(test_only_who_is_to_heal_learns_what_the_last_attempt_told),
        TEST(test_a_worker_is_told_to_accept),
        TEST(test_who_retires_and_its_heir_get_the_two_ends_of_one_channel),
        TEST(test_who_retires_gets_no_channel_if_nobody_inherits),
        TEST(test_descriptors_that_a_worker_sends_are_closed),
        TEST(test_a_worker_that_has_closed_its_end_is_not_asked_again),
        TEST(test_the_next_manager_takes_over_the_workers_that_serve),
        TEST(test_what_a_worker_was_serving_is_told_with_its_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
