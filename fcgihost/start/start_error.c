/* The one line with which a start fails. */
#include "start/start_error.h"

#include "base/log.h"
#include "config/config_error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int start_error(const struct config_error *error, enum exit_code code)
{
    bool is_wrong = code == EXIT_CONFIG || code == EXIT_USAGE;
    log_fail(is_wrong ? "configuration-wrong" : "start-failed", error->message);
    return code;
}

int start_error_setting(const struct config_error *error, enum exit_code code)
{
    return start_error(error, error->blame == CONFIG_BLAMES_FLAG   ? EXIT_USAGE
                              : error->blame == CONFIG_BLAMES_FILE ? EXIT_CONFIG
                                                                   : code);
}

int start_error_errno(const char *what)
{
    char text[256];
    snprintf(text, sizeof(text), "can't start: %s: %s", what, strerror(errno));
    log_fail("start-failed", text);
    return EXIT_RUN_TIME;
}
