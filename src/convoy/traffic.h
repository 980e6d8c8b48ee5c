/*
 * What is learnt of arrivals: how many come, and whether one brings company. The rate is a mean
 * that forgets within milliseconds. Gaps between arrivals are kept as a histogram that forgets
 * likewise, since a mean says nothing of how they are spread: packets that come in bursts, at even
 * distances, or one at a time because each waits for the answer to the last, have the same rate and
 * gain differently from waiting. Pure; one thread.
 */
#ifndef CONVOY_CONVOY_TRAFFIC_H
#define CONVOY_CONVOY_TRAFFIC_H

#include "base/compiler.h"

/* Time constant of all that is learnt: after a step in load 2 % of the old is left at 4 of these.
 * Longer would be steadier, but a rule must follow a step of 100 times within 50 ms. */
#define TRAFFIC_MEMORY_NS UINT64_C(4000000)

enum {
    TRAFFIC_GAP_SUB_BITS = 2,    /* four buckets for each power of two of nanoseconds */
    TRAFFIC_GAP_VALUE_BITS = 31, /* the last bucket holds everything from 2^31 ns (2.1 s) on */
    TRAFFIC_GAP_BUCKETS =
        ((TRAFFIC_GAP_VALUE_BITS - TRAFFIC_GAP_SUB_BITS + 1) << TRAFFIC_GAP_SUB_BITS) + 1,
    TRAFFIC_GAPS_PER_UPDATE = 64, /* what one update weighs at most (gaps above 0), so that a dense
                                     millisecond does not drown the following ones */
    TRAFFIC_BATCH_MAX = 64,       /* gaps of 0 count up to such a burst; more came while nobody
                                     looked for long, which says nothing of the next one */
};

struct traffic {
    uint64_t last_ns;                        /* when the last packet came; 0: none yet */
    uint64_t updated_ns;                     /* since when `fresh_packets` are counted */
    uint64_t fresh_packets;                  /* arrived since then */
    double rate;                             /* packets per second, as of updated_ns */
    double gap_weight;                       /* sum of gap_share */
    float gap_share[TRAFFIC_GAP_BUCKETS];    /* of gaps, by length; decaying counts. The first is of
                                                packets that came together with the one before */
    uint32_t gap_fresh[TRAFFIC_GAP_BUCKETS]; /* since updated_ns */
};

/* `packets` (at least 1) came together. On the packet's way: a few additions. */
void traffic_arrived(struct traffic *traffic, unsigned packets, uint64_t now_ns);

/* `packets` (at least 1) came since the last that were told of, one by one, while nobody looked:
 * as far as is known at even distances. */
void traffic_arrived_unseen(struct traffic *traffic, unsigned packets, uint64_t now_ns);

/* Takes what came since the last update into the means. To be called about once in a millisecond
 * while packets come; a longer silence is accounted for with the next call. */
void traffic_update(struct traffic *traffic, uint64_t now_ns);

/* The longest window, up to `window_s`, of which the histogram can tell exactly what falls into it:
 * the edge of a bucket, at most a fifth below from 4 ns on. 0: there is none. */
double traffic_window(double window_s);

/* Share of packets (0 to 1) that were followed by another within traffic_window(window_s). */
double traffic_company(const struct traffic *traffic, double window_s);

/* Share of packets (0 to 1) that came together with the one before. */
double traffic_together(const struct traffic *traffic);

/* Mean of the gaps up to `window_s`, in seconds; of those above 0. 0 when there is none. */
double traffic_close_gap(const struct traffic *traffic, double window_s);

/* Squared coefficient of variation of the gaps above 0: 0 for even distances, 1 for Poisson
 * arrivals, more for bursts; 1 while nothing is known. Packets that were found together are one
 * arrival here: so many came while nobody looked, which says nothing of bursts. */
double traffic_burstiness(const struct traffic *traffic);

#endif
