/*
 * Whether a worker's traffic comes in bulk: in bursts so large that to sleep until the next costs
 * less than to poll for it. A wake-up is little beside the copying of a large burst, and much
 * beside that of a small one. To poll takes the processor all the time, often from the very guests
 * that send and receive, and keeps the thread where it is, while one that wakes is put where a
 * processor is idle.
 *
 * Sleeping changes the traffic: TCP's bursts may stay as they are, or fall apart into small ones
 * that each need a wake-up. Then polling was better, and sleeping is tried again after a while.
 * Pure; one thread.
 */
#ifndef CONVOY_CONVOY_BULK_H
#define CONVOY_CONVOY_BULK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* A burst ends with a look in vain when the last round that found frames began so long ago; that is
 * about what a wake-up takes. As long as each look finds frames it goes on, however far apart they
 * are: the thread was copying, or kept from running. */
#define BULK_SILENCE_NS UINT64_C(20000)

/* Bursts of so many bytes are large: to copy them takes several times as long as a wake-up. */
#define BULK_BYTES UINT64_C(524288)

/* After so long traffic that fell apart is tried again. */
#define BULK_AGAIN_NS UINT64_C(250000000)

struct bulk {
    uint64_t bytes;   /* of the burst under way */
    uint64_t last_ns; /* when the round began that last found frames */
    /* Decaying means over bursts: of their bytes, and of the square of those. The second over the
     * first is the size of the burst in which a byte comes on average, whatever the number of
     * small ones, such as acknowledgements, in between. */
    double mean, mean_square;
    unsigned known; /* bursts that the means know of, up to a limit */
    bool is_bulk;
    uint64_t again_ns; /* not before this is it bulk again */
};

/* A burst has ended: takes it into account. */
void bulk_burst_ended(struct bulk *bulk, uint64_t now_ns);

/* `bytes` came together: from a guest, an uplink or another worker. */
static inline void bulk_taken(struct bulk *bulk, uint64_t bytes, uint64_t now_ns)
{
    bulk->last_ns = now_ns;
    bulk->bytes += bytes;
}

/* A look found nothing. */
static inline void bulk_silent(struct bulk *bulk, uint64_t now_ns)
{
    if (bulk->bytes > 0 && now_ns - bulk->last_ns >= BULK_SILENCE_NS)
        bulk_burst_ended(bulk, now_ns);
}

/* For how long to poll of `poll_ns`: no longer than shows that a burst has ended, if more large
 * ones are to come. */
static inline uint64_t bulk_poll_ns(const struct bulk *bulk, uint64_t poll_ns)
{
    return bulk->is_bulk ? CV_MIN(BULK_SILENCE_NS, poll_ns) : poll_ns;
}

#endif
