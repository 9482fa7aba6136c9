/* links: start_error.c config_error.c */
#include "unit.h"

#include "base/log.h"
#include "config/config_error.h"
#include "start/start_error.h"

#include <errno.h>

static char identifier[64], logged[512];

void log_fail(const char *event, const char *text)
{
    snprintf(identifier, sizeof(identifier), "%s", event);
    snprintf(logged, sizeof(logged), "%s", text);
}

static void test_a_wrong_configuration_and_a_failed_start_are_told_apart(void **state)
{
    static const struct {
        enum exit_code code;
        const char *identifier;
    } rows[] = {
        {EXIT_USAGE, "configuration-wrong"},
        {EXIT_CONFIG, "configuration-wrong"},
        {EXIT_RUN_TIME, "start-failed"},
        {EXIT_APPLICATION, "start-failed"},
    };
    struct config_error error;
    (void)state;
    config_error_set(&error, "x.ini:3: wrong");
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(start_error(&error, rows[i].code), rows[i].code);
        assert_string_equal(identifier, rows[i].identifier);
        assert_string_equal(logged, "x.ini:3: wrong");
    }
}

static void test_a_bad_value_is_wrong_usage_if_a_flag_gave_it(void **state)
{
    static const struct {
        enum config_blame blame;
        enum exit_code code;
    } rows[] = {
        {CONFIG_BLAMES_FLAG, EXIT_USAGE},
        {CONFIG_BLAMES_FILE, EXIT_CONFIG},
        {CONFIG_BLAMES_NONE, EXIT_RUN_TIME},
    };
    struct config_error error;
    (void)state;
    config_error_set(&error, "wrong");
    for (size_t i = 0; i < COUNT(rows); i++) {
        error.blame = rows[i].blame;
        assert_int_equal(start_error_setting(&error, EXIT_RUN_TIME), rows[i].code);
    }
}

static void test_an_error_of_the_system_is_named_with_what_failed(void **state)
{
    (void)state;
    errno = EMFILE;
    assert_int_equal(start_error_errno("descriptors"), EXIT_RUN_TIME);
    assert_string_equal(identifier, "start-failed");
    assert_string_equal(logged, "can't start: descriptors: Too many open files");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_configuration_and_a_failed_start_are_told_apart),
        cmocka_unit_test(test_a_bad_value_is_wrong_usage_if_a_flag_gave_it),
        cmocka_unit_test(test_an_error_of_the_system_is_named_with_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
