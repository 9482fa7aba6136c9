/* links: config_load.c config_application.c config_environment.c config_error.c config_file.c
 * settings_table.c config_assignment.c config_text.c config_value.c address.c
 */
/* What the keys take, what wins over what, where paths start. */
#include "config_fixture.h"

static void assert_defaults(const struct config *config)
{
    assert_int_equal(config->listen.count, 0);
    assert_int_equal(config->protocol, PROTOCOL_AUTO);
    assert_int_equal(config->threads, 4);
    assert_int_equal(config->backlog, 511);
    assert_int_equal(config->socket_mode, 0600);
    assert_null(config->socket_owner);
    assert_null(config->socket_group);
    assert_list(&config->allow, "127.0.0.0/8|::1");
    assert_int_equal(config->umask_mode, -1);
    assert_null(config->directory);
    assert_null(config->pid_file);
    assert_null(config->user);
    assert_null(config->group);
    assert_null(config->temporary);
    assert_true(config->no_new_privs);
    assert_null(config->environment_file);
    assert_int_equal(config->environment.count, 0);
    assert_null(config->home);
    assert_int_equal(config->path.count, 0);
    assert_true(config->bytecode);
    assert_int_equal(config->switch_interval_ms, 0);
    for (size_t i = 0; i < config->application_count; i++) {
        assert_string_equal(config->applications[i].callable, "application");
        assert_string_equal(config->applications[i].extensions, ".py .wsgi");
        assert_null(config_describe_application(&config->applications[i]));
        assert_null(config->applications[i].mount);
    }
    assert_int_equal(config->imports.count, 0);
    assert_false(config->require);
    assert_int_equal(config->request_wait_ms, 5000);
    assert_int_equal(config->retry_delay_ms, 1000);
    assert_int_equal(config->retry_max_delay_ms, 60000);
    assert_int_equal(config->on_failure, ON_FAILURE_RETRY);
    assert_int_equal(config->reload_mode, RELOAD_SCRIPT);
    assert_int_equal(config->reload_interval_ms, 1000);
    assert_int_equal(config->reload_watch.count, 0);
    assert_int_equal(config->requests, 0);
    assert_int_equal(config->requests_jitter, 0);
    assert_int_equal(config->lifetime_ms, 0);
    assert_int_equal(config->memory_bytes, 0);
    assert_int_equal(config->idle_ms, 0);
    assert_int_equal(config->connections, 0);
    assert_int_equal(config->queue_time_ms, 0);
    assert_int_equal(config->request_time_ms, 0);
    assert_int_equal(config->client_gone, CLIENT_GONE_CONTINUE);
    assert_int_equal(config->request_body_bytes, 0);
    assert_int_equal(config->body_memory_bytes, 65536);
    assert_int_equal(config->response_memory_bytes, 1 << 20);
    assert_int_equal(config->temporary_space_bytes, 1 << 30);
    assert_int_equal(config->min_rate_bytes, 1024);
    assert_int_equal(config->request_head_bytes, 65536);
    assert_int_equal(config->io_timeout_ms, 60000);
    assert_int_equal(config->drain_timeout_ms, 5000);
    assert_int_equal(config->cleanup_timeout_ms, 2000);
    assert_string_equal(config->log_destination, "stderr");
    assert_false(config->log_front);
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_int_equal(config->log_format, LOG_FORMAT_TEXT);
    assert_false(config->log_access);
    assert_false(config->log_access_query);
    assert_int_equal(config->slow_request_ms, 0);
    assert_false(config->show_errors);
    assert_false(config->add_current_dir);
}

static void test_defaults(void **state)
{
    struct fixture *fixture = *state;

    assert_defaults(&fixture->config);
    assert_null(fixture->config.file);
}

/* One other value than the default for every key of the table, in the table's order. */
static const char *const other_values[][2] = {
    {"server.listen", "unix:/run/x.sock"},
    {"server.protocol", "scgi"},
    {"server.threads", "1024"},
    {"server.processes", "4"},
    {"server.manager", "yes"},
    {"server.backlog", "1"},
    {"server.socket_mode", "0660"},
    {"server.socket_owner", "www-data"},
    {"server.socket_group", "33"},
    {"server.allow", "10.0.0.0/8"},
    {"server.user", "www-data"},
    {"server.group", "adm"},
    {"server.umask", "027"},
    {"server.directory", "/srv"},
    {"server.pid_file", "/run/x.pid"},
    {"server.temporary", "/srv/tmp"},
    {"server.no_new_privs", "no"},
    {"server.environment_file", "/etc/x.env"},
    {"python.home", "/srv/venv"},
    {"python.path", "/srv/lib"},
    {"python.bytecode", "no"},
    {"python.switch_interval", "1ms"},
    {"application.wsgi", "shop.web:app"},
    {"application.handler", "shop.web:handler"},
    {"application.script", "/srv/hello.py"},
    {"application.callable", "app"},
    {"application.script_root", "/srv/scripts"},
    {"application.extensions", ".cgi  .wsgi "},
    {"application.stream", "yes"},
    {"application.mount", "/shop/"},
    {"application.authorizer", "shop.gate:judge"},
    {"application.filter", "shop.pages:filter"},
    {"startup.import", "shop.caches:fill"},
    {"startup.require", "yes"},
    {"startup.request_wait", "0"},
    {"startup.retry_delay", "100ms"},
    {"startup.retry_max_delay", "10m"},
    {"startup.on_failure", "exit"},
    {"environment.NAME", "a \"b\" $c"},
    {"limits.requests", "10000"},
    {"limits.requests_jitter", "500"},
    {"limits.lifetime", "12h"},
    {"limits.lifetime_jitter", "1h"},
    {"limits.memory", "512M"},
    {"limits.idle", "10m"},
    {"limits.connections", "100"},
    {"limits.queue_time", "30s"},
    {"limits.request_time", "2m"},
    {"limits.client_gone", "interrupt"},
    {"limits.body_memory", "16K"},
    {"limits.response_memory", "2M"},
    {"limits.temporary_space", "0"},
    {"limits.min_rate", "100"},
    {"limits.request_body", "20M"},
    {"limits.request_head", "128K"},
    {"limits.io_timeout", "500ms"},
    {"shutdown.drain_timeout", "30s"},
    {"shutdown.cleanup_timeout", "1ms"},
    {"reload.mode", "process"},
    {"reload.interval", "250ms"},
    {"reload.watch", "/srv/templates/*.html"},
    {"log.destination", "/var/log/x.log"},
    {"log.front", "yes"},
    {"log.level", "debug"},
    {"log.format", "json"},
    {"log.access", "yes"},
    {"log.access_query", "yes"},
    {"log.slow_request", "250ms"},
    {"log.show_errors", "on"},
    {"status.path", "/status"},
    {"status.ping", "/ping"},
    {"status.listen", "127.0.0.1:9100"},
};

enum { KEY_COUNT = sizeof(other_values) / sizeof(other_values[0]) };

static void assert_other_values(const struct config *config)
{
    assert_list(&config->listen, "unix:/run/x.sock");
    assert_int_equal(config->protocol, PROTOCOL_SCGI);
    assert_int_equal(config->threads, 1024);
    assert_int_equal(config->processes, 4);
    assert_true(config->manager);
    assert_int_equal(config->backlog, 1);
    assert_int_equal(config->socket_mode, 0660);
    assert_string_equal(config->socket_owner, "www-data");
    assert_string_equal(config->socket_group, "33");
    assert_list(&config->allow, "10.0.0.0/8");
    assert_string_equal(config->user, "www-data");
    assert_string_equal(config->group, "adm");
    assert_int_equal(config->umask_mode, 027);
    assert_string_equal(config->directory, "/srv");
    assert_string_equal(config->pid_file, "/run/x.pid");
    assert_string_equal(config->temporary, "/srv/tmp");
    assert_false(config->no_new_privs);
    assert_string_equal(config->environment_file, "/etc/x.env");
    assert_int_equal(config->environment.count, 1);
    assert_string_equal(config->environment.items[0].value, "a \"b\" $c");
    assert_string_equal(config->home, "/srv/venv");
    assert_list(&config->path, "/srv/lib");
    assert_false(config->bytecode);
    assert_int_equal(config->switch_interval_ms, 1);
    assert_string_equal(config->applications->wsgi, "shop.web:app");
    assert_string_equal(config->applications->handler, "shop.web:handler");
    assert_string_equal(config->applications->script, "/srv/hello.py");
    assert_string_equal(config->applications->callable, "app");
    assert_string_equal(config->applications->script_root, "/srv/scripts");
    assert_string_equal(config->applications->extensions, ".cgi .wsgi");
    assert_true(config->applications->stream);
    assert_string_equal(config->applications->mount, "/shop");
    assert_string_equal(config->applications->authorizer, "shop.gate:judge");
    assert_string_equal(config->applications->filter, "shop.pages:filter");
    assert_list(&config->imports, "shop.caches:fill");
    assert_true(config->require);
    assert_int_equal(config->request_wait_ms, 0);
    assert_int_equal(config->retry_delay_ms, 100);
    assert_int_equal(config->retry_max_delay_ms, 600000);
    assert_int_equal(config->on_failure, ON_FAILURE_EXIT);
    assert_int_equal(config->requests, 10000);
    assert_int_equal(config->requests_jitter, 500);
    assert_int_equal(config->lifetime_ms, 43200000);
    assert_int_equal(config->lifetime_jitter_ms, 3600000);
    assert_int_equal(config->memory_bytes, 536870912);
    assert_int_equal(config->idle_ms, 600000);
    assert_int_equal(config->connections, 100);
    assert_int_equal(config->queue_time_ms, 30000);
    assert_int_equal(config->request_time_ms, 120000);
    assert_int_equal(config->client_gone, CLIENT_GONE_INTERRUPT);
    assert_int_equal(config->request_body_bytes, 20971520);
    assert_int_equal(config->body_memory_bytes, 16384);
    assert_int_equal(config->response_memory_bytes, 2 << 20);
    assert_int_equal(config->temporary_space_bytes, 0);
    assert_int_equal(config->min_rate_bytes, 100);
    assert_int_equal(config->request_head_bytes, 131072);
    assert_int_equal(config->io_timeout_ms, 500);
    assert_int_equal(config->drain_timeout_ms, 30000);
    assert_int_equal(config->cleanup_timeout_ms, 1);
    assert_int_equal(config->reload_mode, RELOAD_PROCESS);
    assert_int_equal(config->reload_interval_ms, 250);
    assert_list(&config->reload_watch, "/srv/templates/*.html");
    assert_string_equal(config->log_destination, "/var/log/x.log");
    assert_true(config->log_front);
    assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(config->log_format, LOG_FORMAT_JSON);
    assert_true(config->log_access);
    assert_true(config->log_access_query);
    assert_int_equal(config->slow_request_ms, 250);
    assert_true(config->show_errors);
}

static void test_every_key_on_the_command_line(void **state)
{
    struct fixture *fixture = *state;
    char assignment[128];

    assert_int_equal(settings_table_count(), KEY_COUNT);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        snprintf(assignment, sizeof(assignment), "%s=%s", other_values[i][0], other_values[i][1]);
        set(fixture, assignment);
    }
    assert_other_values(&fixture->config);
}

static void test_every_key_in_a_file(void **state)
{
    struct fixture *fixture = *state;
    char text[4096] = "";
    const char *section = "";

    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct config_option *option = settings_table_at(i);
        size_t used;

        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s%s",
                 strcmp(section, option->section) == 0 ? "" : "[",
                 strcmp(section, option->section) == 0 ? "" : option->section,
                 strcmp(section, option->section) == 0 ? "" : "]\n");
        section = option->section;
        used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s = %s\n", strchr(other_values[i][0], '.') + 1,
                 other_values[i][1]);
    }
    read_text(fixture, text);
    assert_other_values(&fixture->config);
    assert_string_equal(fixture->config.file, "fcgihost.ini");
}

/* The text that settings_table_print prints, cut to its end. */
static void print_options(const char *format, char *text, size_t text_bytes)
{
    int saved = dup(STDOUT_FILENO);
    int fd = open("printed.ini", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t length;

    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    settings_table_print(format);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    length = pread(fd, text, text_bytes - 1, 0);
    close(fd);
    assert_true(length > 0 && length < (ssize_t)text_bytes - 1);
    text[length] = '\0';
}

static void test_printed_ini_has_every_key_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char text[16384];
    char line[128];

    print_options("ini", text, sizeof(text));
    for (size_t i = 0; i < settings_table_count(); i++) {
        const struct config_option *option = settings_table_at(i);

        snprintf(line, sizeof(line), "\n; %s =%s%s\n", option->key,
                 option->default_text != NULL ? " " : "",
                 option->default_text != NULL ? option->default_text : "");
        if (strstr(text, line) == NULL)
            fail_msg("not there: %s", line);
    }
    assert_int_equal(config_read_file(&fixture->config, "printed.ini", &fixture->error), 0);
    assert_defaults(&fixture->config);
}

static void test_printed_ini_with_its_defaults_uncommented_is_read(void **state)
{
    struct fixture *fixture = *state;
    char text[16384];
    char *at = text;

    print_options("ini", text, sizeof(text));
    while ((at = strstr(at, "\n; ")) != NULL) {
        size_t length = strcspn(at + 1, "\n");

        if (at[length] != '=')
            at[1] = ' ';
        at++;
    }
    assert_non_null(strstr(text, "\n  threads = 4\n"));
    read_text(fixture, text);
    assert_defaults(&fixture->config);
}

static void test_printed_help_has_every_key(void **state)
{
    char text[16384];
    char line[128];

    (void)state;
    print_options("help", text, sizeof(text));
    for (size_t i = 0; i < settings_table_count(); i++) {
        snprintf(line, sizeof(line), "\n  %s ", settings_table_at(i)->key);
        assert_non_null(strstr(text, line));
    }
    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1)
        assert_true(strcspn(at, "\n") <= 104);
}

/* A key joins the table with its feature; until then it is no key. */
/* Hostile bytes in a message would break its one line, or the terminal. */
static void test_messages_are_one_line(void **state)
{
    struct fixture *fixture = *state;

    assert_set_refused(fixture, "server.threads=a\nb\x1b",
                       "--set server.threads: \"a\\x0ab\\x1b\" is not a number: write a whole "
                       "number from 1 to 1024");
    assert_set_refused(
        fixture, "server.a\nb=1",
        "--set server.a\\x0ab: unknown key: the keys here are listen, protocol, "
        "threads, processes, manager, backlog, socket_mode, socket_owner, socket_group, "
        "allow, user, group, umask, directory, pid_file, temporary, no_new_privs, "
        "environment_file");
}

static void test_assignments_that_are_none(void **state)
{
    assert_set_refused(*state, "server.threads",
                       "--set: \"server.threads\" has no \"=\": write SECTION.KEY=VALUE, like "
                       "server.threads=8");
    assert_set_refused(*state, "threads=8",
                       "--set: \"threads=8\" has no \".\": write SECTION.KEY=VALUE, like "
                       "server.threads=8");
    assert_set_refused(*state, "threads=8.5",
                       "--set: \"threads=8.5\" has no \".\": write SECTION.KEY=VALUE, like "
                       "server.threads=8");
    assert_set_refused(*state, "",
                       "--set: \"\" has no \"=\": write SECTION.KEY=VALUE, like "
                       "server.threads=8");
    assert_set_refused(*state, "sever.threads=8",
                       "--set sever.threads: unknown section: did you mean [server]?");
    assert_set_refused(*state, "server.home=/x",
                       "--set server.home: unknown key: it belongs in [python]");
    assert_set_refused(*state, "server.threads=2000",
                       "--set server.threads: \"2000\" is out of range (1 to 1024): write a number "
                       "within it");
}

static void test_flag_is_named_instead_of_set(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(
        config_set_flag(&fixture->config, "--threads", "server.threads=x", &fixture->error), -1);
    assert_string_equal(fixture->error.message, "--threads: \"x\" is not a number: write a whole "
                                                "number from 1 to 1024");
}

static void test_refused_value_leaves_the_old_one(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.threads=8");
    set(fixture, "application.mount=/a");
    assert_int_equal(config_set(&fixture->config, "server.threads=0", &fixture->error), -1);
    assert_int_equal(config_set(&fixture->config, "application.mount=b", &fixture->error), -1);
    assert_int_equal(fixture->config.threads, 8);
    assert_string_equal(fixture->config.applications->mount, "/a");
}

static void test_command_line_wins_over_the_file(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[server]\nthreads = 2\n"
                       "listen = unix:/a\nlisten = unix:/b\n"
                       "allow = 10.0.0.1\nallow = 10.0.0.2\n"
                       "[python]\npath = /p\n"
                       "[application]\nwsgi = a:b\n");
    assert_list(&fixture->config.listen, "unix:/a|unix:/b");
    assert_list(&fixture->config.allow, "10.0.0.1|10.0.0.2");
    set(fixture, "server.threads=3");
    set(fixture, "server.listen=unix:/c");
    set(fixture, "server.listen=unix:/d");
    set(fixture, "server.allow=::2");
    set(fixture, "server.threads=5");
    set(fixture, " server . threads = 6 ");
    assert_int_equal(fixture->config.threads, 6);
    assert_list(&fixture->config.listen, "unix:/c|unix:/d");
    assert_list(&fixture->config.allow, "::2");
    assert_list(&fixture->config.path, "/p");
    assert_string_equal(fixture->config.applications->wsgi, "a:b");
}

static void test_allow_takes_several_in_one_value(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.allow=10.0.0.0/8,  192.168.0.1 loopback");
    assert_list(&fixture->config.allow, "10.0.0.0/8|192.168.0.1|127.0.0.0/8|::1");
    set(fixture, "server.allow=::/0");
    assert_list(&fixture->config.allow, "10.0.0.0/8|192.168.0.1|127.0.0.0/8|::1|::/0");
}

static void test_relative_paths_start_at_the_files_folder(void **state)
{
    struct fixture *fixture = *state;
    static const char text[] = "[server]\nlisten = unix:x.sock\nlisten = unix:/y.sock\n"
                               "listen = unix:@z\ndirectory = .\npid_file = ../x.pid\n"
                               "[python]\nhome = venv\npath = ./lib\npath = /opt/lib\n"
                               "[application]\nscript = hello.py\n"
                               "[log]\ndestination = x.log\n";

    assert_int_equal(mkdir("conf", 0700), 0);
    write_bytes(text, strlen(text));
    assert_int_equal(rename("fcgihost.ini", "conf/x.ini"), 0);
    assert_int_equal(config_read_file(&fixture->config, "conf/x.ini", &fixture->error), 0);
    assert_int_equal(unlink("conf/x.ini"), 0);
    assert_int_equal(rmdir("conf"), 0);
    assert_string_equal(fixture->config.file, "conf/x.ini");
    assert_int_equal(fixture->config.listen.count, 3);
    assert_int_equal(strncmp(fixture->config.listen.items[0], "unix:", 5), 0);
    assert_string_equal(fixture->config.listen.items[0] + 5, in_folder("/conf/x.sock"));
    assert_string_equal(fixture->config.listen.items[1], "unix:/y.sock");
    assert_string_equal(fixture->config.listen.items[2], "unix:@z");
    assert_string_equal(fixture->config.directory, in_folder("/conf/."));
    assert_string_equal(fixture->config.pid_file, in_folder("/conf/../x.pid"));
    assert_string_equal(fixture->config.home, in_folder("/conf/venv"));
    assert_string_equal(fixture->config.path.items[0], in_folder("/conf/lib"));
    assert_string_equal(fixture->config.path.items[1], "/opt/lib");
    assert_string_equal(fixture->config.applications->script, in_folder("/conf/hello.py"));
    assert_string_equal(fixture->config.log_destination, in_folder("/conf/x.log"));
}

static void test_relative_paths_on_the_command_line_start_at_the_current_folder(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "server.listen=unix:x.sock");
    set(fixture, "python.path=lib");
    set(fixture, "log.destination=./x.log");
    assert_string_equal(fixture->config.listen.items[0] + 5, in_folder("/x.sock"));
    assert_string_equal(fixture->config.path.items[0], in_folder("/lib"));
    assert_string_equal(fixture->config.log_destination, in_folder("/x.log"));
    set(fixture, "log.destination=syslog");
    assert_string_equal(fixture->config.log_destination, "syslog");
}

/* The limit is that of the path which is really bound. */
static void test_unix_path_is_measured_when_it_is_absolute(void **state)
{
    struct fixture *fixture = *state;
    char assignment[256] = "server.listen=unix:";

    memset(assignment + 19, 'x', 100);
    assert_int_equal(config_set(&fixture->config, assignment, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message,
                           "is too long for a Unix socket: use a path of at most 107 bytes"));
    assert_int_equal(fixture->config.listen.count, 0);
}

static void assert_check(struct fixture *fixture, const char *expected)
{
    fixture->error.message[0] = '\0';
    assert_int_equal(config_check(&fixture->config, &fixture->error), expected[0] == '\0' ? 0 : -1);
    assert_string_equal(fixture->error.message, expected);
}

static void test_check_wants_exactly_one_application(void **state)
{
    struct fixture *fixture = *state;

    assert_check(fixture,
                 "[application]: nothing to serve: set wsgi, handler, script or script_root, or "
                 "give APP on the command line (package.module:callable, or a script file)");
    set(fixture, "application.wsgi=a:b");
    assert_check(fixture, "");
    set(fixture, "application.script=/x.py");
    assert_check(fixture, "[application] wsgi, script: both are given: keep one");
}

static void test_check_names_the_file(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[application]\nwsgi = a:b\nscript = c.py\n");
    assert_check(fixture, "fcgihost.ini:1: [application] wsgi, script: both are given: keep one");
}

static void test_check_wants_callable_with_script_only(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "application.wsgi=a:b");
    set(fixture, "application.callable=app");
    assert_check(fixture, "[application] callable: only valid with script or script_root: leave it "
                          "out, as wsgi names the callable after the \":\"");
}

static void test_check_wants_extensions_with_script_only(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "application.wsgi=a:b");
    set(fixture, "application.extensions=.wsgi");
    assert_check(fixture,
                 "[application] extensions: only valid with script or script_root: leave it out");
    set(fixture, "application.extensions=.py .wsgi");
    assert_check(fixture, "");
}

static void test_check_takes_callable_with_script(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "application.script=/x.py");
    set(fixture, "application.callable=app");
    assert_check(fixture, "");
}

static void test_several_applications(void **state)
{
    struct fixture *fixture = *state;
    const struct config_application *shop;

    read_text(fixture, "[application  shop ]\nscript_root = s\ncallable = page\nmount = /shop\n"
                       "[application]\nwsgi = a:b\ncallable = application\n"
                       "[application gate]\nauthorizer = g:j\nmount = /gate\n");
    set(fixture, "application gate.filter=g:f");
    set(fixture, "application late.handler=h:f");
    set(fixture, "application late.mount=/late/");
    assert_int_equal(fixture->config.application_count, 4);
    shop = config_find_application(&fixture->config, "shop");
    assert_string_equal(shop->callable, "page");
    assert_string_equal(shop->mount, "/shop");
    assert_null(shop->wsgi);
    assert_string_equal(config_find_application(&fixture->config, NULL)->wsgi, "a:b");
    assert_string_equal(config_find_application(&fixture->config, "gate")->filter, "g:f");
    assert_string_equal(config_find_application(&fixture->config, "late")->mount, "/late");
    assert_null(config_find_application(&fixture->config, "other"));
    assert_check(fixture, "");
}

static void test_check_wants_a_program_in_each_application(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[application]\nwsgi = a:b\n[application shop]\nmount = /shop\n");
    assert_check(fixture,
                 "fcgihost.ini:3: [application shop]: nothing to serve: set wsgi, handler, "
                 "script or script_root, or give APP on the command line "
                 "(package.module:callable, or a script file)");
    set(fixture, "application shop.filter=a:f");
    assert_check(fixture, "");
}

static void test_check_wants_a_mount_of_its_own_for_each_application(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[application a]\nwsgi = a:b\nmount = /\n[application b]\nhandler = a:b\n"
                       "mount = /\n");
    assert_check(fixture, "fcgihost.ini:4: [application b] mount: \"/\" is also the "
                          "mount of [application a]: give each its own");
    set(fixture, "application b.mount=/b");
    assert_check(fixture, "");
    set(fixture, "application c.wsgi=a:b");
    assert_check(fixture, "");
    set(fixture, "application.wsgi=a:b");
    assert_check(fixture, "[application] mount: missing both here and in [application c]: only "
                          "one section may do without: set mount");
}

/* Who asks for an authorizer never gets the page, and the other way round. */
static void test_check_lets_roles_share_a_mount(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[application]\nwsgi = a:b\n[application gate]\nauthorizer = a:c\n"
                       "[application more]\nfilter = a:d\n");
    assert_check(fixture, "");
    set(fixture, "application more.authorizer=a:e");
    assert_check(fixture, "fcgihost.ini:5: [application more] mount: missing both here and in "
                          "[application gate]: only one section may do without: set mount");
}

static void test_check_wants_two_paths_for_status_and_ping(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "application.wsgi=a:b");
    set(fixture, "status.path=/s");
    set(fixture, "status.ping=/s/");
    assert_check(fixture, "[status] ping: is the same as [status] path: write another path");
}

static void test_check_refuses_an_address_that_is_given_twice(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "application.wsgi=a:b");
    set(fixture, "server.listen=unix:/a");
    set(fixture, "server.listen=unix:/b");
    set(fixture, "status.listen=unix:/c");
    assert_int_equal(config_check(&fixture->config, &fixture->error), 0);
    set(fixture, "status.listen=unix:/b");
    assert_check(fixture, "[status] listen \"unix:/b\": a socket before it has this address: write "
                          "another one, or one line less");
    set(fixture, "server.listen=unix:/a");
    assert_check(fixture, "[server] listen \"unix:/a\": a socket before it has this address: write "
                          "another one, or one line less");
}

static void test_check_wants_the_longest_delay_to_be_the_longest(void **state)
{
    struct fixture *fixture = *state;

    set(fixture, "application.wsgi=a:b");
    set(fixture, "startup.retry_delay=90s");
    assert_check(fixture, "[startup] retry_max_delay: shorter than retry_delay: write a longer "
                          "time, or a shorter retry_delay");
    set(fixture, "startup.retry_max_delay=89999ms");
    assert_int_equal(config_check(&fixture->config, &fixture->error), -1);
    set(fixture, "startup.retry_max_delay=90s");
    assert_check(fixture, "");
}

static void test_imports_keep_their_order(void **state)
{
    struct fixture *fixture = *state;

    read_text(fixture, "[startup]\nimport = b\nimport = a.x:fill\nimport = b\n");
    assert_list(&fixture->config.imports, "b|a.x:fill|b");
    assert_set_refused(fixture, "startup.import=a/b.py",
                       "--set startup.import: \"a/b.py\" names a file, not a module: write the "
                       "name used to import it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_every_key_on_the_command_line),
        TEST(test_every_key_in_a_file),
        TEST(test_printed_ini_has_every_key_and_changes_nothing),
        TEST(test_printed_ini_with_its_defaults_uncommented_is_read),
        TEST(test_printed_help_has_every_key),
        TEST(test_messages_are_one_line),
        TEST(test_assignments_that_are_none),
        TEST(test_flag_is_named_instead_of_set),
        TEST(test_refused_value_leaves_the_old_one),
        TEST(test_command_line_wins_over_the_file),
        TEST(test_allow_takes_several_in_one_value),
        TEST(test_relative_paths_start_at_the_files_folder),
        TEST(test_relative_paths_on_the_command_line_start_at_the_current_folder),
        TEST(test_unix_path_is_measured_when_it_is_absolute),
        TEST(test_check_wants_exactly_one_application),
        TEST(test_check_names_the_file),
        TEST(test_check_wants_callable_with_script_only),
        TEST(test_check_wants_extensions_with_script_only),
        TEST(test_check_takes_callable_with_script),
        TEST(test_several_applications),
        TEST(test_check_wants_a_program_in_each_application),
        TEST(test_check_wants_a_mount_of_its_own_for_each_application),
        TEST(test_check_lets_roles_share_a_mount),
        TEST(test_check_wants_two_paths_for_status_and_ping),
        TEST(test_check_refuses_an_address_that_is_given_twice),
        TEST(test_check_wants_the_longest_delay_to_be_the_longest),
        TEST(test_imports_keep_their_order),
    };

    return cmocka_run_group_tests_name("config", tests, make_folder, remove_folder);
}
