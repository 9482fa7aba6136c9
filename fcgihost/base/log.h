/* The log: where it goes, and one line for each event. */
#ifndef FCGIHOST_LOG_H
#define FCGIHOST_LOG_H

#include "base/log_level.h"
#include "base/log_topic.h"

#include <stdbool.h>
#include <stddef.h>

/* Opens the destination ("stderr", "syslog", or a file's path). "stderr" becomes syslog where
 * descriptor 2 is closed or /dev/null. 0, or -1 with errno when a file can't be opened. Called
 * once, early; before it, messages go to stderr. */
int log_open(const char *destination, enum log_level level);
/* Before log_open(): messages are JSON objects from then on, in syslog too. */
void log_set_format(enum log_format format);
/* For a server, before it has threads: descriptors 1 and 2 lead to the log from here on, and nobody
 * who logs waits any more. 0, or -1 with errno. */
int log_start_writer(void);
/* Opens a file destination again (SIGHUP, after rotation); if that fails the old one stays in use.
 * One that was moved away is opened again without being asked. */
void log_reopen(void);
/* The application has closed descriptors that it did not open: the log, which may be one of them, is
 * opened anew if it can be. */
void log_mend(void);
/* Waits until all that was logged is written, but not for one who takes nothing. false: not all. */
bool log_flush(void);
/* Before the process executes another program: flushes, and descriptors 1 and 2 are what they were
 * at its start. */
void log_leave_standard(void);
void log_close(void);
/* The descriptor that messages go to, or -1 for syslog without a daemon. */
int log_descriptor(void);
enum log_level log_threshold(void);
/* This thread's messages are written by the log's own, however fast the destination is. */
void log_only_queue(void);
/* How many messages could not be written so far, or were not, as their request had logged too much.
 */
unsigned long long log_dropped(void);
/* One more was not written, which the log tells of elsewhere. */
void log_count_dropped(void);
/* Tells how many messages that were gathered (log_topic.is_gathered) have not been written. To be
 * called every second or so. */
void log_tell_gathered(void);
/* Why the process can't start or go on: a line on the standard error that it was started with, and
 * in the log, or in syslog if there is none yet, where that is another place. */
void log_fail(const char *event, const char *text);

/* One message, printf-like, without a newline at its end: one line, as control characters in it,
 * line breaks too, are escaped. event: its identifier, a literal like "worker-died", which fcgihost-messages(7) explains;
 * the tests find one that it does not. Safe in every thread, never takes the GIL, waits for no
 * reader: what can't be written is dropped and counted. */
void log_error(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warning(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_debug(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, of a request, say. */
void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A request has been answered: a line whatever the level, with the identifier of the request. */
void log_access(const char *request_id, const struct log_access *access);
/* Text of any length that is not a format (a traceback, what an application wrote); its line breaks
 * become continuation lines. */
void log_text(enum log_level level, const struct log_topic *topic, const char *text,
              size_t text_bytes);
/* The same after a prefix, which is one line: what is named in it may come from outside. */
void log_text_after(const char *prefix, enum log_level level, const struct log_topic *topic,
                    const char *text, size_t text_bytes);

#endif
