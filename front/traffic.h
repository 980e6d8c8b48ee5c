/*
 * Frames that prove their own integrity, and the judge of what arrives.
 *
 * *Numbered* frames (60 to 1514 bytes and more) carry flow, sequence number, length and a CRC-32C
 * over the whole frame; the rest is pseudo-random from (flow, number). *Stream* packets are pieces
 * of an endless byte stream per flow, sent as valid TCP segments or UDP datagrams, or as
 * super-packets of them; whoever cuts or merges them must leave every byte at its place, and every
 * header right. A checker says per flow what was lost, doubled, reordered or altered. Fields that a
 * switch may complete (transport checksums) are not under the CRC; they are verified by their own
 * rules.
 *
 * No system call, no allocation behind the checker's table; used in and outside guests.
 */
#ifndef CONVOY_FRONT_TRAFFIC_H
#define CONVOY_FRONT_TRAFFIC_H

#include "base/compiler.h"
#include "wire/virtio_net_hdr.h"

enum traffic_kind { TRAFFIC_ETHER, TRAFFIC_UDP4, TRAFFIC_UDP6, TRAFFIC_TCP4, TRAFFIC_TCP6 };

enum {
    TRAFFIC_ETHERTYPE = 0x88b5,   /* IEEE 802: local experiments */
    TRAFFIC_NUMBERED_PORT = 7707, /* destination port of numbered frames */
    TRAFFIC_STREAM_PORT = 7708,   /* destination port of stream packets */
    TRAFFIC_HEADERS_MAX = 74,     /* Ethernet, IPv6, TCP */
    TRAFFIC_RECORD_BYTES = 18,    /* flow, number, length, CRC */
    TRAFFIC_WINDOW = 65536,       /* numbers back from the highest that are told apart */
};

/* What a receiver has agreed to take; everything else must have been done for it. */
enum traffic_takes {
    TRAFFIC_TAKES_CSUM = 1,
    TRAFFIC_TAKES_TSO4 = 2,
    TRAFFIC_TAKES_TSO6 = 4,
    TRAFFIC_TAKES_USO = 8,
};

/* --- sending --- */

struct traffic_source {
    enum traffic_kind kind;
    uint32_t flow;
    uint64_t next_number;                 /* of the next numbered frame */
    uint64_t next_offset;                 /* of the next stream byte */
    bool offload_csum;                    /* ask the switch to complete transport checksums */
    uint16_t ip_id;                       /* of the next IPv4 packet */
    uint8_t headers_len;                  /* Ethernet to transport header */
    uint8_t l4_offset;                    /* transport header, 0 for TRAFFIC_ETHER */
    uint8_t headers[TRAFFIC_HEADERS_MAX]; /* lengths, id and checksums not filled */
};

/* Addresses are in wire order. */
void traffic_source_init(struct traffic_source *source, enum traffic_kind kind, uint32_t flow,
                         const uint8_t dst[6], const uint8_t src[6]);

/* Length of the smallest numbered frame of this source: 60 for Ethernet and UDP over IPv4. */
size_t traffic_frame_len_min(const struct traffic_source *source);

/*
 * Writes the source's next numbered frame of `len` bytes (at least traffic_frame_len_min) and what
 * it asks of the switch in *ret_hdr.
 */
void traffic_frame_build(struct traffic_source *source, uint8_t *frame, size_t len,
                         struct virtio_net_hdr *ret_hdr);

/*
 * Writes a packet of the source's stream with `payload_len` bytes behind its headers and returns
 * its length; the source is TCP or UDP. Where payload_len exceeds `mss` it is a super-packet of
 * segments of `mss` bytes. UDP: every datagram needs at least 17 bytes, the last included.
 */
size_t traffic_stream_build(struct traffic_source *source, uint8_t *frame, size_t payload_len,
                            size_t mss, struct virtio_net_hdr *ret_hdr);

/* --- judging --- */

struct traffic_counts {
    uint64_t frames;    /* that belong to the traffic, good or bad */
    uint64_t bytes;     /* of those */
    uint64_t doubled;   /* arrived before */
    uint64_t reordered; /* arrived after a later one of their flow */
    uint64_t altered;   /* not as they were sent, or against the rules */
    uint64_t foreign;   /* frames of others */
    uint64_t super;     /* super-packets: of streams among `frames`, else see `merged` */
    uint64_t merged;    /* numbered frames among `frames` that came in super-packets */
};

struct traffic_flow {
    uint64_t next_number; /* one past the highest seen */
    uint64_t distinct;    /* different numbers seen */
    uint64_t next_offset; /* stream: one past the highest byte seen */
    uint64_t gap_bytes;   /* stream: bytes before it not seen */
    uint64_t seen[TRAFFIC_WINDOW / 64];
};

struct traffic_checker {
    unsigned takes;         /* a set of enum traffic_takes */
    size_t frame_bytes_max; /* largest frame without segmentation offload; default 1514 */
    uint32_t flow_first;    /* flows [flow_first, flow_first + flow_count) are expected */
    unsigned flow_count;
    struct traffic_flow *flows;
    struct traffic_counts counts;
    char first_wrong[160]; /* what was wrong with the first altered frame; "" */
};

/* -ENOMEM. */
int traffic_checker_init(struct traffic_checker *checker, uint32_t flow_first, unsigned flow_count,
                         unsigned takes) CV_MUST_CHECK;
void traffic_checker_uninit(struct traffic_checker *checker);

/* Judges one frame; `context` is the checker (the signature is that of front_ring_receive's
 * visitor). */
void traffic_check(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                   size_t len);

/* Numbered frames of a flow that never came, when `sent` of them were sent. */
uint64_t traffic_lost(const struct traffic_checker *checker, uint32_t flow, uint64_t sent);
/* The same for stream bytes. */
uint64_t traffic_lost_bytes(const struct traffic_checker *checker, uint32_t flow,
                            uint64_t sent_bytes);

#endif
