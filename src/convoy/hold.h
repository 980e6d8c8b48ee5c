/*
 * When a convoy departs. The rule is pure: it sees how many are aboard, when the first came,
 * whether one of them must not wait, and says until when the convoy may stay.
 *
 *   off      each frame on its own, announced by a notification of its own: the baseline
 *   natural  at the end of the burst that formed it; no timer
 *   fixed    when K frames are aboard, or T after the first, or with the first express frame
 */
#ifndef CONVOY_CONVOY_HOLD_H
#define CONVOY_CONVOY_HOLD_H

#include "config/port_config.h"

/* A time at which a convoy is due that has passed already. */
#define HOLD_NOW UINT64_C(0)

/* When a convoy of `count` frames (at least one), opened at `opened_ns`, departs: HOLD_NOW or a
 * time. */
static inline uint64_t hold_due_ns(const struct hold_config *hold, unsigned count, bool has_express,
                                   uint64_t opened_ns)
{
    if (CV_LIKELY(hold->mode != HOLD_FIXED) || has_express || count >= hold->packets_max)
        return HOLD_NOW;
    return opened_ns + hold->time_max_ns;
}

#endif
