/* The process as it was started, and the program executed anew in it. */
#include "life/reexec.h"

#include "life/children.h"
#include "base/descriptors.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

enum { CHILD_END_MS = 500, KEPT_DESCRIPTORS_MAX = 256, SIGNAL_MAX = 64 };

/* What looking for children and the memory take, or an import at the end. */
enum { SPARE_DESCRIPTORS = 3 };

static const char variable[] = "FCGIHOST_HANDOVER"; /* the number of the memory's descriptor */

/* A descriptor that the process was started with. Its number may be another file's by now. */
struct kept_descriptor {
    int fd;
    dev_t device;
    ino_t inode;
};

/* How the process was started. */
static struct {
    char **argv;
    char **environ;
    char program[PATH_MAX];
    int folder_fd;
    const char *folder; /* its name then; NULL: not known */
    int spare[SPARE_DESCRIPTORS]; /* copies of folder_fd: room, should all others be taken */
    mode_t umask;
    struct rlimit limits[RLIM_NLIMITS];
    uint64_t signal_mask, ignored_signals; /* 1 << number */
    int standard[3];                       /* copies; -1: /dev/null will do */
    struct kept_descriptor kept[KEPT_DESCRIPTORS_MAX];
    size_t kept_count;
    struct child_list children;
} start;

static struct handover predecessor;
static bool has_predecessor;
static atomic_ullong *predecessors_late_signals;
static _Atomic(atomic_ullong *)
    late_signals; /* in the memory for the next program, once that is written */

static atomic_ullong *late_signals_of(uint8_t *memory)
{
    return (atomic_ullong *)(void *)(memory + HANDOVER_LATE_SIGNALS_OFFSET);
}

/* What a predecessor left */

/* NULL: there is none. */
static uint8_t *map_memory(size_t *bytes)
{
    const char *text = getenv(variable);
    struct stat status;
    char *end;
    if (text == NULL)
        return NULL;
    long fd = strtol(text, &end, 10);
    bool is_number = end != text && *end == '\0' && fd > STDERR_FILENO && fd <= INT_MAX;
    unsetenv(variable);
    if (!is_number || fstat((int)fd, &status) < 0 || !S_ISREG(status.st_mode) ||
        status.st_size < HANDOVER_HEADER_BYTES)
        return NULL;
    *bytes = (size_t)status.st_size;
    uint8_t *memory = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    uint32_t sender;
    if (memory == MAP_FAILED)
        return NULL;
    memcpy(&sender, memory + 12, sizeof(sender));
    if (sender != (uint32_t)getpid()) {
        munmap(memory, *bytes);
        return NULL; /* an environment that was copied from another process */
    }
    close((int)fd);
    return memory;
}

static int take_over(void)
{
    size_t bytes;
    uint8_t *memory = map_memory(&bytes);
    if (memory == NULL)
        return 0;
    enum handover_verdict verdict = handover_read(memory, bytes, NULL, 0, &predecessor);
    if (verdict != HANDOVER_FINE) {
        fprintf(stderr,
                "fcgihost: what the program handed over to the one that replaces it can't be read "
                "(%s): "
                "stop it and start it again\n",
                verdict == HANDOVER_OTHER_VERSION ? "another version wrote it"
                : verdict == HANDOVER_NO_MEMORY   ? "out of memory"
                                                  : "it is damaged");
        errno = EPROTO;
        return -1;
    }
    has_predecessor = true;
    predecessors_late_signals = late_signals_of(memory);
    for (size_t i = 0; i < predecessor.listener_count; i++)
        fcntl(predecessor.listeners[i].fd, F_SETFD, FD_CLOEXEC);
    for (size_t i = 0; i < predecessor.connection_count; i++)
        fcntl(predecessor.connections[i].fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

const struct handover *reexec_predecessor(void)
{
    return has_predecessor ? &predecessor : NULL;
}

/* What the process was started with */

/* Python's os.environ changes the environment in place. */
static char **copy_environ(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 2, sizeof(*copy)); /* one more for the variable */
    for (size_t i = 0; copy != NULL && i < count; i++)
        copy[i] = strdup(environ[i]);
    return copy;
}

static uint64_t bits_of(const sigset_t *set)
{
    uint64_t bits = 0;
    for (int number = 1; number < SIGNAL_MAX; number++)
        if (sigismember(set, number) == 1)
            bits |= 1ull << number;
    return bits;
}

static void remember_signals(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    start.signal_mask = has_predecessor ? predecessor.signal_mask : bits_of(&mask);
    for (int number = 1; number < SIGNAL_MAX; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            start.ignored_signals |= 1ull << number;
    }
}

/* Copies of 0, 1 and 2, as applications put other files there. Not of a listening socket at 0: it
 * would never close. */
static void remember_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat status;
        bool is_socket = fd == STDIN_FILENO && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
        start.standard[fd] = is_socket ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
}

static void remember_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL &&
           start.kept_count < KEPT_DESCRIPTORS_MAX) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : -1;
        struct stat status;
        if (flags < 0 || (flags & FD_CLOEXEC) || fstat(fd, &status) < 0)
            continue;
        start.kept[start.kept_count++] =
            (struct kept_descriptor){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
    }
    if (folder != NULL)
        closedir(folder);
}

static void take_spare_descriptors(void)
{
    for (int i = 0; i < SPARE_DESCRIPTORS; i++)
        start.spare[i] = start.folder_fd >= 0
                             ? fcntl(start.folder_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
                             : -1;
}

/* Not what an application has closed, and put another file in its place. */
void reexec_make_room(void)
{
    struct stat folder, status;
    for (int i = 0; i < SPARE_DESCRIPTORS; i++) {
        if (start.spare[i] >= 0 && fstat(start.folder_fd, &folder) == 0 &&
            fstat(start.spare[i], &status) == 0 && status.st_dev == folder.st_dev &&
            status.st_ino == folder.st_ino)
            close(start.spare[i]);
        start.spare[i] = -1;
    }
}

int reexec_init(char **argv)
{
    ssize_t n = readlink("/proc/self/exe", start.program, sizeof(start.program) - 1);
    if (n < 0)
        return -1;
    if (take_over() < 0)
        return -1;
    start.argv = argv;
    start.environ = copy_environ();
    start.folder_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    start.folder = has_predecessor ? predecessor.folder : getcwd(NULL, 0);
    take_spare_descriptors();
    start.umask = umask(0);
    umask(start.umask);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit((__rlimit_resource_t)i, &start.limits[i]);
    remember_signals();
    remember_standard();
    remember_descriptors();
    start.children = children_list();
    return start.environ != NULL ? 0 : -1;
}

uint64_t reexec_accept_signals(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    for (int number = 1; number < SIGNAL_MAX; number++)
        if (start.signal_mask >> number & 1)
            sigaddset(&mask, number);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return predecessors_late_signals != NULL ? atomic_load(predecessors_late_signals) : 0;
}

void reexec_note_signal(int number)
{
    atomic_ullong *signals = atomic_load(&late_signals);
    if (signals != NULL)
        atomic_fetch_or(signals, 1ull << number);
}

/* Executing the program anew */

/* Its descriptor, or -1 with errno. */
static int make_memory(const struct handover *handover, int **fds, size_t *fd_count)
{
    struct handover_writer writer;
    *fds = NULL;
    if (handover_write(handover, getpid(), &writer, fds, fd_count) < 0) {
        free(writer.data);
        errno = ENOMEM;
        return -1;
    }
    int fd = descriptors_above_standard(
        memfd_create("fcgihost-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    size_t written = 0;
    while (fd >= 0 && written < writer.bytes) {
        ssize_t n = write(fd, writer.data + written, writer.bytes - written);
        if (n <= 0)
            break;
        written += (size_t)n;
    }
    bool is_whole = fd >= 0 && written == writer.bytes;
    uint8_t *memory =
        is_whole ? mmap(NULL, writer.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    free(writer.data);
    if (memory == MAP_FAILED) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    atomic_store(&late_signals, late_signals_of(memory));
    return fd;
}

/* A process that ended would leave its children to the system, which waits for them. */
static void look_after_children(struct handover *handover)
{
    struct child_list list = children_list();
    if (handover->is_start_again) {
        children_end(&list, &start.children, CHILD_END_MS);
        free(list.pids);
        list = children_list();
    }
    handover->children = list.pids;
    handover->child_count = list.count;
}

static void keep_open(int fd)
{
    fcntl(fd, F_SETFD, 0);
}

static void set_descriptors(const int *fds, size_t fd_count, int memory_fd)
{
    if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        for (int fd = STDERR_FILENO + 1; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    for (size_t i = 0; i < start.kept_count; i++) {
        const struct kept_descriptor *kept = &start.kept[i];
        struct stat status;
        if (fstat(kept->fd, &status) == 0 && status.st_dev == kept->device &&
            status.st_ino == kept->inode)
            keep_open(kept->fd);
    }
    for (size_t i = 0; i < fd_count; i++)
        keep_open(fds[i]);
    keep_open(memory_fd);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        int copy = start.standard[fd] >= 0 ? start.standard[fd] : null;
        if (copy >= 0)
            dup2(copy, fd);
    }
}

/* exec() resets handlers, but neither timers nor what is ignored. SIGPIPE and SIGXFSZ the host
 * ignores itself, and a signal of its own must not get lost now. */
static void set_signals(void)
{
    static const int own[] = {SIGPIPE, SIGXFSZ, SIGTERM, SIGINT, SIGUSR1, SIGQUIT, SIGHUP, SIGUSR2};
    uint64_t left_alone = 0;
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        left_alone |= 1ull << own[i];
    const struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    setitimer(ITIMER_PROF, &none, NULL);
    for (int number = 1; number < SIGNAL_MAX; number++)
        if (!(left_alone >> number & 1))
            signal(number, start.ignored_signals >> number & 1 ? SIG_IGN : SIG_DFL);
}

static void set_limits(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++)
        setrlimit((__rlimit_resource_t)i, &start.limits[i]);
}

static void execute(int memory_fd)
{
    char setting[sizeof(variable) + 16];
    size_t count = 0;
    snprintf(setting, sizeof(setting), "%s=%d", variable, memory_fd);
    while (start.environ[count] != NULL)
        count++;
    start.environ[count] = setting;
    execve(start.program, start.argv, start.environ);
    int error = errno;
    /* The file may have been replaced, and the new one be wanting: this one can still be run. */
    execve("/proc/self/exe", start.argv, start.environ);
    start.environ[count] = NULL;
    errno = error;
}

void reexec_run(struct handover *handover, const atomic_bool *is_cancelled)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    log_leave_standard(); /* so that a process which reads for it sees the end */
    reexec_make_room();
    set_limits(); /* first, as an application's own would hold for the memory */
    look_after_children(handover);
    handover->signal_mask = start.signal_mask;
    handover->folder = start.folder;
    int *fds;
    size_t fd_count;
    int memory_fd = make_memory(handover, &fds, &fd_count);
    /* A handler that ran before the memory was there has set this. */
    if (atomic_load(is_cancelled))
        errno = ECANCELED;
    else if (memory_fd >= 0 && (start.folder_fd < 0 || fchdir(start.folder_fd) == 0)) {
        set_descriptors(fds, fd_count, memory_fd);
        umask(start.umask);
        set_signals();
        execute(memory_fd);
    }
    atomic_store(&late_signals, NULL);
    free(fds);
}
