/* links: handover.c */
#include "unit.h"

#include "base/handover.h"

#include <stdlib.h>

static struct handover_bytes bytes_of(const char *text)
{
    return (struct handover_bytes){(const uint8_t *)text, strlen(text)};
}

static struct handover_listener listeners[] = {
    {.fd = 5, .kind = 2, .is_tcp = true, .is_inherited = true, .name = "fd:0", .path = ""},
    {.fd = 9, .name = "unix:/run/x", .path = "/run/x", .path_device = 1ull << 40, .path_inode = 7},
};
static struct handover_connection connections[] = {
    {.fd = 70000,
     .served = 3,
     .deadline_ms = 1,
     .park_end_ms = UINT64_MAX,
     .input = {(const uint8_t *)"\0\1\2", 3}},
    {.fd = 11, .input = {(const uint8_t *)"", 0}},
    {.fd = 12, .input = {(const uint8_t *)"x", 1}},
    {.fd = 13,
     .input = {(const uint8_t *)"y", 1},
     .has_body = true,
     .body = {(const uint8_t *)"body", 4},
     .body_fd = -1},
    {.fd = 14,
     .input = {(const uint8_t *)"z", 1},
     .has_body = true,
     .body = {(const uint8_t *)"", 0},
     .body_fd = 51,
     .body_begin = 5,
     .body_end = 1ull << 40},
};
static uint64_t children[] = {77, 78};

static struct handover_member members[] = {
    {.pid = 501, .place = 0, .generation = 2, .started_ms = 9, .channel_fd = 41, .board_fd = 42},
    {.pid = 502,
     .place = 1,
     .failed_applications = 1,
     .failed_imports = 2,
     .channel_fd = 43,
     .board_fd = 44},
};

static struct handover_program programs[] = {
    {.is_import = true, .number = 1, .attempts = 3, .next_attempt_ms = 77, .error = "OSError: no"},
    {.number = 0, .attempts = 1, .error = ""},
};

static struct handover example(void)
{
    return (struct handover){.folder = "/srv/current",
                             .file = {.path = "/etc/f.ini", .text = bytes_of("[server]\n")},
                             .environment = {.path = "/etc/secrets", .text = bytes_of("A=1\n")},
                             .root_files = {.is_set = true, .log_fd = 23, .pid_file_fd = -1},
                             .listeners = listeners,
                             .listener_count = COUNT(listeners),
                             .connections = connections,
                             .connection_count = COUNT(connections),
                             .members = members,
                             .member_count = COUNT(members),
                             .programs = programs,
                             .program_count = COUNT(programs),
                             .children = children,
                             .child_count = COUNT(children),
                             .startup = bytes_of("what Python knows"),
                             .started_us = 123456789012345,
                             .started_ms = 987654321,
                             .signal_mask = 1 << 15,
                             .is_start_again = true,
                             .status = {.generation = 5, .restarts = {1, 2, 3, 4, 5, 6, 7}},
                             .worker = {.is_set = true,
                                        .place = 3,
                                        .generation = 7,
                                        .is_accepting = true,
                                        .channel_fd = 21,
                                        .board_fd = 22}};
}

static struct handover_writer written(const struct handover *handover)
{
    struct handover_writer writer;
    int *fds;
    size_t fd_count;
    assert_int_equal(handover_write(handover, 4711, &writer, &fds, &fd_count), 0);
    size_t files = 0;
    for (size_t i = 0; i < handover->connection_count; i++)
        files += handover->connections[i].has_body && handover->connections[i].body_fd >= 0;
    assert_int_equal(fd_count, handover->listener_count + handover->connection_count + files +
                                   2 * handover->member_count + (handover->worker.is_set ? 2 : 0) +
                                   (handover->root_files.is_set ? 2 : 0));
    free(fds);
    return writer;
}

static void assert_same_bytes(struct handover_bytes a, struct handover_bytes b)
{
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.data, b.data, a.bytes);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    assert_int_equal(handover_read(writer.data, writer.bytes, NULL, 0, &after), HANDOVER_FINE);
    assert_string_equal(after.file.path, before.file.path);
    assert_string_equal(after.folder, before.folder);
    assert_same_bytes(after.file.text, before.file.text);
    assert_same_bytes(after.startup, before.startup);
    assert_true(after.started_us == before.started_us && after.started_ms == before.started_ms);
    assert_int_equal(after.signal_mask, before.signal_mask);
    assert_true(after.is_start_again);
    assert_int_equal(after.listener_count, COUNT(listeners));
    for (size_t i = 0; i < COUNT(listeners); i++) {
        const struct handover_listener *a = &listeners[i], *b = &after.listeners[i];
        assert_true(a->fd == b->fd && a->kind == b->kind && a->is_tcp == b->is_tcp);
        assert_true(a->is_inherited == b->is_inherited && a->path_inode == b->path_inode);
        assert_true(a->path_device == b->path_device);
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->path, b->path);
    }
    assert_int_equal(after.connection_count, COUNT(connections));
    for (size_t i = 0; i < COUNT(connections); i++) {
        const struct handover_connection *a = &connections[i], *b = &after.connections[i];
        assert_true(a->fd == b->fd && a->served == b->served && a->deadline_ms == b->deadline_ms);
        assert_true(a->park_end_ms == b->park_end_ms);
        assert_same_bytes(a->input, b->input);
        assert_int_equal(a->has_body, b->has_body);
        assert_int_equal(b->body_fd, a->has_body ? a->body_fd : -1);
        assert_same_bytes(a->body, b->body);
        assert_true(a->body_begin == b->body_begin && a->body_end == b->body_end);
    }
    assert_int_equal(after.program_count, COUNT(programs));
    for (size_t i = 0; i < COUNT(programs); i++) {
        const struct handover_program *a = &programs[i], *b = &after.programs[i];
        assert_true(a->is_import == b->is_import && a->number == b->number);
        assert_true(a->attempts == b->attempts && a->next_attempt_ms == b->next_attempt_ms);
        assert_string_equal(a->error, b->error);
    }
    assert_int_equal(after.child_count, COUNT(children));
    assert_memory_equal(after.children, children, sizeof(children));
    assert_true(after.worker.is_set && after.worker.is_accepting);
    assert_int_equal(after.member_count, COUNT(members));
    assert_memory_equal(after.members, members, sizeof(members));
    assert_int_equal(after.worker.place, 3);
    assert_int_equal(after.worker.generation, 7);
    assert_int_equal(after.worker.channel_fd, 21);
    assert_int_equal(after.worker.board_fd, 22);
    assert_string_equal(after.environment.path, before.environment.path);
    assert_same_bytes(after.environment.text, before.environment.text);
    assert_memory_equal(&after.status, &before.status, sizeof(before.status));
    assert_true(after.root_files.is_set);
    assert_int_equal(after.root_files.log_fd, 23);
    assert_int_equal(after.root_files.pid_file_fd, -1);
    handover_clear(&after);
    free(writer.data);
}

static void test_a_forked_process_puts_its_own_number_there(void **state)
{
    (void)state;
    struct handover before = example();
    struct handover_writer writer = written(&before);
    uint32_t sender;
    memcpy(&sender, writer.data + 12, sizeof(sender));
    assert_int_equal(sender, 4711);
    handover_set_sender(writer.data, 99);
    memcpy(&sender, writer.data + 12, sizeof(sender));
    assert_int_equal(sender, 99);
    free(writer.data);
}

static void test_without_an_ini_file_there_is_none(void **state)
{
    (void)state;
    struct handover before = {.startup = bytes_of("")}, after;
    struct handover_writer writer = written(&before);
    assert_int_equal(handover_read(writer.data, writer.bytes, NULL, 0, &after), HANDOVER_FINE);
    assert_null(after.file.path);
    assert_null(after.environment.path);
    assert_false(after.root_files.is_set);
    assert_int_equal(after.listener_count + after.connection_count + after.child_count, 0);
    handover_clear(&after);
    free(writer.data);
}

static void test_over_a_socket_the_receiver_has_other_numbers(void **state)
{
    (void)state;
    static const int own[] = {30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45};
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    assert_int_equal(handover_read(writer.data, writer.bytes, own, COUNT(own), &after),
                     HANDOVER_FINE);
    assert_int_equal(after.listeners[1].fd, 31);
    assert_int_equal(after.connections[2].fd, 34);
    assert_int_equal(after.connections[4].fd, 36);
    assert_int_equal(after.connections[4].body_fd, 37);
    assert_int_equal(after.members[1].board_fd, 41);
    assert_int_equal(after.worker.channel_fd, 42);
    assert_int_equal(after.worker.board_fd, 43);
    assert_int_equal(after.root_files.log_fd, 44);
    assert_int_equal(after.root_files.pid_file_fd, -1); /* the sender had none */
    handover_clear(&after);
    /* Fewer came than were sent. */
    assert_int_equal(handover_read(writer.data, writer.bytes, own, 3, &after), HANDOVER_FOREIGN);
    handover_clear(&after);
    free(writer.data);
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    for (size_t n = 0; n < writer.bytes; n++) {
        uint8_t *copy = malloc(n + 1); /* so that a sanitizer sees who reads behind it */
        memcpy(copy, writer.data, n);
        assert_int_equal(handover_read(copy, n, NULL, 0, &after), HANDOVER_FOREIGN);
        handover_clear(&after);
        free(copy);
    }
    free(writer.data);
}

static void test_every_changed_byte_is_read_without_harm(void **state)
{
    (void)state;
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    for (size_t i = 0; i < writer.bytes; i++)
        for (unsigned change = 1; change < 256; change *= 2) {
            writer.data[i] ^= (uint8_t)change;
            handover_read(writer.data, writer.bytes, NULL, 0, &after);
            handover_clear(&after);
            writer.data[i] ^= (uint8_t)change;
        }
    free(writer.data);
}

static void test_another_version_and_other_memory_are_told_apart(void **state)
{
    (void)state;
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    writer.data[8]++;
    assert_int_equal(handover_read(writer.data, writer.bytes, NULL, 0, &after),
                     HANDOVER_OTHER_VERSION);
    handover_clear(&after);
    writer.data[0] = 'F';
    assert_int_equal(handover_read(writer.data, writer.bytes, NULL, 0, &after), HANDOVER_FOREIGN);
    handover_clear(&after);
    free(writer.data);
}

static void test_what_a_newer_program_adds_is_passed_over(void **state)
{
    (void)state;
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    static const uint32_t added[] = {9999, 5};
    size_t bytes = writer.bytes + sizeof(added) + 5;
    uint8_t *longer = calloc(1, bytes);
    memcpy(longer, writer.data, writer.bytes);
    memcpy(longer + writer.bytes, added, sizeof(added));
    uint32_t total = (uint32_t)bytes;
    memcpy(longer + 16, &total, sizeof(total));
    assert_int_equal(handover_read(longer, bytes, NULL, 0, &after), HANDOVER_FINE);
    assert_int_equal(after.child_count, COUNT(children));
    handover_clear(&after);
    free(longer);
    free(writer.data);
}

/* Takes the last number out of the process's record. */
static void make_older(struct handover_writer *writer)
{
    uint32_t record[2];
    size_t at = 32;
    for (;; at += sizeof(record) + record[1]) {
        assert_true(at + sizeof(record) < writer->bytes);
        memcpy(record, writer->data + at, sizeof(record));
        if (record[0] == 2)
            break;
    }
    size_t end = at + sizeof(record) + record[1];
    memmove(writer->data + end - 8, writer->data + end, writer->bytes - end);
    record[1] -= 8;
    memcpy(writer->data + at, record, sizeof(record));
    writer->bytes -= 8;
    uint32_t total = (uint32_t)writer->bytes;
    memcpy(writer->data + 16, &total, sizeof(total));
}

static void test_what_an_older_program_does_not_tell_is_missing_and_no_more(void **state)
{
    (void)state;
    struct handover before = example(), after;
    struct handover_writer writer = written(&before);
    make_older(&writer);
    assert_int_equal(handover_read(writer.data, writer.bytes, NULL, 0, &after), HANDOVER_FINE);
    assert_true(after.started_us == before.started_us && after.is_start_again);
    assert_true(after.started_ms == 0);
    assert_int_equal(after.child_count, COUNT(children));
    handover_clear(&after);
    free(writer.data);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_a_forked_process_puts_its_own_number_there),
        cmocka_unit_test(test_without_an_ini_file_there_is_none),
        cmocka_unit_test(test_over_a_socket_the_receiver_has_other_numbers),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_every_changed_byte_is_read_without_harm),
        cmocka_unit_test(test_another_version_and_other_memory_are_told_apart),
        cmocka_unit_test(test_what_a_newer_program_adds_is_passed_over),
        cmocka_unit_test(test_what_an_older_program_does_not_tell_is_missing_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
