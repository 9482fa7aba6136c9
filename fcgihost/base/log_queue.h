/* The messages that are not written yet: whoever logs waits for nobody. */
#ifndef FCGIHOST_LOG_QUEUE_H
#define FCGIHOST_LOG_QUEUE_H

#include "base/log_sink.h"

#include <stdbool.h>

/* Takes a message. It is written at once if all before it are and nothing is in the way; else by
 * the thread. When too much waits, it is dropped and counted. Without a thread the caller writes,
 * and waits a second at most. */
void log_queue_add(const struct log_origin *origin, const char *text, size_t text_bytes);
/* Of the messages that are added from here on. */
void log_queue_set_format(enum log_format format);
enum log_format log_queue_format(void);
/* From here on messages are only collected, for one who calls log_queue_drain() when the sink can
 * take more. */
void log_queue_collect(bool is_collecting);
/* Writes what it can without waiting. true: nothing is left. */
bool log_queue_drain(void);
/* Waits until all is written; gives up when nothing moves for a while. */
bool log_queue_flush(void);
/* Has the file opened again, by the thread if there is one, before anything else is written. */
void log_queue_reopen(void);
/* log_sink_mend() while nobody writes; not at all if a write takes longer than a second. */
void log_queue_mend(void);

/* Starts the thread that writes what can't be written at once. 0, or -1 with errno. */
int log_queue_start(void);
/* Flushes and ends the thread; one that hangs in a write is left behind. */
void log_queue_stop(void);
/* This thread never writes itself: a disk can be slow as well. */
void log_queue_never_write(void);
unsigned long long log_queue_dropped(void);
/* One that was never added, and that is told of elsewhere. */
void log_queue_count_dropped(void);
/* Before a process of its own is made that collects: what it drops counts here, too. */
void log_queue_share_dropped(void);

/* In log.c: opens the file again and tells if that failed. */
void log_reopen_now(bool is_asked);

#endif
