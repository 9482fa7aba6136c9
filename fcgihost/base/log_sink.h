/* Where the log goes: standard error, a file, syslog. No write waits for a reader. */
#ifndef FCGIHOST_LOG_SINK_H
#define FCGIHOST_LOG_SINK_H

#include "base/log_record.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum log_sink_kind {
    LOG_SINK_FILE,     /* a file or a device that needs no reader */
    LOG_SINK_PIPE,     /* a pipe, a FIFO, a terminal: our own open description does not block */
    LOG_SINK_SOCKET,   /* systemd's journal, say */
    LOG_SINK_BLOCKING, /* a pipe that could not be opened for ourselves: a write may never end */
    LOG_SINK_SYSLOG,
};

/* Both before the log is opened. Root gives a file that it makes to this user and group (-1: none),
 * who will have to open it again. */
void log_sink_give_files(uid_t uid, gid_t gid);
/* A process of its own that writes the log becomes that user, too. */
void log_sink_become_owner(void);
/* fd, of a program that was executed anew, is used instead of opening the file, which this user may
 * not be able to. -1: none. */
void log_sink_inherit(int fd);

/* Opens "stderr" (syslog where that is closed or /dev/null), "syslog" or a file's path. 0, or -1
 * with errno. */
int log_sink_open(const char *destination);
/* "stderr" again. */
void log_sink_close(void);
enum log_sink_kind log_sink_kind(void);
/* Its descriptor; of a file it never changes while the sink is open, unless it is mended: a
 * reopen puts another file behind it. */
int log_sink_fd(void);
/* Is descriptor 2 closed or /dev/null? */
bool log_sink_is_stderr_useless(void);
/* The file that was named, or NULL. */
const char *log_sink_path(void);

/* Writes the rest of a record, as far as that goes at once. WAIT: again when log_sink_wait says so.
 * FAILED: what is missing of it is lost. One caller at a time. */
enum log_sink_result log_sink_write(struct log_record *record);
/* Waits until more can be written. false: not in that time. */
bool log_sink_wait(int timeout_ms);

/* Writes a line to another descriptor, which may be anybody's, if that goes within a second. */
void log_sink_tell(int fd, const char *line, size_t line_bytes);

/* Opens a file again. 0; -1 with errno: the old one stays in use. */
int log_sink_reopen(void);
/* The application may have closed the descriptor, and opened another file that got its number:
 * opens the file, the socket, or what descriptor 2 is, anew. */
void log_sink_mend(void);
/* Was the file moved away or removed? */
bool log_sink_has_moved(void);

#endif
