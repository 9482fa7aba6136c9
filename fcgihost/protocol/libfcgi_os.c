/* The operating system that libfcgi sees.
 *
 * libfcgi's parser (fcgiapp.c) reaches the system through a few functions (fcgios.h), which a
 * program may define in the place of the library's own. Of these here, one hands out the bytes that
 * the gate let pass, and the others refuse: so libfcgi can neither wait, nor answer anybody, nor
 * close a descriptor, nor put its signal handlers in the place of others. To let it read the bytes
 * from a file took two system calls more, 3 of 19 µs. */
#include "protocol/libfcgi_os.h"

#include <assert.h>
#include <errno.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Also where the other symbols are hidden. */
#define REPLACES_LIBFCGIS __attribute__((visibility("default")))

static _Thread_local const uint8_t *next_byte;
static _Thread_local size_t bytes_left;
static _Thread_local struct arena *memory;
static _Thread_local bool has_refused;
static _Thread_local jmp_buf *way_out; /* while libfcgi reads a head; else NULL */

int libfcgi_os_init(void)
{
    /* A request without parameters: what reads it is here, or in the library. */
    static const uint8_t head[] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0,
                                   0, 0, 0, 0, 1, 4, 0, 1, 0, 0, 0, 0};
    static struct arena kept; /* FCGX_Init() copies FCGI_WEB_SERVER_ADDRS, if that is set */
    FCGX_Request request;
    memory = &kept;
    if (FCGX_Init() < 0)
        return -1;
    int result = libfcgi_os_accept(&request, &kept, head, sizeof(head));
    FCGX_Free(&request, 0);
    return result == 0 && bytes_left == 0 ? 0 : -1;
}

int libfcgi_os_accept(struct FCGX_Request *request, struct arena *arena, const uint8_t *bytes,
                      size_t n)
{
    jmp_buf here;
    memory = arena;
    next_byte = bytes;
    bytes_left = n;
    has_refused = false;
    FCGX_InitRequest(request, -1, FCGI_FAIL_ACCEPT_ON_INTR);
    request->ipcFd = LIBFCGI_OS_DESCRIPTOR;
    request->keepConnection = 1; /* else FCGX_Accept_r closes ipcFd and accepts another */
    if (_setjmp(here) != 0) {
        /* What it had allocated goes with the arena; where it has malloc() itself, it is lost. */
        way_out = NULL;
        memset(request, 0, sizeof(*request));
        return -1;
    }
    way_out = &here;
    int result = FCGX_Accept_r(request);
    way_out = NULL;
    request->ipcFd = -1;
    return result < 0 || FCGX_GetError(request->in) != 0 || has_refused ? -1 : 0;
}

/* libfcgi answers a lack of memory with assert(), which would end the process and every request in
 * it; it holds no lock where it does. (The vector of its parameters it takes unseen: of that lack
 * only the archive's build, where libfcgi_os_malloc() leaves, is safe.) Other assertions end the
 * process as usual. */
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

/* libfcgi's archive calls these instead of malloc(), realloc() and free() (see the Makefile): to
 * allocate each parameter by itself took 1.3 of 16 µs. Where there is a shared library only, nobody
 * calls them. */

struct piece {
    size_t bytes;
    _Alignas(16) char memory[];
};

void *libfcgi_os_malloc(size_t n)
{
    struct piece *piece =
        n < SIZE_MAX - sizeof(*piece) ? arena_alloc(memory, sizeof(*piece) + n) : NULL;
    if (piece == NULL && way_out != NULL)
        _longjmp(*way_out, 1);
    if (piece == NULL)
        return NULL;
    piece->bytes = n;
    return piece->memory;
}

void *libfcgi_os_realloc(void *old_memory, size_t n)
{
    struct piece *old = (struct piece *)old_memory - 1;
    void *new_memory = libfcgi_os_malloc(n);
    if (new_memory == NULL)
        return NULL;
    return memcpy(new_memory, old_memory, old->bytes < n ? old->bytes : n);
}

void libfcgi_os_free(void *old_memory)
{
    (void)old_memory; /* it goes with the arena */
}
