/*
 * One frame to and fro between the two ends of an exchange: the test for lost wake-ups.
 *
 * In a lone ping-pong every step hangs on one notification: a kick that the switch asked for before
 * it slept, or a call that the waiting end asked for before it slept. Where either is lost nothing
 * else comes to the rescue, as it does under load. Random pauses before sending and before asking
 * for the call move the end's step over the switch's (arming a ring, publishing), so that the
 * windows of both races are met. Both ends are driven by one thread: at any moment only one of them
 * has something to do, and a second thread would add its own wake-up, not another race.
 *
 * A wait of more than 100 ms is a stall. What it hangs on is then found out: elements are used and
 * nobody called (a lost call); or they arrive after a kick that was not asked for (a lost kick); or
 * never (a lost frame). On a machine that is short of processors a thread that has been woken may
 * have to wait as long; where it is known that it did, the wait counts as starved, not as a stall.
 */
#ifndef CONVOY_TESTS_LIB_PING_PONG_H
#define CONVOY_TESTS_LIB_PING_PONG_H

#include "base/histogram.h"
#include "exchange.h"

struct ping_pong_options {
    uint64_t rounds;       /* to and fro */
    uint64_t pause_ns_max; /* before a frame is sent; each drawn evenly from 0 to this */
    uint64_t arm_ns_max;   /* from sending to asking for the call; likewise */
    uint64_t bulk_every;   /* rounds between bulk transfers of the exchange; 0: none */
    uint64_t bulk_frames;  /* ... that are as long as this at each end */
    uint64_t seed;         /* of the pauses */
    size_t frame_bytes;
};

struct ping_pong_result {
    uint64_t rounds;      /* that were completed */
    uint64_t sleeps;      /* waits in which the thread slept */
    uint64_t starved;     /* waits over 100 ms in which a thread was ready and had no processor */
    uint64_t stalls;      /* others: those below, and what came late by itself */
    uint64_t lost_calls;  /* used, and no call came */
    uint64_t lost_kicks;  /* came only after another kick */
    uint64_t lost_frames; /* never came */
    uint64_t bulk_failed; /* bulk transfers that did not come to an end */
    struct histogram round_ns;
    char first_stall[1200]; /* rings and threads of the switch at the first such wait; "" */
};

/*
 * Runs on ends 0 and 1 of an exchange that verifies, until all rounds are done or the deadline is
 * over (false).
 */
bool ping_pong_run(struct exchange *exchange, const struct ping_pong_options *options,
                   uint64_t deadline_ns, struct ping_pong_result *ret_result);

#endif
