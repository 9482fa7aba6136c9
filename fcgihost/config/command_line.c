/* Parses the command line, and applies ini file, flags and APP in order of precedence. */
#include "config/command_line.h"

#include "config/config_application.h"
#include "config/config_environment.h"
#include "config/config_file.h"
#include "config/config_load.h"
#include "config/config_value.h"
#include "config/settings_table.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What getopt_long returns for flags without a letter. */
enum {
    FLAG_SET = 256,
    FLAG_CHECK,
    FLAG_CALL,
    FLAG_METHOD,
    FLAG_DATA,
    FLAG_HEADER,
    FLAG_PRINT_INI,
    FLAG_STATUS,
    FLAG_RELOAD,
    FLAG_FORMAT
};

struct flag {
    int letter;
    const char *name;
    const char *argument; /* NULL: it takes none */
    const char *key;      /* the option that it stands for, or NULL */
    const char *help;
};

static const struct flag flags[] = {
    {'c', "config", "FILE", NULL, "read FILE; default, without APP: ./fcgihost.ini, if it exists"},
    {'l', "listen", "ADDRESS", "server.listen",
     "listen at unix:PATH, HOST:PORT, [V6]:PORT or fd:N; repeatable"},
    {'t', "threads", "N", "server.threads", "number of requests served at once"},
    {'p', "processes", "N", "server.processes", "number of worker processes"},
    {FLAG_SET, "set", "SECTION.KEY=VALUE", NULL, "set any key of the ini file; repeatable"},
    {FLAG_CHECK, "check", NULL, NULL,
     "load the configuration and the application, report, and exit"},
    {FLAG_CALL, "call", "PATH", NULL,
     "serve one request without a web server, print the CGI response, and exit"},
    {FLAG_METHOD, "method", "M", NULL,
     "with --call: the method; default: GET, or POST with --data"},
    {FLAG_DATA, "data", "FILE", NULL,
     "with --call: a file with the request's body; - is standard input"},
    {FLAG_HEADER, "header", "'NAME: VALUE'", NULL, "with --call: a request header; repeatable"},
    {FLAG_STATUS, "status", NULL, NULL,
     "show the status of the host with this -c or -l; exit 0 if it serves"},
    {FLAG_RELOAD, "reload", NULL, NULL,
     "have its manager replace all workers; exit 1 if the old ones stay"},
    {FLAG_FORMAT, "format", "F", NULL, "with --status: text, json or prometheus"},
    {FLAG_PRINT_INI, "print-ini", NULL, NULL,
     "print a commented fcgihost.ini with every key at its default"},
    {'V', "version", NULL, NULL, "print the versions of fcgihost, Python, libfcgi and inih"},
    {'h', "help", NULL, NULL, "print this help"},
};

#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

/* A flag that sets an option waits until the file has been read. */
struct waiting {
    const struct flag *flag;
    const char *value;
};

struct parse {
    struct command_line *command_line;
    struct config *config;
    struct config_error *error;
    const char *config_file;
    const char *app;
    struct waiting *waiting;
    size_t waiting_count;
    bool has_call_detail;
};

static const struct flag *find_flag(int letter)
{
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (flags[i].letter == letter)
            return &flags[i];
    return NULL;
}

static void fill_getopt(char short_options[2 * FLAG_COUNT + 2],
                        struct option long_options[FLAG_COUNT + 1])
{
    /* The colon makes getopt tell a missing argument from an unknown option. */
    *short_options++ = ':';
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        int has_argument = flags[i].argument != NULL ? required_argument : no_argument;

        long_options[i] = (struct option){flags[i].name, has_argument, NULL, flags[i].letter};
        if (flags[i].letter < FLAG_SET) {
            *short_options++ = (char)flags[i].letter;
            if (has_argument == required_argument)
                *short_options++ = ':';
        }
    }
    *short_options = '\0';
    long_options[FLAG_COUNT] = (struct option){0};
}

static int set_command(struct parse *parse, enum command command)
{
    if (parse->command_line->command != COMMAND_SERVE && parse->command_line->command != command)
        return config_error_set(parse->error,
                                "--check, --call, --status, --reload: two are given: keep one");
    parse->command_line->command = command;
    return 0;
}

static int take_format(struct parse *parse, const char *format)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];

    if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0 &&
        strcmp(format, "prometheus") != 0) {
        config_value_quote(format, quoted);
        return config_error_set(
            parse->error, "--format: \"%s\" is unknown: write text, json or prometheus", quoted);
    }
    parse->command_line->format = format;
    return 0;
}

static bool is_token(const char *text, size_t text_bytes)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    return text_bytes > 0 && strspn(text, token) >= text_bytes;
}

static int take_method(struct parse *parse, const char *method)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];

    if (!is_token(method, strlen(method))) {
        config_value_quote(method, quoted);
        return config_error_set(parse->error,
                                "--method: \"%s\" is not a method: write one like POST", quoted);
    }
    parse->command_line->method = method;
    return 0;
}

static int take_header(struct parse *parse, const char *header)
{
    const char *colon = strchr(header, ':');
    char quoted[CONFIG_VALUE_QUOTED_SIZE];

    if (colon == NULL || !is_token(header, (size_t)(colon - header)) ||
        strpbrk(header, "\r\n") != NULL) {
        config_value_quote(header, quoted);
        return config_error_set(parse->error,
                                "--header: \"%s\" is not a header: write 'NAME: VALUE' in one line",
                                quoted);
    }
    parse->command_line->headers[parse->command_line->header_count++] = header;
    return 0;
}

static int take_call(struct parse *parse, const char *path)
{
    char quoted[CONFIG_VALUE_QUOTED_SIZE];

    if (path[0] != '/') {
        config_value_quote(path, quoted);
        return config_error_set(
            parse->error, "--call: \"%s\" is not a URL path: write one that starts with \"/\"",
            quoted);
    }
    parse->command_line->call_path = path;
    return set_command(parse, COMMAND_CALL);
}

/* A flag that getopt knows, with its argument. */
static int take_flag(struct parse *parse, const struct flag *flag, const char *argument)
{
    switch (flag->letter) {
    case 'c':
        if (parse->config_file != NULL)
            return config_error_set(parse->error, "--config: given twice: keep one");
        parse->config_file = argument;
        return 0;
    case FLAG_CHECK:
        return set_command(parse, COMMAND_CHECK);
    case FLAG_STATUS:
        return set_command(parse, COMMAND_STATUS);
    case FLAG_RELOAD:
        return set_command(parse, COMMAND_RELOAD);
    case FLAG_FORMAT:
        return take_format(parse, argument);
    case FLAG_CALL:
        return take_call(parse, argument);
    case FLAG_METHOD:
        parse->has_call_detail = true;
        return take_method(parse, argument);
    case FLAG_DATA:
        parse->has_call_detail = true;
        parse->command_line->data_file = argument;
        return 0;
    case FLAG_HEADER:
        parse->has_call_detail = true;
        return take_header(parse, argument);
    default:
        parse->waiting[parse->waiting_count++] = (struct waiting){flag, argument};
        return 0;
    }
}

/* What getopt did not like: result is '?' or ':', text the argument that it was looking at. */
static int refuse_flag(struct parse *parse, int result, const char *text)
{
    const struct flag *flag = optopt != 0 ? find_flag(optopt) : NULL;
    bool is_long = strncmp(text, "--", 2) == 0;
    char quoted[CONFIG_VALUE_QUOTED_SIZE];

    if (result == ':' && flag != NULL) {
        return config_error_set(parse->error, "--%s: no %s given: see fcgihost --help", flag->name,
                                flag->argument);
    }
    if (is_long && flag != NULL) {
        return config_error_set(parse->error, "--%s: takes no value: see fcgihost --help",
                                flag->name);
    }
    if (is_long) {
        config_value_quote(text, quoted);
    } else {
        char letter[] = {'-', (char)optopt, '\0'};

        config_value_quote(letter, quoted);
    }
    return config_error_set(parse->error, "%s: unknown option: see fcgihost --help", quoted);
}

static int take_app(struct parse *parse, char **rest)
{
    char quoted[2][CONFIG_VALUE_QUOTED_SIZE];

    if (rest[0] != NULL && rest[1] != NULL) {
        config_value_quote(rest[0], quoted[0]);
        config_value_quote(rest[1], quoted[1]);
        return config_error_set(parse->error, "\"%s\", \"%s\": two applications: give one APP",
                                quoted[0], quoted[1]);
    }
    parse->app = rest[0];
    return 0;
}

static bool is_text_command(int letter, enum command *command)
{
    if (letter == 'h') {
        *command = COMMAND_HELP;
        return true;
    }
    if (letter == 'V') {
        *command = COMMAND_VERSION;
        return true;
    }
    if (letter == FLAG_PRINT_INI) {
        *command = COMMAND_PRINT_INI;
        return true;
    }
    return false;
}

/* Takes argv apart. 0, or -1 with a message; 1 when a text is to be printed, whatever else is
 * given. */
static int scan(struct parse *parse, int argc, char **argv)
{
    char short_options[2 * FLAG_COUNT + 2];
    struct option long_options[FLAG_COUNT + 1];
    int letter;

    fill_getopt(short_options, long_options);
    opterr = 0;
    optind = 0; /* 0 and not 1: glibc then forgets an earlier scan */
    for (;;) {
        const char *text;

        letter = getopt_long(argc, argv, short_options, long_options, NULL);
        if (letter == -1)
            return take_app(parse, argv + optind);
        text = argv[optind - 1];
        if (letter == '?' || letter == ':')
            return refuse_flag(parse, letter, text);
        if (is_text_command(letter, &parse->command_line->command))
            return 1;
        if (take_flag(parse, find_flag(letter), optarg) < 0)
            return -1;
    }
}

static int check_combination(struct parse *parse)
{
    struct command_line *command_line = parse->command_line;

    if (parse->has_call_detail && command_line->command != COMMAND_CALL) {
        return config_error_set(parse->error,
                                "--method, --data, --header: only valid with --call PATH");
    }
    if (command_line->format != NULL && command_line->command != COMMAND_STATUS)
        return config_error_set(parse->error, "--format: only valid with --status");
    if (command_line->format == NULL)
        command_line->format = "text";
    if (command_line->method == NULL)
        command_line->method = command_line->data_file != NULL ? "POST" : "GET";
    return 0;
}

static int read_config_file(struct parse *parse)
{
    static const char here[] = "fcgihost.ini";
    const struct config_kept *kept = &parse->config->kept;
    struct stat status;

    if (kept->is_set)
        return kept->path == NULL ? 0
                                  : config_read_text(parse->config, kept->path, kept->text,
                                                     kept->bytes, parse->error);
    if (parse->config_file != NULL)
        return config_read_file(parse->config, parse->config_file, parse->error);
    /* A file that exists but can't be read is an error. */
    if (parse->app != NULL || (stat(here, &status) < 0 && errno == ENOENT))
        return 0;
    return config_read_file(parse->config, here, parse->error);
}

/* A bad line of that file is named already, a file that can't be read stands in the ini file. */
static int read_environment(struct parse *parse)
{
    if (config_environment_read(parse->config, parse->error) == 0)
        return 0;
    if (parse->config->environment_text == NULL) {
        struct config_error why = *parse->error;
        char place[PATH_MAX];
        config_describe_place(parse->config, "server", "environment_file", place, sizeof(place));
        config_error_set(parse->error, "%s%s", place, why.message);
        config_blame(parse->config, "server", "environment_file", parse->error);
    }
    return -1;
}

static int set_key(struct parse *parse, const char *flag, const char *key, const char *value)
{
    char *assignment;
    int result;

    if (asprintf(&assignment, "%s=%s", key, value) < 0)
        return config_error_set(parse->error, "%s: out of memory", flag);
    result = config_set_flag(parse->config, flag, assignment, parse->error);
    free(assignment);
    return result;
}

static int apply_flags(struct parse *parse)
{
    for (size_t i = 0; i < parse->waiting_count; i++) {
        const struct flag *flag = parse->waiting[i].flag;
        const char *value = parse->waiting[i].value;
        char label[32];

        snprintf(label, sizeof(label), "--%s", flag->name);
        if (flag->key != NULL ? set_key(parse, label, flag->key, value) < 0
                              : config_set(parse->config, value, parse->error) < 0)
            return -1;
    }
    return 0;
}

/* APP replaces what the file says of applications, so that the file's other settings can be used
 * with it. */
static int forget_applications(struct parse *parse)
{
    config_forget_applications(parse->config);
    return set_key(parse, "APP", "application.callable", "application");
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text);
    size_t suffix_length = strlen(suffix);

    return length > suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

static int apply_app(struct parse *parse)
{
    const char *app = parse->app;
    bool is_script = has_suffix(app, ".py") || has_suffix(app, ".wsgi") || strchr(app, '/') != NULL;

    const struct config_application *application = config_find_application(parse->config, NULL);

    if (application != NULL && config_responder(application) != NULL) {
        return config_error_set(parse->error, "APP, --set application.%s: both are given: keep one",
                                application->wsgi != NULL      ? "wsgi"
                                : application->handler != NULL ? "handler"
                                : application->script != NULL  ? "script"
                                                               : "script_root");
    }
    parse->config->add_current_dir = true;
    return set_key(parse, "APP", is_script ? "application.script" : "application.wsgi", app);
}

void command_line_report(const struct config_error *error)
{
    fprintf(stderr, "fcgihost: %s\n", error->message);
}

/* --status, --reload: the ini file is not read, as it may be broken by now. A host is known by the
 * file that it was started with, and by where it listens. */
static enum command_line_result apply_status(struct parse *parse)
{
    static const char here[] = "fcgihost.ini";
    struct stat status;

    for (size_t i = 0; i < parse->waiting_count; i++)
        if (parse->waiting[i].flag->letter == 'l' &&
            set_key(parse, "--listen", "server.listen", parse->waiting[i].value) < 0)
            return COMMAND_LINE_WRONG_USAGE;
    parse->command_line->status_file = parse->config_file;
    if (parse->config_file == NULL && parse->config->listen.count == 0) {
        if (stat(here, &status) < 0) {
            config_error_set(parse->error, "which host? give its -c FILE or -l ADDRESS");
            return COMMAND_LINE_WRONG_USAGE;
        }
        parse->command_line->status_file = here;
    }
    return COMMAND_LINE_OK;
}

static enum command_line_result apply(struct parse *parse)
{
    if (parse->command_line->command == COMMAND_STATUS ||
        parse->command_line->command == COMMAND_RELOAD)
        return apply_status(parse);
    if (parse->command_line->command == COMMAND_CHECK)
        parse->config->report = command_line_report;
    if (read_config_file(parse) < 0)
        return COMMAND_LINE_WRONG_CONFIG;
    if ((parse->app != NULL && forget_applications(parse) < 0) || apply_flags(parse) < 0 ||
        (parse->app != NULL && apply_app(parse) < 0))
        return COMMAND_LINE_WRONG_USAGE;
    if (read_environment(parse) < 0)
        return parse->error->blame == CONFIG_BLAMES_FLAG ? COMMAND_LINE_WRONG_USAGE
                                                         : COMMAND_LINE_WRONG_CONFIG;
    return COMMAND_LINE_OK;
}

enum command_line_result command_line_parse(char **argv, struct command_line *command_line,
                                            struct config *config, struct config_error *error)
{
    struct parse parse = {.command_line = command_line, .config = config, .error = error};
    enum command_line_result result = COMMAND_LINE_WRONG_USAGE;
    int argc = 0;
    int scanned;

    while (argv[argc] != NULL)
        argc++;
    errno = 0; /* and so it stays where no call fails */
    *command_line = (struct command_line){.command = COMMAND_SERVE};
    parse.waiting = calloc((size_t)argc + 1, sizeof(*parse.waiting));
    command_line->headers = calloc((size_t)argc + 1, sizeof(*command_line->headers));
    if (parse.waiting == NULL || command_line->headers == NULL) {
        config_error_set(error, "command line: out of memory");
        goto done;
    }
    scanned = scan(&parse, argc, argv);
    if (scanned == 1)
        result = COMMAND_LINE_OK;
    else if (scanned == 0 && check_combination(&parse) == 0)
        result = apply(&parse);
done:
    if (result != COMMAND_LINE_OK && config_error_is_passing(errno))
        result = COMMAND_LINE_FAILED;
    free(parse.waiting);
    return result;
}

void command_line_clear(struct command_line *command_line)
{
    free(command_line->headers);
    *command_line = (struct command_line){0};
}

void command_line_print_help(void)
{
    puts("usage: fcgihost [OPTIONS] [APP]\n\nServes a Python application to a web server, over "
         "FastCGI or SCGI.\n\nAPP is package.module:callable (WSGI), or a script file (.py, .wsgi, "
         "or any path with a\nslash) that defines application. The current folder then comes first "
         "on sys.path, and\nan ini file's [application] sections are ignored.\n\noptions:");
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char letter[] = {'-', (char)flags[i].letter, ',', '\0'};
        char names[48];

        snprintf(names, sizeof(names), "%-3s --%s%s%s", flags[i].letter < FLAG_SET ? letter : "",
                 flags[i].name, flags[i].argument != NULL ? " " : "",
                 flags[i].argument != NULL ? flags[i].argument : "");
        printf("  %-27s  %s\n", names, flags[i].help);
    }
    puts("\n"
         "keys of fcgihost.ini and of --set, with their defaults; a flag wins over the file:\n");
    settings_table_print("help");
    puts("\n"
         "exit codes: 0 stopped cleanly, 1 failed at run time, 2 wrong usage, 3 wrong "
         "configuration,\n"
         "4 the application could not be loaded\n"
         "\n"
         "manual: fcgihost(1), fcgihost.ini(5)");
}
