/* Replaces the functions through which libfcgi calls the system.
 *
 * libfcgi's parser (fcgiapp.c) calls the system through a few functions (fcgios.h) that a program
 * may define instead of the library. Here OS_Read returns the bytes that passed the gate, and the
 * others fail: so libfcgi can't block, write to a peer, close a descriptor or install signal
 * handlers. (Letting it read the bytes from a memory file took two more system calls, 3 of 19 µs a
 * request.) */
#include "protocol/libfcgi_os.h"

#include <assert.h>
#include <errno.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    FIXED_BYTES = 24 << 10, /* three streams with their buffers, and the first parameters' vector */
    /* per parameter: malloc() overhead, and its pointer in a vector that doubles */
    PARAM_BYTES = 64,
    /* how much freed memory malloc() keeps, and how much more it asks the kernel for at once */
    HEAP_BYTES = 96 << 10,
    HEAP_STEP_BYTES = 1 << 20,
};

/* Visible to the library even with -fvisibility=hidden. */
#define REPLACES_LIBFCGIS __attribute__((visibility("default")))

static _Thread_local const uint8_t *next_byte;
static _Thread_local size_t bytes_left;
static _Thread_local bool has_refused;
static _Thread_local jmp_buf *way_out; /* set while libfcgi parses a head, otherwise NULL */

int libfcgi_os_init(void)
{
    /* A request without parameters: if our OS_Read is not called, bytes are left. */
    static const uint8_t head[] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0,
                                   0, 0, 0, 0, 1, 4, 0, 1, 0, 0, 0, 0};
    FCGX_Request request;
    errno = EPROTO;
    if (FCGX_Init() < 0)
        return -1;
    int result = libfcgi_os_accept(&request, head, sizeof(head), 0), error = errno;
    FCGX_Free(&request, 0);
    errno = result < 0 ? error : EPROTO;
    return result == 0 && bytes_left == 0 ? 0 : -1;
}

/* Is there memory for what libfcgi allocates for such a head? It is allocated in one piece and
 * freed again, to the thread's heap, where libfcgi finds it, or for a large head to the kernel, as
 * malloc() would. */
static bool has_memory(size_t head_bytes, size_t param_count)
{
    size_t n = FIXED_BYTES + head_bytes + param_count * PARAM_BYTES;
    if (n <= HEAP_BYTES) {
        /* volatile: otherwise the compiler may drop a malloc() whose memory is not used. */
        void *volatile memory = malloc(n);
        free(memory);
        return memory != NULL;
    }
    n += HEAP_STEP_BYTES;
    void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && munmap(memory, n) == 0;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

int libfcgi_os_accept(struct FCGX_Request *request, const uint8_t *bytes, size_t n,
                      size_t param_count)
{
    jmp_buf here;
    next_byte = bytes;
    bytes_left = n;
    has_refused = false;
    FCGX_InitRequest(request, -1, FCGI_FAIL_ACCEPT_ON_INTR);
    if (!has_memory(n, param_count))
        return fail(ENOMEM);
    request->ipcFd = LIBFCGI_OS_DESCRIPTOR;
    request->keepConnection = 1; /* else FCGX_Accept_r closes ipcFd and accepts another */
    if (_setjmp(here) != 0) {    /* leaks the few bytes that the request does not point to yet */
        way_out = NULL;
        request->ipcFd = -1;
        return fail(ENOMEM);
    }
    way_out = &here;
    int result = FCGX_Accept_r(request);
    way_out = NULL;
    request->ipcFd = -1;
    return result < 0 || FCGX_GetError(request->in) != 0 || has_refused ? fail(EPROTO) : 0;
}

/* When malloc() fails libfcgi calls assert(), which would abort the process and every request in
 * it; it holds no lock then, so a longjmp is safe. It happens only if another thread took the
 * memory that has_memory() had found. (For the vector of parameters libfcgi does not check
 * malloc(): there has_memory() is the only protection.) Other assertions abort the process as
 * usual. */
REPLACES_LIBFCGIS _Noreturn void __assert_fail(const char *assertion, const char *file,
                                               unsigned line, const char *function)
{
    if (way_out != NULL)
        _longjmp(*way_out, 1);
    fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, assertion);
    abort();
}

bool libfcgi_os_has_refused(void)
{
    return has_refused;
}

REPLACES_LIBFCGIS int OS_LibInit(int stdio_fds[3])
{
    (void)stdio_fds;
    return 0;
}

REPLACES_LIBFCGIS int OS_Read(int fd, char *buffer, size_t n)
{
    (void)fd;
    if (n > bytes_left)
        n = bytes_left;
    memcpy(buffer, next_byte, n);
    next_byte += n;
    bytes_left -= n;
    return (int)n;
}

static int refuse(void)
{
    has_refused = true;
    errno = ENOSYS;
    return -1;
}

REPLACES_LIBFCGIS int OS_Write(int fd, char *buffer, size_t n)
{
    (void)fd;
    (void)buffer;
    (void)n;
    return refuse();
}

REPLACES_LIBFCGIS int OS_CreateLocalIpcFd(const char *path, int backlog)
{
    (void)path;
    (void)backlog;
    return refuse();
}

REPLACES_LIBFCGIS int OS_Accept(int listener_fd, int is_failing_on_signals,
                                const char *allowed_addresses)
{
    (void)listener_fd;
    (void)is_failing_on_signals;
    (void)allowed_addresses;
    return refuse();
}

REPLACES_LIBFCGIS int OS_IpcClose(int fd, int is_shut_down)
{
    (void)fd;
    (void)is_shut_down;
    return 0;
}

REPLACES_LIBFCGIS int OS_IsFcgi(int fd)
{
    (void)fd;
    return 1;
}

REPLACES_LIBFCGIS void OS_ShutdownPending(void)
{
}
