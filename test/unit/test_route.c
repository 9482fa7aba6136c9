/* links: route.c */
#include "unit.h"

#include "config/config_application.h"
#include "http/route.h"

/* A string that is not const, as settings are. */
#define S(text) ((char[]){text})

static struct config_application applications[4];
static struct config config;
static struct route_table table;

/* Fakes of config_application.c, which would bring in all settings. */
const char *config_responder(const struct config_application *application)
{
    return application->wsgi          ? application->wsgi
           : application->handler     ? application->handler
           : application->script      ? application->script
           : application->script_root ? application->script_root
                                      : NULL;
}

bool config_answers_by_authorizer(const struct config *of,
                                  const struct config_application *application)
{
    return of->application_count == 1 && config_responder(application) == NULL;
}

static void make(const struct config_application *of, size_t count)
{
    memcpy(applications, of, count * sizeof(*of));
    config = (struct config){.applications = applications, .application_count = count};
    assert_int_equal(route_table_init(&table, &config), 0);
}

static int tear_down(void **state)
{
    (void)state;
    route_table_clear(&table);
    return 0;
}

static void
test_each_kind_of_application_becomes_a_responder_s_route_with_its_own_program(void **state)
{
    (void)state;
    make((struct config_application[]){{.wsgi = S("a:b"), .mount = S("/wsgi")},
                                       {.script = S("/s.py"), .mount = S("/script")},
                                       {.script_root = S("/root"), .extensions = S(".py .wsgi")},
                                       {.handler = S("a:h"), .mount = S("")}},
         4);
    const struct path_routes *routes = &table.roles[ROLE_RESPONDER];
    static const enum path_program programs[] = {PATH_MODULE, PATH_SCRIPT, PATH_SCRIPT_ROOT,
                                                 PATH_MODULE};
    static const char *const mounts[] = {"/wsgi", "/script", NULL, ""};
    assert_int_equal(routes->count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(routes->items[i].program, programs[i]);
        assert_int_equal(routes->items[i].application, i);
        assert_false(routes->items[i].takes_no_body);
        if (mounts[i] == NULL)
            assert_null(routes->items[i].mount);
        else
            assert_string_equal(routes->items[i].mount, mounts[i]);
    }
    assert_string_equal(routes->items[1].script, "/s.py");
    assert_string_equal(routes->items[2].extensions, ".py .wsgi");
    assert_false(routes->some_take_no_body);
    assert_int_equal(table.role_bits, 1u << ROLE_RESPONDER);
    assert_int_equal(table.roles[ROLE_AUTHORIZER].count, 0);
    assert_int_equal(table.roles[ROLE_FILTER].count, 0);
}

static void test_a_section_is_found_by_each_role_that_it_has_and_keeps_its_place(void **state)
{
    (void)state;
    make((struct config_application[]){{.wsgi = S("a:b")},
                                       {.wsgi = S("c:d"), .authorizer = S("c:auth")},
                                       {.filter = S("e:f")}},
         3);
    assert_int_equal(table.roles[ROLE_RESPONDER].count, 2);
    assert_int_equal(table.roles[ROLE_AUTHORIZER].count, 1);
    assert_int_equal(table.roles[ROLE_AUTHORIZER].items[0].application, 1);
    assert_int_equal(table.roles[ROLE_FILTER].count, 1);
    assert_int_equal(table.roles[ROLE_FILTER].items[0].application, 2);
    assert_int_equal(table.role_bits,
                     1u << ROLE_RESPONDER | 1u << ROLE_AUTHORIZER | 1u << ROLE_FILTER);
}

static void test_an_authorizer_gets_no_body_and_one_alone_answers_requests_too(void **state)
{
    (void)state;
    make((struct config_application[]){{.authorizer = S("a:auth")}}, 1);
    for (unsigned role = ROLE_RESPONDER; role <= ROLE_AUTHORIZER; role++) {
        assert_int_equal(table.roles[role].count, 1);
        assert_true(table.roles[role].items[0].takes_no_body);
        assert_true(table.roles[role].some_take_no_body);
    }
    assert_int_equal(table.roles[ROLE_FILTER].count, 0);
}

static void test_an_authorizer_beside_an_application_leaves_that_its_body(void **state)
{
    (void)state;
    make((struct config_application[]){{.wsgi = S("a:b"), .authorizer = S("a:auth")}}, 1);
    assert_false(table.roles[ROLE_RESPONDER].items[0].takes_no_body);
    assert_true(table.roles[ROLE_AUTHORIZER].items[0].takes_no_body);
}

static void test_a_script_s_authorizer_is_no_script(void **state)
{
    (void)state;
    make((struct config_application[]){{.script = S("/s.py"), .authorizer = S("a:auth")}}, 1);
    assert_int_equal(table.roles[ROLE_RESPONDER].items[0].program, PATH_SCRIPT);
    assert_int_equal(table.roles[ROLE_AUTHORIZER].items[0].program, PATH_MODULE);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_each_kind_of_application_becomes_a_responder_s_route_with_its_own_program),
        TEST(test_a_section_is_found_by_each_role_that_it_has_and_keeps_its_place),
        TEST(test_an_authorizer_gets_no_body_and_one_alone_answers_requests_too),
        TEST(test_an_authorizer_beside_an_application_leaves_that_its_body),
        TEST(test_a_script_s_authorizer_is_no_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
