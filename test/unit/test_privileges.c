/* Which user the process becomes: the system calls only write down what they are asked, so that no
 * test becomes anybody.
 *
 * links: privileges.c config_error.c */
#include "unit.h"

#include "base/log.h"
#include "config/config_load.h"
#include "life/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* most fakes use none of theirs */

static struct config config;
static struct config_error error;
static struct privileges privileges;
static uid_t euid;
static const char *failing; /* the call that fails; NULL: none does */
static int failing_errno;
static unsigned long dropped; /* how many of the bounding set */
static char told[512];

/* number: of the user or group; -1: the call has none. */
static int step(const char *what, long number)
{
    char text[64];
    if (number >= 0)
        snprintf(text, sizeof(text), "%s-%ld", what, number);
    else
        snprintf(text, sizeof(text), "%s", what);
    strncat(told, text, sizeof(told) - strlen(told) - 1);
    strncat(told, " ", sizeof(told) - strlen(told) - 1);
    errno = failing_errno;
    return failing != NULL && strncmp(text, failing, strlen(failing)) == 0 ? -1 : 0;
}

/* Fakes */

uid_t geteuid(void)
{
    return euid;
}

gid_t getegid(void)
{
    return 100;
}

int initgroups(const char *name, gid_t gid)
{
    assert_string_equal(name, "web");
    return step("initgroups", gid);
}

int setgroups(size_t count, const gid_t *groups)
{
    assert_int_equal(count, 1);
    return step("setgroups", groups[0]);
}

int setresgid(gid_t real, gid_t effective, gid_t saved)
{
    assert_true(real == effective && effective == saved); /* no way back */
    return step("setresgid", real);
}

int setresuid(uid_t real, uid_t effective, uid_t saved)
{
    assert_true(real == effective && effective == saved);
    int result = step("setresuid", real);
    if (result == 0)
        euid = real;
    return result;
}

int prctl(int option, ...)
{
    if (option == PR_CAPBSET_DROP)
        return dropped++ < 40 ? 0 : -1; /* as many as this kernel knows */
    return step(option == PR_SET_NO_NEW_PRIVS ? "no-new-privs"
                : option == PR_SET_DUMPABLE   ? "dumpable"
                : option == PR_CAP_AMBIENT    ? "ambient"
                                              : "prctl",
                -1);
}

long syscall(long number, ...)
{
    va_list arguments;
    assert_int_equal(number, SYS_capset);
    va_start(arguments, number);
    va_arg(arguments, struct __user_cap_header_struct *);
    const struct __user_cap_data_struct *data =
        va_arg(arguments, const struct __user_cap_data_struct *);
    va_end(arguments);
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        assert_int_equal(data[i].effective | data[i].permitted | data[i].inheritable, 0);
    return step("capset", -1);
}

int user_find(const char *text, struct user *user)
{
    *user = (struct user){.uid = (uid_t)-1, .gid = (gid_t)-1};
    if (strcmp(text, "web") == 0)
        *user = (struct user){.uid = 33, .gid = 34, .has_entry = true, .name = "web", .home = "/w"};
    else if (strcmp(text, "777") == 0)
        user->uid = 777;
    else if (strcmp(text, "778") == 0)
        *user = (struct user){.uid = 778, .gid = (gid_t)-1, .lookup_error = EMFILE};
    else {
        errno = strcmp(text, "silent") == 0 ? EMFILE : ENOENT;
        return -1;
    }
    return 0;
}

int user_find_group(const char *text, gid_t *gid)
{
    *gid = 55;
    errno = strcmp(text, "silent") == 0 ? EMFILE : ENOENT;
    return strcmp(text, "staff") == 0 ? 0 : -1;
}

void config_describe_place(const struct config *c, const char *section, const char *key, char *text,
                           size_t text_bytes)
{
    snprintf(text, text_bytes, "x.ini:3: ");
}

int config_blame(const struct config *c, const char *section, const char *key,
                 struct config_error *described)
{
    described->blame = CONFIG_BLAMES_FILE;
    return -1;
}

void log_warning(const char *event, const char *format, ...)
{
    step(event, -1);
}

/* Tests */

static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    euid = 0;
    failing = NULL;
    failing_errno = EPERM;
    dropped = 0;
    told[0] = error.message[0] = '\0';
    return 0;
}

static int find(void)
{
    return privileges_find(&config, false, &privileges, &error);
}

static int take(void)
{
    assert_int_equal(find(), 0);
    told[0] = '\0';
    return privileges_take(&config, &privileges, &error);
}

static void test_without_user_and_group_nothing_is_changed(void **state)
{
    (void)state;
    assert_int_equal(take(), 0);
    assert_string_equal(told, "");
    assert_false(privileges_change_user(&privileges));
}

/* Once the user has changed the groups can't be. */
static void test_groups_come_first_then_the_user_then_the_capabilities_go(void **state)
{
    (void)state;
    config.user = text("web");
    assert_int_equal(take(), 0);
    assert_string_equal(told, "initgroups-34 setresgid-34 setresuid-33 dumpable ambient capset ");
}

static void test_a_configured_group_wins_over_the_users(void **state)
{
    (void)state;
    config.user = text("web");
    config.group = text("staff");
    assert_int_equal(take(), 0);
    assert_string_equal(told, "initgroups-55 setresgid-55 setresuid-33 dumpable ambient capset ");
}

/* It has no name to look groups up by: those of root must go all the same. */
static void test_a_number_without_an_entry_gets_its_group_alone(void **state)
{
    (void)state;
    config.user = text("777");
    config.group = text("staff");
    assert_int_equal(take(), 0);
    assert_string_equal(told, "setgroups-55 setresgid-55 setresuid-777 dumpable ambient capset ");
}

static void test_a_number_without_an_entry_and_without_a_group_is_refused(void **state)
{
    (void)state;
    config.user = text("777");
    assert_int_equal(find(), -1);
    assert_string_equal(error.message, "x.ini:3: [server] user \"777\": a number without an entry "
                                       "in the user database: write [server] group too");
}

static void test_a_group_alone_leaves_root_its_capabilities(void **state)
{
    (void)state;
    config.group = text("staff");
    assert_int_equal(take(), 0);
    assert_string_equal(told, "setgroups-55 setresgid-55 ");
}

static void test_names_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    config.user = text("nobody-here");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "[server] user \"nobody-here\": no such user"));
    config.user = NULL;
    config.group = text("nothing-here");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "[server] group \"nothing-here\": no such group"));
}

static void test_a_user_database_that_can_t_tell_is_not_the_settings_fault(void **state)
{
    (void)state;
    config.user = text("silent");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "[server] user \"silent\": can't be looked up: "));
    assert_int_equal(error.blame, CONFIG_BLAMES_NONE);
    config.user = NULL;
    config.group = text("silent");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "[server] group \"silent\": can't be looked up: "));
}

static void test_a_number_whose_group_can_t_be_looked_up_is_not_the_settings_fault(void **state)
{
    (void)state;
    config.user = text("778");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "[server] user \"778\": can't be looked up: "));
    assert_int_equal(error.blame, CONFIG_BLAMES_NONE);
    config.group = text("staff");
    assert_int_equal(find(), 0);
}

static void test_only_root_can_become_somebody_else(void **state)
{
    (void)state;
    euid = 1000;
    config.user = text("web");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "only root can switch to another user"));
    config.user = NULL;
    config.group = text("staff");
    assert_int_equal(find(), -1);
    assert_non_null(strstr(error.message, "only root can switch to another group"));
}

static void test_to_name_the_user_that_the_process_is_already_is_fine(void **state)
{
    (void)state;
    euid = 33;
    config.user = text("web");
    assert_int_equal(take(), 0);
    assert_string_equal(told, "ambient capset ");
    assert_false(privileges_change_user(&privileges));
}

/* It became the user before it was executed anew, and may no longer be able to read its entry. */
static void test_a_program_executed_anew_as_the_user_is_refused_nothing(void **state)
{
    (void)state;
    euid = 33;
    config.user = text("gone-since");
    config.group = text("gone-too");
    assert_int_equal(privileges_find(&config, true, &privileges, &error), 0);
    euid = 0; /* it stayed root: then names count as at a first start */
    assert_int_equal(privileges_find(&config, true, &privileges, &error), -1);
}

static void test_who_is_not_root_loses_the_capabilities_that_systemd_gave(void **state)
{
    (void)state;
    euid = 1000;
    assert_int_equal(take(), 0);
    assert_string_equal(told, "ambient capset ");
    failing = "capset";
    assert_int_equal(take(), -1);
    assert_non_null(strstr(error.message, "capabilities can't be dropped"));
}

static void test_no_new_privs_comes_before_the_change_and_empties_the_bounding_set(void **state)
{
    (void)state;
    config.user = text("web");
    config.no_new_privs = true;
    assert_int_equal(take(), 0);
    assert_memory_equal(told, "no-new-privs initgroups", 23);
    assert_int_equal(dropped, 64); /* also those of a later kernel */
}

static void test_no_new_privs_without_a_change_leaves_the_bounding_set(void **state)
{
    (void)state;
    config.no_new_privs = true;
    assert_int_equal(take(), 0);
    assert_int_equal(dropped, 0);
    failing = "no-new-privs";
    assert_int_equal(take(), -1);
    assert_non_null(strstr(error.message, "[server] no_new_privs: "));
}

/* Half a change would serve with root's groups, or as root. */
static void test_each_call_that_fails_is_an_error(void **state)
{
    (void)state;
    static const char *const calls[] = {"initgroups", "setresgid", "setresuid", "capset"};
    config.user = text("web");
    for (size_t i = 0; i < COUNT(calls); i++) {
        euid = 0;
        failing = NULL;
        assert_int_equal(find(), 0);
        failing = calls[i];
        assert_int_equal(privileges_take(&config, &privileges, &error), -1);
    }
    euid = 0;
    config.user = text("777");
    config.group = text("staff");
    failing = "setgroups";
    assert_int_equal(take(), -1);
}

static void test_a_root_that_may_not_change_is_told_which_capability_it_lacks(void **state)
{
    (void)state;
    config.user = text("web");
    failing = "setresuid";
    assert_int_equal(take(), -1);
    assert_non_null(strstr(error.message,
                           "[server] user \"web\": can't switch to it: this root has "
                           "no CAP_SETUID"));
    euid = 0;
    failing_errno = EAGAIN;
    assert_int_equal(take(), -1);
    assert_null(strstr(error.message, "CAP_SETUID"));
    euid = 0;
    config.user = NULL;
    config.group = text("staff");
    failing = "setresgid";
    assert_int_equal(take(), -1);
    assert_non_null(strstr(error.message, "[server] group \"staff\": "));
}

static void test_the_environment_is_the_users_then_the_configurations(void **state)
{
    (void)state;
    struct config_variable variables[] = {{.name = text("HOME"), .value = text("/configured")},
                                          {.name = text("FCGIHOST_X"), .value = text("")}};
    config.user = text("web");
    assert_int_equal(find(), 0);
    assert_int_equal(privileges_set_environment(&config, &privileges), 0);
    assert_string_equal(getenv("HOME"), "/w");
    assert_string_equal(getenv("USER"), "web");
    assert_string_equal(getenv("LOGNAME"), "web");
    config.environment.items = variables;
    config.environment.count = COUNT(variables);
    assert_int_equal(privileges_set_environment(&config, &privileges), 0);
    assert_string_equal(getenv("HOME"), "/configured");
    assert_string_equal(getenv("FCGIHOST_X"), "");
}

static void test_without_an_entry_the_environment_keeps_its_home(void **state)
{
    (void)state;
    setenv("HOME", "/before", 1);
    assert_int_equal(find(), 0);
    assert_int_equal(privileges_set_environment(&config, &privileges), 0);
    assert_string_equal(getenv("HOME"), "/before");
    config.user = text("777");
    config.group = text("staff");
    assert_int_equal(find(), 0);
    assert_int_equal(privileges_set_environment(&config, &privileges), 0);
    assert_string_equal(getenv("HOME"), "/before");
}

static void test_root_without_a_user_is_warned_of(void **state)
{
    (void)state;
    privileges_warn(&config);
    assert_string_equal(told, "running-as-root ");
    told[0] = '\0';
    config.user = text("web");
    privileges_warn(&config);
    config.user = NULL;
    euid = 1000;
    privileges_warn(&config);
    assert_string_equal(told, "");
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_user_and_group_nothing_is_changed),
        TEST(test_groups_come_first_then_the_user_then_the_capabilities_go),
        TEST(test_a_configured_group_wins_over_the_users),
        TEST(test_a_number_without_an_entry_gets_its_group_alone),
        TEST(test_a_number_without_an_entry_and_without_a_group_is_refused),
        TEST(test_a_group_alone_leaves_root_its_capabilities),
        TEST(test_names_that_do_not_exist_are_refused),
        TEST(test_a_user_database_that_can_t_tell_is_not_the_settings_fault),
        TEST(test_a_number_whose_group_can_t_be_looked_up_is_not_the_settings_fault),
        TEST(test_only_root_can_become_somebody_else),
        TEST(test_to_name_the_user_that_the_process_is_already_is_fine),
        TEST(test_a_program_executed_anew_as_the_user_is_refused_nothing),
        TEST(test_who_is_not_root_loses_the_capabilities_that_systemd_gave),
        TEST(test_no_new_privs_comes_before_the_change_and_empties_the_bounding_set),
        TEST(test_no_new_privs_without_a_change_leaves_the_bounding_set),
        TEST(test_each_call_that_fails_is_an_error),
        TEST(test_a_root_that_may_not_change_is_told_which_capability_it_lacks),
        TEST(test_the_environment_is_the_users_then_the_configurations),
        TEST(test_without_an_entry_the_environment_keeps_its_home),
        TEST(test_root_without_a_user_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
