/* What is kept of convoys beyond counts: how large they were, and what packets waited. */
#ifndef CONVOY_METRICS_CONVOY_HISTOGRAMS_H
#define CONVOY_METRICS_CONVOY_HISTOGRAMS_H

#include "base/histogram.h"

/* X(member, "unit", "sentence for people") */
#define CONVOY_HISTOGRAMS(X)                                                                       \
    X(size, "packets", "packets that crossed together")                                            \
    X(added_delay, "ns", "wait for company, by packet: arrival to departure, or to the call")      \
    X(residence, "ns", "time in the switch, by frame: taken from its source to delivered")

struct convoy_histograms {
#define CONVOY_HISTOGRAM_MEMBER(member, unit, text) struct histogram member;
    CONVOY_HISTOGRAMS(CONVOY_HISTOGRAM_MEMBER)
#undef CONVOY_HISTOGRAM_MEMBER
};

/* Adds all of `from`, which another thread may be writing, to `sum`. */
static inline void convoy_histograms_add(struct convoy_histograms *sum,
                                         const struct convoy_histograms *from)
{
#define CONVOY_HISTOGRAM_ADD(member, unit, text) histogram_add(&sum->member, &from->member);
    CONVOY_HISTOGRAMS(CONVOY_HISTOGRAM_ADD)
#undef CONVOY_HISTOGRAM_ADD
}

#endif
