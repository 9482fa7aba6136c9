/* The one table of options, its search, and its two printed forms: --help and a commented
 * fcgihost.ini. */
#include "config/config_options.h"

#include "config/settings.h"

#include <stdio.h>
#include <string.h>

#define KIB                 UINT64_C(1024)
#define TIB                 (KIB * KIB * KIB * KIB)
#define SECOND_MS           UINT64_C(1000)
#define HOUR_MS             (UINT64_C(3600) * SECOND_MS)
#define DAY_MS              (UINT64_C(24) * HOUR_MS)
#define YEAR_MS             (UINT64_C(365) * DAY_MS)
#define CONFIG(member)      offsetof(struct config, member)
#define APPLICATION(member) offsetof(struct config_application, member)
#define RANGE(low, top)     .range = {(low), (top)}

static const char *const protocol_words[] = {"auto", "fastcgi", "scgi", NULL};
static const char *const on_failure_words[] = {"retry", "exit", NULL};
static const char *const reload_words[] = {"off", "script", "process", NULL};
static const char *const client_gone_words[] = {"continue", "interrupt", NULL};
static const char *const format_words[] = {"text", "json", NULL};
static const char *const level_words[] = {"error", "warning", "info", "debug", NULL};

static const struct config_option options[] = {
    {"server", "listen", CONFIG_TYPE_LISTEN, .is_repeatable = true, .offset = CONFIG(listen),
     .help = "where the web server connects: unix:PATH, HOST:PORT, [V6]:PORT or\n"
             "fd:N; repeatable. Without it: descriptor 0 or systemd's sockets"},
    {"server", "protocol", CONFIG_TYPE_WORD, .default_text = "auto", .words = protocol_words,
     .offset = CONFIG(protocol),
     .help = "auto tells FastCGI from SCGI by the first byte of a connection;\n"
             "or fastcgi, or scgi"},
    {"server", "threads", CONFIG_TYPE_INTEGER, .default_text = "4", RANGE(1, 1024),
     .offset = CONFIG(threads), .help = "application threads: as many requests are served at once"},
    {"server", "processes", CONFIG_TYPE_INTEGER, .default_text = "1", RANGE(1, 256),
     .offset = CONFIG(processes),
     .help = "above 1 a manager keeps so many worker processes, restarts those that\n"
             "die, and replaces them on SIGHUP"},
    {"server", "manager", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(manager),
     .help = "a manager for one worker process too"},
    {"server", "backlog", CONFIG_TYPE_INTEGER, .default_text = "511", RANGE(1, 65535),
     .offset = CONFIG(backlog), .help = "connections that the kernel lets wait to be accepted"},
    {"server", "socket_mode", CONFIG_TYPE_OCTAL, .default_text = "0600", RANGE(0, 0777),
     .offset = CONFIG(socket_mode),
     .help = "who may connect to a Unix socket: 0660 lets its group in too"},
    {"server", "socket_owner", CONFIG_TYPE_TEXT, .offset = CONFIG(socket_owner),
     .help = "the user, by name or number, to whom a Unix socket is given"},
    {"server", "socket_group", CONFIG_TYPE_TEXT, .offset = CONFIG(socket_group),
     .help = "the group, by name or number, to which a Unix socket is given"},
    {"server", "allow", CONFIG_TYPE_ALLOW, .is_repeatable = true, .default_text = "loopback",
     .offset = CONFIG(allow),
     .help = "who may connect over TCP: addresses or blocks like 10.0.0.0/8, or\n"
             "loopback; repeatable, or several with commas"},
    {"server", "user", CONFIG_TYPE_TEXT, .offset = CONFIG(user),
     .help = "the user, by name or number, that the process becomes before Python\n"
             "starts, with all the user's groups; started as root, it should be given"},
    {"server", "group", CONFIG_TYPE_TEXT, .offset = CONFIG(group),
     .help = "the group, by name or number, instead of the user's own"},
    {"server", "umask", CONFIG_TYPE_OCTAL, RANGE(0, 0777), .offset = CONFIG(umask_mode),
     .help = "permissions that files the application makes do not get, like 0027"},
    {"server", "directory", CONFIG_TYPE_PATH, .offset = CONFIG(directory),
     .help = "the current folder for the application"},
    {"server", "pid_file", CONFIG_TYPE_PATH, .offset = CONFIG(pid_file),
     .help = "a file that holds the process's number while it runs"},
    {"server", "temporary", CONFIG_TYPE_PATH, .offset = CONFIG(temporary),
     .help = "the folder of temporary files; not given: $TMPDIR or /var/tmp"},
    {"server", "no_new_privs", CONFIG_TYPE_SWITCH, .default_text = "yes",
     .offset = CONFIG(no_new_privs),
     .help = "no: programs that the application runs may gain privileges by a\n"
             "set-user-ID bit, like sudo, or a set-group-ID bit, like sendmail"},
    {"server", "environment_file", CONFIG_TYPE_PATH, .offset = CONFIG(environment_file),
     .help = "a file of lines NAME=value, as in [environment], for what is secret\n"
             "or too long for this file; only root needs to be able to read it"},

    {"python", "home", CONFIG_TYPE_PATH, .offset = CONFIG(home),
     .help = "the folder of a virtual environment made by the Python that\n"
             "fcgihost --version names"},
    {"python", "path", CONFIG_TYPE_PATH, .is_repeatable = true, .offset = CONFIG(path),
     .help = "a folder to put in front of sys.path; repeatable, the first one\n"
             "comes first"},
    {"python", "bytecode", CONFIG_TYPE_SWITCH, .default_text = "yes", .offset = CONFIG(bytecode),
     .help = "write .pyc files"},
    {"python", "switch_interval", CONFIG_TYPE_TIME, RANGE(1, 10 * SECOND_MS),
     .offset = CONFIG(switch_interval_ms),
     .help = "how long a thread keeps Python while others wait for it; not given:\n"
             "Python's own, 5ms"},

    {"application", "wsgi", CONFIG_TYPE_WSGI, .offset = APPLICATION(wsgi),
     .help = "the WSGI application as package.module:callable"},
    {"application", "handler", CONFIG_TYPE_WSGI, .offset = APPLICATION(handler),
     .help = "or package.module:function, called with a fcgihost.Request"},
    {"application", "script", CONFIG_TYPE_PATH, .offset = APPLICATION(script),
     .help = "or a script file that defines it"},
    {"application", "callable", CONFIG_TYPE_NAME, .default_text = "application",
     .offset = APPLICATION(callable), .help = "its name in a script file"},
    {"application", "script_root", CONFIG_TYPE_PATH, .offset = APPLICATION(script_root),
     .help = "or the folder of many script files: the web server chooses one by\n"
             "SCRIPT_FILENAME; only files that neither their group nor others can\n"
             "write, and whose name ends as extensions says, run"},
    {"application", "extensions", CONFIG_TYPE_EXTENSIONS, .default_text = ".py .wsgi",
     .offset = APPLICATION(extensions),
     .help = "how the names of files end that a web server may choose to run, with\n"
             "spaces between; upper and lower case differ"},
    {"application", "stream", CONFIG_TYPE_SWITCH, .default_text = "no",
     .offset = APPLICATION(stream),
     .help = "yes: a request's body reaches the application as it comes, and holds a\n"
             "thread meanwhile; no: a request is served once its body is whole"},
    {"application", "mount", CONFIG_TYPE_MOUNT, .offset = APPLICATION(mount),
     .help = "the URL prefix, not percent-encoded, that becomes SCRIPT_NAME; / says\n"
             "root. Not given: as the web server splits the path. More sections,\n"
             "[application NAME], each with a mount of its own, share the process:\n"
             "the longest one wins"},
    {"application", "authorizer", CONFIG_TYPE_WSGI, .offset = APPLICATION(authorizer),
     .help = "package.module:function that allows or refuses requests, for a web\n"
             "server that asks for FastCGI's authorizer"},
    {"application", "filter", CONFIG_TYPE_WSGI, .offset = APPLICATION(filter),
     .help = "package.module:function that filters files, for a web server that\n"
             "asks for FastCGI's filter"},

    {"startup", "import", CONFIG_TYPE_IMPORT, .is_repeatable = true, .offset = CONFIG(imports),
     .help = "a module to import when the process starts, or module:function to\n"
             "call then; repeatable, in order; tried again until it succeeds"},
    {"startup", "require", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(require),
     .help = "requests get 503 with Retry-After until every import has succeeded"},
    {"startup", "request_wait", CONFIG_TYPE_TIME, .default_text = "5s", RANGE(0, HOUR_MS),
     .offset = CONFIG(request_wait_ms),
     .help = "how long a request waits for the application, or for a required\n"
             "import, before its 503"},
    {"startup", "retry_delay", CONFIG_TYPE_TIME, .default_text = "1s", RANGE(1, DAY_MS),
     .offset = CONFIG(retry_delay_ms),
     .help = "how long after its first failure an import is tried again; doubles,\n"
             "with a little chance in it"},
    {"startup", "retry_max_delay", CONFIG_TYPE_TIME, .default_text = "60s", RANGE(1, DAY_MS),
     .offset = CONFIG(retry_max_delay_ms), .help = "the longest such delay"},
    {"startup", "on_failure", CONFIG_TYPE_WORD, .default_text = "retry", .words = on_failure_words,
     .offset = CONFIG(on_failure),
     .help = "exit: the first import, or application, that fails ends the\n"
             "process with code 4"},

    {"environment", "NAME", CONFIG_TYPE_VARIABLE, .is_repeatable = true,
     .offset = CONFIG(environment),
     .help = "a variable of the environment, of any name, set before Python starts;\n"
             "upper and lower case differ; the value is literal and may be empty"},

    {"limits", "requests", CONFIG_TYPE_INTEGER, .default_text = "0", RANGE(0, 1000000000),
     .offset = CONFIG(requests),
     .help = "the process ends in order after so many requests, to be replaced by\n"
             "a fresh one; 0 is never"},
    {"limits", "requests_jitter", CONFIG_TYPE_INTEGER, .default_text = "0", RANGE(0, 1000000000),
     .offset = CONFIG(requests_jitter),
     .help = "adds up to so many requests by chance, so that processes do not end\n"
             "together"},
    {"limits", "lifetime", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, YEAR_MS),
     .offset = CONFIG(lifetime_ms), .help = "likewise, at that age; 0 is never"},
    {"limits", "lifetime_jitter", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, YEAR_MS),
     .offset = CONFIG(lifetime_jitter_ms), .help = "adds up to so much to it by chance"},
    {"limits", "memory", CONFIG_TYPE_SIZE, .default_text = "0", RANGE(0, TIB),
     .offset = CONFIG(memory_bytes),
     .help = "likewise, when it has that much resident memory, looked at every 5 s;\n"
             "0 is never"},
    {"limits", "idle", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, YEAR_MS),
     .offset = CONFIG(idle_ms),
     .help = "the process, with a manager all of them, ends in order after so long\n"
             "without a request; for a socket of systemd's, mod_fcgid or lighttpd,\n"
             "which start it again. 0 is never"},
    {"limits", "connections", CONFIG_TYPE_INTEGER, .default_text = "0", RANGE(0, 1000000),
     .offset = CONFIG(connections),
     .help = "so many connections are accepted at the same time; 0: 4096 and 64 more\n"
             "for each thread, or what the limit of open files leaves"},
    {"limits", "queue_time", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, HOUR_MS),
     .offset = CONFIG(queue_time_ms),
     .help = "a request that has waited longer for a thread is answered with 503;\n"
             "0 lets it wait for ever"},
    {"limits", "request_time", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, DAY_MS),
     .offset = CONFIG(request_time_ms),
     .help = "a request that takes longer gets fcgihost.RequestTimeout raised in it\n"
             "and is answered with 504; if that does not end it within 5 s, the\n"
             "process is replaced. 0 is any time"},
    {"limits", "client_gone", CONFIG_TYPE_WORD, .default_text = "continue",
     .words = client_gone_words, .offset = CONFIG(client_gone),
     .help = "interrupt: fcgihost.ClientGone is raised in a request whose client\n"
             "has left; continue: it runs to its end"},
    {"limits", "body_memory", CONFIG_TYPE_SIZE, .default_text = "64K", RANGE(0, TIB),
     .offset = CONFIG(body_memory_bytes),
     .help = "so much of a request's body is kept in memory until a thread serves\n"
             "the request; what is beyond it, in a temporary file"},
    {"limits", "response_memory", CONFIG_TYPE_SIZE, .default_text = "1M", RANGE(0, TIB),
     .offset = CONFIG(response_memory_bytes),
     .help = "likewise of a response that its peer does not take at once"},
    {"limits", "temporary_space", CONFIG_TYPE_SIZE, .default_text = "1G", RANGE(0, TIB),
     .offset = CONFIG(temporary_space_bytes),
     .help = "so large are the temporary files of a process together; beyond it\n"
             "requests with a large body get 503, and an application that sends more\n"
             "than its peer takes waits"},
    {"limits", "min_rate", CONFIG_TYPE_SIZE, .default_text = "1K", RANGE(0, KIB *KIB *KIB),
     .offset = CONFIG(min_rate_bytes),
     .help = "so many bytes a second a peer has to send or take in each 10 s in which\n"
             "it is waited for; 0: none"},
    {"limits", "request_body", CONFIG_TYPE_SIZE, .default_text = "0", RANGE(0, TIB),
     .offset = CONFIG(request_body_bytes),
     .help = "a larger request body is answered with 413; 0 leaves the limit to\n"
             "the web server"},
    {"limits", "request_head", CONFIG_TYPE_SIZE, .default_text = "64K", RANGE(KIB, KIB *KIB),
     .offset = CONFIG(request_head_bytes),
     .help = "a connection whose request has larger parameters is closed"},
    {"limits", "io_timeout", CONFIG_TYPE_TIME, .default_text = "60s", RANGE(1, DAY_MS),
     .offset = CONFIG(io_timeout_ms),
     .help = "how long one read or write waits for the web server"},

    {"shutdown", "drain_timeout", CONFIG_TYPE_TIME, .default_text = "5s", RANGE(0, DAY_MS),
     .offset = CONFIG(drain_timeout_ms),
     .help = "how long requests in flight may still take when the process\n"
             "ends"},
    {"shutdown", "cleanup_timeout", CONFIG_TYPE_TIME, .default_text = "2s", RANGE(1, DAY_MS),
     .offset = CONFIG(cleanup_timeout_ms),
     .help = "how long all registered cleanups may take together"},

    {"reload", "mode", CONFIG_TYPE_WORD, .default_text = "script", .words = reload_words,
     .offset = CONFIG(reload_mode),
     .help = "script: a script file, and what it loaded with import_module(), is\n"
             "loaded anew when it changes; process: the process, or each worker, is\n"
             "replaced when any loaded source file changes and what is new can be\n"
             "loaded; off: nothing is looked at"},
    {"reload", "interval", CONFIG_TYPE_TIME, .default_text = "1s", RANGE(10, DAY_MS),
     .offset = CONFIG(reload_interval_ms),
     .help = "at most one look at the files in that time; a change counts once two\n"
             "looks in a row find the file the same"},
    {"reload", "watch", CONFIG_TYPE_PATH, .is_repeatable = true, .offset = CONFIG(reload_watch),
     .help = "more files that count, as a glob: templates/*.html; repeatable"},

    {"log", "destination", CONFIG_TYPE_DESTINATION, .default_text = "stderr",
     .offset = CONFIG(log_destination),
     .help = "stderr (syslog where that is closed or /dev/null), syslog, or a file,\n"
             "opened again on SIGHUP"},
    {"log", "front", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(log_front),
     .help = "what a request logs also goes to the web server's error log, over\n"
             "FastCGI; not behind HAProxy 2.6, which crashes on it"},
    {"log", "level", CONFIG_TYPE_WORD, .default_text = "info", .words = level_words,
     .offset = CONFIG(log_level),
     .help = "the least that is logged: error, warning, info or debug"},
    {"log", "format", CONFIG_TYPE_WORD, .default_text = "text", .words = format_words,
     .offset = CONFIG(log_format),
     .help = "json: one object a line, what the application prints too"},
    {"log", "access", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(log_access),
     .help = "a line for each request, whatever the level: status, bytes, times"},
    {"log", "access_query", CONFIG_TYPE_SWITCH, .default_text = "no",
     .offset = CONFIG(log_access_query), .help = "with the query, which may be secret"},
    {"log", "slow_request", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, DAY_MS),
     .offset = CONFIG(slow_request_ms),
     .help = "the Python stack of a request that takes longer is logged, once, while\n"
             "it runs; 0: none is"},
    {"log", "show_errors", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(show_errors),
     .help = "show tracebacks in error pages; for development only"},

    {"status", "path", CONFIG_TYPE_MOUNT, .offset = CONFIG(status_path),
     .help = "a URL path that the host itself answers with its status, like /status:\n"
             "a page, or with ?format=json, prometheus or text; let your web server\n"
             "say who may see it"},
    {"status", "ping", CONFIG_TYPE_MOUNT, .offset = CONFIG(status_ping),
     .help = "a URL path that it answers with 200 pong while requests are served,\n"
             "else with 503 and the state, for a load balancer"},
    {"status", "listen", CONFIG_TYPE_LISTEN, .is_repeatable = true, .offset = CONFIG(status_listen),
     .help = "a socket of its own for both, at / and /ping, and for Prometheus at\n"
             "/metrics: FastCGI, SCGI and plain HTTP; repeatable"},
};

static const char NAMED_APPLICATION[] = "application ";

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))
_Static_assert(OPTION_COUNT <= CONFIG_OPTIONS_MAX, "CONFIG_OPTIONS_MAX sizes arrays by place");

size_t config_option_count(void)
{
    return OPTION_COUNT;
}

size_t config_option_place(const struct config_option *option)
{
    return (size_t)(option - options);
}

const struct config_option *config_option_at(size_t place)
{
    return &options[place];
}

static bool is_named_application(const char *section)
{
    return strncmp(section, NAMED_APPLICATION, strlen(NAMED_APPLICATION)) == 0;
}

const char *config_option_application_name(const char *section)
{
    return is_named_application(section) ? section + strlen(NAMED_APPLICATION) : NULL;
}

void config_option_normalise_section(char *section)
{
    size_t word = strlen(NAMED_APPLICATION) - 1;
    size_t end = strlen(section);
    size_t blanks =
        strncmp(section, NAMED_APPLICATION, word) == 0 ? strspn(section + word, " \t") : 0;

    if (blanks == 0)
        return;
    while (section[end - 1] == ' ' || section[end - 1] == '\t')
        section[--end] = '\0';
    if (end == word)
        return;
    section[word] = ' ';
    memmove(section + word + 1, section + word + blanks, end - word - blanks + 1);
}

/* Does the option stand in a section of that name? */
static bool is_in(const struct config_option *option, const char *section)
{
    return strcmp(option->section, is_named_application(section) ? "application" : section) == 0;
}

const struct config_option *config_option_find(const char *section, const char *key)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (is_in(&options[i], section) &&
            (options[i].type == CONFIG_TYPE_VARIABLE || strcmp(options[i].key, key) == 0))
            return &options[i];
    return NULL;
}

bool config_option_has_section(const char *section)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (is_in(&options[i], section))
            return true;
    return false;
}

/* Is one so near to the other that it was probably meant? "thread" is, "port" is not. */
static bool is_near(const char *given, const char *known, unsigned *distance)
{
    size_t length = strlen(known);

    *distance = config_value_distance(given, known);
    return *distance <= (length + 2) / 4 ||
           (strlen(given) >= 3 && strncmp(given, known, strlen(given)) == 0);
}

/* The key that was meant, of one section or (NULL) of any. */
static const struct config_option *find_nearest(const char *section, const char *key)
{
    const struct config_option *nearest = NULL;
    unsigned best = UINT32_MAX;

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        unsigned distance;

        if (options[i].type != CONFIG_TYPE_VARIABLE &&
            (section == NULL || is_in(&options[i], section)) && is_near(key, options[i].key, &distance) &&
            distance < best) {
            best = distance;
            nearest = &options[i];
        }
    }
    return nearest;
}

static bool is_new_section(size_t place)
{
    return place == 0 || strcmp(options[place - 1].section, options[place].section) != 0;
}

void config_option_suggest_key(const char *section, const char *key, char *text, size_t text_bytes)
{
    const struct config_option *nearest = find_nearest(section, key);
    const char *separator = "";
    size_t used;

    if (nearest != NULL) {
        snprintf(text, text_bytes, "did you mean \"%s\"?", nearest->key);
        return;
    }
    nearest = find_nearest(NULL, key);
    if (nearest != NULL && strcmp(nearest->key, key) == 0) {
        snprintf(text, text_bytes, "it belongs into [%s]", nearest->section);
        return;
    }
    if (nearest != NULL) {
        snprintf(text, text_bytes, "did you mean \"%s\" in [%s]?", nearest->key, nearest->section);
        return;
    }
    used = (size_t)snprintf(text, text_bytes, "the keys here are ");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (is_in(&options[i], section) && used < text_bytes) {
            used +=
                (size_t)snprintf(text + used, text_bytes - used, "%s%s", separator, options[i].key);
            separator = ", ";
        }
    }
}

void config_option_suggest_section(const char *section, char *text, size_t text_bytes)
{
    const char *nearest = NULL;
    const char *separator = "";
    unsigned best = UINT32_MAX;
    size_t used;

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        unsigned distance;

        if (is_near(section, options[i].section, &distance) && distance < best) {
            best = distance;
            nearest = options[i].section;
        }
    }
    if (nearest != NULL) {
        snprintf(text, text_bytes, "did you mean [%s]?", nearest);
        return;
    }
    used = (size_t)snprintf(text, text_bytes, "the sections are ");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (is_new_section(i) && used < text_bytes) {
            used += (size_t)snprintf(text + used, text_bytes - used, "%s[%s]", separator,
                                     options[i].section);
            separator = ", ";
        }
    }
}

/* Prints text line by line: first before the first one, next before the others. */
static void print_lines(const char *text, const char *first, const char *next)
{
    const char *start = first;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        printf("%s%.*s", start, (int)length, text);
        text += length + (text[length] == '\n');
        start = next;
    }
}

static void print_range(const struct config_option *option)
{
    enum config_value_unit unit = option->type == CONFIG_TYPE_TIME   ? CONFIG_VALUE_TIME
                                  : option->type == CONFIG_TYPE_SIZE ? CONFIG_VALUE_SIZE
                                                                     : CONFIG_VALUE_PLAIN;
    char min[24];
    char max[24];

    if (option->range.max == 0 || option->type == CONFIG_TYPE_OCTAL)
        return;
    config_value_format(option->range.min, unit, min);
    config_value_format(option->range.max, unit, max);
    printf(" (%s to %s)", min, max);
}

static void print_help(void)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (is_new_section(i))
            printf("%s[%s]\n", i == 0 ? "" : "\n", options[i].section);
        printf("  %-15s  %-11s  ", options[i].key,
               options[i].default_text != NULL ? options[i].default_text : "-");
        print_lines(options[i].help, "", "\n                                ");
        print_range(&options[i]);
        putchar('\n');
    }
}

static void print_ini(void)
{
    puts("# The settings of fcgihost, each at its default: take the \";\" away and change it.\n"
         "# fcgihost --config FILE reads this file, and fcgihost alone reads ./fcgihost.ini.\n"
         "#\n"
         "# Times take ms, s, m, h; sizes K, M, G; switches yes or no. Relative paths start at\n"
         "# the folder of this file. A line is at most 197 characters long and never goes on in\n"
         "# the next one: a repeatable key is written again. A line that starts with \"#\" or "
         "\";\"\n"
         "# is a comment, and so is the rest of a line from \" ;\" on: a value in which a space\n"
         "# comes before a semicolon can only be given on the command line, with --set.");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (is_new_section(i))
            printf("\n[%s]\n", options[i].section);
        print_lines(options[i].help, "\n# ", "\n# ");
        print_range(&options[i]);
        printf("\n; %s =%s%s\n", options[i].key, options[i].default_text != NULL ? " " : "",
               options[i].default_text != NULL ? options[i].default_text : "");
    }
}

void config_print_options(const char *format)
{
    if (strcmp(format, "ini") == 0) {
        print_ini();
        return;
    }
    print_help();
}
