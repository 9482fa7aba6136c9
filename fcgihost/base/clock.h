/* Clocks. */
#ifndef FCGIHOST_CLOCK_H
#define FCGIHOST_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic milliseconds: cheap, exact to the kernel's tick (1 to 10 ms). */
static inline uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Monotonic microseconds, exact. */
static inline uint64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Microseconds since 1970. */
static inline uint64_t clock_real_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The moment timeout_ms from now, for a condition variable that uses CLOCK_MONOTONIC. */
static inline struct timespec clock_deadline(uint64_t timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t nanoseconds = (uint64_t)at.tv_nsec + timeout_ms % 1000 * 1000000;
    at.tv_sec += (time_t)(timeout_ms / 1000 + nanoseconds / 1000000000);
    at.tv_nsec = (long)(nanoseconds % 1000000000);
    return at;
}

#endif
