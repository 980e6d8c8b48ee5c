/*
 * One receiveq of a guest that is sent to: takes what has arrived, counts it, and measures delay
 * and jitter by the stamps of sampled frames (frames.h). One thread drives it; the counts may be
 * read by others.
 *
 * Frames are not touched but for the sampled ones. Those are every n-th of a sender, so after one
 * has been found, n - 1 frames are passed over; where the next is none, since frames were lost or
 * others came between, each is looked at until one is found.
 *
 * A guest that is called (BENCH_CALL) does as Linux's NAPI does: it asks for a call at the next
 * used element and leaves its ring alone until the call comes; then it takes all there is with
 * calls declined, asks again, and looks once more. It is spared the sleep itself: the eventfd is
 * read only while the used index shows something, which a guest that sleeps could not see.
 */
#ifndef CONVOY_BENCH_BENCH_RECEIVER_H
#define CONVOY_BENCH_BENCH_RECEIVER_H

#include "frames.h"
#include "front_end.h"
#include "lean_ring.h"

/* A call that does not come within this time after a used element never will. */
#define BENCH_CALL_MISSED_NS UINT64_C(200000000)

/* What is known of the delays of one flow. */
struct bench_flow {
    double jitter_ns; /* RFC 3550, 6.4.1 */
    int64_t delay_ns; /* of the last sampled frame */
    uint64_t delay_count;
};

struct bench_receiver {
    unsigned guest, pair;
    struct lean_ring lean;
    size_t hdr_bytes;
    uint32_t buffer_bytes; /* of each posted buffer */
    bool is_called;        /* BENCH_CALL; otherwise it polls */
    bool is_mergeable;     /* frames may have several buffers */
    bool may_super;        /* frames may be super-packets: every header is read */
    bool is_stamped;       /* frames have stamps */
    unsigned sample;       /* every n-th frame of a sender is stamped ... */
    unsigned until_sample; /* ... and the next one is perhaps so many frames ahead, from 1 */
    unsigned sender_first, sender_count; /* guests that send to this one */
    unsigned flow_count;                 /* of each */
    struct bench_flow *flows;            /* by sender and flow */
    uint64_t waiting_ns; /* since when something lies there that no call has told of; 0: none */
    struct traffic_checker *checker; /* verify: the guest's; NULL: frames are only counted */
    uint8_t mac[6];                  /* the guest's */
    uint8_t *scratch;                /* verify: where frames of several buffers are gathered */
    /* counts; written by the one thread with bench_count_set */
    uint64_t packets, bytes, missed_calls;
    struct histogram delay_ns;
};

/*
 * Takes over receiveq `pair` of an open guest, whose buffers are all posted. `sender_first` and
 * `sender_count` are the guests that send to this one, each with `flow_count` flows. -ENOMEM.
 */
int bench_receiver_init(struct bench_receiver *receiver, const struct bench_options *options,
                        unsigned guest, unsigned pair, struct front_end *fe, unsigned sender_first,
                        unsigned sender_count, unsigned flow_count,
                        struct traffic_checker *checker) CV_MUST_CHECK;
void bench_receiver_uninit(struct bench_receiver *receiver);

/* Begins anew: counts, delays and jitter are 0. */
void bench_receiver_start(struct bench_receiver *receiver);

/* Takes all that has arrived and is to be taken; true if anything. */
bool bench_receiver_turn(struct bench_receiver *receiver);

/* Adds the jitters of flows with two delays or more to *sum and their number to *count. */
void bench_receiver_add_jitter(const struct bench_receiver *receiver, double *sum, uint64_t *count);

#endif
