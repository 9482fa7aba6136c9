/* What is wrong with a setting, or with what it names on this machine. */
#include "config/config_error.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int config_error_set(struct config_error *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    error->blame = CONFIG_BLAMES_NONE;
    return -1;
}

const char *config_error_describe(int number)
{
    static char text[80];

    snprintf(text, sizeof(text), "%s", strerror(number));
    text[0] = (char)tolower((unsigned char)text[0]);
    return text;
}

bool config_error_is_passing(int number)
{
    return number == ENOMEM || number == EMFILE || number == ENFILE || number == EINTR ||
           number == EAGAIN;
}
