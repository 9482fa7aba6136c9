/* What a process hands over to the one that takes its place, as bytes. */
#include "base/handover.h"

#include <stdlib.h>
#include <string.h>

static const char magic[] = "fcgihost";

enum { MAGIC_BYTES = sizeof(magic) - 1, RECORD_HEADER_BYTES = 8 };

enum record_type {
    RECORD_DESCRIPTORS = 1, /* comes first */
    RECORD_PROCESS = 2,
    RECORD_FILE = 3,
    RECORD_LISTENER = 4,
    RECORD_CONNECTION = 5,
    RECORD_CHILD = 6,
    RECORD_STARTUP = 7,
    RECORD_FOLDER = 8,
    RECORD_WORKER = 9,
    RECORD_MEMBER = 10,
    RECORD_ENVIRONMENT = 12,
    RECORD_ROOT_FILES = 13,
    RECORD_STATUS = 14,
    RECORD_UPLOAD = 15, /* a connection with a body that was taken in: an older program, which knows
                           nothing of that, must not take it for a whole one */
    RECORD_PROGRAM = 16,
};

/* Writing */

static void put(struct handover_writer *writer, const void *bytes, size_t n)
{
    if (writer->has_failed)
        return;
    if (writer->bytes + n > writer->capacity) {
        size_t capacity = 2 * (writer->bytes + n);
        uint8_t *data = writer->bytes + n <= UINT32_MAX ? realloc(writer->data, capacity) : NULL;
        writer->has_failed = data == NULL;
        if (data == NULL)
            return;
        writer->data = data;
        writer->capacity = capacity;
    }
    if (n > 0)
        memcpy(writer->data + writer->bytes, bytes, n);
    writer->bytes += n;
}

static void put_number(struct handover_writer *writer, uint64_t number)
{
    put(writer, &number, sizeof(number));
}

static void put_bytes(struct handover_writer *writer, struct handover_bytes text)
{
    uint32_t n = (uint32_t)text.bytes;
    put(writer, &n, sizeof(n));
    put(writer, text.data, text.bytes);
    put(writer, "", 1);
}

static void put_text(struct handover_writer *writer, const char *text)
{
    put_bytes(writer, (struct handover_bytes){(const uint8_t *)text, strlen(text)});
}

/* Returns where it begins, for end_record. */
static size_t begin_record(struct handover_writer *writer, enum record_type type)
{
    uint32_t head[2] = {type, 0};
    put(writer, head, sizeof(head));
    return writer->bytes;
}

static void end_record(struct handover_writer *writer, size_t begin)
{
    uint32_t n = (uint32_t)(writer->bytes - begin);
    if (!writer->has_failed)
        memcpy(writer->data + begin - sizeof(n), &n, sizeof(n));
}

static void put_descriptors(struct handover_writer *writer, const int *fds, size_t count)
{
    size_t begin = begin_record(writer, RECORD_DESCRIPTORS);
    for (size_t i = 0; i < count; i++)
        put_number(writer, (uint64_t)(int64_t)fds[i]);
    end_record(writer, begin);
}

static void put_file(struct handover_writer *writer, enum record_type type,
                     const struct handover_file *file)
{
    if (file->path == NULL)
        return;
    size_t begin = begin_record(writer, type);
    put_text(writer, file->path);
    put_bytes(writer, file->text);
    end_record(writer, begin);
}

static void put_process(struct handover_writer *writer, const struct handover *handover)
{
    size_t begin = begin_record(writer, RECORD_PROCESS);
    put_number(writer, handover->started_us);
    put_number(writer, handover->signal_mask);
    put_number(writer, handover->is_start_again);
    put_number(writer, handover->started_ms);
    end_record(writer, begin);
    begin = begin_record(writer, RECORD_STARTUP);
    put_bytes(writer, handover->startup);
    end_record(writer, begin);
    if (handover->folder != NULL) {
        begin = begin_record(writer, RECORD_FOLDER);
        put_text(writer, handover->folder);
        end_record(writer, begin);
    }
    put_file(writer, RECORD_FILE, &handover->file);
    put_file(writer, RECORD_ENVIRONMENT, &handover->environment);
}

static void put_listener(struct handover_writer *writer, const struct handover_listener *listener,
                         size_t place)
{
    size_t begin = begin_record(writer, RECORD_LISTENER);
    put_number(writer, place);
    put_number(writer, listener->kind);
    put_number(writer, listener->is_tcp);
    put_number(writer, listener->is_inherited);
    put_text(writer, listener->name);
    put_text(writer, listener->path);
    put_number(writer, listener->path_device);
    put_number(writer, listener->path_inode);
    end_record(writer, begin);
}

/* *body_place: of the next file of a body. */
static void put_connection(struct handover_writer *writer,
                           const struct handover_connection *connection, size_t place,
                           size_t *body_place)
{
    size_t begin = begin_record(writer, connection->has_body ? RECORD_UPLOAD : RECORD_CONNECTION);
    put_number(writer, place);
    put_number(writer, connection->served);
    put_number(writer, connection->deadline_ms);
    put_number(writer, connection->park_end_ms);
    put_bytes(writer, connection->input);
    if (connection->has_body) {
        put_bytes(writer, connection->body);
        put_number(writer, connection->body_begin);
        put_number(writer, connection->body_end);
        put_number(writer, connection->body_fd >= 0);
        if (connection->body_fd >= 0)
            put_number(writer, (*body_place)++);
    }
    end_record(writer, begin);
}

static void put_header(struct handover_writer *writer, pid_t sender)
{
    uint8_t header[HANDOVER_HEADER_BYTES] = {0};
    uint32_t numbers[3] = {HANDOVER_VERSION, (uint32_t)sender, 0};
    memcpy(header, magic, MAGIC_BYTES);
    memcpy(header + MAGIC_BYTES, numbers, sizeof(numbers));
    put(writer, header, sizeof(header));
}

static void put_worker(struct handover_writer *writer, const struct handover_worker *worker,
                       size_t place)
{
    size_t begin = begin_record(writer, RECORD_WORKER);
    put_number(writer, worker->place);
    put_number(writer, worker->generation);
    put_number(writer, worker->is_accepting);
    put_number(writer, place);
    put_number(writer, place + 1);
    end_record(writer, begin);
}

static void put_root_files(struct handover_writer *writer, size_t place)
{
    size_t begin = begin_record(writer, RECORD_ROOT_FILES);
    put_number(writer, place);
    put_number(writer, place + 1);
    end_record(writer, begin);
}

static void put_member(struct handover_writer *writer, const struct handover_member *member,
                       size_t place)
{
    size_t begin = begin_record(writer, RECORD_MEMBER);
    put_number(writer, member->pid);
    put_number(writer, member->place);
    put_number(writer, member->generation);
    put_number(writer, member->started_ms);
    put_number(writer, member->failed_applications);
    put_number(writer, member->failed_imports);
    put_number(writer, place);
    put_number(writer, place + 1);
    end_record(writer, begin);
}

static void put_status(struct handover_writer *writer, const struct handover_status *status)
{
    size_t begin = begin_record(writer, RECORD_STATUS);
    put_number(writer, status->generation);
    for (int i = 0; i < HANDOVER_REASONS; i++)
        put_number(writer, status->restarts[i]);
    end_record(writer, begin);
}

static size_t count_body_files(const struct handover *handover)
{
    size_t count = 0;
    for (size_t i = 0; i < handover->connection_count; i++)
        count += handover->connections[i].has_body && handover->connections[i].body_fd >= 0;
    return count;
}

static void put_program(struct handover_writer *writer, const struct handover_program *program)
{
    size_t begin = begin_record(writer, RECORD_PROGRAM);
    put_number(writer, program->is_import);
    put_number(writer, program->number);
    put_number(writer, program->attempts);
    put_number(writer, program->next_attempt_ms);
    put_text(writer, program->error);
    end_record(writer, begin);
}

/* In this order: listeners, connections, files of their bodies, two for each member, two of a
 * worker, root's files. */
static int *list_descriptors(const struct handover *handover, size_t *count)
{
    size_t listeners = handover->listener_count, connections = handover->connection_count, n = 0;
    int *fds = calloc(listeners + 2 * connections + 2 * handover->member_count + 4, sizeof(*fds));
    for (size_t i = 0; fds != NULL && i < listeners; i++)
        fds[n++] = handover->listeners[i].fd;
    for (size_t i = 0; fds != NULL && i < connections; i++)
        fds[n++] = handover->connections[i].fd;
    for (size_t i = 0; fds != NULL && i < connections; i++)
        if (handover->connections[i].has_body && handover->connections[i].body_fd >= 0)
            fds[n++] = handover->connections[i].body_fd;
    for (size_t i = 0; fds != NULL && i < handover->member_count; i++) {
        fds[n++] = handover->members[i].channel_fd;
        fds[n++] = handover->members[i].board_fd;
    }
    if (fds != NULL && handover->worker.is_set) {
        fds[n++] = handover->worker.channel_fd;
        fds[n++] = handover->worker.board_fd;
    }
    if (fds != NULL && handover->root_files.is_set) {
        fds[n++] = handover->root_files.log_fd;
        fds[n++] = handover->root_files.pid_file_fd;
    }
    *count = n;
    return fds;
}

void handover_set_sender(uint8_t *data, pid_t sender)
{
    uint32_t number = (uint32_t)sender;
    memcpy(data + MAGIC_BYTES + sizeof(number), &number, sizeof(number));
}

int handover_write(const struct handover *handover, pid_t sender, struct handover_writer *writer,
                   int **fds, size_t *fd_count)
{
    *writer = (struct handover_writer){0};
    *fds = list_descriptors(handover, fd_count);
    if (*fds == NULL)
        return -1;
    put_header(writer, sender);
    put_descriptors(writer, *fds, *fd_count);
    put_process(writer, handover);
    put_status(writer, &handover->status);
    for (size_t i = 0; i < handover->program_count; i++)
        put_program(writer, &handover->programs[i]);
    for (size_t i = 0; i < handover->listener_count; i++)
        put_listener(writer, &handover->listeners[i], i);
    size_t place = handover->listener_count + handover->connection_count, body_place = place;
    for (size_t i = 0; i < handover->connection_count; i++)
        put_connection(writer, &handover->connections[i], handover->listener_count + i,
                       &body_place);
    place += count_body_files(handover);
    for (size_t i = 0; i < handover->member_count; i++, place += 2)
        put_member(writer, &handover->members[i], place);
    if (handover->worker.is_set)
        put_worker(writer, &handover->worker, place);
    if (handover->root_files.is_set)
        put_root_files(writer, *fd_count - 2);
    for (size_t i = 0; i < handover->child_count; i++) {
        size_t begin = begin_record(writer, RECORD_CHILD);
        put_number(writer, handover->children[i]);
        end_record(writer, begin);
    }
    uint32_t n = (uint32_t)writer->bytes;
    if (!writer->has_failed)
        memcpy(writer->data + 16, &n, sizeof(n));
    return writer->has_failed ? -1 : 0;
}

/* Reading */

struct reader {
    const uint8_t *data, *end;
    bool is_cut;        /* the data ended too early */
    const uint8_t *fds; /* the sender's table */
    const int *own_fds; /* the receiver's, or NULL */
    size_t own_fd_count;
    size_t fd_count; /* of both that can be used; 0 until the table has come */
};

static const uint8_t *take(struct reader *reader, size_t n)
{
    const uint8_t *bytes = reader->data;
    if (reader->is_cut || (size_t)(reader->end - reader->data) < n) {
        reader->is_cut = true;
        return NULL;
    }
    reader->data += n;
    return bytes;
}

static uint32_t take_short(struct reader *reader)
{
    uint32_t number = 0;
    const uint8_t *bytes = take(reader, sizeof(number));
    if (bytes != NULL)
        memcpy(&number, bytes, sizeof(number));
    return number;
}

static uint64_t take_number(struct reader *reader)
{
    uint64_t number = 0;
    const uint8_t *bytes = take(reader, sizeof(number));
    if (bytes != NULL)
        memcpy(&number, bytes, sizeof(number));
    return number;
}

static struct handover_bytes take_bytes(struct reader *reader)
{
    struct handover_bytes text = {.bytes = take_short(reader)};
    text.data = take(reader, text.bytes);
    const uint8_t *nul = take(reader, 1);
    if (nul == NULL || *nul != 0)
        reader->is_cut = true;
    return reader->is_cut ? (struct handover_bytes){(const uint8_t *)"", 0} : text;
}

/* It ends where its first NUL is. */
static const char *take_text(struct reader *reader)
{
    return (const char *)take_bytes(reader).data;
}

static int take_descriptor(struct reader *reader)
{
    uint64_t place = take_number(reader), number;
    if (reader->is_cut || place >= reader->fd_count) {
        reader->is_cut = true;
        return -1;
    }
    memcpy(&number, reader->fds + place * sizeof(number), sizeof(number));
    if (number == UINT64_MAX)
        return -1; /* the sender had none */
    if (number > INT32_MAX)
        reader->is_cut = true;
    return reader->own_fds != NULL ? reader->own_fds[place] : (int)number;
}

static void take_descriptors(struct reader *all, const struct reader *content)
{
    size_t bytes = (size_t)(content->end - content->data), count = bytes / sizeof(uint64_t);
    if (all->own_fds != NULL && all->own_fd_count < count)
        count = all->own_fd_count;
    all->fds = content->data;
    all->fd_count = count;
}

/* Room for one more behind count items of an array whose capacity is the next power of two. */
static void *grow(void *items, size_t count, size_t item_bytes)
{
    if (count > 0 && (count & (count - 1)) != 0)
        return items;
    return realloc(items, (count > 0 ? 2 * count : 1) * item_bytes);
}

static int add_listener(struct handover *handover, struct reader *content)
{
    struct handover_listener *items =
        grow(handover->listeners, handover->listener_count, sizeof(*handover->listeners));
    if (items == NULL)
        return -1;
    handover->listeners = items;
    struct handover_listener *item = &items[handover->listener_count];
    item->fd = take_descriptor(content);
    item->kind = take_number(content);
    item->is_tcp = take_number(content) != 0;
    item->is_inherited = take_number(content) != 0;
    item->name = take_text(content);
    item->path = take_text(content);
    item->path_device = take_number(content);
    item->path_inode = take_number(content);
    handover->listener_count += !content->is_cut;
    return 0;
}

static void take_body(struct handover_connection *item, struct reader *content)
{
    item->has_body = true;
    item->body = take_bytes(content);
    item->body_begin = take_number(content);
    item->body_end = take_number(content);
    if (take_number(content) != 0)
        item->body_fd = take_descriptor(content);
}

static int add_connection(struct handover *handover, struct reader *content, bool has_body)
{
    struct handover_connection *items =
        grow(handover->connections, handover->connection_count, sizeof(*handover->connections));
    if (items == NULL)
        return -1;
    handover->connections = items;
    struct handover_connection *item = &items[handover->connection_count];
    *item = (struct handover_connection){.fd = take_descriptor(content), .body_fd = -1};
    item->served = take_number(content);
    item->deadline_ms = take_number(content);
    item->park_end_ms = take_number(content);
    item->input = take_bytes(content);
    if (has_body)
        take_body(item, content);
    handover->connection_count += !content->is_cut;
    return 0;
}

static int add_member(struct handover *handover, struct reader *content)
{
    struct handover_member *items =
        grow(handover->members, handover->member_count, sizeof(*handover->members));
    if (items == NULL)
        return -1;
    handover->members = items;
    struct handover_member *item = &items[handover->member_count];
    item->pid = take_number(content);
    item->place = take_number(content);
    item->generation = take_number(content);
    item->started_ms = take_number(content);
    item->failed_applications = take_number(content);
    item->failed_imports = take_number(content);
    item->channel_fd = take_descriptor(content);
    item->board_fd = take_descriptor(content);
    handover->member_count += !content->is_cut;
    return 0;
}

static int add_child(struct handover *handover, struct reader *content)
{
    uint64_t *items = grow(handover->children, handover->child_count, sizeof(*handover->children));
    if (items == NULL)
        return -1;
    handover->children = items;
    items[handover->child_count] = take_number(content);
    handover->child_count += !content->is_cut;
    return 0;
}

static void take_process(struct handover *handover, struct reader *content)
{
    handover->started_us = take_number(content);
    handover->signal_mask = take_number(content);
    handover->is_start_again = take_number(content) != 0;
    if (content->data < content->end) /* an older program does not tell */
        handover->started_ms = take_number(content);
}

static void take_worker(struct handover_worker *worker, struct reader *content)
{
    worker->place = take_number(content);
    worker->generation = take_number(content);
    worker->is_accepting = take_number(content) != 0;
    worker->channel_fd = take_descriptor(content);
    worker->board_fd = take_descriptor(content);
    worker->is_set = !content->is_cut;
}

static void take_root_files(struct handover_root_files *files, struct reader *content)
{
    files->log_fd = take_descriptor(content);
    files->pid_file_fd = take_descriptor(content);
    files->is_set = !content->is_cut;
}

static int add_program(struct handover *handover, struct reader *content)
{
    struct handover_program *items =
        grow(handover->programs, handover->program_count, sizeof(*handover->programs));
    if (items == NULL)
        return -1;
    handover->programs = items;
    struct handover_program *item = &items[handover->program_count];
    item->is_import = take_number(content) != 0;
    item->number = take_number(content);
    item->attempts = take_number(content);
    item->next_attempt_ms = take_number(content);
    item->error = take_text(content);
    handover->program_count += !content->is_cut;
    return 0;
}

static void take_status(struct handover_status *status, struct reader *content)
{
    status->generation = take_number(content);
    for (int i = 0; i < HANDOVER_REASONS; i++)
        status->restarts[i] = take_number(content);
}

static void take_file(struct handover_file *file, struct reader *content)
{
    file->path = take_text(content);
    file->text = take_bytes(content);
}

/* 0, or -1 when out of memory. */
static int take_record(struct handover *handover, struct reader *all, uint32_t type,
                       struct reader *content)
{
    switch (type) {
    case RECORD_DESCRIPTORS:
        take_descriptors(all, content);
        return 0;
    case RECORD_PROCESS:
        take_process(handover, content);
        return 0;
    case RECORD_FILE:
        take_file(&handover->file, content);
        return 0;
    case RECORD_ENVIRONMENT:
        take_file(&handover->environment, content);
        return 0;
    case RECORD_ROOT_FILES:
        take_root_files(&handover->root_files, content);
        return 0;
    case RECORD_STATUS:
        take_status(&handover->status, content);
        return 0;
    case RECORD_PROGRAM:
        return add_program(handover, content);
    case RECORD_LISTENER:
        return add_listener(handover, content);
    case RECORD_CONNECTION:
        return add_connection(handover, content, false);
    case RECORD_UPLOAD:
        return add_connection(handover, content, true);
    case RECORD_CHILD:
        return add_child(handover, content);
    case RECORD_FOLDER:
        handover->folder = take_text(content);
        return 0;
    case RECORD_MEMBER:
        return add_member(handover, content);
    case RECORD_WORKER:
        take_worker(&handover->worker, content);
        return 0;
    case RECORD_STARTUP:
        handover->startup = take_bytes(content);
        return 0;
    default:
        return 0; /* of a newer program */
    }
}

static enum handover_verdict check_header(struct reader *reader)
{
    const uint8_t *begin = take(reader, MAGIC_BYTES);
    if (begin == NULL || memcmp(begin, magic, MAGIC_BYTES) != 0)
        return HANDOVER_FOREIGN;
    uint32_t version = take_short(reader);
    take_short(reader); /* the sender */
    uint32_t bytes = take_short(reader);
    if (take(reader, HANDOVER_HEADER_BYTES - MAGIC_BYTES - 12) == NULL ||
        bytes < HANDOVER_HEADER_BYTES || bytes > (size_t)(reader->end - begin))
        return HANDOVER_FOREIGN;
    reader->end = begin + bytes;
    return version == HANDOVER_VERSION ? HANDOVER_FINE : HANDOVER_OTHER_VERSION;
}

enum handover_verdict handover_read(const uint8_t *data, size_t bytes, const int *fds,
                                    size_t fd_count, struct handover *handover)
{
    struct reader all = {
        .data = data, .end = data + bytes, .own_fds = fds, .own_fd_count = fd_count};
    *handover = (struct handover){0};
    enum handover_verdict verdict = check_header(&all);
    while (verdict == HANDOVER_FINE && all.data < all.end) {
        uint32_t type = take_short(&all), n = take_short(&all);
        struct reader content = all;
        content.data = take(&all, n);
        if (all.is_cut)
            return HANDOVER_FOREIGN;
        content.end = content.data + n;
        if (take_record(handover, &all, type, &content) < 0)
            return HANDOVER_NO_MEMORY;
        if (content.is_cut)
            return HANDOVER_FOREIGN;
    }
    return verdict;
}

void handover_clear(struct handover *handover)
{
    free(handover->listeners);
    free(handover->connections);
    free(handover->members);
    free(handover->programs);
    free(handover->children);
    *handover = (struct handover){0};
}
