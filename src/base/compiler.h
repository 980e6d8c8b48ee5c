/* What the compiler can be told: small words used by every part. */
#ifndef CONVOY_BASE_COMPILER_H
#define CONVOY_BASE_COMPILER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A result that must not be dropped: every function that can fail returns 0 or a negative errno. */
#define CV_MUST_CHECK          __attribute__((warn_unused_result))
#define CV_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define CV_LIKELY(x)           __builtin_expect(!!(x), 1)
#define CV_UNLIKELY(x)         __builtin_expect(!!(x), 0)

#define CV_CACHE_LINE_BYTES 64
#define CV_CACHE_ALIGNED    __attribute__((aligned(CV_CACHE_LINE_BYTES)))

#define CV_COUNT_OF(array)                 (sizeof(array) / sizeof((array)[0]))
#define CV_MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define CV_MAX(a, b)                       ((a) > (b) ? (a) : (b))
#define CV_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
