/*
 * When a convoy departs. The rule is pure: it sees what waits, and says until when it may.
 *
 *   off       each frame on its own, announced by a notification of its own: the baseline
 *   natural   at the end of the burst that formed it; no timer
 *   fixed     when K packets are aboard, or T after the first, or with the first express packet
 *   adaptive  likewise, with K and T from the model (convoy/controller.h)
 *
 * What waits is either the data, so that frames of later bursts can be merged with it, or only the
 * call: then frames become visible at once, and the receiver is told of them together. The second
 * is cheaper and serves wherever nothing can be merged.
 */
#ifndef CONVOY_CONVOY_HOLD_H
#define CONVOY_CONVOY_HOLD_H

#include "config/port_config.h"

/* A time at which a convoy is due that has passed already. */
#define HOLD_NOW UINT64_C(0)

enum hold_place {
    HOLD_PLACE_CALL, /* data goes at once, the call waits */
    HOLD_PLACE_DATA, /* data waits, and the call with it */
};

const char *hold_place_name(enum hold_place place);

/* K and T as they are now. T = 0: nothing waits. */
struct hold_rule {
    unsigned packets_max; /* K */
    enum hold_place place;
    uint64_t time_max_ns;    /* T, from the first packet */
    uint64_t silence_max_ns; /* it also ends when nothing came for so long; 0: that is no reason */
};

/* Arrivals of one group are remembered in so many batches; a full log is a reason to depart. */
enum { HOLD_BATCHES_MAX = HOLD_PACKETS_MAX };

/* Packets that wait under a rule: aboard a convoy, or delivered and not called for. */
struct hold_group {
    unsigned packets; /* arrivals, merged ones too; 0: nothing waits */
    bool has_express; /* one of them never waits for company */
    unsigned batch_count;
    struct {
        uint64_t arrived_ns;
        unsigned packets;
    } batches[HOLD_BATCHES_MAX]; /* what came together, oldest first */
};

static inline void hold_group_clear(struct hold_group *group)
{
    group->packets = group->batch_count = 0;
    group->has_express = false;
}

/* `packets` more (at least one), that came together. */
static inline void hold_group_add(struct hold_group *group, unsigned packets, bool is_express,
                                  uint64_t now_ns)
{
    unsigned last = group->batch_count - 1;

    group->packets += packets;
    group->has_express |= is_express;
    if (group->batch_count > 0 &&
        (group->batches[last].arrived_ns == now_ns || group->batch_count == HOLD_BATCHES_MAX)) {
        group->batches[last].packets += packets;
        return;
    }
    group->batches[group->batch_count].arrived_ns = now_ns;
    group->batches[group->batch_count++].packets = packets;
}

/* When a group departs under a rule: HOLD_NOW (also an empty one) or a time. */
static inline uint64_t hold_due_ns(const struct hold_rule *rule, const struct hold_group *group)
{
    uint64_t due_ns;

    if (CV_LIKELY(rule->time_max_ns == 0) || group->packets == 0 || group->has_express ||
        group->packets >= rule->packets_max || group->batch_count == HOLD_BATCHES_MAX)
        return HOLD_NOW;
    due_ns = group->batches[0].arrived_ns + rule->time_max_ns;
    if (rule->silence_max_ns > 0)
        due_ns = CV_MIN(due_ns,
                        group->batches[group->batch_count - 1].arrived_ns + rule->silence_max_ns);
    return due_ns;
}

#endif
