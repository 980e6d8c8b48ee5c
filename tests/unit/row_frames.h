/*
 * What the tests of merging hold a row against: the packets as they came, each in one run of bytes,
 * and the property that all of them check. Like wire_frames.h it knows nothing of the code under
 * test but frame_parse, and sums byte by byte.
 */
#ifndef TESTS_UNIT_ROW_FRAMES_H
#define TESTS_UNIT_ROW_FRAMES_H

#include "convoy/segment.h"
#include "unit/wire_frames.h"

/* A packet as it came. */
struct row_packet {
    uint8_t bytes[FRAME_BYTES_MAX];
    size_t len;
    struct frame_facts facts;    /* of it alone */
    struct virtio_net_hdr vnet;  /* as offload_check left it */
    struct virtio_net_hdr asked; /* as its sender wrote it */
};

/* Reads the facts of the packet from as many bytes as a frame's head holds. */
static inline void row_parse(struct row_packet *packet)
{
    frame_parse(packet->bytes, CV_MIN(packet->len, FRAME_HEAD_BYTES_MAX), packet->len,
                &packet->facts);
}

/* Lengths and IPv4 header checksum as they should be, wherever that is an IP packet at all. */
static inline void row_fix_ip(struct row_packet *packet)
{
    size_t l3 = packet->facts.l3_offset, ip_len = packet->len - l3;
    uint8_t *ip = packet->bytes + l3;

    if (packet->facts.ethertype == 0x0800 && ip_len >= 20) {
        size_t header_bytes = CV_MIN((size_t)(ip[0] & 15) * 4, ip_len);

        wire_be16(ip + 2, ip_len);
        wire_be16(ip + 10, 0);
        wire_be16(ip + 10, ~wire_sum(0, ip, header_bytes));
    } else if (packet->facts.ethertype == 0x86dd && ip_len >= 40) {
        wire_be16(ip + 4, ip_len - 40);
    }
    row_parse(packet);
    if (packet->facts.flags & FRAME_UDP)
        wire_be16(packet->bytes + packet->facts.l4_offset + 4,
                  packet->len - packet->facts.l4_offset);
}

/* The right transport checksum, or only the sum of the pseudo-header. */
static inline void row_fix_checksum(struct row_packet *packet, bool complete)
{
    const struct frame_facts *facts = &packet->facts;
    bool udp = facts->flags & FRAME_UDP;
    size_t l4_len = packet->len - facts->l4_offset;
    uint8_t *l4 = packet->bytes + facts->l4_offset;
    uint8_t *field = l4 + (udp ? 6 : 16);
    uint32_t sum;

    if (!(facts->flags & (FRAME_TCP | FRAME_UDP)))
        return;
    wire_be16(field, 0);
    sum = wire_pseudo_sum(packet->bytes + facts->l3_offset, facts->flags & FRAME_IPV4 ? 4 : 6,
                          facts->ip_protocol, l4_len);
    if (complete) {
        sum = ~wire_sum(sum, l4, l4_len) & 0xffff;
        sum = sum == 0 && udp ? 0xffff : sum;
    }
    wire_be16(field, sum);
}

/* The bytes of a whole row; returns how many. `to` holds at least FRAME_BYTES_MAX. */
static inline size_t row_linearise(const struct frame *super, uint8_t *to)
{
    size_t len = wire_linearise(super, to);

    for (const struct frame *frame = super->merged_next; frame; frame = frame->merged_next) {
        static uint8_t bytes[sizeof(((struct wire_frame *)NULL)->bytes)];
        size_t headers = frame->facts.payload_offset;
        size_t n = wire_linearise(frame, bytes) - headers;

        memcpy(to + len, bytes + headers, n);
        len += n;
    }
    return len;
}

static inline bool row_same_facts(const struct frame_facts *a, const struct frame_facts *b)
{
    return a->flow_hash == b->flow_hash && a->flags == b->flags && a->ethertype == b->ethertype &&
           a->vlan_tci == b->vlan_tci && a->l3_offset == b->l3_offset &&
           a->l4_offset == b->l4_offset && a->payload_offset == b->payload_offset &&
           a->ip_protocol == b->ip_protocol;
}

/* What is wrong with the head of a row as that of a super-packet; NULL: nothing. */
static inline const char *row_head_fault(const struct frame *super)
{
    static struct row_packet whole;
    struct virtio_net_hdr vnet = super->vnet;
    size_t l4, field;
    uint32_t sum;

    whole.len = row_linearise(super, whole.bytes);
    row_parse(&whole);
    l4 = whole.facts.l4_offset;
    if (whole.len != super->len)
        return "length";
    if (!row_same_facts(&whole.facts, &super->facts))
        return "facts";
    if (!offload_check(&vnet, &super->facts, super->head_len, super->len) ||
        memcmp(&vnet, &super->vnet, sizeof(vnet)) != 0 || vnet.gso_type == VNET_HDR_GSO_NONE)
        return "virtio-net header";
    if (offload_segments(&vnet, &super->facts, super->len) != super->merged_count + 1u)
        return "number of segments";
    if (!!(vnet.gso_type & VNET_HDR_GSO_ECN) !=
        ((super->facts.flags & FRAME_TCP) && (whole.bytes[l4 + 13] & 0x80)))
        return "ECN";
    if ((whole.facts.flags & FRAME_IPV4) &&
        wire_sum(0, whole.bytes + whole.facts.l3_offset, 20) != 0xffff)
        return "IPv4 header checksum";
    if ((whole.facts.flags & FRAME_UDP) && wire_get16(whole.bytes + l4 + 4) != whole.len - l4)
        return "UDP length";
    field = l4 + vnet.csum_offset;
    sum =
        wire_pseudo_sum(whole.bytes + whole.facts.l3_offset, whole.facts.flags & FRAME_IPV4 ? 4 : 6,
                        whole.facts.ip_protocol, whole.len - l4);
    return wire_get16(whole.bytes + field) == sum ? NULL : "sum of the pseudo-header";
}

/*
 * The packet as a receiver should get it: one without checksum offload the bytes that its sender
 * asked for, the other with only the pseudo-header's sum, where that is not what the sender left.
 * What was vouched for is a right checksum.
 */
static inline void row_expect(const struct row_packet *packet, bool complete,
                              struct row_packet *ret_expected)
{
    const struct virtio_net_hdr *vnet = &packet->vnet;
    size_t field = (size_t)vnet->csum_start + vnet->csum_offset;

    ret_expected->len = packet->len;
    ret_expected->facts = packet->facts;
    memcpy(ret_expected->bytes, packet->bytes, packet->len);
    if (!(vnet->flags & VNET_HDR_F_NEEDS_CSUM)) {
        if (vnet->flags != 0 || !complete)
            row_fix_checksum(ret_expected, complete);
    } else if (complete) {
        uint32_t sum =
            wire_sum(0, packet->bytes + vnet->csum_start, packet->len - vnet->csum_start);

        sum = ~sum & 0xffff;
        wire_be16(ret_expected->bytes + field, sum == 0 && vnet->csum_offset == 6 ? 0xffff : sum);
    }
}

/* What distinguishes a segment from the packet that it was; NULL: nothing. */
static inline const char *row_segment_fault(const struct frame *frame,
                                            const struct row_packet *packet, bool complete)
{
    static const struct virtio_net_hdr none;
    static struct row_packet expected;
    static uint8_t bytes[sizeof(((struct wire_frame *)NULL)->bytes)];

    row_expect(packet, complete, &expected);
    if (packet->vnet.gso_type != VNET_HDR_GSO_NONE)
        return "a super-packet was merged";
    if (frame->len != packet->len || wire_linearise(frame, bytes) != packet->len)
        return "length of a segment";
    if (memcmp(bytes, expected.bytes, packet->len) != 0)
        return "bytes of a segment";
    if (frame->merged_count != 0 || frame->merged_next != NULL || frame->merged_last != NULL)
        return "a segment is a row";
    if (complete)
        return memcmp(&frame->vnet, &none, sizeof(none)) == 0 ? NULL : "wishes of a segment";
    if (frame->vnet.flags != VNET_HDR_F_NEEDS_CSUM || frame->vnet.gso_type != VNET_HDR_GSO_NONE ||
        frame->vnet.gso_size != 0 || frame->vnet.csum_start != packet->facts.l4_offset ||
        frame->vnet.csum_offset != (packet->facts.flags & FRAME_UDP ? 6 : 16))
        return "virtio-net header of a segment";
    return NULL;
}

/*
 * The property: a row of merged frames is a true super-packet, and cutting it for a receiver with
 * `offloads` gives exactly the `count` packets that it was made of, in order; where the receiver
 * completes checksums, with only the sum of the pseudo-header in them. Returns what is wrong; NULL:
 * nothing.
 */
static inline const char *row_fault(const struct frame *super,
                                    const struct row_packet *const *packets, size_t count,
                                    unsigned offloads)
{
    static struct segment segment;
    const char *fault = row_head_fault(super);
    struct segmenter segmenter;
    size_t index = 0;

    memset(&segment, 0xa5, sizeof(segment)); /* whatever lies there before */
    segmenter_init(&segmenter, super, offloads);
    while (!fault && segmenter_next(&segmenter, &segment)) {
        fault = index == count
                    ? "too many segments"
                    : row_segment_fault(&segment.frame, packets[index], !(offloads & OFFLOAD_CSUM));
        index++;
    }
    return !fault && index < count ? "too few segments" : fault;
}

#endif
