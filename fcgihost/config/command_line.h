/* The command line: what to do, and which configuration to do it with. */
#ifndef FCGIHOST_COMMAND_LINE_H
#define FCGIHOST_COMMAND_LINE_H

#include "config/config.h"
#include "config/config_error.h"

#include <stddef.h>

enum command {
    COMMAND_SERVE,
    COMMAND_CHECK,
    COMMAND_CALL,
    COMMAND_STATUS,
    COMMAND_RELOAD,
    COMMAND_PRINT_INI,
    COMMAND_VERSION,
    COMMAND_HELP
};

/* What command_line_parse returns; they are exit codes of the program. */
enum command_line_result {
    COMMAND_LINE_OK = 0,
    COMMAND_LINE_FAILED = 1, /* neither is wrong: there was no memory, or no descriptor */
    COMMAND_LINE_WRONG_USAGE = 2,
    COMMAND_LINE_WRONG_CONFIG = 3
};

/* The strings are argv's own. */
struct command_line {
    enum command command;
    /* COMMAND_CALL */
    const char *call_path;
    const char *method;    /* GET, or POST when there is data, unless one was given */
    const char *data_file; /* NULL: no body */
    const char **headers;  /* "Name: value", each with a colon */
    size_t header_count;
    /* COMMAND_STATUS, COMMAND_RELOAD */
    const char *status_file; /* the host's -c FILE; NULL: not said */
    const char *format;      /* "text" unless another one was given */
};

/* Reads argv (as main gets it; its order may change) and, unless only a text is to be printed, the
 * ini file into config, which config_init has prepared; flags win over the file. Clear command_line
 * afterwards in every case. On anything but COMMAND_LINE_OK error holds one line. config_check is
 * left to the caller. */
enum command_line_result command_line_parse(char **argv, struct command_line *command_line,
                                            struct config *config, struct config_error *error);
void command_line_clear(struct command_line *command_line);

/* One problem of several, on standard error: for --check, which names them all. */
void command_line_report(const struct config_error *error);
/* The text of --help, on stdout. */
void command_line_print_help(void);

#endif
