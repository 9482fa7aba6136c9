/* What the tests of the configuration share: a folder of their own, and a config that is at its
 * defaults. */
#ifndef FCGIHOST_TEST_CONFIG_FIXTURE_H
#define FCGIHOST_TEST_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config_application.h"
#include "config/config_file.h"
#include "config/config_load.h"
#include "config/settings_table.h"

/* The tests run in a folder of their own, which this names. */
static char folder[64];

struct fixture {
    struct config config;
    struct config_error error;
};

static inline int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    *state = &fixture;
    return config_init(&fixture.config, &fixture.error);
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;

    config_clear(&fixture->config);
    return 0;
}

static inline void write_bytes(const char *bytes, size_t count)
{
    FILE *file = fopen("fcgihost.ini", "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static inline void read_text(struct fixture *fixture, const char *text)
{
    write_bytes(text, strlen(text));
    if (config_read_file(&fixture->config, "fcgihost.ini", &fixture->error) != 0)
        fail_msg("%s", fixture->error.message);
}

static inline void assert_file_refused(struct fixture *fixture, const char *text,
                                       const char *expected)
{
    write_bytes(text, strlen(text));
    fixture->error.message[0] = '\0';
    assert_int_equal(config_read_file(&fixture->config, "fcgihost.ini", &fixture->error), -1);
    assert_string_equal(fixture->error.message, expected);
    config_clear(&fixture->config);
    assert_int_equal(config_init(&fixture->config, &fixture->error), 0);
}

static inline void set(struct fixture *fixture, const char *assignment)
{
    if (config_set(&fixture->config, assignment, &fixture->error) != 0)
        fail_msg("%s", fixture->error.message);
}

static inline void assert_set_refused(struct fixture *fixture, const char *assignment,
                                      const char *expected)
{
    fixture->error.message[0] = '\0';
    assert_int_equal(config_set(&fixture->config, assignment, &fixture->error), -1);
    assert_string_equal(fixture->error.message, expected);
}

static inline void assert_list(const struct config_list *list, const char *expected)
{
    char got[512] = "";

    for (size_t i = 0; i < list->count; i++) {
        size_t used = strlen(got);

        snprintf(got + used, sizeof(got) - used, "%s%s", i == 0 ? "" : "|", list->items[i]);
    }
    assert_string_equal(got, expected);
}

static inline const char *in_folder(const char *path)
{
    static char text[2][256];
    static int turn;

    turn = !turn;
    snprintf(text[turn], sizeof(text[turn]), "%s%s", folder, path);
    return text[turn];
}

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_config.XXXXXX");
    return mkdtemp(folder) == NULL || chdir(folder) < 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    unlink("fcgihost.ini");
    unlink("printed.ini");
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
