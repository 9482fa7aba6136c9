/* What is set up for the process before Python starts. */
#include "life/process.h"

#include "base/own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void process_open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
}

void process_ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int process_take_stdout(void)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return -1;
    return fd;
}

int process_apply(const struct config *config, struct config_error *error)
{
    if (config->umask_mode >= 0)
        umask((mode_t)config->umask_mode);
    if (config->directory != NULL && chdir(config->directory) < 0)
        return config_error_set(
            error, "[server] directory \"%s\": %s: name a folder that the process may enter",
            config->directory, config_error_describe(errno));
    return 0;
}

static void print_pid(char text[24])
{
    snprintf(text, 24, "%ld\n", (long)getpid());
}

int process_write_pid_file(const struct config *config, struct config_error *error)
{
    char text[24];
    print_pid(text);
    if (config->pid_file == NULL || own_file_replace(config->pid_file, text) == 0)
        return 0;
    const char *why = own_file_refusal(errno);
    return config_error_set(
        error, "[server] pid_file \"%s\": %s: name a file in a folder that this user may write to",
        config->pid_file, why != NULL ? why : config_error_describe(errno));
}

void process_remove_pid_file(const struct config *config)
{
    char text[24];
    print_pid(text);
    if (config->pid_file != NULL)
        own_file_remove(config->pid_file, text);
}
