/* What the tests of those that speak to the service manager share: fakes of life/sd_notify.h that
 * write down what they were called for. One thread. */
#ifndef FCGIHOST_TEST_NOTIFY_FAKES_H
#define FCGIHOST_TEST_NOTIFY_FAKES_H

#include "unit.h"

#include <stdarg.h>

#include "config/config_application.h"
#include "life/sd_notify.h"

static char told[1024]; /* "ready serving shop:app|alive|" */
static uint64_t watchdog_ms;

static inline void tell(const char *format, ...)
{
    size_t used = strlen(told);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(told + used, sizeof(told) - used, format, arguments);
    va_end(arguments);
}

static inline void expect_told(const char *text)
{
    assert_string_equal(told, text);
    told[0] = '\0';
}

void config_describe_applications(const struct config *of, char *text, size_t text_bytes)
{
    (void)of;
    snprintf(text, text_bytes, "shop:app");
}

uint64_t sd_notify_watchdog_ms(void)
{
    return watchdog_ms;
}

void sd_notify_starting(const char *status, uint64_t extend_ms)
{
    tell("starting %s %llu|", status, (unsigned long long)extend_ms);
}

void sd_notify_ready(const char *status)
{
    tell("ready %s|", status);
}

void sd_notify_reloading(const char *status)
{
    tell("reloading %s|", status);
}

void sd_notify_stopping(const char *status, uint64_t extend_ms)
{
    tell("%s %llu|", status, (unsigned long long)extend_ms);
}

void sd_notify_alive(void)
{
    tell("alive|");
}

void sd_notify_again(void)
{
}

#endif
