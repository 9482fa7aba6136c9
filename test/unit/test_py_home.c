/* Which folders are virtual environments of the linked Python; no interpreter is started.
 *
 * links: py_home.c config_error.c */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "build_facts.h"
#include "config/config_load.h"
#include "interpreter/py_home.h"
#include "interpreter/py_interpreter.h"

static char folder[64], own_home[4096];
static struct config config;
static struct config_error error;

const char *py_interpreter_version(void)
{
    return "3.x.y";
}

void config_describe_place(const struct config *described, const char *section, const char *key,
                           char *text, size_t text_bytes)
{
    (void)described;
    snprintf(text, text_bytes, "x.ini:7: %s/%s: ", section, key);
}

int config_blame(const struct config *c, const char *section, const char *key,
                 struct config_error *described)
{
    (void)c, (void)section, (void)key;
    described->blame = CONFIG_BLAMES_FILE;
    return -1;
}

static void path_of(char *path, size_t bytes, const char *name)
{
    snprintf(path, bytes, "%s/%s", folder, name);
}

static int set_up(void **state)
{
    (void)state;
    char path[128];
    snprintf(folder, sizeof(folder), "/tmp/test_py_home.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    path_of(path, sizeof(path), "bin");
    mkdir(path, 0755);
    path_of(path, sizeof(path), "bin/python3");
    config = (struct config){.home = folder};
    error.message[0] = '\0';
    char *program = realpath(FCGIHOST_PYTHON, NULL);
    snprintf(own_home, sizeof(own_home), "%.*s", (int)(strrchr(program, '/') - program), program);
    free(program);
    return symlink(FCGIHOST_PYTHON, path);
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {
        "bin/python3",           "bin",       "pyvenv.cfg", "other/lib/python%d.%d/os.py",
        "other/lib/python%d.%d", "other/lib", "other/bin",  "other"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char name[64], path[160];
        if (strchr(names[i], '%') != NULL)
            snprintf(name, sizeof(name),
                     i == 3 ? "other/lib/python%d.%d/os.py" : "other/lib/python%d.%d",
                     PY_MAJOR_VERSION, PY_MINOR_VERSION);
        else
            snprintf(name, sizeof(name), "%s", names[i]);
        path_of(path, sizeof(path), name);
        remove(path);
    }
    return rmdir(folder);
}

static void write_file(const char *name, const char *text)
{
    char path[160];
    path_of(path, sizeof(path), name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* version: "%d.%d" becomes that of the linked Python. */
static void write_venv(const char *key, int major, int minor, const char *home)
{
    char text[8192];
    snprintf(text, sizeof(text), "home = %s\ninclude-system-site-packages = false\n%s = %d.%d.1\n",
             home, key, major, minor);
    write_file("pyvenv.cfg", text);
}

static void assert_refused(const char *why)
{
    assert_int_equal(py_home_check(&config, &error), -1);
    assert_int_equal(strncmp(error.message, "x.ini:7: python/home: [python] home \"/tmp/", 41), 0);
    if (strstr(error.message, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    assert_null(strchr(error.message, '\n'));
}

static void test_no_home_is_fine(void **state)
{
    (void)state;
    config.home = NULL;
    assert_int_equal(py_home_check(&config, &error), 0);
}

static void test_an_environment_of_the_same_python_is_fine(void **state)
{
    (void)state;
    write_venv("version", PY_MAJOR_VERSION, PY_MINOR_VERSION, own_home);
    assert_int_equal(py_home_check(&config, &error), 0);
    write_venv("version_info", PY_MAJOR_VERSION, PY_MINOR_VERSION, own_home); /* virtualenv's */
    assert_int_equal(py_home_check(&config, &error), 0);
}

static void test_an_environment_whose_python_is_nowhere_has_the_linked_ones_library(void **state)
{
    (void)state;
    char library[64];
    snprintf(library, sizeof(library), "/lib/python%d.%d/os.py", PY_MAJOR_VERSION,
             PY_MINOR_VERSION);
    if (access(library, F_OK) == 0 && strncmp(own_home, "/usr/", 5) != 0)
        skip(); /* the system has this version too: Python finds that one's library from anywhere */
    write_venv("version", PY_MAJOR_VERSION, PY_MINOR_VERSION, "/nowhere/bin");
    assert_int_equal(py_home_check(&config, &error), 0);
}

static void test_a_folder_that_is_none_is_refused(void **state)
{
    (void)state;
    assert_refused("not a virtual environment: it has no pyvenv.cfg (");
}

static void test_another_version_is_refused(void **state)
{
    (void)state;
    write_venv("version", PY_MAJOR_VERSION, PY_MINOR_VERSION + 1, own_home);
    assert_refused("but this program runs Python");
    write_venv("version", PY_MAJOR_VERSION - 1, PY_MINOR_VERSION, own_home);
    assert_refused("but this program runs Python");
    write_venv("something", PY_MAJOR_VERSION, PY_MINOR_VERSION, own_home);
    assert_refused("of Python (unknown)");
    write_file("pyvenv.cfg", "version = three\n");
    assert_refused("of Python three");
    write_file("pyvenv.cfg", "");
    assert_refused("of Python (unknown)");
    write_file("pyvenv.cfg", "version\n = 3\nversion");
    assert_refused("of Python (unknown)");
}

static void test_another_build_of_the_same_version_is_refused(void **state)
{
    (void)state;
    char path[160], name[64], home[128];
    path_of(path, sizeof(path), "other");
    mkdir(path, 0755);
    path_of(path, sizeof(path), "other/bin");
    mkdir(path, 0755);
    path_of(path, sizeof(path), "other/lib");
    mkdir(path, 0755);
    snprintf(name, sizeof(name), "other/lib/python%d.%d", PY_MAJOR_VERSION, PY_MINOR_VERSION);
    path_of(path, sizeof(path), name);
    mkdir(path, 0755);
    snprintf(name, sizeof(name), "other/lib/python%d.%d/os.py", PY_MAJOR_VERSION, PY_MINOR_VERSION);
    write_file(name, "");
    path_of(home, sizeof(home), "other/bin");
    write_venv("version", PY_MAJOR_VERSION, PY_MINOR_VERSION, home);
    assert_refused("extensions built for one don't work with the other");
}

static void test_an_environment_without_its_program_is_refused(void **state)
{
    (void)state;
    char path[128];
    write_venv("version", PY_MAJOR_VERSION, PY_MINOR_VERSION, own_home);
    path_of(path, sizeof(path), "bin/python3");
    unlink(path);
    assert_refused("its bin/python3 is missing or can't be run");
    assert_int_equal(symlink("/nowhere/python3", path), 0); /* the Python was removed */
    assert_refused("its bin/python3 is missing or can't be run");
}

static void test_lines_that_are_long_or_strange_are_passed_over(void **state)
{
    (void)state;
    static char text[20000];
    snprintf(text, sizeof(text),
             "home =   %s  \r\nVERSION = 1.0\n= 5\nversion-x = 2.0\n# %010000d\n"
             "version   =\t%d.%d.1\r\n",
             own_home, 0, PY_MAJOR_VERSION, PY_MINOR_VERSION);
    write_file("pyvenv.cfg", text);
    assert_int_equal(py_home_check(&config, &error), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_home_is_fine),
        TEST(test_an_environment_of_the_same_python_is_fine),
        TEST(test_an_environment_whose_python_is_nowhere_has_the_linked_ones_library),
        TEST(test_a_folder_that_is_none_is_refused),
        TEST(test_another_version_is_refused),
        TEST(test_another_build_of_the_same_version_is_refused),
        TEST(test_an_environment_without_its_program_is_refused),
        TEST(test_lines_that_are_long_or_strange_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
