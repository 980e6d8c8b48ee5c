/*
 * What a guest sends: a list of frames that its transmit slots hold from the start and send again
 * and again, in turn. Built once before a run.
 *
 * Every frame that is not from a capture carries a *stamp* in its last BENCH_STAMP_BYTES (16)
 * bytes: the sender's number (16 bit), the flow's (16 bit), a count of its frames (32 bit) and the
 * time when it was due (64 bit, CLOCK_MONOTONIC ns), in the host's byte order. UDP frames have
 * checksum 0 over IPv4, or ask the switch for it where offloads are negotiated; TCP and UDP over
 * IPv6 have a right sum over an unstamped payload, which the stamp then breaks unless the sum is
 * left to the switch: no switch looks at it, and a real guest is not there.
 *
 * Flows differ in their source port and take turns frame by frame. TCP frames are segments of one
 * direction of an established connection as Linux sends them: ACK and nothing else, time stamps
 * (RFC 7323) that do not change, sequence numbers that go on from one frame of a flow to its next,
 * so that a switch that merges finds what it may merge. Where the list starts over, so do they.
 */
#ifndef CONVOY_BENCH_FRAMES_H
#define CONVOY_BENCH_FRAMES_H

#include "bench.h"

enum {
    BENCH_STAMP_BYTES = 16,
    BENCH_CAPTURE_FRAMES_MAX = BENCH_RING_MAX, /* the first of a capture; others are not read */
};

struct bench_stamp {
    uint16_t sender;
    uint16_t flow;
    uint32_t number;
    uint64_t due_ns;
};
static_assert(sizeof(struct bench_stamp) == BENCH_STAMP_BYTES, "it is written as it is");

struct bench_frame {
    struct virtio_net_hdr hdr; /* what it asks of the switch */
    uint8_t *bytes;            /* part of the list's memory */
    uint32_t len;
    uint32_t packets; /* 1, or segments of a super-packet */
    uint16_t flow;
    bool is_stamped; /* it ends with room for a stamp; not so frames of a capture */
};

struct bench_frames {
    struct bench_frame *frames;
    unsigned count;     /* a power of two, or a capture's number of frames */
    unsigned bytes_max; /* of the longest */
    uint8_t *memory;
};

/*
 * The frames that `sender` sends to the addresses `dst` (dst_count of them in turn), from `src`. A
 * flow has one destination, so there are at least dst_count flows. IMIX is 7 frames of 60, 4 of 590
 * and 1 of 1514 bytes (without FCS) among each 12, in an order that is drawn anew for each 12;
 * frames that are too small for their kind are as large as it needs. Frames of a capture keep their
 * bytes but for both addresses. `count_min` is how many are wanted at least, as a rule the ring's
 * size; there are never fewer than flows. -EINVAL with a sentence for a capture that cannot be
 * read, has no frame, or frames that are no Ethernet frames of up to BENCH_MTU_FRAME bytes, or for
 * a size too small for the kind; -ENOMEM.
 */
int bench_frames_init(struct bench_frames *frames, const struct bench_options *options,
                      unsigned sender, const uint8_t src[6], const uint8_t (*dst)[6],
                      unsigned dst_count, unsigned count_min, struct error *error) CV_MUST_CHECK;
void bench_frames_uninit(struct bench_frames *frames);

/*
 * The smallest frame of a kind, in bytes without FCS: BENCH_SIZE_MIN, or what headers and a stamp
 * (or the record of a numbered frame, traffic.h) need.
 */
unsigned bench_frame_bytes_min(enum traffic_kind kind);

/* The address of guest n: 52:54:00:be:hh:ll. */
void bench_guest_mac(unsigned guest, uint8_t ret_mac[6]);

#endif
