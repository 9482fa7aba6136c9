/* The configuration: one table of options that the ini file, --set and the flags all go through. */
#ifndef FCGIHOST_CONFIG_H
#define FCGIHOST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_protocol { PROTOCOL_AUTO, PROTOCOL_FASTCGI, PROTOCOL_SCGI };
enum config_on_failure { ON_FAILURE_RETRY, ON_FAILURE_EXIT };
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Who set a value. They speak in this order, and each replaces what the one before said. */
enum config_source { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_COMMAND_LINE };

/* The values of a repeatable key, in the order in which they were given. */
struct config_list {
    char **items;
    size_t count;
    enum config_source source;
};

enum { CONFIG_APPLICATIONS_MAX = 64 };

/* What a section [application] or [application NAME] says. */
struct config_application {
    char *name; /* NULL: [application] */
    char *wsgi;
    char *handler;
    char *script;
    char *callable;
    char *script_root;
    char *extensions; /* ".py .wsgi": of files that a web server may choose; one space between */
    char *mount;      /* NULL: automatic; "" says root; else "/prefix" without a trailing slash */
    char *authorizer;
    char *filter;

    /* What is not a key. */
    unsigned line; /* of the section in the file; 0: none */
};

enum { CONFIG_MESSAGE_SIZE = 1024 };

/* One line, ready to be printed: what, where, why, what to do. */
struct config_error {
    char message[CONFIG_MESSAGE_SIZE];
};

/* The ini file as it was read before the program was executed anew. */
struct config_kept {
    bool is_set;      /* then no file is read, whatever there is by now */
    const char *path; /* NULL: there was none */
    const char *text;
    size_t bytes;
};

struct config {
    /* [server] */
    struct config_list listen;
    enum config_protocol protocol;
    unsigned threads;
    unsigned backlog;
    unsigned socket_mode;
    char *socket_owner;
    char *socket_group;
    struct config_list allow; /* each one checked with address_parse_block; default: loopback */
    int umask_mode;           /* -1: leave it */
    char *directory;
    char *pid_file;
    /* [python] */
    char *home;
    struct config_list path;
    bool bytecode;
    uint64_t switch_interval_ms; /* 0: Python's own */
    /* [startup] */
    struct config_list imports; /* "module" or "module:function" */
    bool require;
    uint64_t request_wait_ms;
    uint64_t retry_delay_ms;
    uint64_t retry_max_delay_ms;
    enum config_on_failure on_failure;
    /* [limits] */
    unsigned requests; /* 0: for ever, as with the next three */
    unsigned requests_jitter;
    uint64_t lifetime_ms;
    uint64_t memory_bytes;
    uint64_t request_body_bytes; /* 0: the front's limit is the only one */
    uint64_t request_head_bytes;
    uint64_t io_timeout_ms;
    /* [shutdown] */
    uint64_t drain_timeout_ms;
    uint64_t cleanup_timeout_ms;
    /* [log] */
    char *log_destination; /* "stderr", "syslog", or the absolute path of a file */
    bool log_front;
    enum log_level log_level;
    bool show_errors;

    struct config_application *applications; /* in the order in which they were named */
    size_t application_count;

    /* What is not a key. */
    char *file;      /* the ini file that was read, or NULL */
    char *file_text; /* what it contained then: the program that is executed anew goes on with it */
    size_t file_bytes;
    struct config_kept kept;
    /* --check: called for each problem of an ini file, of which then all are found; NULL: the first
     * one is enough. */
    void (*report)(const struct config_error *error);
    unsigned reported;    /* how many */
    bool add_current_dir; /* APP was given: the current folder comes first on sys.path */
};

/* Writes the message; always -1, so that a caller can return it. */
int config_error_set(struct config_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What an errno says, in the lower case of our messages; good until the next call, at the start
 * only. */
const char *config_error_describe(int number);

/* Sets every option to its default. Free with config_clear. -1 with a message only when out of
 * memory. */
int config_init(struct config *config, struct config_error *error);
void config_clear(struct config *config);

/* Reads an ini file into config; before the first config_set. 0, or -1 with a message that names
 * file, line, section and key. */
int config_read_file(struct config *config, const char *path, struct config_error *error);
/* The same for text that came from that file. */
int config_read_text(struct config *config, const char *path, const char *text, size_t bytes,
                     struct config_error *error);

/* Sets one option as the command line does ("--set server.threads=8" comes as "server.threads=8",
 * "--threads 8" likewise). It wins over what a file said; the first value of a repeatable key
 * replaces those of the file. Relative paths are the current folder's. 0, or -1 with a message. */
int config_set(struct config *config, const char *assignment, struct config_error *error);
/* The same for a flag that stands for one option: messages name it ("--threads") instead of --set.
 */
int config_set_flag(struct config *config, const char *flag, const char *assignment,
                    struct config_error *error);

/* The application with that name (NULL: that of [application]), or NULL. */
struct config_application *config_find_application(const struct config *config, const char *name);
/* Forgets what the sections say but [application]'s callable and mount, which may go with another
 * program. */
void config_forget_applications(struct config *config);
/* What answers requests, as it was given; NULL if nothing does. */
const char *config_responder(const struct config_application *application);
/* What is served there, as it was given, for people: with an authorizer and a filter only one of
 * them. */
const char *config_describe_application(const struct config_application *application);
/* Does it answer requests by its authorizer, for want of anything else? As nginx's auth_request
 * asks. */
bool config_answers_by_authorizer(const struct config *config,
                                  const struct config_application *application);

/* What no single key can tell: one program in each section, a mount of its own for each, keys that
 * need another one. 0, or -1. */
int config_check(const struct config *config, struct config_error *error);

/* Prints every option with section, default, range and help: for --help and for the documents'
 * check. format: "help" for people, "ini" for a commented fcgihost.ini. */
void config_print_options(const char *format);

#endif
