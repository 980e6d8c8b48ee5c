/*
 * A histogram of high dynamic range (G. Tene's HdrHistogram): every power of two is divided into 32
 * buckets, so that a value is known to 3 %, from nanoseconds to a minute, at constant memory and in
 * a few instructions. One writer; a reader in another thread sees counts that are each whole.
 */
#ifndef CONVOY_BASE_HISTOGRAM_H
#define CONVOY_BASE_HISTOGRAM_H

#include "base/compiler.h"

enum {
    HISTOGRAM_SUB_BITS = 5,    /* 2^5 buckets for each power of two */
    HISTOGRAM_VALUE_BITS = 36, /* values from 2^36 on (68 s in ns) count as the largest */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

struct histogram {
    uint64_t count; /* values recorded */
    uint64_t sum;   /* of them, exact */
    uint64_t max;   /* the largest, exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value. */
static inline unsigned histogram_bucket(uint64_t value)
{
    unsigned shift;

    if (value >= UINT64_C(1) << HISTOGRAM_VALUE_BITS)
        return HISTOGRAM_BUCKETS - 1;
    if (value < 1u << HISTOGRAM_SUB_BITS)
        return (unsigned)value;
    shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift) -
           (1u << HISTOGRAM_SUB_BITS);
}

/* Adds a value `times` times. */
static inline void histogram_record(struct histogram *histogram, uint64_t value, uint64_t times)
{
    uint64_t *bucket = &histogram->buckets[histogram_bucket(value)];

    __atomic_store_n(bucket, *bucket + times, __ATOMIC_RELAXED);
    __atomic_store_n(&histogram->count, histogram->count + times, __ATOMIC_RELAXED);
    __atomic_store_n(&histogram->sum, histogram->sum + value * times, __ATOMIC_RELAXED);
    if (value > histogram->max)
        __atomic_store_n(&histogram->max, value, __ATOMIC_RELAXED);
}

/* The largest value that falls into a bucket. */
uint64_t histogram_bucket_max(unsigned bucket);

/* Adds all of `from`, which another thread may be writing, to `sum`. */
void histogram_add(struct histogram *sum, const struct histogram *from);

/* The value that a share of `quantile` (0 to 1) of all do not exceed, to the bucket's upper edge
 * but never above the largest value recorded; 0 when there is none. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

/* Mean of the values, 0 when there is none. */
double histogram_mean(const struct histogram *histogram);

#endif
