/* Preloaded into a host: makes one of its library calls fail, when the test says so.
 *
 * FAULTS names a file of one page with struct faults, which the test and every process of the host
 * map. `countdown` counts the calls of `kind` from the moment that it is set; the call at which it
 * reaches 0 fails, and `fired` goes up. Memory that is allocated while the program starts, before
 * this file has been mapped, is never refused. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* In the order of KINDS in faults.py. */
enum kind {
    KIND_NONE,
    KIND_MALLOC,
    KIND_RECV,
    KIND_SEND,
    KIND_ACCEPT,
    KIND_EPOLL_WAIT,
    KIND_EPOLL_CTL,
    KIND_OPEN,
    KIND_READ,
    KIND_WRITE,
    KIND_SOCKET,
    KIND_THREAD,
    KIND_MMAP,
    KIND_FTRUNCATE,
};

struct faults {
    atomic_int kind, error; /* error 0: a short result, of one byte, where the call can have one */
    atomic_long countdown;  /* <= 0: nothing fails */
    atomic_long fired;
    atomic_long calls; /* of `kind`, whether it failed or not */
};

static struct faults *faults;

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("FAULTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory = fd >= 0 ? mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                           : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (memory != MAP_FAILED)
        faults = memory;
}

/* Does this call fail? Sets errno. */
static bool fails(enum kind kind)
{
    if (faults == NULL || atomic_load_explicit(&faults->kind, memory_order_relaxed) != (int)kind)
        return false;
    atomic_fetch_add(&faults->calls, 1);
    if (atomic_load(&faults->countdown) <= 0 || atomic_fetch_sub(&faults->countdown, 1) != 1)
        return false;
    atomic_fetch_add(&faults->fired, 1);
    errno = atomic_load(&faults->error);
    return true;
}

static bool is_short(void)
{
    return errno == 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

extern void *__libc_malloc(size_t size), *__libc_calloc(size_t count, size_t size),
    *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return fails(KIND_MALLOC) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(KIND_MALLOC) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return fails(KIND_MALLOC) ? NULL : __libc_realloc(memory, size);
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    if (!fails(KIND_RECV))
        return NEXT(recv)(fd, bytes, size, flags);
    return is_short() ? NEXT(recv)(fd, bytes, size > 0, flags) : -1;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return fails(KIND_RECV) && !is_short() ? -1 : NEXT(recvmsg)(fd, message, flags);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    if (!fails(KIND_SEND))
        return NEXT(send)(fd, bytes, size, flags);
    return is_short() ? NEXT(send)(fd, bytes, size > 0, flags) : -1;
}

/* The first byte alone. */
static ssize_t send_a_byte(int fd, const struct msghdr *message, int flags)
{
    for (size_t i = 0; i < message->msg_iovlen; i++)
        if (message->msg_iov[i].iov_len > 0 && message->msg_controllen == 0)
            return NEXT(send)(fd, message->msg_iov[i].iov_base, 1, flags);
    return NEXT(sendmsg)(fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!fails(KIND_SEND))
        return NEXT(sendmsg)(fd, message, flags);
    return is_short() ? send_a_byte(fd, message, flags) : -1;
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return fails(KIND_ACCEPT) ? -1 : NEXT(accept4)(fd, address, size, flags);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    if (!fails(KIND_EPOLL_WAIT))
        return NEXT(epoll_wait)(fd, events, count, timeout_ms);
    return is_short() ? 0 : -1;
}

int epoll_ctl(int fd, int what, int other, struct epoll_event *event)
{
    return fails(KIND_EPOLL_CTL) ? -1 : NEXT(epoll_ctl)(fd, what, other, event);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails(KIND_OPEN) ? -1 : NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails(KIND_OPEN) ? -1 : NEXT(open64)(path, flags, mode);
}

ssize_t read(int fd, void *bytes, size_t size)
{
    if (!fails(KIND_READ))
        return NEXT(read)(fd, bytes, size);
    return is_short() ? NEXT(read)(fd, bytes, size > 0) : -1;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    if (!fails(KIND_WRITE))
        return NEXT(write)(fd, bytes, size);
    return is_short() ? NEXT(write)(fd, bytes, size > 0) : -1;
}

int socket(int family, int type, int protocol)
{
    return fails(KIND_SOCKET) ? -1 : NEXT(socket)(family, type, protocol);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    return fails(KIND_THREAD) ? errno : NEXT(pthread_create)(thread, attributes, run, argument);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails(KIND_MMAP) ? MAP_FAILED
                            : NEXT(mmap)(address, size, protection, flags, fd, offset);
}

int ftruncate(int fd, off_t size)
{
    return fails(KIND_FTRUNCATE) ? -1 : NEXT(ftruncate)(fd, size);
}
