/*
 * Streams as a bad network delivers them, for the proof that merging changes nothing: many flows
 * interleaved, packets left out, swapped with later ones and sent twice on purpose, and now and
 * then one whose headers differ from its neighbours' in a way that forbids merging (flags, options,
 * timestamps, IP ids, TTL, TOS, windows, wrong checksums, fragments, padding, VLAN tags). Whatever
 * was put on the wire must come out of the receiver's ring: super-packets are cut by the reference
 * cutter, and every packet is held against the ledger of what was sent.
 *
 * A generator makes the packets of one sender; disturb_run exchanges them between the two ends of
 * an exchange, in both directions.
 */
#ifndef CONVOY_TESTS_LIB_DISTURB_H
#define CONVOY_TESTS_LIB_DISTURB_H

#include "exchange.h"
#include "ledger.h"

enum { DISTURB_FLOWS_MAX = 200 };

struct disturb_options {
    enum traffic_kind kind; /* TCP or UDP */
    unsigned flows;
    double loss, reorder, duplicate; /* shares of the packets, 0 to 1 */
    bool offload_csum;               /* every other packet leaves its checksum to the switch */
    size_t payload_max;              /* of a packet; 0: what fits 1500 bytes */
    uint64_t seed;
};

/* A packet, and how many of its flow are sent before it; 0 bytes: there is none. */
struct disturb_delayed {
    uint16_t len;
    unsigned after;
    uint8_t bytes[LEDGER_PACKET_BYTES_MAX];
};

struct disturb_flow {
    uint32_t sequence, acknowledgement, timestamp, flow_label;
    uint16_t ip_id, window, vlan;
    uint8_t ttl, tos, variant;
    unsigned message_left;       /* packets until the short one that ends a message */
    size_t segment_bytes;        /* payload of the others */
    struct disturb_delayed held; /* sent behind later ones */
    struct disturb_delayed again;
};

struct disturber {
    struct disturb_options options;
    uint8_t dst[6], src[6];
    uint64_t random;
    unsigned flow, run_left; /* current flow, and for how many packets */
    uint64_t left_out, swapped, doubled;
    struct disturb_flow *flows;
};

/* -ENOMEM. */
int disturber_init(struct disturber *disturber, const struct disturb_options *options,
                   const uint8_t dst[6], const uint8_t src[6]) CV_MUST_CHECK;
void disturber_uninit(struct disturber *disturber);

/*
 * Writes the next packet with complete checksums and returns its length; *ret_flow is its flow.
 * `packet` has room for LEDGER_PACKET_BYTES_MAX.
 */
size_t disturber_next(struct disturber *disturber, uint8_t *packet, unsigned *ret_flow);

/* What both directions came to. */
struct disturb_result {
    struct ledger_counts counts;
    uint64_t super, merged; /* super-packets, and packets in them */
    uint64_t foreign;
    uint64_t left_out, swapped, doubled; /* on purpose */
    char first_wrong[400];
};

/* Every end of the exchange sends `packets` packets. False: the deadline came first. -ENOMEM as
 * "first_wrong". */
bool disturb_run(struct exchange *exchange, const struct disturb_options *options, uint64_t packets,
                 uint64_t deadline_ns, struct disturb_result *ret_result);

#endif
