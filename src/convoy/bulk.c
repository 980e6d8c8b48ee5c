#include "convoy/bulk.h"

/* Bursts fade by one in so many, and so many are needed for a judgement. */
#define BURSTS_MEMORY 32

/* One without an end counts as so much, so that it is not remembered for ever. */
#define BURST_BYTES_MAX (4 * BULK_BYTES)

void bulk_burst_ended(struct bulk *bulk, uint64_t now_ns)
{
    double bytes = (double)CV_MIN(bulk->bytes, BURST_BYTES_MAX);
    bool is_large;

    bulk->bytes = 0;
    bulk->mean += (bytes - bulk->mean) / BURSTS_MEMORY;
    bulk->mean_square += (bytes * bytes - bulk->mean_square) / BURSTS_MEMORY;
    if (bulk->known < BURSTS_MEMORY && ++bulk->known < BURSTS_MEMORY)
        return;
    is_large = bulk->mean_square >= bulk->mean * (double)BULK_BYTES;
    if (is_large == bulk->is_bulk || (is_large && now_ns < bulk->again_ns))
        return;
    if (!is_large)
        bulk->again_ns = now_ns + BULK_AGAIN_NS;
    /* What came while the worker polled says nothing of what comes while it sleeps. */
    bulk->mean = bulk->mean_square = 0;
    bulk->known = 0;
    bulk->is_bulk = is_large;
}
