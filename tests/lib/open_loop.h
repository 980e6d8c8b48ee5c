/*
 * Packets at times of their own: the first end of an exchange sends when an arrival process says
 * so, whatever becomes of what it sent before, and what waiting the switch adds is measured at the
 * second end.
 *
 * One thread drives both ends and never sleeps. There are two processors, and the switch needs
 * one: a receiving thread that slept would share the other with the sender, and each of its
 * wake-ups would make a packet late, while its own delay (a context switch) would be measured with
 * the switch's. So the thread spins: it sends what is due, looks at the receiver's used index,
 * which costs one load, and only while something lies there that the receiver has asked to be
 * called for does it read the call eventfd, a system call of some 200 ns. The receiver behaves as
 * Linux's NAPI does: it asks for a call at the next used element, leaves the ring alone until the
 * call comes, then takes all there is with calls disabled, asks again and looks once more. What it
 * is spared is the wake-up itself, so a call is cheap here, for the switch too: what a call costs
 * with a guest that sleeps is measured with real guests.
 *
 * Of each frame is known: when it was published, when the used index first showed it (*visible*),
 * and when the receiver knew of it: at the call, or when it became visible to a receiver that was
 * awake (*told*). Times are kept here and found by the frame's number, which its own checksum
 * proves.
 */
#ifndef CONVOY_TESTS_LIB_OPEN_LOOP_H
#define CONVOY_TESTS_LIB_OPEN_LOOP_H

#include "arrivals.h"
#include "base/histogram.h"
#include "exchange.h"

/* A packet published so much behind its time counts as late: about the length of a kick. */
#define OPEN_LOOP_LATE_NS UINT64_C(5000)

struct open_loop_options {
    struct arrivals *arrivals;
    struct arrivals *then; /* from half of the time on; NULL: the same */
    uint64_t duration_ns;
    uint64_t warm_up_ns; /* of that: what is sent before is not measured */
    size_t frame_bytes;
    bool busy; /* the receiver polls: it never asks for calls */
};

struct open_loop_result {
    uint64_t sent, received; /* measured ones: published after the warm-up */
    uint64_t late;           /* published OPEN_LOOP_LATE_NS or more behind their time */
    uint64_t late_max_ns;
    uint64_t calls;              /* of the switch, while measured ones arrived */
    uint64_t groups;             /* looks at the used index that found it moved */
    uint64_t missed_calls;       /* asked for, and not there after 200 ms */
    uint64_t step_ns;            /* CLOCK_MONOTONIC when `then` began; 0 */
    uint64_t measured_ns;        /* from the first measured packet's time to the last one's */
    struct histogram visible_ns; /* from publication */
    struct histogram told_ns;
};

/* Runs from end 0 to end 1 of an exchange that verifies numbered frames. False: the deadline came
 * first. */
bool open_loop_run(struct exchange *exchange, const struct open_loop_options *options,
                   uint64_t deadline_ns, struct open_loop_result *ret_result);

#endif
