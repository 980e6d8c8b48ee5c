/*
 * What a transfer costs, learnt from transfers: a line through (packets, seconds), fitted by least
 * squares with a memory that fades, gives c0 for the transfer itself and c1 for each packet. Where
 * all transfers are of about one size the two cannot be told apart, and the slope known before is
 * kept; where none is known yet, a transfer is taken to cost as much as a few packets. A sample far
 * beyond the line (the thread was preempted) counts as one at a multiple of it. Pure; one thread.
 */
#ifndef CONVOY_CONVOY_COSTS_H
#define CONVOY_CONVOY_COSTS_H

#include "base/compiler.h"
#include "convoy/model.h"

struct costs {
    double weight;       /* sum of the samples' weights */
    double packets_mean; /* weighted means ... */
    double seconds_mean;
    double packets_variance; /* ... and central moments */
    double covariance;
    bool has_slope;          /* sizes have once been spread enough to tell c0 from c1 */
    unsigned unfitted;       /* samples since the line was drawn */
    struct model_costs line; /* the fit; both terms at least 0 */
};

/* How far samples can be trusted to hold nothing but the transfer. */
struct costs_trust {
    double memory;    /* samples fade by one in so many: the last few of these count */
    double times_max; /* one far off counts as at most so many (above 1) times the line: what a
                         share of less than 1 / times_max of them shows is not followed, and a
                         cost that rises for all is followed a step at a time */
};

/* A transfer of `packets` (at least 1) took `seconds`. */
void costs_observe(struct costs *costs, const struct costs_trust *trust, unsigned packets,
                   double seconds);

#endif
