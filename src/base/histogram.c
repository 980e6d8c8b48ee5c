#include "base/histogram.h"

uint64_t histogram_bucket_max(unsigned bucket)
{
    unsigned shift, top;

    assert(bucket < HISTOGRAM_BUCKETS);
    if (bucket == HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    if (bucket < 1u << HISTOGRAM_SUB_BITS)
        return bucket;
    /* The inverse of histogram_bucket: `top` is the value's leading bits. */
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    top = (1u << HISTOGRAM_SUB_BITS) + (bucket & ((1u << HISTOGRAM_SUB_BITS) - 1));
    return ((uint64_t)(top + 1) << shift) - 1;
}

void histogram_add(struct histogram *sum, const struct histogram *from)
{
    uint64_t max;

    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        sum->buckets[b] += __atomic_load_n(&from->buckets[b], __ATOMIC_RELAXED);
    sum->count += __atomic_load_n(&from->count, __ATOMIC_RELAXED);
    sum->sum += __atomic_load_n(&from->sum, __ATOMIC_RELAXED);
    max = __atomic_load_n(&from->max, __ATOMIC_RELAXED);
    sum->max = CV_MAX(sum->max, max);
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    double share = quantile * (double)histogram->count;
    uint64_t seen = 0;

    if (histogram->count == 0)
        return 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        seen += histogram->buckets[b];
        if (seen > 0 && (double)seen >= share)
            return CV_MIN(histogram_bucket_max(b), histogram->max);
    }
    /* A copy taken while the owner wrote may count a value more than lie in its buckets. */
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count : 0;
}
