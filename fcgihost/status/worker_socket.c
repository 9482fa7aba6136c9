/* How a manager gets the figures of its workers. */
#include "status/worker_socket.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4,
    ANSWER_US = 500000,
    HEAD_BYTES = 512,
    THREADS_MAX = 1024,
    STATUS_BYTES_MAX = 4 << 20
};

/* In Linux's abstract namespace: it goes with the process. */
static socklen_t fill_address(struct sockaddr_un *address, long pid)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n =
        snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "fcgihost-worker-%ld", pid);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int worker_socket_open(void)
{
    struct sockaddr_un address;
    socklen_t bytes = fill_address(&address, (long)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&address, bytes) < 0 || listen(fd, BACKLOG) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

size_t worker_figures_bytes(const struct process_figures *process)
{
    return sizeof(*process) + process->thread_count * sizeof(process->threads[0]);
}

/* -1: nobody listens, or another process than that worker. */
static int connect_to(long pid)
{
    struct sockaddr_un address;
    struct ucred peer;
    struct timeval timeout = {.tv_usec = ANSWER_US};
    socklen_t bytes = fill_address(&address, pid), peer_bytes = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&address, bytes) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) < 0 || peer.pid != (pid_t)pid) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A byte that is neither 0 nor 1 would be undefined as a bool. */
static void clean_flag(bool *flag)
{
    uint8_t byte;
    memcpy(&byte, flag, sizeof(byte));
    *flag = byte != 0;
}

static void end_texts(struct program_figures *programs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        programs[i].name[sizeof(programs[i].name) - 1] = '\0';
        programs[i].mount[sizeof(programs[i].mount) - 1] = '\0';
        programs[i].last_error[sizeof(programs[i].last_error) - 1] = '\0';
        clean_flag(&programs[i].has_mount);
        clean_flag(&programs[i].is_required);
        clean_flag(&programs[i].is_outdated);
    }
}

/* Nothing in it may lead out of it. */
static bool is_sound(struct process_figures *process, size_t bytes, long pid)
{
    if (bytes < sizeof(*process) || process->thread_count > THREADS_MAX ||
        worker_figures_bytes(process) != bytes || process->pid != pid ||
        process->application_count > CONFIG_APPLICATIONS_MAX ||
        process->import_count > FIGURES_IMPORTS_MAX || process->item_count > FIGURES_ITEMS_MAX)
        return false;
    process->state[sizeof(process->state) - 1] = '\0';
    end_texts(process->applications, process->application_count);
    end_texts(process->imports, process->import_count);
    for (size_t i = 0; i < process->item_count; i++) {
        process->items[i].name[sizeof(process->items[i].name) - 1] = '\0';
        process->items[i].state[sizeof(process->items[i].state) - 1] = '\0';
        process->items[i].detail[sizeof(process->items[i].detail) - 1] = '\0';
    }
    for (size_t i = 0; i < process->thread_count; i++) {
        process->threads[i].request[sizeof(process->threads[i].request) - 1] = '\0';
        process->threads[i].request_id[sizeof(process->threads[i].request_id) - 1] = '\0';
        clean_flag(&process->threads[i].is_busy);
    }
    return true;
}

/* All that is sent until the peer closes. 0: its end did not come in time, or there is no room. */
static size_t receive(int fd, char *bytes, size_t room)
{
    uint64_t end_ms = clock_ms() + ANSWER_US / 1000; /* also for one that sends byte by byte */
    size_t used = 0;
    while (used < room && clock_ms() < end_ms) {
        ssize_t n = recv(fd, bytes + used, room - used, 0);
        if (n <= 0)
            return n == 0 ? used : 0;
        used += (size_t)n;
    }
    return 0;
}

/* What follows the head of an answer that is "HTTP/1.1 200 OK". NULL: it is another. */
static char *find_body(char *bytes, size_t used)
{
    static const char good[] = "HTTP/1.1 200 ";
    if (used < sizeof(good) || memcmp(bytes, good, sizeof(good) - 1) != 0)
        return NULL;
    char *end = memmem(bytes, used, "\r\n\r\n", 4);
    return end != NULL ? end + 4 : NULL;
}

/* The body of the answer, of room bytes at most; free it. NULL: there is none. */
static char *fetch(long pid, const char *target, size_t room, size_t *body_bytes)
{
    char question[256];
    size_t used = 0;
    int question_bytes = snprintf(question, sizeof(question), "GET %s HTTP/1.0\r\n\r\n", target);
    char *bytes = malloc(HEAD_BYTES + room);
    int fd = bytes != NULL ? connect_to(pid) : -1;
    if (fd >= 0 && send(fd, question, (size_t)question_bytes, MSG_NOSIGNAL) > 0)
        used = receive(fd, bytes, HEAD_BYTES + room);
    if (fd >= 0)
        close(fd);
    char *body = used > 0 ? find_body(bytes, used) : NULL;
    if (body == NULL) {
        free(bytes);
        return NULL;
    }
    *body_bytes = used - (size_t)(body - bytes);
    memmove(bytes, body, *body_bytes);
    return bytes;
}

struct process_figures *worker_fetch_figures(long pid)
{
    size_t bytes,
        room = sizeof(struct process_figures) + THREADS_MAX * sizeof(struct thread_figures);
    struct process_figures *process = (void *)fetch(pid, "/figures", room, &bytes);
    if (process != NULL && is_sound(process, bytes, pid))
        return process;
    free(process);
    return NULL;
}

char *worker_ask_manager(const char *format, size_t *bytes)
{
    char target[64];
    snprintf(target, sizeof(target), "/?format=%s", format);
    return fetch((long)getppid(), target, STATUS_BYTES_MAX, bytes);
}
