/* The exit codes, and the one line with which a start fails. */
#ifndef FCGIHOST_START_ERROR_H
#define FCGIHOST_START_ERROR_H

struct config_error;

enum exit_code { EXIT_CLEAN, EXIT_RUN_TIME, EXIT_USAGE, EXIT_CONFIG, EXIT_APPLICATION };

/* Logs the message; returns the code. Main thread. */
int start_error(const struct config_error *error, enum exit_code code);
/* Likewise, but a bad value is EXIT_USAGE if a flag gave it and EXIT_CONFIG if a file did, whenever
 * it shows. code: if it is no value that is bad. */
int start_error_setting(const struct config_error *error, enum exit_code code);
/* "can't start: what: " and the text of errno; EXIT_RUN_TIME. Main thread. */
int start_error_errno(const char *what);

#endif
