/*
 * A ring whose descriptors are written once: what is left to do for a packet is to move an index.
 *
 * It takes over a front_ring (front/front_ring.h) that front_end_open has set up. Slot i of guest
 * memory belongs to descriptor i for good, and the available ring names the descriptors in turn, so
 * it need not be written again either, as long as the device gives chains back in the order in
 * which it got them; where it does not (the used element names another), the available ring is
 * mended as it is refilled. One thread uses a ring.
 */
#ifndef CONVOY_BENCH_LEAN_RING_H
#define CONVOY_BENCH_LEAN_RING_H

#include "front_ring.h"

struct lean_ring {
    struct front_ring *ring;
    uint16_t mask;
    uint16_t avail_index; /* next entry to offer; published by lean_ring_publish */
    uint16_t used_index;  /* next used element to take */
    uint16_t published_index;
    bool event_idx;
    bool wants_calls; /* a call was asked for and has not been seen */
    uint64_t kicks, calls;
};

#endif
