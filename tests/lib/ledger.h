/*
 * What was sent, packet for packet, and the judge of what arrives: each flow must deliver every
 * packet that was put on the wire, in that order, equal to the last byte. Packets are kept whole,
 * so nothing is known of their contents here.
 *
 * Each flow has a ring of packets, as many as can be under way and some that arrived before, so
 * that a packet that was passed over or comes again is recognised as that.
 */
#ifndef CONVOY_TESTS_LIB_LEDGER_H
#define CONVOY_TESTS_LIB_LEDGER_H

#include "base/compiler.h"

enum {
    LEDGER_PACKETS = 1024, /* of a flow: under way, and behind them some that have arrived */
    LEDGER_UNDER_WAY_MAX = LEDGER_PACKETS / 2,
    LEDGER_PACKET_BYTES_MAX = 1600,
};

enum ledger_state { LEDGER_WAITING, LEDGER_ARRIVED, LEDGER_PASSED_OVER };

struct ledger_packet {
    uint16_t len;
    uint8_t state; /* enum ledger_state */
    uint8_t bytes[LEDGER_PACKET_BYTES_MAX];
};

struct ledger_flow {
    uint64_t sent;  /* packets entered */
    uint64_t first; /* the oldest that waits */
    struct ledger_packet *packets;
};

struct ledger_counts {
    uint64_t sent, arrived;
    uint64_t lost;      /* passed over by a later one and never seen; also those never waited for */
    uint64_t reordered; /* arrived after a later one */
    uint64_t doubled;   /* arrived, and arrived again */
    uint64_t altered;   /* like nothing that was sent */
};

struct ledger {
    unsigned flow_count;
    struct ledger_flow *flows;
    struct ledger_counts counts;
    char first_wrong[400]; /* "" */
};

/* -ENOMEM. */
int ledger_init(struct ledger *ledger, unsigned flow_count) CV_MUST_CHECK;
void ledger_uninit(struct ledger *ledger);

/* Packets of all flows that are under way. */
static inline uint64_t ledger_under_way(const struct ledger *ledger)
{
    return ledger->counts.sent - ledger->counts.arrived - ledger->counts.lost;
}

/* Enters a packet as it will be once all its checksums are complete. */
void ledger_enter(struct ledger *ledger, unsigned flow, const uint8_t *packet, size_t len);

/* Judges a packet that arrived. */
void ledger_judge(struct ledger *ledger, unsigned flow, const uint8_t *packet, size_t len);

/* Nothing more comes: all that waits is lost. */
void ledger_give_up(struct ledger *ledger);

#endif
