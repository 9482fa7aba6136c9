/* Executes the program anew in this process. */
#include "life/reexec.h"

#include "base/descriptors.h"
#include "base/log.h"
#include "config/config_error.h"
#include "life/children.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

enum { CHILD_TERM_MS = 500, KEPT_DESCRIPTORS_MAX = 256, SIGNAL_MAX = 64 };

/* To read /proc for children takes one, the handover memory another, and an atexit function may
 * import modules. */
enum { SPARE_DESCRIPTORS = 3 };

/* What the next program has as descriptor 0, 1 or 2, if it is no copy. */
enum { STANDARD_NULL = -1, STANDARD_AS_IT_IS = -2 };

static const char variable[] =
    "FCGIHOST_HANDOVER"; /* holds the number of the memory's descriptor */

/* An inherited descriptor. The application may have closed it and reused its number since. */
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
    struct stat program_status;
    int folder_fd;
    const char *folder;           /* its path at the start; NULL: unknown */
    int spare[SPARE_DESCRIPTORS]; /* copies of folder_fd, reserved for reexec_make_room */
    mode_t umask;
    struct rlimit limits[RLIM_NLIMITS];
    uint64_t signal_mask, ignored_signals; /* 1 << number */
    int standard[3];                       /* copies; or one of these */
    struct kept_descriptor kept[KEPT_DESCRIPTORS_MAX];
    size_t kept_count;
    struct child_list children;
} start;

static struct handover predecessor;
static bool has_predecessor;
static atomic_ullong *predecessors_late_signals;
static _Atomic(atomic_ullong *) late_signals; /* in the handover memory, once that is written */

static atomic_ullong *late_signals_of(uint8_t *memory)
{
    return (atomic_ullong *)(void *)(memory + HANDOVER_LATE_SIGNALS_OFFSET);
}

/* Taking over from a predecessor */

/* NULL: there is no predecessor; or, with errno, its memory can't be read: a worker must not take
 * itself for a host of its own then. */
static uint8_t *map_memory(size_t *bytes)
{
    const char *text = getenv(variable);
    struct stat status;
    char *end;
    errno = 0;
    if (text == NULL)
        return NULL;
    long fd = strtol(text, &end, 10);
    bool is_number = end != text && *end == '\0' && fd > STDERR_FILENO && fd <= INT_MAX;
    unsetenv(variable);
    errno = 0;
    if (!is_number)
        return NULL;
    if (fstat((int)fd, &status) < 0) {
        errno = errno == EBADF ? 0 : errno; /* closed: another host's child has the variable */
        return NULL;
    }
    if (!S_ISREG(status.st_mode) || status.st_size < HANDOVER_HEADER_BYTES)
        return NULL;
    *bytes = (size_t)status.st_size;
    uint8_t *memory = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    uint32_t sender;
    if (memory == MAP_FAILED) {
        bool is_foreign = errno == EACCES || errno == ENODEV; /* no memory that was made here */
        errno = is_foreign ? 0 : errno;
        return NULL;
    }
    memcpy(&sender, memory + 12, sizeof(sender));
    if (sender != (uint32_t)getpid()) {
        munmap(memory, *bytes);
        errno = 0;
        return NULL; /* inherited from another host, of which this is a child */
    }
    close((int)fd);
    return memory;
}

static int take_over(void)
{
    size_t bytes;
    uint8_t *memory = map_memory(&bytes);
    if (memory == NULL && errno == 0)
        return 0;
    if (memory == NULL) {
        int error = errno;
        fprintf(stderr,
                "fcgihost: the state handed over by the program before this one can't be read: "
                "%s: start fcgihost again\n",
                config_error_describe(error));
        errno = error;
        return -1;
    }
    enum handover_verdict verdict = handover_read(memory, bytes, NULL, 0, &predecessor);
    if (verdict != HANDOVER_FINE) {
        fprintf(stderr,
                "fcgihost: the state handed over by the program before this one can't be read "
                "(%s): start fcgihost again\n",
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
    for (size_t i = 0; i < predecessor.connection_count; i++) {
        fcntl(predecessor.connections[i].fd, F_SETFD, FD_CLOEXEC);
        if (predecessor.connections[i].body_fd >= 0)
            fcntl(predecessor.connections[i].body_fd, F_SETFD, FD_CLOEXEC);
    }
    for (size_t i = 0; i < predecessor.member_count; i++) {
        fcntl(predecessor.members[i].channel_fd, F_SETFD, FD_CLOEXEC);
        fcntl(predecessor.members[i].board_fd, F_SETFD, FD_CLOEXEC);
    }
    /* Those of root's files: by process_take_root_files(). */
    if (predecessor.worker.is_set) {
        fcntl(predecessor.worker.channel_fd, F_SETFD, FD_CLOEXEC);
        fcntl(predecessor.worker.board_fd, F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

const struct handover *reexec_predecessor(void)
{
    return has_predecessor ? &predecessor : NULL;
}

/* Remembering how the process was started */

static void free_environ(char **copy)
{
    for (size_t i = 0; copy[i] != NULL; i++)
        free(copy[i]);
    free((void *)copy);
}

/* A deep copy, because Python's os.environ modifies the environment in place. NULL with errno: a
 * copy that lacks variables would be the next program's whole environment. */
static char **copy_environ(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 2, sizeof(*copy)); /* and FCGIHOST_HANDOVER, NULL */
    for (size_t i = 0; copy != NULL && i < count; i++)
        if ((copy[i] = strdup(environ[i])) == NULL) {
            free_environ(copy);
            copy = NULL;
            errno = ENOMEM;
        }
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

/* Copies descriptors 0, 1 and 2, because applications redirect them. Not a listening socket at 0: a
 * copy would keep it open after the host has closed it. */
static void remember_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat status;
        bool is_socket = fd == STDIN_FILENO && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
        start.standard[fd] =
            is_socket ? STANDARD_NULL : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (!is_socket && start.standard[fd] < 0)
            start.standard[fd] = STANDARD_AS_IT_IS; /* /dev/null would be the end of the log */
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
        start.spare[i] =
            start.folder_fd >= 0 ? fcntl(start.folder_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
}

/* An application may have closed one and reused its number: that is left alone. */
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
    stat("/proc/self/exe", &start.program_status);
    if (take_over() < 0)
        return -1;
    start.argv = argv;
    if ((start.environ = copy_environ()) == NULL)
        return -1;
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
    return 0;
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

/* The bytes for the next program. */
struct memory {
    int fd; /* -1: there is none, errno says why */
    uint8_t *data;
    size_t bytes;
    int *fds; /* that it names, for the caller to free */
    size_t fd_count;
};

static int write_whole(int fd, const uint8_t *data, size_t bytes)
{
    size_t written = 0;
    while (written < bytes) {
        ssize_t n = write(fd, data + written, bytes - written);
        if (n <= 0)
            return -1;
        written += (size_t)n;
    }
    return 0;
}

static struct memory make_memory(const struct handover *handover)
{
    struct handover_writer writer;
    struct memory memory = {.fd = -1, .data = MAP_FAILED};
    if (handover_write(handover, getpid(), &writer, &memory.fds, &memory.fd_count) < 0) {
        free(writer.data);
        errno = ENOMEM;
        return memory;
    }
    memory.bytes = writer.bytes;
    memory.fd = descriptors_above_standard(
        memfd_create("fcgihost-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (memory.fd >= 0 && write_whole(memory.fd, writer.data, writer.bytes) == 0)
        memory.data = mmap(NULL, writer.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
    free(writer.data);
    if (memory.data == MAP_FAILED) {
        if (memory.fd >= 0)
            close(memory.fd);
        memory.fd = -1;
        return memory;
    }
    fcntl(memory.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return memory;
}

/* Had the process exited, init would have adopted and reaped its children. */
static void hand_over_children(struct handover *handover)
{
    struct child_list list = children_list();
    if (handover->is_start_again) {
        children_end(&list, &start.children, CHILD_TERM_MS);
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
        int copy = start.standard[fd] == STANDARD_NULL ? null : start.standard[fd];
        if (copy >= 0)
            dup2(copy, fd);
    }
}

/* exec() resets handlers, but neither timers nor ignored signals. The host ignores SIGPIPE and
 * SIGXFSZ itself; the signals that it handles must not be lost meanwhile. */
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

/* The folder of the first start; the user whom the process has become since may not be let in, and
 * paths start at its name in any case. 0, or -1 with errno. */
static int enter_folder(void)
{
    return start.folder_fd < 0 || fchdir(start.folder_fd) == 0 || errno == EACCES ? 0 : -1;
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
    /* The file may have been replaced by one that does not run; the old one still can. */
    execve("/proc/self/exe", start.argv, start.environ);
    start.environ[count] = NULL;
    errno = error;
}

void reexec_run(struct handover *handover, const atomic_bool *is_cancelled)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    log_leave_standard(); /* its reader must see end of file */
    reexec_make_room();
    set_limits(); /* first: one set by the application could forbid the memory */
    hand_over_children(handover);
    handover->signal_mask = start.signal_mask;
    handover->folder = start.folder;
    struct memory memory = make_memory(handover);
    if (memory.fd >= 0)
        atomic_store(&late_signals, late_signals_of(memory.data));
    /* From here on handlers note signals in the memory; an earlier one set *is_cancelled. */
    if (atomic_load(is_cancelled))
        errno = ECANCELED;
    else if (memory.fd >= 0 && enter_folder() == 0) {
        set_descriptors(memory.fds, memory.fd_count, memory.fd);
        umask(start.umask);
        set_signals();
        execute(memory.fd);
    }
    atomic_store(&late_signals, NULL);
    free(memory.fds);
}

/* Starting it as a child */

/* In the child of a process with threads: nothing here may allocate or lock. The error comes back
 * through the pipe, which exec() closes. */
static void execute_child(const struct memory *memory, int error_fd)
{
    set_limits();
    handover_set_sender(memory->data, getpid());
    if (enter_folder() == 0) {
        set_descriptors(memory->fds, memory->fd_count, memory->fd);
        fcntl(error_fd, F_SETFD, FD_CLOEXEC);
        umask(start.umask);
        set_signals();
        execute(memory->fd);
    }
    int error = errno;
    (void)!write(error_fd, &error, sizeof(error));
    _exit(127);
}

/* Likewise. */
static void execute_check(char *const *argv, char *const *environment, pid_t parent)
{
    sigset_t mask;
    /* Nobody else would end it, should it hang, if this process is killed. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    sigemptyset(&mask);
    for (int number = 1; number < SIGNAL_MAX; number++)
        if (start.signal_mask >> number & 1)
            sigaddset(&mask, number);
    set_limits();
    if (start.folder_fd >= 0 && fchdir(start.folder_fd) < 0)
        _exit(127);
    set_descriptors(NULL, 0, -1);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    umask(start.umask);
    set_signals();
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    execve(start.program, argv, environment);
    _exit(127);
}

/* texts and last, in a new array; NULL: out of memory. */
static char **with_last(char *const *texts, char *last)
{
    size_t count = 0;
    while (texts[count] != NULL)
        count++;
    char **all = calloc(count + 2, sizeof(*all));
    if (all != NULL) {
        memcpy(all, texts, count * sizeof(*all));
        all[count] = last;
    }
    return all;
}

pid_t reexec_check(const char *modules)
{
    static char flag[] = "--check";
    sigset_t all, before;
    pid_t pid = -1, self = getpid();
    char *setting = NULL;
    if (asprintf(&setting, "FCGIHOST_CHECK_MODULES=%s", modules) < 0)
        return -1;
    char **argv = with_last(start.argv, flag), **environment = with_last(start.environ, setting);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (argv != NULL && environment != NULL)
        pid = fork();
    if (pid == 0)
        execute_check(argv, environment, self);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(argv);
    free(environment);
    free(setting);
    errno = error;
    return pid;
}

/* With all signals blocked, so that no handler runs in the child, and so that none is lost there.
 */
static pid_t fork_child(const struct memory *memory, int error_fd)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        execute_child(memory, error_fd);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

bool reexec_is_program_changed(void)
{
    struct stat now;
    return stat(start.program, &now) == 0 && (now.st_dev != start.program_status.st_dev ||
                                              now.st_ino != start.program_status.st_ino ||
                                              now.st_mtime != start.program_status.st_mtime ||
                                              now.st_size != start.program_status.st_size);
}

pid_t reexec_spawn(struct handover *handover)
{
    int pipe_fds[2], error = 0;
    handover->signal_mask = start.signal_mask;
    handover->folder = start.folder;
    struct memory memory = make_memory(handover);
    pid_t pid = -1;
    if (memory.fd < 0)
        goto end;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        goto end;
    pid = fork_child(&memory, pipe_fds[1]);
    error = errno;
    close(pipe_fds[1]);
    if (pid > 0 && read(pipe_fds[0], &error, sizeof(error)) == sizeof(error)) {
        waitpid(pid, NULL, 0);
        pid = -1;
    }
    close(pipe_fds[0]);
    errno = error;
end:
    error = errno;
    if (memory.fd >= 0) {
        munmap(memory.data, memory.bytes);
        close(memory.fd);
    }
    free(memory.fds);
    errno = error;
    return pid;
}
