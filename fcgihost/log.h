/* The log: where it goes, and one line for each event. */
#ifndef FCGIHOST_LOG_H
#define FCGIHOST_LOG_H

#include "config.h"

#include <stddef.h>

/* Opens the destination ("stderr", "syslog", or a file's path). "stderr" becomes syslog where
 * descriptor 2 is closed or /dev/null. 0, or -1 with errno when a file can't be opened. Called
 * once, early; before it, messages go to stderr. */
int log_open(const char *destination, enum log_level level);
/* Opens a file destination again (SIGHUP, after rotation); if that fails the old one stays in use.
 */
void log_reopen(void);
void log_close(void);
/* The descriptor that messages go to, or -1 for syslog. */
int log_descriptor(void);
enum log_level log_threshold(void);

/* One message, printf-like, without a newline at its end; line breaks inside become continuation
 * lines. Safe in every thread, never takes the GIL, blocks at most as long as write(2) does. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Text of any length that is not a format (a traceback, what an application wrote). */
void log_text(enum log_level level, const char *text, size_t text_bytes);

#endif
