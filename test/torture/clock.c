/* Preloaded into a host: its clocks show what the test says.
 *
 * CLOCK names a file of one page with struct clocks, which the test and every process of the host
 * map. What waits until a moment of such a clock waits as long as the clock that it sees says at the
 * time of the call; the kernel's own timeouts go on as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct clocks {
    _Atomic int64_t real_ns, monotonic_ns; /* added to the kernel's */
    _Atomic int64_t frozen_ns;             /* not 0: what the monotonic clocks show, and go on showing */
};

static struct clocks *clocks;

__attribute__((constructor)) static void map_clocks(void)
{
    const char *path = getenv("CLOCK");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory = fd >= 0 ? mmap(NULL, sizeof(*clocks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                           : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (memory != MAP_FAILED)
        clocks = memory;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static struct timespec time_of(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (time.tv_nsec < 0) {
        time.tv_sec--;
        time.tv_nsec += 1000000000;
    }
    return time;
}

static bool is_monotonic(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE ||
           clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_BOOTTIME;
}

static int64_t shown(clockid_t clock, int64_t ns)
{
    if (clocks == NULL)
        return ns;
    int64_t frozen_ns = clocks->frozen_ns;
    if (is_monotonic(clock))
        return frozen_ns != 0 ? frozen_ns : ns + clocks->monotonic_ns;
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? ns + clocks->real_ns : ns;
}

static int64_t kernels(clockid_t clock)
{
    static __typeof__(&clock_gettime) next;
    struct timespec now = {0};
    if (next == NULL)
        next = NEXT(clock_gettime);
    next(clock, &now);
    return ns_of(&now);
}

/* The kernel's moment for one of a clock as it is shown. */
static struct timespec kernels_moment(clockid_t clock, const struct timespec *moment)
{
    int64_t now_ns = kernels(clock);
    return time_of(now_ns + ns_of(moment) - shown(clock, now_ns));
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static __typeof__(&clock_gettime) next;
    if (next == NULL)
        next = NEXT(clock_gettime);
    int result = next(clock, time);
    if (result == 0)
        *time = time_of(shown(clock, ns_of(time)));
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    (void)zone;
    struct timespec now = time_of(shown(CLOCK_REALTIME, kernels(CLOCK_REALTIME)));
    *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at)
{
    time_t now = time_of(shown(CLOCK_REALTIME, kernels(CLOCK_REALTIME))).tv_sec;
    if (at != NULL)
        *at = now;
    return now;
}

/* All condition variables of host and Python use the monotonic clock. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict moment)
{
    struct timespec at = kernels_moment(CLOCK_MONOTONIC, moment);
    return NEXT(pthread_cond_timedwait)(condition, mutex, &at);
}

int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           clockid_t clock, const struct timespec *restrict moment)
{
    struct timespec at = kernels_moment(clock, moment);
    return NEXT(pthread_cond_clockwait)(condition, mutex, clock, &at);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict moment)
{
    struct timespec at = kernels_moment(CLOCK_REALTIME, moment);
    return NEXT(sem_timedwait)(semaphore, &at);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict moment)
{
    struct timespec at = kernels_moment(clock, moment);
    return NEXT(sem_clockwait)(semaphore, clock, &at);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *rest)
{
    struct timespec at = *time;
    if (flags & TIMER_ABSTIME)
        at = kernels_moment(clock, time);
    return NEXT(clock_nanosleep)(clock, flags, &at, rest);
}
