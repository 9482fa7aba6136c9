/* The one table of options, its search, and its two printed forms: --help and a commented
 * fcgihost.ini. */
#include "config/settings_table.h"

#include "config/config.h"

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
     .help = "addresses to listen on: unix:PATH, HOST:PORT, [V6]:PORT or fd:N;\n"
             "repeatable. Default: the socket on descriptor 0, or those that systemd\n"
             "passes"},
    {"server", "protocol", CONFIG_TYPE_WORD, .default_text = "auto", .words = protocol_words,
     .offset = CONFIG(protocol),
     .help = "fastcgi, scgi, or auto, which tells them apart by the first byte of\n"
             "each connection"},
    {"server", "threads", CONFIG_TYPE_INTEGER, .default_text = "4", RANGE(1, 1024),
     .offset = CONFIG(threads),
     .help = "application threads, so the number of requests served at\n"
             "once"},
    {"server", "processes", CONFIG_TYPE_INTEGER, .default_text = "1", RANGE(1, 256),
     .offset = CONFIG(processes),
     .help = "number of worker processes; above 1 a manager starts them, restarts\n"
             "those that die, and replaces them on SIGHUP"},
    {"server", "manager", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(manager),
     .help = "yes: run a manager even for a single worker process"},
    {"server", "backlog", CONFIG_TYPE_INTEGER, .default_text = "511", RANGE(1, 65535),
     .offset = CONFIG(backlog),
     .help = "length of the kernel's queue of connections not accepted\n"
             "yet"},
    {"server", "socket_mode", CONFIG_TYPE_OCTAL, .default_text = "0600", RANGE(0, 0777),
     .offset = CONFIG(socket_mode),
     .help = "permissions of a Unix socket; 0660 lets its group connect too"},
    {"server", "socket_owner", CONFIG_TYPE_TEXT, .offset = CONFIG(socket_owner),
     .help = "owner of a Unix socket, by name or number"},
    {"server", "socket_group", CONFIG_TYPE_TEXT, .offset = CONFIG(socket_group),
     .help = "group of a Unix socket, by name or number"},
    {"server", "allow", CONFIG_TYPE_ALLOW, .is_repeatable = true, .default_text = "loopback",
     .offset = CONFIG(allow),
     .help = "clients that may connect over TCP: loopback, addresses, or blocks like\n"
             "10.0.0.0/8; separated by commas; repeatable"},
    {"server", "user", CONFIG_TYPE_TEXT, .offset = CONFIG(user),
     .help = "user, by name or number, to switch to before Python starts, with all of\n"
             "the user's groups; always set it when starting as root"},
    {"server", "group", CONFIG_TYPE_TEXT, .offset = CONFIG(group),
     .help = "group, by name or number, instead of the user's own"},
    {"server", "umask", CONFIG_TYPE_OCTAL, RANGE(0, 0777), .offset = CONFIG(umask_mode),
     .help = "umask for files that the application creates, like 0027"},
    {"server", "directory", CONFIG_TYPE_PATH, .offset = CONFIG(directory),
     .help = "current directory of the application"},
    {"server", "pid_file", CONFIG_TYPE_PATH, .offset = CONFIG(pid_file),
     .help = "file that holds the process id while the host runs"},
    {"server", "temporary", CONFIG_TYPE_PATH, .offset = CONFIG(temporary),
     .help = "folder for temporary files; default: $TMPDIR or /var/tmp"},
    {"server", "no_new_privs", CONFIG_TYPE_SWITCH, .default_text = "yes",
     .offset = CONFIG(no_new_privs),
     .help = "no: programs that the application runs may gain privileges by a\n"
             "set-user-ID bit (sudo) or a set-group-ID bit (sendmail)"},
    {"server", "environment_file", CONFIG_TYPE_PATH, .offset = CONFIG(environment_file),
     .help = "file of NAME=value lines, like [environment], for values that are\n"
             "secret or too long for this file; only root needs to be able to read it"},

    {"python", "home", CONFIG_TYPE_PATH, .offset = CONFIG(home),
     .help = "folder of a virtual environment, made by the Python that fcgihost\n"
             "--version shows"},
    {"python", "path", CONFIG_TYPE_PATH, .is_repeatable = true, .offset = CONFIG(path),
     .help = "folder to add to the front of sys.path; repeatable, in that order"},
    {"python", "bytecode", CONFIG_TYPE_SWITCH, .default_text = "yes", .offset = CONFIG(bytecode),
     .help = "write .pyc files"},
    {"python", "switch_interval", CONFIG_TYPE_TIME, RANGE(1, 10 * SECOND_MS),
     .offset = CONFIG(switch_interval_ms),
     .help = "how long a thread may keep the GIL while others wait for it; default:\n"
             "Python's own, 5ms"},

    {"application", "wsgi", CONFIG_TYPE_WSGI, .offset = APPLICATION(wsgi),
     .help = "the WSGI application, as package.module:callable"},
    {"application", "handler", CONFIG_TYPE_WSGI, .offset = APPLICATION(handler),
     .help = "or a function, as package.module:function, that is called with a\n"
             "fcgihost.Request"},
    {"application", "script", CONFIG_TYPE_PATH, .offset = APPLICATION(script),
     .help = "or a script file that defines the application"},
    {"application", "callable", CONFIG_TYPE_NAME, .default_text = "application",
     .offset = APPLICATION(callable), .help = "the application's name in a script file"},
    {"application", "script_root", CONFIG_TYPE_PATH, .offset = APPLICATION(script_root),
     .help = "or a folder of script files: the web server chooses one with\n"
             "SCRIPT_FILENAME. Only files that match extensions, and that neither\n"
             "their group nor others can write, are run"},
    {"application", "extensions", CONFIG_TYPE_EXTENSIONS, .default_text = ".py .wsgi",
     .offset = APPLICATION(extensions),
     .help = "file name extensions of scripts that a web server may choose, separated\n"
             "by spaces; case-sensitive"},
    {"application", "stream", CONFIG_TYPE_SWITCH, .default_text = "no",
     .offset = APPLICATION(stream),
     .help = "yes: the application reads a request's body as it arrives, which keeps\n"
             "a thread busy; no: a request is served once its whole body has arrived"},
    {"application", "mount", CONFIG_TYPE_MOUNT, .offset = APPLICATION(mount),
     .help = "URL prefix, not percent-encoded, that becomes SCRIPT_NAME; / is the\n"
             "root. Default: as the web server splits the path. Several sections,\n"
             "each an [application NAME] with its own mount, share the process; the\n"
             "longest matching mount wins"},
    {"application", "authorizer", CONFIG_TYPE_WSGI, .offset = APPLICATION(authorizer),
     .help = "package.module:function that allows or refuses requests, for web\n"
             "servers that use FastCGI's authorizer role"},
    {"application", "filter", CONFIG_TYPE_WSGI, .offset = APPLICATION(filter),
     .help = "package.module:function that filters files, for web servers that use\n"
             "FastCGI's filter role"},

    {"startup", "import", CONFIG_TYPE_IMPORT, .is_repeatable = true, .offset = CONFIG(imports),
     .help = "module to import at start, or module:function to import and call;\n"
             "repeatable, run in order; retried until it succeeds"},
    {"startup", "require", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(require),
     .help = "yes: answer 503 with Retry-After until every import has succeeded"},
    {"startup", "request_wait", CONFIG_TYPE_TIME, .default_text = "5s", RANGE(0, HOUR_MS),
     .offset = CONFIG(request_wait_ms),
     .help = "how long a request waits for the application, or for a required import,\n"
             "before it gets 503"},
    {"startup", "retry_delay", CONFIG_TYPE_TIME, .default_text = "1s", RANGE(1, DAY_MS),
     .offset = CONFIG(retry_delay_ms),
     .help = "delay before a failed import is retried; doubles each time, with some\n"
             "random jitter"},
    {"startup", "retry_max_delay", CONFIG_TYPE_TIME, .default_text = "60s", RANGE(1, DAY_MS),
     .offset = CONFIG(retry_max_delay_ms), .help = "longest delay before a retry"},
    {"startup", "on_failure", CONFIG_TYPE_WORD, .default_text = "retry", .words = on_failure_words,
     .offset = CONFIG(on_failure),
     .help = "exit: end the process with code 4 at the first failure of an import or\n"
             "application"},

    {"environment", "NAME", CONFIG_TYPE_VARIABLE, .is_repeatable = true,
     .offset = CONFIG(environment),
     .help = "environment variable of any name, set before Python starts; names are\n"
             "case-sensitive; the value is taken literally and may be empty"},

    {"limits", "requests", CONFIG_TYPE_INTEGER, .default_text = "0", RANGE(0, 1000000000),
     .offset = CONFIG(requests), .help = "replace the process after so many requests; 0: never"},
    {"limits", "requests_jitter", CONFIG_TYPE_INTEGER, .default_text = "0", RANGE(0, 1000000000),
     .offset = CONFIG(requests_jitter),
     .help = "add a random number of requests, up to this, so that processes are not\n"
             "all replaced at the same time"},
    {"limits", "lifetime", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, YEAR_MS),
     .offset = CONFIG(lifetime_ms), .help = "replace the process at this age; 0: never"},
    {"limits", "lifetime_jitter", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, YEAR_MS),
     .offset = CONFIG(lifetime_jitter_ms), .help = "add a random time, up to this"},
    {"limits", "memory", CONFIG_TYPE_SIZE, .default_text = "0", RANGE(0, TIB),
     .offset = CONFIG(memory_bytes),
     .help = "replace the process when its resident memory, checked every 5 s,\n"
             "reaches this size; 0: never"},
    {"limits", "idle", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, YEAR_MS),
     .offset = CONFIG(idle_ms),
     .help = "stop the host, manager included, after so long without a request; for\n"
             "mod_fcgid, lighttpd or a systemd socket, which start it again. 0:\n"
             "never"},
    {"limits", "connections", CONFIG_TYPE_INTEGER, .default_text = "0", RANGE(0, 1000000),
     .offset = CONFIG(connections),
     .help = "most connections open at the same time; 0: 4096 plus 64 for each\n"
             "thread, or fewer if the limit of open files is lower"},
    {"limits", "queue_time", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, HOUR_MS),
     .offset = CONFIG(queue_time_ms),
     .help = "answer 503 to a request that has waited longer for a thread; 0: wait\n"
             "forever"},
    {"limits", "request_time", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, DAY_MS),
     .offset = CONFIG(request_time_ms),
     .help = "raise fcgihost.RequestTimeout in a request that runs longer, and answer\n"
             "504; if it is still running 5 s later, replace the process. 0: no\n"
             "limit"},
    {"limits", "client_gone", CONFIG_TYPE_WORD, .default_text = "continue",
     .words = client_gone_words, .offset = CONFIG(client_gone),
     .help = "interrupt: raise fcgihost.ClientGone in a request whose client has\n"
             "left; continue: let it run to its end"},
    {"limits", "body_memory", CONFIG_TYPE_SIZE, .default_text = "64K", RANGE(0, TIB),
     .offset = CONFIG(body_memory_bytes),
     .help = "memory for a request's body while it arrives; the rest goes to a\n"
             "temporary file"},
    {"limits", "response_memory", CONFIG_TYPE_SIZE, .default_text = "1M", RANGE(0, TIB),
     .offset = CONFIG(response_memory_bytes),
     .help = "memory for the part of a response that the web server has not taken\n"
             "yet; the rest goes to a temporary file"},
    {"limits", "temporary_space", CONFIG_TYPE_SIZE, .default_text = "1G", RANGE(0, TIB),
     .offset = CONFIG(temporary_space_bytes),
     .help = "total size of a process's temporary files; when it is used up, requests\n"
             "with large bodies get 503, and applications wait until the web server\n"
             "takes more of their response"},
    {"limits", "min_rate", CONFIG_TYPE_SIZE, .default_text = "1K", RANGE(0, KIB *KIB *KIB),
     .offset = CONFIG(min_rate_bytes),
     .help = "bytes per second that a peer must send, or take, on average over 10 s\n"
             "while the host waits for it; 0: any"},
    {"limits", "request_body", CONFIG_TYPE_SIZE, .default_text = "0", RANGE(0, TIB),
     .offset = CONFIG(request_body_bytes),
     .help = "answer 413 to a larger request body; 0: leave the limit to the web\n"
             "server"},
    {"limits", "request_head", CONFIG_TYPE_SIZE, .default_text = "64K", RANGE(KIB, KIB *KIB),
     .offset = CONFIG(request_head_bytes),
     .help = "close a connection whose request has larger parameters"},
    {"limits", "io_timeout", CONFIG_TYPE_TIME, .default_text = "60s", RANGE(1, DAY_MS),
     .offset = CONFIG(io_timeout_ms),
     .help = "how long one read from, or write to, the web server may\n"
             "take"},

    {"shutdown", "drain_timeout", CONFIG_TYPE_TIME, .default_text = "5s", RANGE(0, DAY_MS),
     .offset = CONFIG(drain_timeout_ms),
     .help = "how long requests in flight may go on when the process stops"},
    {"shutdown", "cleanup_timeout", CONFIG_TYPE_TIME, .default_text = "2s", RANGE(1, DAY_MS),
     .offset = CONFIG(cleanup_timeout_ms),
     .help = "how long all registered cleanups together may take"},

    {"reload", "mode", CONFIG_TYPE_WORD, .default_text = "script", .words = reload_words,
     .offset = CONFIG(reload_mode),
     .help = "script: reload a script file, and what it loaded with import_module(),\n"
             "when it changes; process: replace the process, or each worker, when any\n"
             "loaded source file has changed and the new code loads; off: never\n"
             "reload"},
    {"reload", "interval", CONFIG_TYPE_TIME, .default_text = "1s", RANGE(10, DAY_MS),
     .offset = CONFIG(reload_interval_ms),
     .help = "how often files are checked at most; a change counts once two checks in\n"
             "a row see the same file"},
    {"reload", "watch", CONFIG_TYPE_PATH, .is_repeatable = true, .offset = CONFIG(reload_watch),
     .help = "more files to watch, as a glob like templates/*.html; repeatable"},

    {"log", "destination", CONFIG_TYPE_DESTINATION, .default_text = "stderr",
     .offset = CONFIG(log_destination),
     .help = "stderr (or syslog if that is closed or /dev/null), syslog, or a file,\n"
             "which is reopened on SIGHUP"},
    {"log", "front", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(log_front),
     .help = "yes: also send what a request logs to the web server's error log, over\n"
             "FastCGI; not with HAProxy 2.6, which crashes on it"},
    {"log", "level", CONFIG_TYPE_WORD, .default_text = "info", .words = level_words,
     .offset = CONFIG(log_level),
     .help = "least important messages to log: error, warning, info or debug"},
    {"log", "format", CONFIG_TYPE_WORD, .default_text = "text", .words = format_words,
     .offset = CONFIG(log_format),
     .help = "text, or json: one object per line, also for what the application\n"
             "prints"},
    {"log", "access", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(log_access),
     .help = "log each request, whatever the level: status, bytes, times"},
    {"log", "access_query", CONFIG_TYPE_SWITCH, .default_text = "no",
     .offset = CONFIG(log_access_query), .help = "include the query, which may contain secrets"},
    {"log", "slow_request", CONFIG_TYPE_TIME, .default_text = "0", RANGE(0, DAY_MS),
     .offset = CONFIG(slow_request_ms),
     .help = "log the Python stack of a request, once, when it has run for so long;\n"
             "0: never"},
    {"log", "show_errors", CONFIG_TYPE_SWITCH, .default_text = "no", .offset = CONFIG(show_errors),
     .help = "show tracebacks in error pages; for development only"},

    {"status", "path", CONFIG_TYPE_MOUNT, .offset = CONFIG(status_path),
     .help = "URL path where the host answers with its status, like /status: a page,\n"
             "or ?format=json, prometheus or text; restrict access to it in the web\n"
             "server"},
    {"status", "ping", CONFIG_TYPE_MOUNT, .offset = CONFIG(status_ping),
     .help = "URL path, for load balancers, where the host answers 200 pong while\n"
             "requests are served, otherwise 503 and its state"},
    {"status", "listen", CONFIG_TYPE_LISTEN, .is_repeatable = true, .offset = CONFIG(status_listen),
     .help = "sockets for the status alone: / and /ping, and /metrics for Prometheus;\n"
             "FastCGI, SCGI and plain HTTP; repeatable"},
};

static const char NAMED_APPLICATION[] = "application ";

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))
_Static_assert(OPTION_COUNT <= SETTINGS_TABLE_MAX, "SETTINGS_TABLE_MAX sizes arrays by place");

size_t settings_table_count(void)
{
    return OPTION_COUNT;
}

size_t settings_table_place(const struct config_option *option)
{
    return (size_t)(option - options);
}

const struct config_option *settings_table_at(size_t place)
{
    return &options[place];
}

static bool is_named_application(const char *section)
{
    return strncmp(section, NAMED_APPLICATION, strlen(NAMED_APPLICATION)) == 0;
}

const char *settings_table_application_name(const char *section)
{
    return is_named_application(section) ? section + strlen(NAMED_APPLICATION) : NULL;
}

void settings_table_normalise_section(char *section)
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

const struct config_option *settings_table_find(const char *section, const char *key)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (is_in(&options[i], section) &&
            (options[i].type == CONFIG_TYPE_VARIABLE || strcmp(options[i].key, key) == 0))
            return &options[i];
    return NULL;
}

bool settings_table_has_section(const char *section)
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
            (section == NULL || is_in(&options[i], section)) &&
            is_near(key, options[i].key, &distance) && distance < best) {
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

void settings_table_suggest_key(const char *section, const char *key, char *text, size_t text_bytes)
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
        snprintf(text, text_bytes, "it belongs in [%s]", nearest->section);
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

void settings_table_suggest_section(const char *section, char *text, size_t text_bytes)
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
        printf("  %-16s  %-11s  ", options[i].key,
               options[i].default_text != NULL ? options[i].default_text : "-");
        print_lines(options[i].help, "", "\n                                 ");
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
         "# is a comment, and so is the rest of a line from \" ;\" on, except in [environment]:\n"
         "# a value with a space before a semicolon can only be given with --set.");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (is_new_section(i))
            printf("\n[%s]\n", options[i].section);
        print_lines(options[i].help, "\n# ", "\n# ");
        print_range(&options[i]);
        printf("\n; %s =%s%s\n", options[i].key, options[i].default_text != NULL ? " " : "",
               options[i].default_text != NULL ? options[i].default_text : "");
    }
}

void settings_table_print(const char *format)
{
    if (strcmp(format, "ini") == 0) {
        print_ini();
        return;
    }
    print_help();
}
