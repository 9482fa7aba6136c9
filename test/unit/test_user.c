/* Users and groups by name and by number, in a user database that may fail.
 *
 * links: user.c */
#include "unit.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "base/user.h"

static int database_error; /* of each look into the user database; 0: it works */
static char buffer[16384];

struct passwd *getpwnam(const char *name)
{
    static struct passwd entry;
    struct passwd *found = NULL;
    errno = database_error != 0 ? database_error
                                : getpwnam_r(name, &entry, buffer, sizeof(buffer), &found);
    return found;
}

struct passwd *getpwuid(uid_t uid)
{
    static struct passwd entry;
    struct passwd *found = NULL;
    errno = database_error != 0 ? database_error
                                : getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found);
    return found;
}

struct group *getgrnam(const char *name)
{
    static struct group entry;
    struct group *found = NULL;
    errno = database_error != 0 ? database_error
                                : getgrnam_r(name, &entry, buffer, sizeof(buffer), &found);
    return found;
}

static void test_a_name_and_its_number_are_the_same_user(void **state)
{
    (void)state;
    struct user by_name, by_number;
    assert_int_equal(user_find("root", &by_name), 0);
    assert_int_equal(user_find("0", &by_number), 0);
    assert_true(by_name.has_entry && by_number.has_entry);
    assert_int_equal(by_name.uid, 0);
    assert_int_equal(by_number.gid, by_name.gid);
    assert_string_equal(by_number.name, "root");
    assert_string_equal(by_number.home, by_name.home);
}

static void test_a_number_needs_no_entry(void **state)
{
    (void)state;
    struct user user;
    gid_t gid;
    assert_int_equal(user_find("3141592653", &user), 0);
    assert_false(user.has_entry);
    assert_int_equal(user.uid, 3141592653u);
    assert_true(user.gid == (gid_t)-1);
    assert_int_equal(user_find_group("3141592653", &gid), 0);
    assert_int_equal(gid, 3141592653u);
}

/* As when the daemon that NSS asks has died. */
static void test_a_number_needs_no_user_database_that_works(void **state)
{
    (void)state;
    struct user user;
    gid_t gid;
    database_error = ECONNREFUSED;
    int user_result = user_find("1001", &user), group_result = user_find_group("1002", &gid);
    errno = 0;
    int name_result = user_find("root", &user), name_error = errno;
    errno = 0;
    int group_name_result = user_find_group("root", &gid), group_name_error = errno;
    database_error = 0;
    assert_int_equal(user_result, 0);
    assert_int_equal(group_result, 0);
    assert_int_equal(name_result, -1);
    assert_int_equal(name_error, ECONNREFUSED);
    assert_int_equal(group_name_result, -1);
    assert_int_equal(group_name_error, ECONNREFUSED);
}

static void test_what_is_neither_a_name_nor_a_number_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",   "no such user", "-1",         " 1",
                                        "1x", "4294967295",   "99999999999"};
    struct user user;
    gid_t gid;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(user_find(wrong[i], &user), -1);
        assert_int_equal(errno, ENOENT);
        assert_int_equal(user_find_group(wrong[i], &gid), -1);
        assert_int_equal(errno, ENOENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_and_its_number_are_the_same_user),
        cmocka_unit_test(test_a_number_needs_no_entry),
        cmocka_unit_test(test_a_number_needs_no_user_database_that_works),
        cmocka_unit_test(test_what_is_neither_a_name_nor_a_number_is_refused),
    };
    return cmocka_run_group_tests_name("user", tests, NULL, NULL);
}
