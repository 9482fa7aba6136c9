/* A worker process's connection to its manager: its end of the channel. */
#include "life/manager_link.h"

#include "base/descriptors.h"
#include "base/log.h"
#include "config/config_error.h"
#include "life/reexec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IDLE_TICKS = 20 }; /* ticks until it is told again: 10 s */

/* Each connection may have a file with it, and the memory is one too. */
enum { CONNECTIONS_MAX = (CHANNEL_FDS_MAX - 1) / 2 };

void manager_link_init(struct manager_link *link)
{
    const struct handover *predecessor = reexec_predecessor();
    *link = (struct manager_link){.heir_fd = -1, .inherit_fd = -1};
    if (predecessor == NULL || !predecessor->worker.is_set)
        return;
    link->is_managed = true;
    link->worker = predecessor->worker;
    link->board = scoreboard_map(link->worker.board_fd);
}

void manager_link_prepare(struct manager_link *link, struct poller *poller)
{
    poller->is_managed = link->is_managed;
    if (link->is_managed && !link->worker.is_accepting)
        poller_hold(poller);
}

void manager_link_report(struct manager_link *link, const struct worker_report *report)
{
    if (!link->is_managed || memcmp(&link->reported, report, sizeof(*report)) == 0)
        return;
    if (channel_send(link->worker.channel_fd, WORKER_REPORTS, report, sizeof(*report), NULL, 0) ==
        0)
        link->reported = *report;
}

void manager_link_tell_idle(struct manager_link *link, bool is_idle)
{
    uint32_t message = is_idle;
    if (!link->is_managed)
        return;
    bool is_due = is_idle && ++link->idle_ticks >= IDLE_TICKS;
    if (is_idle == link->is_idle_told && !is_due)
        return;
    link->idle_ticks = 0;
    if (channel_send(link->worker.channel_fd, WORKER_IDLES, &message, sizeof(message), NULL, 0) ==
        0)
        link->is_idle_told = is_idle;
}

/* One that gets lost is followed by others, as with the next one. */
void manager_link_tell_start(struct manager_link *link, const struct worker_start *start)
{
    if (link->is_managed)
        (void)channel_send(link->worker.channel_fd, WORKER_STARTS, start, sizeof(*start), NULL, 0);
}

void manager_link_tell_alive(struct manager_link *link)
{
    if (link->is_managed)
        (void)channel_send(link->worker.channel_fd, WORKER_LIVES, NULL, 0, NULL, 0);
}

int manager_link_ask(struct manager_link *link, enum worker_wish wish, const char *reason,
                     struct handover_bytes startup)
{
    uint8_t data[CHANNEL_BYTES_MAX];
    struct worker_request request = {.wish = wish};
    if (!link->is_managed)
        return 0;
    snprintf(request.reason, sizeof(request.reason), "%s", reason);
    size_t bytes = startup.bytes <= sizeof(data) - sizeof(request) ? startup.bytes : 0;
    memcpy(data, &request, sizeof(request));
    if (bytes > 0)
        memcpy(data + sizeof(request), startup.data, bytes);
    if (channel_send(link->worker.channel_fd, WORKER_ASKS, data, sizeof(request) + bytes, NULL,
                     0) == 0) {
        atomic_store(&link->is_failure_told, false);
        return 0;
    }
    int error = errno;
    if (!atomic_exchange(&link->is_failure_told, true))
        log_error("manager-unreachable", "can't ask the manager: %s", config_error_describe(error));
    return -1;
}

/* Takes the first descriptor of the message, or -1. */
static int take_descriptor(struct channel_message *message)
{
    int fd = message->fd_count > 0 ? message->fds[0] : -1;
    if (message->fd_count > 0)
        message->fds[0] = -1;
    channel_close_descriptors(message);
    return fd;
}

enum manager_link_event manager_link_receive(struct manager_link *link)
{
    struct channel_message *message = &link->message;
    if (!link->is_managed)
        return LINK_NOTHING;
    switch (channel_receive(link->worker.channel_fd, message)) {
    case CHANNEL_EMPTY:
        return LINK_NOTHING;
    case CHANNEL_CLOSED:
        link->is_managed = false;
        return LINK_GONE;
    case CHANNEL_MESSAGE:
        break;
    }
    int fd = take_descriptor(message);
    if (message->kind == MANAGER_ACCEPT) {
        link->worker.is_accepting = true;
        return LINK_ACCEPT;
    }
    if (message->kind == MANAGER_RETIRE) {
        link->heir_fd = fd;
        link->is_retired = true;
        return LINK_RETIRE;
    }
    if (message->kind == MANAGER_INHERIT && fd >= 0) {
        if (link->inherit_fd >= 0)
            close(link->inherit_fd);
        link->inherit_fd = fd;
        return LINK_INHERIT;
    }
    if (fd >= 0)
        close(fd);
    return LINK_NOTHING;
}

/* Giving connections to the heir */

/* A file that holds the bytes, or -1 with errno. */
static int make_memory(const struct handover_writer *writer)
{
    int fd = descriptors_above_standard(memfd_create("fcgihost-connections", MFD_CLOEXEC));
    if (fd >= 0 && pwrite(fd, writer->data, writer->bytes, 0) == (ssize_t)writer->bytes)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int send_connections(int heir_fd, const struct handover *handover)
{
    struct handover_writer writer;
    int *fds, all[CHANNEL_FDS_MAX], result = -1;
    size_t fd_count;
    if (handover_write(handover, getpid(), &writer, &fds, &fd_count) == 0 &&
        fd_count < CHANNEL_FDS_MAX) {
        all[0] = make_memory(&writer);
        memcpy(all + 1, fds, fd_count * sizeof(*fds));
        if (all[0] >= 0)
            result = channel_send(heir_fd, WORKER_BEQUEATHS, NULL, 0, all, fd_count + 1);
        int error = errno;
        if (all[0] >= 0)
            close(all[0]);
        errno = error;
    }
    int error = errno;
    free(writer.data);
    free(fds);
    errno = error;
    return result;
}

bool manager_link_bequeath(struct manager_link *link, struct poller *poller)
{
    struct handover handover = {0};
    bool is_sent = link->heir_fd >= 0;
    while (is_sent && poller_pick_movable(poller, CONNECTIONS_MAX, &handover) > 0) {
        int result = send_connections(link->heir_fd, &handover);
        bool is_full = result < 0 && errno == EAGAIN;
        is_sent = result == 0 || is_full;
        poller_release_picked(poller, &handover, result == 0);
        handover_clear(&handover);
        if (is_full)
            break; /* the heir takes them soon */
    }
    handover_clear(&handover);
    if (!is_sent && link->heir_fd >= 0) {
        close(link->heir_fd);
        link->heir_fd = -1;
    }
    return is_sent;
}

/* Taking the predecessor's */

/* Reads a copy, as the sender could still write to the memory. */
static uint8_t *read_memory(int fd, size_t *bytes)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_size <= 0)
        return NULL;
    *bytes = (size_t)status.st_size;
    uint8_t *data = malloc(*bytes);
    if (data != NULL && pread(fd, data, *bytes, 0) != (ssize_t)*bytes) {
        free(data);
        data = NULL;
    }
    return data;
}

static void take_connections(struct channel_message *message, struct poller *poller)
{
    struct handover handover = {0};
    size_t bytes = 0;
    uint8_t *data = message->fd_count > 0 ? read_memory(message->fds[0], &bytes) : NULL;
    enum handover_verdict verdict = data != NULL ? handover_read(data, bytes, message->fds + 1,
                                                                 message->fd_count - 1, &handover)
                                                 : HANDOVER_NO_MEMORY;
    if (verdict == HANDOVER_FINE) {
        poller_take_over(poller, &handover);
        for (size_t i = 1; i < message->fd_count; i++)
            message->fds[i] = -1; /* they belong to connections now */
    } else {
        log_error("handover-lost",
                  "%zu connection(s) that another worker handed over are closed: the message can't "
                  "be read",
                  message->fd_count > 0 ? message->fd_count - 1
                                        : 0); /* the first one is the memory */
    }
    channel_close_descriptors(message);
    handover_clear(&handover);
    free(data);
}

void manager_link_inherit(struct manager_link *link, struct poller *poller)
{
    enum channel_event event = CHANNEL_MESSAGE;
    while (link->inherit_fd >= 0 && event == CHANNEL_MESSAGE) {
        event = channel_receive(link->inherit_fd, &link->message);
        if (event == CHANNEL_MESSAGE && link->message.kind == WORKER_BEQUEATHS)
            take_connections(&link->message, poller);
        else if (event == CHANNEL_MESSAGE)
            channel_close_descriptors(&link->message);
    }
    if (event == CHANNEL_CLOSED && link->inherit_fd >= 0) {
        close(link->inherit_fd);
        link->inherit_fd = -1;
    }
}
