/* The callables that serve: what is put, and what is switched.
 *
 * links: py_programs.c */
#include "python_fixture.h"

#include "config/config.h"
#include "embed/py_programs.h"

static int set_up_python(void **state)
{
    (void)state;
    return python_start();
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    python_run("def one(): pass\n"
               "def two(): pass\n"
               "def three(): pass\n"
               "class Hold:\n"
               "    def __del__(self): released.append(self.name)\n"
               "    def __init__(self, name): self.name = name\n"
               "released = []\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    py_programs_clear();
    return 0;
}

static int put(unsigned long application, const char *loaded)
{
    PyObject *value = python_eval(loaded);
    int result = py_programs_put(application, value);
    Py_DECREF(value);
    return result;
}

static int change(const char *changes, const char *hold, unsigned number)
{
    PyObject *list = python_eval(changes), *value = python_eval(hold);
    int result = py_programs_switch(list, value, number);
    Py_DECREF(list);
    Py_DECREF(value);
    return result;
}

static void test_what_was_put_serves_its_role(void **state)
{
    (void)state;
    assert_int_equal(put(0, "(one, None, three)"), 0);
    assert_int_equal(put(CONFIG_APPLICATIONS_MAX - 1, "(two, two, two)"), 0);
    assert_ptr_equal(py_programs_get(0, ROLE_RESPONDER), python_get("one"));
    assert_ptr_equal(py_programs_get(0, ROLE_AUTHORIZER), Py_None);
    assert_ptr_equal(py_programs_get(0, ROLE_FILTER), python_get("three"));
    assert_ptr_equal(py_programs_get(CONFIG_APPLICATIONS_MAX - 1, ROLE_FILTER), python_get("two"));
    assert_int_equal(put(0, "(three, None, None)"), 0);
    assert_ptr_equal(py_programs_get(0, ROLE_RESPONDER), python_get("three"));
}

static void test_anything_else_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(put(0, "(one, two, three)"), 0);
    static const char *const wrong[] = {"one",        "None",       "()",
                                        "(one, two)", "(one,) * 4", "[one, two, three]"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(put(0, wrong[i]), -1);
        assert_raised("TypeError", "loaded must be a tuple");
    }
    assert_int_equal(put(CONFIG_APPLICATIONS_MAX, "(one, two, three)"), -1);
    assert_raised("TypeError", "loaded");
    assert_int_equal(put(ULONG_MAX, "(one, two, three)"), -1);
    assert_raised("TypeError", "loaded");
    assert_ptr_equal(py_programs_get(0, ROLE_FILTER), python_get("three"));
}

static void test_a_switch_replaces_responders_and_keeps_the_rest(void **state)
{
    (void)state;
    assert_int_equal(put(0, "(one, one, one)"), 0);
    assert_int_equal(put(1, "(one, one, one)"), 0);
    assert_int_equal(change("[(0, two), (1, None)]", "'hold'", 5), 0);
    assert_ptr_equal(py_programs_get(0, ROLE_RESPONDER), python_get("two"));
    assert_ptr_equal(py_programs_get(0, ROLE_AUTHORIZER), python_get("one"));
    assert_ptr_equal(py_programs_get(1, ROLE_RESPONDER), python_get("one"));
    assert_string_equal(PyUnicode_AsUTF8(py_programs_hold(0)), "hold");
    assert_string_equal(PyUnicode_AsUTF8(py_programs_hold(1)), "hold");
    assert_null(py_programs_hold(2));
    assert_int_equal(py_programs_generation(), 5);
}

static void test_the_old_hold_is_released_once_all_are_switched(void **state)
{
    (void)state;
    assert_int_equal(change("[(0, one), (1, one)]", "Hold('old')", 6), 0);
    assert_python("released", "[]");
    assert_int_equal(change("[(0, two)]", "Hold('new')", 7), 0);
    assert_python("released", "[]"); /* the other one has it still */
    assert_int_equal(change("[(1, two)]", "None", 8), 0);
    assert_python("released", "['old']");
    py_programs_clear();
    assert_python("released", "['old', 'new']");
    assert_null(py_programs_hold(0));
    assert_null(py_programs_get(0, ROLE_RESPONDER));
}

static void test_a_switch_of_what_is_none_raises_and_keeps_the_number(void **state)
{
    (void)state;
    assert_int_equal(change("[]", "None", 9), 0);
    static const char *const rows[][2] = {
        {"[1]", "TypeError"},
        {"[(0,)]", "TypeError"},
        {"[(0, one, two)]", "TypeError"},
        {"[('0', one)]", "TypeError"},
        {"[(10**6, one)]", "ValueError"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(change(rows[i][0], "None", 10), -1);
        assert_raised(rows[i][1], "");
        assert_int_equal(py_programs_generation(), 9);
    }
}

static void switch_once(void)
{
    put(0, "(one, two, three)");
    change("[(0, two), (1, three)]", "object()", 1);
    if (put(0, "()") < 0)
        PyErr_Clear();
    if (change("[(5,)]", "None", 1) < 0)
        PyErr_Clear();
}

static void test_ten_thousand_switches_leave_nothing_behind(void **state)
{
    (void)state;
    switch_once();
    Py_ssize_t before = Py_REFCNT(python_get("one"));
    ASSERT_NO_GROWTH(switch_once());
    assert_int_equal(Py_REFCNT(python_get("one")), before);
}

static void test_a_switch_without_memory_raises(void **state)
{
    (void)state;
    PyObject *changes = python_eval("[(0, two), (1, three)]");
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        python_fail_allocation(n, false);
        int result = py_programs_switch(changes, Py_None, 11);
        has_failed = python_end_failures();
        assert_int_equal(result < 0, PyErr_Occurred() != NULL);
        PyErr_Clear();
    }
    Py_DECREF(changes);
    assert_int_equal(py_programs_generation(), 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_put_serves_its_role),
        TEST(test_anything_else_is_refused_and_changes_nothing),
        TEST(test_a_switch_replaces_responders_and_keeps_the_rest),
        TEST(test_the_old_hold_is_released_once_all_are_switched),
        TEST(test_a_switch_of_what_is_none_raises_and_keeps_the_number),
        TEST(test_ten_thousand_switches_leave_nothing_behind),
        TEST(test_a_switch_without_memory_raises),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
