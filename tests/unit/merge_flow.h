/*
 * One flow of TCP or UDP, made packet by packet for the tests of merging: right in every way until
 * a test changes something. To be included by a test program behind cmocka.h.
 */
#ifndef TESTS_UNIT_MERGE_FLOW_H
#define TESTS_UNIT_MERGE_FLOW_H

#include "convoy/merge.h"
#include "unit/row_frames.h"
#include "wire/ip.h"

enum { ALL = 63, PACKETS_MAX = 70 };

enum kind { TCP4, TCP6, UDP4, UDP6, KIND_COUNT };

/* How a packet shows that its checksum is right. */
enum sums { COMPLETE, NEEDS_CSUM, DATA_VALID, SUMS_COUNT };

/* The flow that packets are made of. */
static struct {
    enum kind kind;
    unsigned tags;        /* VLAN tags */
    size_t ip_bytes;      /* IPv4 options, or an IPv6 extension header */
    size_t option_bytes;  /* TCP options */
    size_t payload_bytes; /* made so far */
    enum sums sums;
} flow;

static struct wire_frame wire;
static struct row_packet packets[PACKETS_MAX];
static struct frame frames[PACKETS_MAX];
static unsigned packet_count;

static inline bool is_v4(void)
{
    return flow.kind == TCP4 || flow.kind == UDP4;
}

static inline bool is_tcp(void)
{
    return flow.kind == TCP4 || flow.kind == TCP6;
}

static inline void unview_all(void)
{
    for (unsigned i = 0; i < packet_count; i++)
        wire_unview(&frames[i]);
    packet_count = 0;
}

/* Starts a flow; what was made before is gone. */
static inline void begin(enum kind kind)
{
    unview_all();
    flow.kind = kind;
    flow.tags = 0;
    flow.ip_bytes = 0;
    flow.option_bytes = is_tcp() ? 12 : 0;
    flow.payload_bytes = 0;
    flow.sums = COMPLETE;
}

/* The flow's next packet, without sums, and not yet seen as a frame; returns its number. */
static inline unsigned make(size_t payload)
{
    unsigned n = packet_count++;
    struct row_packet *packet = &packets[n];

    assert_true(n < PACKETS_MAX);
    wire_begin(&wire);
    for (unsigned i = 0; i < flow.tags; i++)
        wire_vlan(&wire, i == 0 ? 0x88a8 : 0x8100, 7 + i);
    if (is_v4()) {
        wire_ipv4(&wire, is_tcp() ? 6 : 17, flow.ip_bytes);
        wire_be16(wire.bytes + wire.l3 + 4, 0xfffe + n); /* wraps */
    } else {
        wire_ipv6(&wire, is_tcp() ? 6 : 17);
        if (flow.ip_bytes > 0)
            wire_extension(&wire, 60, flow.ip_bytes);
    }
    if (is_tcp()) {
        uint32_t sequence = 0xffffff80u + (uint32_t)flow.payload_bytes; /* wraps */

        wire_tcp(&wire, 0x10, flow.option_bytes);
        wire_be16(wire.bytes + wire.l4 + 4, sequence >> 16);
        wire_be16(wire.bytes + wire.l4 + 6, sequence);
    } else {
        wire_udp(&wire, 0x3039, 80); /* as TCP's */
    }
    wire_payload(&wire, payload, n + 1);
    wire_finish(&wire);
    flow.payload_bytes += payload;
    memcpy(packet->bytes, wire.bytes, wire.len);
    packet->len = wire.len;
    row_parse(packet);
    memset(&packet->vnet, 0, sizeof(packet->vnet));
    return n;
}

static inline uint8_t *ip_of(unsigned n)
{
    return packets[n].bytes + packets[n].facts.l3_offset;
}

static inline uint8_t *l4_of(unsigned n)
{
    return packets[n].bytes + packets[n].facts.l4_offset;
}

/* Right lengths and sums, in the way of the flow; the frame's wishes go with them. */
static inline void fix(unsigned n)
{
    struct row_packet *packet = &packets[n];

    row_parse(packet);
    row_fix_ip(packet);
    row_fix_checksum(packet, flow.sums != NEEDS_CSUM);
    memset(&packet->vnet, 0, sizeof(packet->vnet));
    if (flow.sums == DATA_VALID)
        packet->vnet.flags = VNET_HDR_F_DATA_VALID;
    if (flow.sums == NEEDS_CSUM)
        packet->vnet = (struct virtio_net_hdr){.flags = VNET_HDR_F_NEEDS_CSUM,
                                               .csum_start = packet->facts.l4_offset,
                                               .csum_offset = is_tcp() ? 16 : 6};
}

/* Sees packet `n` as frame `n`, with so much head and in such pieces; false: the worker drops it.
 */
static inline bool accept_in(unsigned n, size_t head_len, const size_t *lens, size_t lens_count)
{
    struct frame *frame = &frames[n];
    bool accepted;

    memcpy(wire.bytes, packets[n].bytes, packets[n].len);
    wire.len = packets[n].len;
    wire_view(&wire, CV_MIN(head_len, wire.len), lens, lens_count, frame);
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    packets[n].facts = frame->facts;
    frame->vnet = packets[n].vnet;
    accepted = offload_check(&frame->vnet, &frame->facts, frame->head_len, frame->len);
    packets[n].vnet = frame->vnet;
    return accepted;
}

static inline bool accept(unsigned n)
{
    return accept_in(n, 100, NULL, 0);
}

static inline struct frame *show_in(unsigned n, size_t head_len, const size_t *lens,
                                    size_t lens_count)
{
    assert_true(accept_in(n, head_len, lens, lens_count));
    return &frames[n];
}

static inline struct frame *show(unsigned n)
{
    return show_in(n, 100, NULL, 0);
}

/* The flow's next packet, right in every way. */
static inline struct frame *add(size_t payload)
{
    unsigned n = make(payload);

    fix(n);
    return show(n);
}

/* Joins two frames. If that is refused, nothing has changed. */
static inline enum merge_refusal join_for(struct frame *super, struct frame *frame,
                                          unsigned offloads)
{
    static struct frame super_before, frame_before;
    enum merge_refusal refusal;

    memcpy(&super_before, super, sizeof(*super));
    memcpy(&frame_before, frame, sizeof(*frame));
    assert_true(merge_concerns(super, ALL) && merge_concerns(frame, ALL));
    assert_true(merge_same_flow(super, frame));
    refusal = merge_join(super, frame, offloads);
    if (refusal == MERGE_JOINED)
        return refusal;
    super_before.checksum_is_good = super->checksum_is_good;
    frame_before.checksum_is_good = frame->checksum_is_good;
    assert_memory_equal(&super_before, super, sizeof(*super));
    assert_memory_equal(&frame_before, frame, sizeof(*frame));
    return refusal;
}

static inline enum merge_refusal join(struct frame *super, struct frame *frame)
{
    return join_for(super, frame, ALL);
}

static inline void assert_no_fault(const char *fault)
{
    if (fault != NULL)
        fail_msg("the row is wrong: %s", fault);
}

/* The row is made of the first `count` packets, and whoever cuts it gets them. */
static inline void assert_row_of(const struct frame *super, unsigned count)
{
    static const unsigned receivers[] = {0, OFFLOAD_CSUM, ALL, ALL & ~OFFLOAD_CSUM};
    const struct row_packet *row[PACKETS_MAX];

    for (unsigned i = 0; i < count; i++)
        row[i] = &packets[i];
    assert_int_equal(super->merged_count, count - 1);
    assert_true(segment_fits(super, ALL));
    for (size_t i = 0; i < CV_COUNT_OF(receivers); i++)
        assert_no_fault(row_fault(super, row, count, receivers[i]));
}

static inline int flow_teardown(void **state)
{
    (void)state;
    unview_all();
    return 0;
}

#endif
