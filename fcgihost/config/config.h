/* The settings, as all code reads them; config_load.h fills them in. */
#ifndef FCGIHOST_CONFIG_H
#define FCGIHOST_CONFIG_H

#include "base/log_level.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_error;

enum config_protocol { PROTOCOL_AUTO, PROTOCOL_FASTCGI, PROTOCOL_SCGI };
enum config_reload_mode { RELOAD_OFF, RELOAD_SCRIPT, RELOAD_PROCESS };
enum config_on_failure { ON_FAILURE_RETRY, ON_FAILURE_EXIT };
enum config_client_gone { CLIENT_GONE_CONTINUE, CLIENT_GONE_INTERRUPT };

/* Where a value comes from, the weakest first: each replaces those of the ones before. */
enum config_source {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,
    CONFIG_FROM_ENVIRONMENT_FILE,
    CONFIG_FROM_COMMAND_LINE
};

/* The values of a repeatable key, in the order in which they were given. */
struct config_list {
    char **items;
    size_t count;
    enum config_source source;
};

/* A variable of the application's environment. */
struct config_variable {
    char *name;
    char *value;
    enum config_source source;
};

struct config_variables {
    struct config_variable *items;
    size_t count;
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
    bool stream;      /* the application reads a body as it comes */
    char *mount;      /* NULL: automatic; "" says root; else "/prefix" without a trailing slash */
    char *authorizer;
    char *filter;

    /* What is not a key. */
    unsigned line; /* of the section in the file; 0: none */
};

/* The files as they were read before the program was executed anew. */
struct config_kept {
    bool is_set;        /* then none is read, whatever they contain by now */
    const char *folder; /* the current one then, which may be gone; NULL: take the current one */
    const char *path;   /* NULL: there was none */
    const char *text;
    size_t bytes;
    const char *environment; /* of [server] environment_file; NULL: there was none */
    size_t environment_bytes;
};

struct config {
    /* [server] */
    struct config_list listen;
    enum config_protocol protocol;
    unsigned threads;
    unsigned processes;
    bool manager; /* also for one process */
    unsigned backlog;
    unsigned socket_mode;
    char *socket_owner;
    char *socket_group;
    struct config_list allow; /* each one checked with address_parse_block; default: loopback */
    char *user;               /* a name or a number; NULL: the process stays who it is */
    char *group;
    int umask_mode; /* -1: leave it */
    char *directory;
    char *pid_file;
    char *temporary; /* NULL: $TMPDIR, or /var/tmp */
    bool no_new_privs;
    char *environment_file;
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
    /* [environment] */
    struct config_variables environment;
    /* [limits] */
    unsigned requests; /* 0: for ever, as with the next four */
    unsigned requests_jitter;
    uint64_t lifetime_ms, lifetime_jitter_ms;
    uint64_t memory_bytes;
    uint64_t idle_ms;
    unsigned connections;     /* 0: as the host finds right */
    uint64_t queue_time_ms;   /* 0: for ever */
    uint64_t request_time_ms; /* 0: any */
    enum config_client_gone client_gone;
    uint64_t body_memory_bytes;     /* of a body, before a thread is given to its request */
    uint64_t response_memory_bytes; /* of a response that the peer does not take */
    uint64_t temporary_space_bytes; /* of all temporary files of the process */
    uint64_t min_rate_bytes;        /* a second; 0: none */
    uint64_t request_body_bytes;    /* 0: the front's limit is the only one */
    uint64_t request_head_bytes;
    uint64_t io_timeout_ms;
    /* [shutdown] */
    uint64_t drain_timeout_ms;
    uint64_t cleanup_timeout_ms;
    /* [reload] */
    enum config_reload_mode reload_mode;
    uint64_t reload_interval_ms;
    struct config_list reload_watch; /* globs */
    /* [log] */
    char *log_destination; /* "stderr", "syslog", or the absolute path of a file */
    bool log_front;
    enum log_level log_level;
    enum log_format log_format;
    bool log_access, log_access_query;
    uint64_t slow_request_ms; /* 0: none */
    bool show_errors;
    /* [status] */
    char *status_path; /* NULL: none, as with the next one */
    char *status_ping;
    struct config_list status_listen;

    struct config_application *applications; /* in the order in which they were named */
    size_t application_count;

    /* What is not a key. */
    char *file;      /* the ini file that was read, or NULL */
    char *file_text; /* what it contained then: the program that is executed anew goes on with it */
    size_t file_bytes;
    unsigned *key_lines; /* in it, by a key's place in the table of options; 0: the value is not the
                            file's. NULL: no file */
    char *environment_text; /* likewise, of environment_file */
    size_t environment_bytes;
    struct config_kept kept;
    /* --check: called for each problem of an ini file, of which then all are found; NULL: the first
     * one is enough. */
    void (*report)(const struct config_error *error);
    unsigned reported;    /* how many */
    bool add_current_dir; /* APP was given: the current folder comes first on sys.path */
};

#endif
