/* Preloaded into a host: makes one of its library calls fail, when the test says so.
 *
 * FAULTS names a file with struct faults, which the test and every process of the host map.
 * `countdown` counts the calls of `kind` from the moment that it is set; the call at which it
 * reaches 0 fails, and `fired` goes up. Whose calls count: those of the host's own code, libfcgi and
 * libinih, which `ranges` and the names of the libraries tell, or those of others, which is Python.
 * What libc calls for the host (malloc for strdup) is the host's.
 *
 * Blocks of the host's code that are not freed yet stand in a table, with who asked for them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* fault_control.py has the errors of each, by these names. */
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
    KIND_STDIO,
    KIND_WRITE,
    KIND_PREAD,
    KIND_PWRITE,
    KIND_LSEEK,
    KIND_SOCKET,
    KIND_DESCRIPTOR,
    KIND_DUP,
    KIND_CLOSE,
    KIND_THREAD,
    KIND_MMAP,
    KIND_FTRUNCATE,
    KIND_STAT,
    KIND_FSTAT,
    KIND_BIND,
    KIND_LISTEN,
    KIND_CONNECT,
    KIND_SETSOCKOPT,
    KIND_GETSOCKOPT,
    KIND_SHUTDOWN,
    KIND_POLL,
    KIND_FORK,
    KIND_EXEC,
    KIND_WAITPID,
    KIND_KILL,
    KIND_UNLINK,
    KIND_RENAME,
    KIND_MKDIR,
    KIND_CHMOD,
    KIND_FLOCK,
    KIND_CHDIR,
    KIND_SETRLIMIT,
    KIND_SETUID,
    KIND_USERS,
    KIND_PRCTL,
    KIND_GETRANDOM,
    KIND_CLOSE_RANGE,
};

enum { RANGES_MAX = 16, FRAMES_MAX = 16, SLOTS = 1 << 16 };
enum { ANYONES, HOSTS, OTHERS };

struct block {
    uintptr_t memory, caller; /* memory 0: none */
};

struct faults {
    atomic_int kind, error; /* error 0: a short result, of one byte, where the call can have one */
    atomic_int whose;
    atomic_int range_count; /* of the host's functions, in the program's file */
    atomic_long countdown;  /* <= 0: nothing fails */
    atomic_long fired;
    atomic_long calls; /* of `kind`, whether it failed or not */
    uint64_t ranges[RANGES_MAX][2];
    uint64_t base, frames[FRAMES_MAX]; /* where the program lies; who made the call that failed */
    atomic_int frame_count;
    atomic_int owner;  /* the process whose blocks the table has */
    atomic_int locked; /* the table */
    struct block blocks[SLOTS];
};

static struct faults *faults;
static uint64_t ranges[RANGES_MAX + 8][2];
static int range_count;
static uint64_t libfcgis[2]; /* one of them */
static bool is_tracking;

/* The host's call in which libc is; 0: none. */
static __thread uintptr_t inside __attribute__((tls_model("initial-exec")));

/* Who calls */

static bool is_hosts(uintptr_t caller)
{
    for (int i = 0; i < range_count; i++)
        if (caller >= ranges[i][0] && caller < ranges[i][1])
            return true;
    return false;
}

static uintptr_t hosts_caller(const void *address)
{
    return is_hosts((uintptr_t)address) ? (uintptr_t)address : inside;
}

static int add_ranges(struct dl_phdr_info *info, size_t size, void *is_first)
{
    (void)size;
    if (*(bool *)is_first) {
        faults->base = info->dlpi_addr;
        for (int i = 0; i < faults->range_count; i++, range_count++) {
            ranges[range_count][0] = info->dlpi_addr + faults->ranges[i][0];
            ranges[range_count][1] = info->dlpi_addr + faults->ranges[i][1];
        }
        *(bool *)is_first = false;
    }
    if (strstr(info->dlpi_name, "/libfcgi.") == NULL && strstr(info->dlpi_name, "/libinih.") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            ranges[range_count][0] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[range_count][1] = ranges[range_count][0] + info->dlpi_phdr[i].p_memsz;
            if (strstr(info->dlpi_name, "/libfcgi.") != NULL)
                memcpy(libfcgis, ranges[range_count], sizeof(libfcgis));
            range_count++;
        }
    return 0;
}

static void stop_tracking(void)
{
    is_tracking = false; /* another thread may have had the lock when this child was made */
}

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("FAULTS");
    void *frames[2];
    bool is_first = true;
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory = fd >= 0 ? mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                           : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (memory == MAP_FAILED)
        return;
    backtrace(frames, 2); /* it allocates at its first call */
    faults = memory;
    dl_iterate_phdr(add_ranges, &is_first);
    int nobody = 0;
    if (atomic_compare_exchange_strong(&faults->owner, &nobody, getpid()) || nobody == getpid()) {
        memset(faults->blocks, 0, sizeof(faults->blocks));
        atomic_store(&faults->locked, 0);
        is_tracking = true;
        pthread_atfork(NULL, NULL, stop_tracking);
    }
}

/* Does this call fail? Sets errno. */
static bool fails(enum kind kind, const void *address)
{
    if (faults == NULL || atomic_load_explicit(&faults->kind, memory_order_relaxed) != (int)kind)
        return false;
    int whose = atomic_load(&faults->whose);
    if (whose != ANYONES && (hosts_caller(address) != 0) != (whose == HOSTS))
        return false;
    atomic_fetch_add(&faults->calls, 1);
    if (atomic_load(&faults->countdown) <= 0 || atomic_fetch_sub(&faults->countdown, 1) != 1)
        return false;
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    for (int i = 0; i < count; i++)
        faults->frames[i] = (uintptr_t)frames[i];
    atomic_store(&faults->frame_count, count);
    atomic_fetch_add(&faults->fired, 1);
    errno = atomic_load(&faults->error);
    return true;
}

static bool is_short(void)
{
    return errno == 0;
}

#define FAILS(kind) fails(kind, __builtin_return_address(0))
/* What the host has libc do is its own. The type is that of the call. */
#define FOR_CALLER(call)                                                                           \
    __extension__({                                                                                \
        uintptr_t before = inside;                                                                 \
        inside = hosts_caller(__builtin_return_address(0));                                        \
        __typeof__(call) result = (call);                                                          \
        inside = before;                                                                           \
        result;                                                                                    \
    })
#define NEXT(name)                                                                                 \
    __extension__({                                                                                \
        static __typeof__(&name) found;                                                            \
        if (found == NULL)                                                                         \
            found = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                    \
        found;                                                                                     \
    })

/* Memory */

extern void *__libc_malloc(size_t size), *__libc_calloc(size_t count, size_t size),
    *__libc_realloc(void *memory, size_t size), __libc_free(void *memory),
    *__libc_memalign(size_t alignment, size_t size);

static void lock(void)
{
    while (atomic_exchange(&faults->locked, 1))
        sched_yield();
}

static void unlock(void)
{
    atomic_store(&faults->locked, 0);
}

static size_t slot_of(uintptr_t memory)
{
    return (memory >> 4) * 0x9e3779b97f4a7c15ull >> 48;
}

static void add_block(void *memory, uintptr_t caller)
{
    if (!is_tracking || caller == 0 || memory == NULL)
        return;
    lock();
    size_t slot = slot_of((uintptr_t)memory);
    for (int i = 0; i < SLOTS / 2; i++, slot = (slot + 1) % SLOTS)
        if (faults->blocks[slot].memory == 0) {
            faults->blocks[slot] = (struct block){(uintptr_t)memory, caller};
            break;
        }
    unlock();
}

/* Those behind it move up, so that no search ends before them. */
static void close_gap(size_t gap)
{
    for (size_t at = (gap + 1) % SLOTS; faults->blocks[at].memory != 0; at = (at + 1) % SLOTS) {
        size_t home = slot_of(faults->blocks[at].memory);
        if ((at - home) % SLOTS >= (at - gap) % SLOTS) {
            faults->blocks[gap] = faults->blocks[at];
            gap = at;
        }
    }
    faults->blocks[gap].memory = 0;
}

static void remove_block(void *memory)
{
    if (!is_tracking || memory == NULL)
        return;
    lock();
    size_t slot = slot_of((uintptr_t)memory);
    while (faults->blocks[slot].memory != 0 && faults->blocks[slot].memory != (uintptr_t)memory)
        slot = (slot + 1) % SLOTS;
    if (faults->blocks[slot].memory != 0)
        close_gap(slot);
    unlock();
}

#define ADDED(call)                                                                                \
    __extension__({                                                                                \
        void *added = (call);                                                                      \
        add_block(added, hosts_caller(__builtin_return_address(0)));                               \
        added;                                                                                     \
    })

void *malloc(size_t size)
{
    return FAILS(KIND_MALLOC) ? NULL : ADDED(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return FAILS(KIND_MALLOC) ? NULL : ADDED(__libc_calloc(count, size));
}

/* The one of libfcgi, which enlarges the vector of a request's parameters, is not checked there: the
 * host makes sure of the memory before (has_memory() in libfcgi_os.c), and can do no more. */
static bool is_unchecked(const void *address)
{
    return (uintptr_t)address >= libfcgis[0] && (uintptr_t)address < libfcgis[1];
}

void *realloc(void *memory, size_t size)
{
    if (!is_unchecked(__builtin_return_address(0)) && FAILS(KIND_MALLOC))
        return NULL;
    remove_block(memory); /* first: another thread may get the address at once */
    return ADDED(__libc_realloc(memory, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS(KIND_MALLOC) ? NULL : ADDED(__libc_memalign(alignment, size));
}

void free(void *memory)
{
    remove_block(memory);
    __libc_free(memory);
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = FAILS(KIND_MALLOC) ? NULL : ADDED(__libc_malloc(size));
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

int vasprintf(char **text, const char *format, va_list arguments)
{
    return FOR_CALLER(NEXT(vasprintf)(text, format, arguments));
}

int __vasprintf_chk(char **text, int flag, const char *format, va_list arguments)
{
    (void)flag;
    return FOR_CALLER(NEXT(vasprintf)(text, format, arguments));
}

int asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = FOR_CALLER(NEXT(vasprintf)(text, format, arguments));
    va_end(arguments);
    return length;
}

int __asprintf_chk(char **text, int flag, const char *format, ...)
{
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    int length = FOR_CALLER(NEXT(vasprintf)(text, format, arguments));
    va_end(arguments);
    return length;
}

FILE *open_memstream(char **text, size_t *size)
{
    return FOR_CALLER(NEXT(open_memstream)(text, size));
}

int fclose(FILE *file)
{
    return FOR_CALLER(NEXT(fclose)(file));
}

int fflush(FILE *file)
{
    return FOR_CALLER(NEXT(fflush)(file));
}

int setenv(const char *name, const char *value, int overwrite)
{
    return FOR_CALLER(NEXT(setenv)(name, value, overwrite));
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return FAILS(KIND_MMAP) ? MAP_FAILED : NEXT(mmap)(address, size, protection, flags, fd, offset);
}

/* Sockets */

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    if (!FAILS(KIND_RECV))
        return NEXT(recv)(fd, bytes, size, flags);
    return is_short() ? NEXT(recv)(fd, bytes, size > 0, flags) : -1;
}

ssize_t __recv_chk(int fd, void *bytes, size_t size, size_t room, int flags)
{
    (void)room;
    if (!FAILS(KIND_RECV))
        return NEXT(recv)(fd, bytes, size, flags);
    return is_short() ? NEXT(recv)(fd, bytes, size > 0, flags) : -1;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return FAILS(KIND_RECV) && !is_short() ? -1 : NEXT(recvmsg)(fd, message, flags);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    if (!FAILS(KIND_SEND))
        return NEXT(send)(fd, bytes, size, flags);
    return is_short() ? NEXT(send)(fd, bytes, size > 0, flags) : -1;
}

/* The first byte alone; of a stream, as a datagram is whole or nothing. */
static ssize_t send_a_byte(int fd, const struct msghdr *message, int flags)
{
    int type = 0;
    socklen_t size = sizeof(type);
    NEXT(getsockopt)(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    for (size_t i = 0; i < message->msg_iovlen && type == SOCK_STREAM; i++)
        if (message->msg_iov[i].iov_len > 0 && message->msg_controllen == 0)
            return NEXT(send)(fd, message->msg_iov[i].iov_base, 1, flags);
    return NEXT(sendmsg)(fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!FAILS(KIND_SEND))
        return NEXT(sendmsg)(fd, message, flags);
    return is_short() ? send_a_byte(fd, message, flags) : -1;
}

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *address,
               socklen_t address_size)
{
    return FAILS(KIND_SEND) && !is_short()
               ? -1
               : NEXT(sendto)(fd, bytes, size, flags, address, address_size);
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return FAILS(KIND_ACCEPT) ? -1 : NEXT(accept4)(fd, address, size, flags);
}

int socket(int family, int type, int protocol)
{
    return FAILS(KIND_SOCKET) ? -1 : NEXT(socket)(family, type, protocol);
}

int socketpair(int family, int type, int protocol, int ends[2])
{
    return FAILS(KIND_SOCKET) ? -1 : NEXT(socketpair)(family, type, protocol, ends);
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return FAILS(KIND_BIND) ? -1 : NEXT(bind)(fd, address, size);
}

int listen(int fd, int backlog)
{
    return FAILS(KIND_LISTEN) ? -1 : NEXT(listen)(fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    return FAILS(KIND_CONNECT) ? -1 : NEXT(connect)(fd, address, size);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return FAILS(KIND_SETSOCKOPT) ? -1 : NEXT(setsockopt)(fd, level, name, value, size);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    return FAILS(KIND_GETSOCKOPT) ? -1 : NEXT(getsockopt)(fd, level, name, value, size);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return FAILS(KIND_GETSOCKOPT) ? -1 : NEXT(getsockname)(fd, address, size);
}

int getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    return FAILS(KIND_GETSOCKOPT) ? -1 : NEXT(getpeername)(fd, address, size);
}

int shutdown(int fd, int how)
{
    return FAILS(KIND_SHUTDOWN) ? -1 : NEXT(shutdown)(fd, how);
}

/* Waiting */

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    if (!FAILS(KIND_EPOLL_WAIT))
        return NEXT(epoll_wait)(fd, events, count, timeout_ms);
    return is_short() ? 0 : -1;
}

int epoll_ctl(int fd, int what, int other, struct epoll_event *event)
{
    return what != EPOLL_CTL_DEL && FAILS(KIND_EPOLL_CTL) ? -1
                                                          : NEXT(epoll_ctl)(fd, what, other, event);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (!FAILS(KIND_POLL))
        return NEXT(poll)(fds, count, timeout_ms);
    for (nfds_t i = 0; i < count; i++)
        fds[i].revents = 0;
    return is_short() ? 0 : -1;
}

/* Files */

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        return FAILS(KIND_OPEN) ? -1 : NEXT(name)(path, flags, mode);                              \
    }
OPEN(open)
OPEN(open64)

int __open_2(const char *path, int flags)
{
    return FAILS(KIND_OPEN) ? -1 : NEXT(open)(path, flags);
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return FAILS(KIND_OPEN) ? -1 : NEXT(openat)(folder, path, flags, mode);
}

int mkostemp(char *name, int flags)
{
    return FAILS(KIND_OPEN) ? -1 : NEXT(mkostemp)(name, flags);
}

DIR *opendir(const char *path)
{
    return FAILS(KIND_OPEN) ? NULL : FOR_CALLER(NEXT(opendir)(path));
}

/* A stream that the host reads is one of ours, as libc's own read() can't be replaced. */
static ssize_t read_stream(void *fd, char *bytes, size_t size)
{
    if (!fails(KIND_STDIO, NULL))
        return NEXT(read)((int)(intptr_t)fd, bytes, size);
    return is_short() ? NEXT(read)((int)(intptr_t)fd, bytes, size > 0) : -1;
}

static int close_stream(void *fd)
{
    return NEXT(close)((int)(intptr_t)fd);
}

#define FOPEN(name)                                                                                \
    FILE *name(const char *path, const char *mode)                                                 \
    {                                                                                              \
        if (FAILS(KIND_OPEN))                                                                      \
            return NULL;                                                                           \
        if (mode[0] != 'r' || hosts_caller(__builtin_return_address(0)) == 0)                      \
            return NEXT(name)(path, mode);                                                         \
        int fd = NEXT(open)(path, O_RDONLY | O_CLOEXEC);                                           \
        FILE *file = fd < 0 ? NULL                                                                 \
                            : FOR_CALLER(fopencookie((void *)(intptr_t)fd, mode,                   \
                                                     (cookie_io_functions_t){                      \
                                                         .read = read_stream,                      \
                                                         .close = close_stream,                    \
                                                     }));                                          \
        if (fd >= 0 && file == NULL)                                                               \
            NEXT(close)(fd);                                                                       \
        return file;                                                                               \
    }
FOPEN(fopen)
FOPEN(fopen64)

char *fgets(char *text, int size, FILE *file)
{
    return FOR_CALLER(NEXT(fgets)(text, size, file));
}

ssize_t __getdelim(char **line, size_t *size, int end, FILE *file)
{
    return FOR_CALLER(NEXT(getdelim)(line, size, end, file));
}

ssize_t getdelim(char **line, size_t *size, int end, FILE *file)
{
    return FOR_CALLER(NEXT(getdelim)(line, size, end, file));
}

size_t fread(void *bytes, size_t size, size_t count, FILE *file)
{
    return FOR_CALLER(NEXT(fread)(bytes, size, count, file));
}

size_t __fread_chk(void *bytes, size_t room, size_t size, size_t count, FILE *file)
{
    (void)room;
    return FOR_CALLER(NEXT(fread)(bytes, size, count, file));
}

int __isoc99_fscanf(FILE *file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = FOR_CALLER(vfscanf(file, format, arguments));
    va_end(arguments);
    return count;
}

ssize_t read(int fd, void *bytes, size_t size)
{
    if (!FAILS(KIND_READ))
        return NEXT(read)(fd, bytes, size);
    return is_short() ? NEXT(read)(fd, bytes, size > 0) : -1;
}

ssize_t __read_chk(int fd, void *bytes, size_t size, size_t room)
{
    (void)room;
    if (!FAILS(KIND_READ))
        return NEXT(read)(fd, bytes, size);
    return is_short() ? NEXT(read)(fd, bytes, size > 0) : -1;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    if (!FAILS(KIND_WRITE))
        return NEXT(write)(fd, bytes, size);
    return is_short() ? NEXT(write)(fd, bytes, size > 0) : -1;
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    if (!FAILS(KIND_PREAD))
        return NEXT(pread)(fd, bytes, size, offset);
    return is_short() ? NEXT(pread)(fd, bytes, size > 0, offset) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    if (!FAILS(KIND_PWRITE))
        return NEXT(pwrite)(fd, bytes, size, offset);
    return is_short() ? NEXT(pwrite)(fd, bytes, size > 0, offset) : -1;
}

off_t lseek(int fd, off_t offset, int from)
{
    return FAILS(KIND_LSEEK) ? -1 : NEXT(lseek)(fd, offset, from);
}

int ftruncate(int fd, off_t size)
{
    return FAILS(KIND_FTRUNCATE) ? -1 : NEXT(ftruncate)(fd, size);
}

int stat(const char *path, struct stat *status)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(stat)(path, status);
}

int lstat(const char *path, struct stat *status)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(lstat)(path, status);
}

int fstatat(int folder, const char *path, struct stat *status, int flags)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(fstatat)(folder, path, status, flags);
}

int access(const char *path, int mode)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(access)(path, mode);
}

int faccessat(int folder, const char *path, int mode, int flags)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(faccessat)(folder, path, mode, flags);
}

ssize_t readlink(const char *path, char *text, size_t size)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(readlink)(path, text, size);
}

ssize_t readlinkat(int folder, const char *path, char *text, size_t size)
{
    return FAILS(KIND_STAT) ? -1 : NEXT(readlinkat)(folder, path, text, size);
}

char *realpath(const char *path, char *resolved)
{
    return FAILS(KIND_STAT) ? NULL : FOR_CALLER(NEXT(realpath)(path, resolved));
}

int fstat(int fd, struct stat *status)
{
    return FAILS(KIND_FSTAT) ? -1 : NEXT(fstat)(fd, status);
}

int fstatfs(int fd, struct statfs *status)
{
    return FAILS(KIND_FSTAT) ? -1 : NEXT(fstatfs)(fd, status);
}

int unlink(const char *path)
{
    return FAILS(KIND_UNLINK) ? -1 : NEXT(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    return FAILS(KIND_UNLINK) ? -1 : NEXT(unlinkat)(folder, path, flags);
}

int rename(const char *from, const char *to)
{
    return FAILS(KIND_RENAME) ? -1 : NEXT(rename)(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return FAILS(KIND_RENAME) ? -1 : NEXT(renameat)(from_folder, from, to_folder, to);
}

int mkdir(const char *path, mode_t mode)
{
    return FAILS(KIND_MKDIR) ? -1 : NEXT(mkdir)(path, mode);
}

int chmod(const char *path, mode_t mode)
{
    return FAILS(KIND_CHMOD) ? -1 : NEXT(chmod)(path, mode);
}

int fchmod(int fd, mode_t mode)
{
    return FAILS(KIND_CHMOD) ? -1 : NEXT(fchmod)(fd, mode);
}

int lchown(const char *path, uid_t user, gid_t group)
{
    return FAILS(KIND_CHMOD) ? -1 : NEXT(lchown)(path, user, group);
}

int fchown(int fd, uid_t user, gid_t group)
{
    return FAILS(KIND_CHMOD) ? -1 : NEXT(fchown)(fd, user, group);
}

int flock(int fd, int what)
{
    return FAILS(KIND_FLOCK) ? -1 : NEXT(flock)(fd, what);
}

int chdir(const char *path)
{
    return FAILS(KIND_CHDIR) ? -1 : NEXT(chdir)(path);
}

int fchdir(int fd)
{
    return FAILS(KIND_CHDIR) ? -1 : NEXT(fchdir)(fd);
}

char *getcwd(char *path, size_t size)
{
    return FAILS(KIND_CHDIR) ? NULL : FOR_CALLER(NEXT(getcwd)(path, size));
}

/* Descriptors */

int pipe2(int ends[2], int flags)
{
    return FAILS(KIND_DESCRIPTOR) ? -1 : NEXT(pipe2)(ends, flags);
}

int eventfd(unsigned value, int flags)
{
    return FAILS(KIND_DESCRIPTOR) ? -1 : NEXT(eventfd)(value, flags);
}

int signalfd(int fd, const sigset_t *set, int flags)
{
    return FAILS(KIND_DESCRIPTOR) ? -1 : NEXT(signalfd)(fd, set, flags);
}

int memfd_create(const char *name, unsigned flags)
{
    return FAILS(KIND_DESCRIPTOR) ? -1 : NEXT(memfd_create)(name, flags);
}

int epoll_create1(int flags)
{
    return FAILS(KIND_DESCRIPTOR) ? -1 : NEXT(epoll_create1)(flags);
}

/* Only what makes a descriptor fails: with a valid one the rest can't. */
int fcntl(int fd, int what, ...)
{
    va_list arguments;
    va_start(arguments, what);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((what == F_DUPFD || what == F_DUPFD_CLOEXEC) && FAILS(KIND_DUP))
        return -1;
    return NEXT(fcntl)(fd, what, argument);
}

int dup2(int fd, int number)
{
    return FAILS(KIND_DUP) ? -1 : NEXT(dup2)(fd, number);
}

int dup3(int fd, int number, int flags)
{
    return FAILS(KIND_DUP) ? -1 : NEXT(dup3)(fd, number, flags);
}

/* It is closed all the same, as Linux does. */
int close(int fd)
{
    int result = NEXT(close)(fd);
    return result == 0 && FAILS(KIND_CLOSE) ? -1 : result;
}

/* Threads and processes */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    return FAILS(KIND_THREAD) ? errno
                              : FOR_CALLER(NEXT(pthread_create)(thread, attributes, run, argument));
}

pid_t fork(void)
{
    return FAILS(KIND_FORK) ? -1 : NEXT(fork)();
}

int execve(const char *path, char *const *arguments, char *const *environment)
{
    return FAILS(KIND_EXEC) ? -1 : NEXT(execve)(path, arguments, environment);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    return FAILS(KIND_WAITPID) ? -1 : NEXT(waitpid)(pid, status, options);
}

int kill(pid_t pid, int number)
{
    return FAILS(KIND_KILL) ? -1 : NEXT(kill)(pid, number);
}

static enum kind kind_of_call(long number)
{
    switch (number) {
    case SYS_clone:
        return KIND_FORK;
    case SYS_close_range:
        return KIND_CLOSE_RANGE;
    case SYS_capset:
        return KIND_SETUID;
    default:
        return KIND_NONE;
    }
}

long syscall(long number, ...)
{
    va_list list;
    long values[6];
    enum kind kind = kind_of_call(number);
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        values[i] = va_arg(list, long);
    va_end(list);
    if (kind != KIND_NONE && FAILS(kind))
        return -1;
    long result = NEXT(syscall)(number, values[0], values[1], values[2], values[3], values[4],
                                values[5]);
    if (number == SYS_clone && result == 0)
        stop_tracking();
    return result;
}

int close_range(unsigned first, unsigned last, int flags)
{
    return FAILS(KIND_CLOSE_RANGE) ? -1 : NEXT(close_range)(first, last, flags);
}

int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
    return FAILS(KIND_SETRLIMIT) ? -1 : NEXT(setrlimit)(what, limit);
}

int prctl(int what, ...)
{
    va_list list;
    unsigned long values[4];
    va_start(list, what);
    for (int i = 0; i < 4; i++)
        values[i] = va_arg(list, unsigned long);
    va_end(list);
    return FAILS(KIND_PRCTL) ? -1 : NEXT(prctl)(what, values[0], values[1], values[2], values[3]);
}

ssize_t getrandom(void *bytes, size_t size, unsigned flags)
{
    if (!FAILS(KIND_GETRANDOM))
        return NEXT(getrandom)(bytes, size, flags);
    return is_short() ? NEXT(getrandom)(bytes, size > 0, flags) : -1;
}

/* Users */

int setgroups(size_t count, const gid_t *groups)
{
    return FAILS(KIND_SETUID) ? -1 : NEXT(setgroups)(count, groups);
}

int initgroups(const char *user, gid_t group)
{
    return FAILS(KIND_SETUID) ? -1 : FOR_CALLER(NEXT(initgroups)(user, group));
}

int setresgid(gid_t real, gid_t effective, gid_t saved)
{
    return FAILS(KIND_SETUID) ? -1 : NEXT(setresgid)(real, effective, saved);
}

int setresuid(uid_t real, uid_t effective, uid_t saved)
{
    return FAILS(KIND_SETUID) ? -1 : NEXT(setresuid)(real, effective, saved);
}

struct passwd *getpwnam(const char *name)
{
    return FAILS(KIND_USERS) ? NULL : FOR_CALLER(NEXT(getpwnam)(name));
}

struct passwd *getpwuid(uid_t user)
{
    return FAILS(KIND_USERS) ? NULL : FOR_CALLER(NEXT(getpwuid)(user));
}

struct group *getgrnam(const char *name)
{
    return FAILS(KIND_USERS) ? NULL : FOR_CALLER(NEXT(getgrnam)(name));
}
