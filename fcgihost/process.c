/* What the process takes on before Python starts: descriptors, umask, folder, pid file. */
#include "process.h"

#include "log.h"
#include "own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

/* How the process was started. */
static struct {
    char **argv;
    char **environ;
    char program[PATH_MAX];
    int folder_fd;
} start;

/* Python's os.environ changes the environment in place. */
static char **copy_environ(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < count; i++)
        copy[i] = strdup(environ[i]);
    return copy;
}

int process_remember_start(char **argv)
{
    ssize_t n = readlink("/proc/self/exe", start.program, sizeof(start.program) - 1);
    start.argv = argv;
    start.environ = copy_environ();
    start.folder_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return n > 0 && start.environ != NULL ? 0 : -1;
}

void process_replace(int listener_fd)
{
    if (dup2(listener_fd, STDIN_FILENO) < 0 ||
        (start.folder_fd >= 0 && fchdir(start.folder_fd) < 0))
        return;
    log_leave_standard();
    execve(start.program, start.argv, start.environ);
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
        return config_error_set(error,
                                "[server] directory \"%s\": %s: the process can't work there",
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
