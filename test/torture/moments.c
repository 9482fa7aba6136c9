/* Preloaded into a host: at the Nth library call of its processes a signal is sent to the first of
 * them, the one that the test has started.
 *
 * MOMENTS names a file of one page with struct moments, which the test and every process of the
 * host map. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

struct moments {
    atomic_long calls;     /* so far; the test sets it to 0 where it begins to count */
    atomic_long countdown; /* <= 0: nothing is sent */
    atomic_int number;     /* the signal */
    atomic_int pid;        /* of the first process */
    atomic_int sent;
};

static struct moments *moments;

__attribute__((constructor)) static void map_moments(void)
{
    const char *path = getenv("MOMENTS");
    long fd = path != NULL ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *memory = (void *)syscall(SYS_mmap, NULL, sizeof(*moments), PROT_READ | PROT_WRITE,
                                   MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    int nobody = 0;
    if (memory == MAP_FAILED)
        return;
    moments = memory;
    atomic_compare_exchange_strong(&moments->pid, &nobody, (int)getpid());
}

static void pass(void)
{
    if (moments == NULL)
        return;
    atomic_fetch_add(&moments->calls, 1);
    if (atomic_load(&moments->countdown) <= 0 || atomic_fetch_sub(&moments->countdown, 1) != 1)
        return;
    atomic_store(&moments->sent, 1);
    syscall(SYS_kill, atomic_load(&moments->pid), atomic_load(&moments->number));
}

/* A call that passes on what it gets. */
#define CALL(type, name, parameters, arguments)                                                    \
    type name parameters                                                                           \
    {                                                                                              \
        static type(*next) parameters;                                                             \
        if (next == NULL)                                                                          \
            next = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                    \
        pass();                                                                                    \
        return next arguments;                                                                     \
    }

/* One with a mode behind its flags. */
#define OPEN(name, first, firsts)                                                                  \
    int name(first const char *path, int flags, ...)                                               \
    {                                                                                              \
        static int (*next)(first const char *, int, ...);                                          \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                    \
        va_end(more);                                                                              \
        if (next == NULL)                                                                          \
            next = (int (*)(first const char *, int, ...))dlsym(RTLD_NEXT, #name);                 \
        pass();                                                                                    \
        return next(firsts path, flags, mode);                                                     \
    }

#define FOLDER int folder,
#define FOLDERS folder,
#define NONE

OPEN(open, NONE, NONE)
OPEN(open64, NONE, NONE)
OPEN(openat, FOLDER, FOLDERS)
OPEN(openat64, FOLDER, FOLDERS)
CALL(FILE *, fopen, (const char *path, const char *mode), (path, mode))
CALL(FILE *, fopen64, (const char *path, const char *mode), (path, mode))
CALL(int, close, (int fd), (fd))
CALL(ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size))
CALL(ssize_t, pread, (int fd, void *bytes, size_t size, off_t at), (fd, bytes, size, at))
CALL(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
CALL(ssize_t, readlink, (const char *path, char *text, size_t size), (path, text, size))
CALL(int, stat, (const char *path, struct stat *status), (path, status))
CALL(int, lstat, (const char *path, struct stat *status), (path, status))
CALL(int, fstat, (int fd, struct stat *status), (fd, status))
CALL(int, unlink, (const char *path), (path))
CALL(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
CALL(int, rename, (const char *from, const char *to), (from, to))
CALL(int, renameat, (int fd, const char *from, int other, const char *to), (fd, from, other, to))
CALL(int, chmod, (const char *path, mode_t mode), (path, mode))
CALL(int, dup2, (int fd, int other), (fd, other))
CALL(int, pipe2, (int fds[2], int flags), (fds, flags))
CALL(int, socket, (int family, int type, int protocol), (family, type, protocol))
CALL(int, bind, (int fd, const struct sockaddr *name, socklen_t size), (fd, name, size))
CALL(int, listen, (int fd, int backlog), (fd, backlog))
CALL(int, connect, (int fd, const struct sockaddr *name, socklen_t size), (fd, name, size))
CALL(int, accept4, (int fd, struct sockaddr *name, socklen_t *size, int flags),
     (fd, name, size, flags))
CALL(int, shutdown, (int fd, int how), (fd, how))
CALL(ssize_t, recv, (int fd, void *bytes, size_t size, int flags), (fd, bytes, size, flags))
CALL(ssize_t, send, (int fd, const void *bytes, size_t size, int flags), (fd, bytes, size, flags))
CALL(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
CALL(int, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout))
CALL(int, epoll_create1, (int flags), (flags))
CALL(int, epoll_ctl, (int fd, int what, int other, struct epoll_event *event),
     (fd, what, other, event))
CALL(int, epoll_wait, (int fd, struct epoll_event *events, int count, int timeout),
     (fd, events, count, timeout))
CALL(int, eventfd, (unsigned count, int flags), (count, flags))
CALL(int, eventfd_write, (int fd, eventfd_t value), (fd, value))
CALL(int, eventfd_read, (int fd, eventfd_t *value), (fd, value))
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags))
CALL(int, ftruncate, (int fd, off_t size), (fd, size))
CALL(void *, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
     (at, size, protection, flags, fd, offset))
CALL(int, munmap, (void *memory, size_t size), (memory, size))
CALL(int, sigaction, (int number, const struct sigaction *action, struct sigaction *before),
     (number, action, before))
CALL(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *before), (how, set, before))
CALL(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument),
     (thread, attributes, run, argument))
CALL(int, pthread_join, (pthread_t thread, void **result), (thread, result))
CALL(int, pthread_cond_timedwait,
     (pthread_cond_t * condition, pthread_mutex_t *mutex, const struct timespec *moment),
     (condition, mutex, moment))
CALL(int, pthread_cond_broadcast, (pthread_cond_t * condition), (condition))
CALL(int, execve, (const char *path, char *const *texts, char *const *environment),
     (path, texts, environment))
CALL(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
CALL(int, kill, (pid_t pid, int number), (pid, number))
CALL(pid_t, fork, (void), ())
