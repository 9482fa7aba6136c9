/* What is wrong with a setting, or with what it names on this machine: one line. */
#ifndef FCGIHOST_CONFIG_ERROR_H
#define FCGIHOST_CONFIG_ERROR_H

#include <stdbool.h>

enum { CONFIG_MESSAGE_SIZE = 1024 };

/* Where the bad value was given, which decides the exit code. */
enum config_blame { CONFIG_BLAMES_NONE, CONFIG_BLAMES_FILE, CONFIG_BLAMES_FLAG };

/* One line, ready to be printed: what, where, why, what to do. */
struct config_error {
    char message[CONFIG_MESSAGE_SIZE];
    enum config_blame blame; /* none: config_blame has not been called */
};

/* Writes the message; always -1, so that a caller can return it. */
int config_error_set(struct config_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text for an errno, in lower case as our messages are; valid until the next call. Not
 * thread-safe: for the start. */
const char *config_error_describe(int number);
/* Is it no memory or descriptor, or a signal, that this errno tells of? Then nothing was wrong with
 * the setting, and another start may work. */
bool config_error_is_passing(int number);

#endif
