/* What the process takes on before Python starts: descriptors, umask, folder, pid file. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
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

static int write_pid_file(const char *path)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return -1;
    fprintf(file, "%ld\n", (long)getpid());
    return fclose(file) == 0 ? 0 : -1;
}

int process_apply(const struct config *config, struct config_error *error)
{
    if (config->umask_mode >= 0)
        umask((mode_t)config->umask_mode);
    if (config->directory != NULL && chdir(config->directory) < 0)
        return config_error_set(error,
                                "[server] directory \"%s\": %s: the process can't work there",
                                config->directory, config_error_describe(errno));
    return 0;
}

int process_write_pid_file(const struct config *config, struct config_error *error)
{
    if (config->pid_file != NULL && write_pid_file(config->pid_file) < 0)
        return config_error_set(
            error,
            "[server] pid_file \"%s\": %s: name a file in a folder that this user may write to",
            config->pid_file, config_error_describe(errno));
    return 0;
}

void process_remove_pid_file(const struct config *config)
{
    if (config->pid_file == NULL)
        return;
    FILE *file = fopen(config->pid_file, "re");
    long pid = 0;
    if (file == NULL)
        return;
    if (fscanf(file, "%ld", &pid) == 1 && pid == (long)getpid())
        unlink(config->pid_file);
    fclose(file);
}
