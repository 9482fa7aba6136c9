/* What a process hands over to the one that takes its place, as bytes. Pure.
 *
 * The memory, in the machine's byte order, as both sides run on it:
 *
 *     offset  bytes
 *          0      8  "fcgihost"
 *          8      4  version of the format
 *         12      4  process id of the sender
 *         16      4  how many bytes there are, these 32 included
 *         20      4  unused, 0
 *         24      8  late signals: 1 << number of each that came after the bytes were written; both
 *                    sides use it atomically
 *         32         records: type (4 bytes), bytes of the content (4), content
 *
 * A content is a sequence of 8-byte numbers and of texts (4 bytes of length, the bytes, one NUL). A
 * reader passes over records that it does not know and over what follows the fields that it knows,
 * so that a newer program can take over from an older one; the version changes only when that is
 * not enough. Descriptors are sent as their place in one table of numbers: across exec() the
 * numbers stay what they are, over a socket (SCM_RIGHTS) the receiver gets others, in the same
 * order. */
#ifndef FCGIHOST_HANDOVER_H
#define FCGIHOST_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HANDOVER_VERSION = 1, HANDOVER_HEADER_BYTES = 32, HANDOVER_LATE_SIGNALS_OFFSET = 24 };

struct handover_bytes {
    const uint8_t *data;
    size_t bytes;
};

/* A file of the configuration as it was read; path is NULL if there was none. */
struct handover_file {
    const char *path;
    struct handover_bytes text;
};

struct handover_listener {
    int fd;
    uint64_t kind; /* enum address_kind */
    bool is_tcp, is_inherited;
    const char *name;
    const char *path; /* "" unless the process made a socket file */
    uint64_t path_device, path_inode;
};

/* A connection without a running request. */
struct handover_connection {
    int fd;
    uint64_t served;
    uint64_t deadline_ms, park_end_ms; /* as struct connection has them, on CLOCK_MONOTONIC */
    struct handover_bytes input; /* of the request that it has begun to send, from its head on */
    /* What of its body was taken in, and is no longer in input: first in memory, then in a file. */
    bool has_body;
    struct handover_bytes body;
    int body_fd;                   /* -1: all is in memory */
    uint64_t body_begin, body_end; /* of the file */
};

/* Descriptors of files that root opened, and the user whom the process became could not. */
struct handover_root_files {
    bool is_set;
    int log_fd;      /* -1: the log is no file */
    int pid_file_fd; /* -1: there is none */
};

/* What a worker process has to know of its manager. */
struct handover_worker {
    bool is_set;
    uint64_t place;      /* from 1 */
    uint64_t generation; /* of the configuration and code */
    bool is_accepting;   /* it takes connections before it has loaded anything */
    int channel_fd;      /* to the manager: see base/channel.h */
    int board_fd;        /* the memory of threads/scoreboard.h; -1: none */
};

/* A worker that serves, for a manager that executes itself anew. */
struct handover_member {
    uint64_t pid, place, generation, started_ms; /* on CLOCK_MONOTONIC */
    uint64_t failed_applications, failed_imports;
    int channel_fd, board_fd;
};

enum { HANDOVER_REASONS = 7 };

/* What the status counts over all programs that one after the other were this process. */
struct handover_status {
    uint64_t generation; /* 0: not told */
    uint64_t restarts[HANDOVER_REASONS];
};

/* An application or a start-up import that could not be loaded, for the status. */
struct handover_program {
    bool is_import;
    uint64_t number, attempts;
    uint64_t next_attempt_ms; /* on CLOCK_MONOTONIC; 0: none is planned */
    const char *error;
};

struct handover {
    struct handover_file file;
    struct handover_file environment; /* [server] environment_file */
    struct handover_root_files root_files;
    struct handover_worker worker;
    struct handover_status status;
    const char *folder; /* the current one at the first start; NULL: it was not known */
    struct handover_listener *listeners;
    size_t listener_count;
    struct handover_connection *connections;
    size_t connection_count;
    struct handover_member *members;
    size_t member_count;
    struct handover_program *programs;
    size_t program_count;
    uint64_t *children; /* process ids of children that go on, and that nobody else waits for */
    size_t child_count;
    struct handover_bytes startup; /* what fcgihost/host/startup.py wants to know again */
    uint64_t started_us;           /* when the first of these processes began, since 1970 */
    uint64_t started_ms;           /* likewise, on CLOCK_MONOTONIC; 0: not told */
    uint64_t signal_mask;          /* that it was started with: 1 << number */
    bool is_start_again;           /* nothing was served: its start failed and is tried again */
};

/* Bytes that grow. Zero it before; free data with free(). */
struct handover_writer {
    uint8_t *data;
    size_t bytes, capacity;
    bool has_failed; /* out of memory, or more than 4 GiB */
};

/* Where the sender's process id stands in the bytes: a process that was forked puts its own there.
 */
void handover_set_sender(uint8_t *data, pid_t sender);
/* Writes all of it, with the header; *fds and *fd_count are the table of descriptors, for the
 * caller to free. 0, or -1 when out of memory. */
int handover_write(const struct handover *handover, pid_t sender, struct handover_writer *writer,
                   int **fds, size_t *fd_count);

enum handover_verdict {
    HANDOVER_FINE,
    HANDOVER_FOREIGN, /* not written by this program, or cut short */
    HANDOVER_OTHER_VERSION,
    HANDOVER_NO_MEMORY,
};

/* Reads it; the texts and bytes are inside of data, which must outlive them. fds: the numbers of
 * the descriptors for the receiver; NULL: those of the sender. Free with handover_clear in every
 * case. */
enum handover_verdict handover_read(const uint8_t *data, size_t bytes, const int *fds,
                                    size_t fd_count, struct handover *handover);
void handover_clear(struct handover *handover);

#endif
