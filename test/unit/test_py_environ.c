/* The environ of a request, compared with a dictionary that the test fills itself.
 *
 * links: py_environ.c name_cache.c request.c log_line.c response.c spool.c descriptors.c arena.c */
#include "python_fixture.h"

#include "embed/py_environ.h"
#include "http/meta_variables.h"
#include "http/request_id.h"

enum { NAMES = 150 };

static struct request *request;
static PyObject *expected; /* what the request has sent */

const char *meta_url_scheme(const struct request *asked)
{
    return request_find(asked, "HTTPS") != NULL ? "https" : "http";
}

const char *request_id(struct request *identified)
{
    return identified->id;
}

static int set_up_python(void **state)
{
    (void)state;
    if (python_start() < 0)
        return -1;
    python_use_host("class FileWrapper: pass\n");
    return 0;
}

static int tear_down_python(void **state)
{
    (void)state;
    return python_stop();
}

static int set_up(void **state)
{
    (void)state;
    request = request_new();
    expected = PyDict_New();
    return request == NULL || py_environ_init(true, false, false) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    py_environ_clear();
    request_free(request);
    Py_CLEAR(expected);
    return 0;
}

static void begin(void)
{
    request_reset(request);
    request->id = "4bf92f3577b34da6";
    PyDict_Clear(expected);
}

static void expect(const char *name, size_t name_bytes, const char *value, size_t n)
{
    PyObject *key = PyUnicode_DecodeLatin1(name, (Py_ssize_t)name_bytes, NULL);
    PyObject *text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)n, NULL);
    assert_int_equal(PyDict_SetItem(expected, key, text), 0);
    Py_DECREF(key);
    Py_DECREF(text);
}

/* Both must live as long as the request. */
static void add(const char *name, const char *value)
{
    assert_int_equal(request_add_param(request, name, strlen(name), value, strlen(value)), 0);
    expect(name, strlen(name), value, strlen(value));
}

static PyObject *environ_new(void)
{
    return py_environ_new(request, Py_True, Py_False);
}

/* It is what the request has sent, and what is the same for all. */
static void assert_environ(PyObject *environ)
{
    assert_non_null(environ);
    python_set("environ", environ);
    python_set("expected", expected);
    python_run("ours = {name: environ[name] for name in environ if name[:5] == 'wsgi.' or "
               "name[:9] == 'fcgihost.'}\n"
               "rest = {name: environ[name] for name in environ if name not in ours}\n"
               "assert rest == expected, (rest, expected)\n"
               "scheme = 'https' if 'HTTPS' in expected else 'http'\n"
               "assert ours == {'wsgi.version': (1, 0), 'wsgi.url_scheme': scheme, "
               "'wsgi.input': True, 'wsgi.errors': False, 'wsgi.multithread': True, "
               "'wsgi.multiprocess': False, 'wsgi.run_once': False, "
               "'wsgi.input_terminated': True, 'wsgi.file_wrapper': host.FileWrapper, "
               "'fcgihost.request_id': '4bf92f3577b34da6'}, ours\n"
               "environ = expected = ours = rest = None\n");
}

static void assert_served(void)
{
    PyObject *environ = environ_new();
    assert_environ(environ);
    assert_int_equal(Py_REFCNT(environ), 1);
    Py_DECREF(environ);
}

static void test_parameters_and_what_wsgi_demands_are_there(void **state)
{
    (void)state;
    begin();
    assert_served();
    begin();
    add("REQUEST_METHOD", "GET");
    add("QUERY_STRING", "");
    add("HTTPS", "on");
    assert_served();
}

static void test_what_the_process_is_like_is_told(void **state)
{
    (void)state;
    py_environ_clear();
    assert_int_equal(py_environ_init(false, true, true), 0);
    begin();
    PyObject *environ = environ_new();
    python_set("environ", environ);
    assert_python("environ['wsgi.multithread'], environ['wsgi.multiprocess'], "
                  "environ['wsgi.run_once']",
                  "(False, True, True)");
    python_run("environ = None");
    Py_DECREF(environ);
}

static void test_each_byte_is_one_character(void **state)
{
    (void)state;
    char value[256], name[256];
    for (int i = 0; i < 255; i++)
        value[i] = name[i] = (char)(i + 1);
    value[255] = name[255] = '\0';
    for (int round = 0; round < 3; round++) {
        begin();
        add("PATH_INFO", value);
        add(name, "\xed\xa0\x80"); /* a surrogate, in UTF-8 */
        add("HTTP_\xff", "\xf0\x9f\x92\xa9");
        assert_served();
    }
}

static void test_names_that_are_the_hosts_own_are_not_taken_from_a_client(void **state)
{
    (void)state;
    begin();
    add("wsgi", "1");
    add("fcgihost", "1");
    add("WSGI.INPUT", "1");
    add("wsgi_input", "1");
    add("HTTP_wsgi.input", "1");
    static const char *const names[] = {"wsgi.input",          "wsgi.errors",   "wsgi.url_scheme",
                                        "wsgi.multithread",    "wsgi.",         "fcgihost.",
                                        "fcgihost.request_id", "fcgihost.data", "wsgi.x"};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(request_add_param(request, names[i], strlen(names[i]), "evil", 4), 0);
    assert_served();
}

static void test_what_was_dropped_is_not_shown(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        begin();
        add("A", "1");
        assert_int_equal(request_add_param(request, "HTTP_PROXY", 10, "evil", 4), 0);
        request->params[1].is_dropped = round != 1;
        if (round == 1)
            expect("HTTP_PROXY", 10, "evil", 4);
        assert_served();
    }
}

/* As many requests, with names that come and go, values that change, some too long to be kept. */
static void test_no_request_sees_what_another_one_has_sent(void **state)
{
    (void)state;
    static char names[NAMES][16], values[8][700];
    uint32_t random = 7;
    for (int i = 0; i < NAMES; i++)
        snprintf(names[i], sizeof(names[i]), "HTTP_%d", i);
    for (int i = 0; i < 8; i++)
        memset(values[i], 'a' + i, (size_t)i * 90);
    for (int round = 0; round < 3000; round++) {
        begin();
        unsigned names_used = round % 7 == 0 ? NAMES : 20 + (unsigned)round / 30;
        for (unsigned i = 0; i < names_used && i < NAMES; i++)
            if (next_random(&random) % 4 != 0)
                add(names[i], values[next_random(&random) % 8]);
        assert_served();
    }
}

static void test_a_change_that_the_application_makes_stays_its_own(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        begin();
        add("A", "1");
        add("B", "2");
        PyObject *environ = environ_new();
        assert_environ(environ);
        python_set("environ", environ);
        python_run("environ['A'] = 'x'\n"
                   "environ['wsgi.version'] = None\n"
                   "environ['more'] = environ\n"
                   "del environ['B'], environ['wsgi.input'], environ['fcgihost.request_id']\n");
        PyDict_Clear(environ);
        python_run("environ = None");
        Py_DECREF(environ);
    }
}

static void test_the_identifier_has_its_place_before_the_parameters(void **state)
{
    (void)state;
    begin();
    add("A", "1");
    PyObject *environ = environ_new();
    python_set("environ", environ);
    assert_python("list(environ).index('fcgihost.request_id') < list(environ).index('A')", "True");
    python_run("environ = None");
    Py_DECREF(environ);
}

static unsigned nested;

/* What a garbage collection in the middle of py_environ_new may run: the application's code, and so
 * another thread's request. */
static PyObject *serve_another(PyObject *self, PyObject *arguments)
{
    (void)self, (void)arguments;
    struct request *outer = request;
    PyObject *outer_expected = expected;
    static bool is_inside;
    if (is_inside)
        Py_RETURN_NONE;
    is_inside = true;
    nested++;
    request = request_new();
    expected = PyDict_New();
    begin();
    add("NESTED", "yes");
    add("A", "another");
    PyObject *environ = environ_new();
    assert_environ(environ);
    Py_DECREF(environ);
    Py_DECREF(expected);
    request_free(request);
    request = outer;
    expected = outer_expected;
    is_inside = false;
    Py_RETURN_NONE;
}

static PyMethodDef serve_another_method = {"serve_another", serve_another, METH_VARARGS, NULL};

static void test_a_request_in_the_middle_of_another_gets_its_own(void **state)
{
    (void)state;
    PyObject *function = PyCFunction_New(&serve_another_method, NULL);
    python_set("serve_another", function);
    Py_DECREF(function);
    python_run("import gc\n"
               "gc.callbacks.append(serve_another)\n"
               "before = gc.get_threshold()\n"
               "gc.set_threshold(1)\n");
    for (int round = 0; round < 50; round++) {
        char value[8];
        snprintf(value, sizeof(value), "%d", round);
        begin();
        add("A", value);
        add("B", "2");
        PyObject *environ = environ_new();
        python_run("gc.disable()");
        assert_environ(environ);
        python_run("gc.enable()");
        Py_DECREF(environ);
    }
    python_run("gc.set_threshold(*before)\n"
               "gc.callbacks.remove(serve_another)\n");
    if (PY_VERSION_HEX < 0x030C0000) /* later ones collect between two bytecodes */
        assert_true(nested > 0);
}

static void serve_one(unsigned number)
{
    static char names[40][16];
    begin();
    add("REQUEST_METHOD", number % 2 == 0 ? "GET" : "POST");
    add("HTTPS", "on");
    for (unsigned i = 0; i < 30; i++) {
        snprintf(names[i], sizeof(names[i]), "HTTP_%u", (number + i) % 100);
        add(names[i], number % 3 == 0 ? "same" : names[i]);
    }
    PyObject *environ = environ_new();
    assert_non_null(environ);
    Py_DECREF(environ);
}

static void test_ten_thousand_environs_leave_nothing_behind(void **state)
{
    (void)state;
    unsigned number = 0;
    Py_ssize_t before = Py_REFCNT(python_get("host"));
    for (int i = 0; i < 300; i++)
        serve_one(number++);
    ASSERT_NO_GROWTH(serve_one(number++));
    assert_int_equal(Py_REFCNT(python_get("host")), before);
}

/* The n-th allocation fails, in a request with new names, new values, and some that are missing. */
static bool fail_at(unsigned long n)
{
    static const char *const more[] = {"HTTP_C", "HTTP_D", "HTTP_E"};
    begin();
    add("HTTP_A", "first");
    add("HTTP_B", "second");
    add("HTTP_C", "third");
    assert_served();
    begin();
    add("HTTP_B", "another");
    for (size_t i = 1; i < COUNT(more); i++)
        add(more[i], "x");
    static char name[16], value[600];
    snprintf(name, sizeof(name), "HTTP_N%lu", n);
    memset(value, 'v', sizeof(value) - 1);
    add(name, "new");
    add("LONG", value);
    python_fail_allocation(n, false);
    PyObject *environ = environ_new();
    bool has_failed = python_end_failures();
    assert_int_equal(environ == NULL, PyErr_Occurred() != NULL);
    if (environ == NULL)
        assert_raised("MemoryError", "");
    Py_XDECREF(environ);
    return has_failed;
}

static void test_memory_that_runs_out_raises_and_spoils_no_later_request(void **state)
{
    (void)state;
    unsigned long n = 1;
    while (fail_at(n)) {
        assert_served(); /* the same, again */
        n++;
    }
    assert_true(n > 5);
}

static void test_a_start_without_memory_raises(void **state)
{
    (void)state;
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n++) {
        py_environ_clear();
        python_fail_allocation(n, false);
        int result = py_environ_init(true, false, false);
        has_failed = python_end_failures();
        assert_int_equal(result < 0, PyErr_Occurred() != NULL);
        PyErr_Clear();
    }
    begin();
    assert_served();
}

static void test_a_package_without_its_file_wrapper_is_no_start(void **state)
{
    (void)state;
    py_environ_clear();
    python_run("kept = host.FileWrapper\n"
               "del host.FileWrapper");
    assert_int_equal(py_environ_init(true, false, false), -1);
    assert_raised("AttributeError", "FileWrapper");
    python_run("host.FileWrapper = kept");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parameters_and_what_wsgi_demands_are_there),
        TEST(test_what_the_process_is_like_is_told),
        TEST(test_each_byte_is_one_character),
        TEST(test_names_that_are_the_hosts_own_are_not_taken_from_a_client),
        TEST(test_what_was_dropped_is_not_shown),
        TEST(test_no_request_sees_what_another_one_has_sent),
        TEST(test_a_change_that_the_application_makes_stays_its_own),
        TEST(test_the_identifier_has_its_place_before_the_parameters),
        TEST(test_a_request_in_the_middle_of_another_gets_its_own),
        TEST(test_ten_thousand_environs_leave_nothing_behind),
        TEST(test_memory_that_runs_out_raises_and_spoils_no_later_request),
        TEST(test_a_start_without_memory_raises),
        TEST(test_a_package_without_its_file_wrapper_is_no_start),
    };
    return cmocka_run_group_tests(tests, set_up_python, tear_down_python);
}
