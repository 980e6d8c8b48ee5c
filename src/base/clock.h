/* The one place that reads the clock. Pure parts take `now_ns` as an argument instead. */
#ifndef CONVOY_BASE_CLOCK_H
#define CONVOY_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic time in nanoseconds; read from the vDSO, no system call. */
static inline uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
