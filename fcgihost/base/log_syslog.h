/* Syslog without syslog(3), which waits for a daemon that does not read, for ever. */
#ifndef FCGIHOST_LOG_SYSLOG_H
#define FCGIHOST_LOG_SYSLOG_H

#include "base/log_record.h"

/* The socket, /dev/log; a test puts another name here. */
extern const char *log_syslog_path;

void log_syslog_open(void);
void log_syslog_close(void);
/* Connects anew if the socket's number is another file's by now, which it leaves alone. */
void log_syslog_mend(void);
/* -1: no daemon listens. */
int log_syslog_fd(void);
/* Sends the rest of a record, a datagram for each line. */
enum log_sink_result log_syslog_send(struct log_record *record);

#endif
