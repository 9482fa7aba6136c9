/* The commands that serve no connections: --check, --call, and one request as plain CGI. */
#include "start/run_once.h"

#include "config/config_places.h"
#include "embed/py_gil.h"
#include "interpreter/py_interpreter.h"
#include "interpreter/py_startup.h"
#include "life/process.h"
#include "serve/call.h"
#include "serve/cgi.h"
#include "start/start_error.h"
#include "start/start_python.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sets the process up as the application will find it, without a server. 0, or -1 with a message.
 */
static int become_once(const struct config *config, const struct privileges *privileges,
                       struct config_error *error)
{
    if (privileges_set_environment(config, privileges) < 0)
        return config_error_set(error, "[environment]: %s", config_error_describe(errno));
    return process_become(config, privileges, error);
}

int run_once_check(const struct config *config)
{
    struct privileges privileges;
    struct config_error error;
    enum config_blame blame;
    if (config_check_places(config, command_line_report, &blame) > 0)
        return blame == CONFIG_BLAMES_FLAG ? EXIT_USAGE : EXIT_CONFIG;
    if (privileges_find(config, false, &privileges, &error) < 0 ||
        become_once(config, &privileges, &error) < 0)
        return start_error_setting(&error, EXIT_CONFIG);
    if (config->file != NULL)
        printf("configuration: %s\n", config->file);
    fflush(stdout);
    int code = start_python(config, &(struct py_options){.is_run_once = true});
    if (code != 0)
        return code;
    printf("python: %s%s%s\n", py_interpreter_version(),
           config->home != NULL ? ", environment " : "", config->home != NULL ? config->home : "");
    bool is_loaded = py_startup_run_once(config) == PY_STARTUP_FINE;
    if (is_loaded)
        py_startup_describe(config);
    for (size_t i = 0; i < config->listen.count; i++)
        printf("listen: %s\n", config->listen.items[i]);
    if (config->listen.count == 0)
        printf("listen: not set: the web server, spawn-fcgi or systemd must pass a socket\n");
    fflush(stdout);
    return start_python_finish(config, is_loaded ? EXIT_CLEAN : EXIT_APPLICATION);
}

/* The strings of environ, which setenv() leaves as they are. NULL with errno. */
static char **copy_environ(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof(*copy));
    if (copy != NULL)
        memcpy(copy, environ, count * sizeof(*copy));
    return copy;
}

/* variables: plain CGI's. */
static int serve_once(const struct command_line *line, const struct config *config,
                      char *const *variables, int response_fd)
{
    int code = start_python(
        config, &(struct py_options){.is_run_once = true, .is_multiprocess = line == NULL});
    if (code != 0)
        return code;
    if (py_startup_run_once(config) == PY_STARTUP_FAILED)
        return start_python_finish(config, EXIT_APPLICATION);
    py_gil_release();
    if (line != NULL)
        code = call_run(line, config, response_fd);
    else
        code = cgi_serve(config, variables, STDIN_FILENO, response_fd) > 0 ? EXIT_CLEAN
                                                                           : EXIT_RUN_TIME;
    py_gil_take();
    return start_python_finish(config, code);
}

int run_once(const struct command_line *line, const struct config *config,
             const struct privileges *privileges)
{
    struct config_error error;
    int response_fd = process_take_stdout();
    if (response_fd < 0)
        return start_error_errno("standard output");
    char **variables = copy_environ(); /* without [environment], which is the application's */
    if (variables == NULL)
        return start_error_errno("the request's variables");
    int code = become_once(config, privileges, &error) < 0
                   ? start_error_setting(&error, EXIT_RUN_TIME)
                   : serve_once(line, config, variables, response_fd);
    free(variables);
    return code;
}
