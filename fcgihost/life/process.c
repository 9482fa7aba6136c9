/* What is set up for the process before Python starts. */
#include "life/process.h"

#include "base/descriptors.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "base/own_file.h"
#include "config/config_load.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_other_user;   /* set by this process or its predecessor */
static int pid_file_fd = -1; /* that this process has written */

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

/* For connections in the queue and with a thread, for what a request may open, and for the rest:
 * Python, the application. A manager has three for each worker, and twice that during a reload. */
static rlim_t find_need(const struct config *config)
{
    enum { REST = 256, FOR_THREAD = 8, FOR_WORKER = 6 };
    rlim_t one = REST + config->backlog + (rlim_t)FOR_THREAD * config->threads;
    rlim_t manager = REST + (rlim_t)FOR_WORKER * config->processes;
    return one > manager ? one : manager;
}

void process_raise_descriptors(const struct config *config, bool is_told)
{
    struct rlimit limit;
    rlim_t need = find_need(config);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
        return;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < need && !is_told)
        log_warning(
            "open-files-few",
            "only %llu files can be open at the same time, and [server] threads and backlog "
            "may need %llu: raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower these",
            (unsigned long long)limit.rlim_max, (unsigned long long)need);
}

/* Of a key of [server], for a message; good until the next call. */
static const char *place(const struct config *config, const char *key)
{
    static char text[PATH_MAX];
    config_describe_place(config, "server", key, text, sizeof(text));
    return text;
}

/* The default folder may be missing; one that was configured may not. */
static int check_temporary(const struct config *config, struct config_error *error)
{
    const char *folder = config->temporary;
    struct stat status;
    int number = 0;
    if (folder == NULL)
        return 0;
    if (stat(folder, &status) < 0 || access(folder, W_OK | X_OK) < 0)
        number = errno;
    else if (!S_ISDIR(status.st_mode))
        number = ENOTDIR;
    if (number == 0)
        return 0;
    config_error_set(
        error,
        "%s[server] temporary \"%s\": %s: name a folder that the process's user may write to",
        place(config, "temporary"), folder, config_error_describe(number));
    return config_blame(config, "server", "temporary", error);
}

int process_become(const struct config *config, const struct privileges *privileges,
                   struct config_error *error)
{
    is_other_user = is_other_user || privileges_change_user(privileges);
    if (privileges_take(config, privileges, error) < 0)
        return -1;
    if (config->umask_mode >= 0)
        umask((mode_t)config->umask_mode);
    if (config->directory != NULL && chdir(config->directory) < 0) {
        config_error_set(
            error, "%s[server] directory \"%s\": %s: name a folder that the process may enter",
            place(config, "directory"), config->directory, config_error_describe(errno));
        return config_blame(config, "server", "directory", error);
    }
    return check_temporary(config, error);
}

/* The pid file */

static void print_pid(char text[24])
{
    snprintf(text, 24, "%ld\n", (long)getpid());
}

int process_write_pid_file(const struct config *config, struct config_error *error)
{
    char text[24];
    print_pid(text);
    if (config->pid_file == NULL || pid_file_fd >= 0)
        return 0;
    if (own_file_replace(config->pid_file, text) < 0) {
        const char *why = own_file_refusal(errno);
        bool is_disk_full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
        config_error_set(
            error,
            "%s[server] pid_file \"%s\": %s: name a file in a folder that this user may write to",
            place(config, "pid_file"), config->pid_file,
            why != NULL ? why : config_error_describe(errno));
        return is_disk_full ? -1 : config_blame(config, "server", "pid_file", error);
    }
    pid_file_fd =
        descriptors_above_standard(own_file_open(config->pid_file, O_RDWR | O_NONBLOCK, 0));
    return 0;
}

/* The application may have closed the descriptor, and its number may be another file's by now. */
static void empty_pid_file(const char *text)
{
    char found[24];
    struct stat status;
    if (pid_file_fd < 0 || fstat(pid_file_fd, &status) < 0 || !S_ISREG(status.st_mode) ||
        status.st_nlink == 0)
        return;
    ssize_t n = pread(pid_file_fd, found, sizeof(found), 0);
    if (n > 0 && (size_t)n == strlen(text) && memcmp(found, text, (size_t)n) == 0)
        (void)!ftruncate(pid_file_fd, 0);
}

void process_remove_pid_file(const struct config *config)
{
    char text[24];
    print_pid(text);
    if (config->pid_file == NULL)
        return;
    own_file_remove(config->pid_file, text);
    empty_pid_file(text);
}

struct handover_root_files process_root_files(void)
{
    return (struct handover_root_files){.is_set = is_other_user,
                                        .log_fd = log_sink_path() != NULL ? log_sink_fd() : -1,
                                        .pid_file_fd = pid_file_fd};
}

void process_take_root_files(const struct handover_root_files *files)
{
    if (!files->is_set)
        return;
    is_other_user = true;
    log_sink_inherit(files->log_fd);
    if (files->pid_file_fd > STDERR_FILENO && fcntl(files->pid_file_fd, F_SETFD, FD_CLOEXEC) == 0)
        pid_file_fd = files->pid_file_fd;
}
