/* The command: what of the command line is done, and what comes before. */
#include "base/fork.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "base/own_file.h"
#include "build_facts.h"
#include "config/command_line.h"
#include "config/config_load.h"
#include "config/config_places.h"
#include "config/settings_table.h"
#include "http/request.h"
#include "http/request_id.h"
#include "interpreter/py_interpreter.h"
#include "interpreter/python_update.h"
#include "life/privileges.h"
#include "life/process.h"
#include "life/reexec.h"
#include "life/sd_notify.h"
#include "manager/manager.h"
#include "start/run_once.h"
#include "start/run_server.h"
#include "start/start_error.h"
#include "status/control_client.h"
#include "status/identity.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void print_version(void)
{
    printf("fcgihost %s (Python %s %s, libfcgi %s, inih %s)\n", FCGIHOST_VERSION,
           py_interpreter_version(), FCGIHOST_PYTHON_LINK, FCGIHOST_FCGI_VERSION,
           FCGIHOST_INIH_VERSION);
}

static bool is_plain_cgi(const struct config *config)
{
    int value;
    socklen_t bytes = sizeof(value);
    return reexec_predecessor() == NULL && config->listen.count == 0 &&
           getenv("GATEWAY_INTERFACE") != NULL &&
           getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &value, &bytes) < 0;
}

/* A worker has a handover too: its manager's. */
static bool is_manager(const struct config *config)
{
    const struct handover *predecessor = reexec_predecessor();
    if (predecessor != NULL)
        return predecessor->member_count > 0;
    return config->processes > 1 || config->manager;
}

static int run(char **argv, const struct command_line *line, const struct config *config)
{
    struct config_error error;
    if (config_check(config, &error) < 0)
        return start_error_setting(&error, config->file != NULL ? EXIT_CONFIG : EXIT_USAGE);
    if (line->command == COMMAND_CHECK)
        return run_once_check(config);
    if (reexec_predecessor() == NULL && config_check_scripts(config, &error) < 0)
        return start_error_setting(&error, EXIT_CONFIG);
    struct privileges privileges;
    if (privileges_find(config, reexec_predecessor() != NULL, &privileges, &error) < 0)
        return start_error_setting(&error, EXIT_RUN_TIME);
    if (reexec_predecessor() != NULL)
        process_take_root_files(&reexec_predecessor()->root_files);
    log_sink_give_files(privileges.user.uid, privileges.gid);
    log_set_format(config->log_format);
    if (log_open(config->log_destination, config->log_level) < 0) {
        const char *why = own_file_refusal(errno);
        bool is_passing = config_error_is_passing(errno);
        char place[PATH_MAX];
        config_describe_place(config, "log", "destination", place, sizeof(place));
        config_error_set(
            &error,
            "%s[log] destination \"%s\": %s: name a file that this user may write to, or stderr",
            place, config->log_destination, why != NULL ? why : config_error_describe(errno));
        if (is_passing)
            return start_error(&error, EXIT_RUN_TIME);
        config_blame(config, "log", "destination", &error);
        return start_error_setting(&error, EXIT_CONFIG);
    }
    if (line->command == COMMAND_CALL)
        return run_once(line, config, &privileges);
    if (identity_init(config) < 0)
        return start_error_errno("the control socket's names");
    if (is_plain_cgi(config))
        return run_once(NULL, config, &privileges);
    if (reexec_predecessor() == NULL)
        python_update_warn();
    if (is_manager(config))
        return manager_run(argv, config);
    return run_server(config, &privileges);
}

int main(int argc, char **argv)
{
    (void)argc;
    process_open_standard();
    if (reexec_init(argv) < 0)
        return start_error_errno("can't remember how the process was started");
    const struct handover *predecessor = reexec_predecessor();
    sd_notify_init(predecessor != NULL && predecessor->worker.is_set);
    fork_init();
    process_ignore_signals();
    struct command_line line;
    struct config config;
    struct config_error error;
    if (config_init(&config, &error) < 0)
        return start_error(&error, EXIT_RUN_TIME);
    if (request_seed_hash() < 0 || request_id_seed() < 0) {
        config_error_set(&error, "no random numbers: %s: is getrandom(2) not allowed here?",
                         config_error_describe(errno));
        return start_error(&error, EXIT_RUN_TIME);
    }
    if (predecessor != NULL)
        config.kept =
            (struct config_kept){.is_set = true,
                                 .folder = predecessor->folder,
                                 .path = predecessor->file.path,
                                 .text = (const char *)predecessor->file.text.data,
                                 .bytes = predecessor->file.text.bytes,
                                 .environment = (const char *)predecessor->environment.text.data,
                                 .environment_bytes = predecessor->environment.text.bytes};
    int code = command_line_parse(argv, &line, &config, &error);
    if (code != COMMAND_LINE_OK) {
        if (config.reported == 0)
            start_error(&error, (enum exit_code)code);
    } else if (line.command == COMMAND_VERSION)
        print_version();
    else if (line.command == COMMAND_HELP)
        command_line_print_help();
    else if (line.command == COMMAND_RELOAD)
        code = control_client_reload(line.status_file, &config.listen);
    else if (line.command == COMMAND_STATUS)
        code = control_client_status(line.status_file, &config.listen, line.format);
    else if (line.command == COMMAND_PRINT_INI)
        settings_table_print("ini");
    else
        code = run(argv, &line, &config);
    command_line_clear(&line);
    config_clear(&config);
    log_close();
    return code;
}
