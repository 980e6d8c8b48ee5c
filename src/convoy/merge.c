/*
 * Merging. What Linux's GRO asks of a segment (inet_gro_receive, ipv6_gro_receive, tcp_gro_receive,
 * udp_gro_receive_segment) is asked here too, and in addition whatever convoy/segment.c would write
 * into it must be there already: it counts IPv4 ids up, keeps PSH and FIN for the last segment and
 * CWR for the first, and sets lengths and sums as they are when nothing is wrong with them.
 *
 * A row needs no state of its own. It is closed when its payload is not a whole number of segments,
 * or when its first frame shows PSH or FIN, which only the last segment may have brought. Lengths
 * and sums of its head grow with every frame by the frame's payload: a one's complement sum over a
 * length field grows by what the field grows (RFC 1624).
 */
#include "convoy/merge.h"

#include "convoy/frame_checksum.h"
#include "wire/bytes.h"

enum { IP_BYTES_MAX = 65535 };

static const uint8_t *ip_header(const struct frame *frame)
{
    return frame->head + frame->facts.l3_offset;
}

static const uint8_t *l4_header(const struct frame *frame)
{
    return frame->head + frame->facts.l4_offset;
}

static bool is_ipv4(const struct frame *frame)
{
    return frame->facts.flags & FRAME_IPV4;
}

static bool is_tcp(const struct frame *frame)
{
    return frame->facts.flags & FRAME_TCP;
}

static uint32_t payload_bytes(const struct frame *frame)
{
    return frame->len - frame->facts.payload_offset;
}

bool merge_same_flow(const struct frame *super, const struct frame *frame)
{
    const struct frame_facts *a = &super->facts, *b = &frame->facts;
    const uint8_t *ip_a = ip_header(super), *ip_b = ip_header(frame);

    /* Equal Ethernet headers end in equal types, so the IP versions are equal too. */
    if (a->flow_hash != b->flow_hash || is_tcp(super) != is_tcp(frame) ||
        bytes_load_be32(l4_header(super)) != bytes_load_be32(l4_header(frame)) ||
        memcmp(super->head, frame->head, a->l3_offset) != 0)
        return false;
    if (is_ipv4(super))
        return bytes_load_be64(ip_a + IPV4_ADDRESSES_OFFSET) ==
               bytes_load_be64(ip_b + IPV4_ADDRESSES_OFFSET);
    return memcmp(ip_a + IPV6_ADDRESSES_OFFSET, ip_b + IPV6_ADDRESSES_OFFSET, 32) == 0;
}

/* UDP's length counts what the IP packet holds: a shorter one leaves bytes behind the datagram. */
static bool is_padded(const struct frame *frame)
{
    if (frame->facts.flags & FRAME_TRAILER)
        return true;
    return !is_tcp(frame) && bytes_load_be16(l4_header(frame) + UDP_LENGTH_OFFSET) !=
                                 frame->len - frame->facts.l4_offset;
}

static enum merge_refusal check_kind(const struct frame *super, const struct frame *frame)
{
    if (frame->vnet.gso_type != VNET_HDR_GSO_NONE ||
        (super->vnet.gso_type != VNET_HDR_GSO_NONE && super->merged_count == 0))
        return MERGE_REFUSED_SUPER;
    if (payload_bytes(frame) == 0 || payload_bytes(super) == 0)
        return MERGE_REFUSED_EMPTY;
    if (is_padded(frame) || is_padded(super))
        return MERGE_REFUSED_PADDING;
    return frame->piece_count > MERGE_PIECES_MAX ? MERGE_REFUSED_PIECES : MERGE_JOINED;
}

/* Nothing between IP and transport header, and all fields equal but lengths, id and checksum. */
static enum merge_refusal check_ip(const struct frame *super, const struct frame *frame)
{
    const uint8_t *a = ip_header(super), *b = ip_header(frame);
    size_t header_bytes = is_ipv4(frame) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    bool equal = l4_header(super) - a == l4_header(frame) - b &&
                 (size_t)(l4_header(frame) - b) == header_bytes;

    if (is_ipv4(frame))
        equal = equal && bytes_load_be16(a) == bytes_load_be16(b) &&
                bytes_load_be16(a + IPV4_FRAGMENT_OFFSET) ==
                    bytes_load_be16(b + IPV4_FRAGMENT_OFFSET) &&
                a[IPV4_TTL_OFFSET] == b[IPV4_TTL_OFFSET];
    else
        equal = equal && bytes_load_be32(a) == bytes_load_be32(b) &&
                a[IPV6_HOP_LIMIT_OFFSET] == b[IPV6_HOP_LIMIT_OFFSET];
    return equal ? MERGE_JOINED : MERGE_REFUSED_IP;
}

static enum merge_refusal check_tcp(const struct frame *super, const struct frame *frame,
                                    unsigned offloads)
{
    const uint8_t *a = l4_header(super), *b = l4_header(frame);
    unsigned flags_a = bytes_load_be16(a + TCP_DATA_OFFSET); /* data offset, reserved, flags */
    unsigned flags_b = bytes_load_be16(b + TCP_DATA_OFFSET);
    size_t header_bytes = super->facts.payload_offset - super->facts.l4_offset;

    if ((flags_a ^ flags_b) >> 12 ||
        memcmp(a + TCP_HEADER_BYTES, b + TCP_HEADER_BYTES, header_bytes - TCP_HEADER_BYTES) != 0)
        return MERGE_REFUSED_OPTIONS;
    if (((flags_a ^ flags_b) & ~(unsigned)(TCP_CWR | TCP_PSH | TCP_FIN)) ||
        (flags_b & (TCP_ACK | TCP_SYN | TCP_RST | TCP_URG | TCP_CWR)) != TCP_ACK ||
        (flags_a & (TCP_PSH | TCP_FIN)) || ((flags_a & TCP_CWR) && !(offloads & OFFLOAD_ECN)) ||
        bytes_load_be16(a + TCP_URGENT_OFFSET) != bytes_load_be16(b + TCP_URGENT_OFFSET))
        return MERGE_REFUSED_FLAGS;
    if (bytes_load_be32(a + TCP_ACKNOWLEDGEMENT_OFFSET) !=
            bytes_load_be32(b + TCP_ACKNOWLEDGEMENT_OFFSET) ||
        bytes_load_be16(a + TCP_WINDOW_OFFSET) != bytes_load_be16(b + TCP_WINDOW_OFFSET))
        return MERGE_REFUSED_ACKNOWLEDGEMENT;
    if (bytes_load_be32(a + TCP_SEQUENCE_OFFSET) + payload_bytes(super) !=
        bytes_load_be32(b + TCP_SEQUENCE_OFFSET))
        return MERGE_REFUSED_SEQUENCE;
    return MERGE_JOINED;
}

static enum merge_refusal check_place(const struct frame *super, const struct frame *frame)
{
    uint32_t present = payload_bytes(super), added = payload_bytes(frame);
    uint32_t segments = super->merged_count + 1u;
    uint32_t segment_bytes = super->merged_count > 0 ? super->vnet.gso_size : present;

    if (added > segment_bytes || present != segments * segment_bytes)
        return MERGE_REFUSED_SIZE;
    if (is_ipv4(frame) &&
        bytes_load_be16(ip_header(frame) + IPV4_ID_OFFSET) !=
            (uint16_t)(bytes_load_be16(ip_header(super) + IPV4_ID_OFFSET) + segments))
        return MERGE_REFUSED_IP_ID;
    if (segments == MERGE_FRAMES_MAX || super->len + added > FRAME_BYTES_MAX ||
        super->len + added - super->facts.l3_offset > IP_BYTES_MAX)
        return MERGE_REFUSED_FULL;
    return MERGE_JOINED;
}

static bool checksums_are_good(struct frame *frame)
{
    if (!frame->checksum_is_good)
        frame->checksum_is_good = frame_checksums_are_good(frame);
    return frame->checksum_is_good;
}

/* A plain frame becomes a super-packet of one segment. */
static void begin_row(struct frame *super)
{
    uint8_t *l4 = super->head + super->facts.l4_offset;
    uint8_t gso_type = VNET_HDR_GSO_UDP_L4;
    uint16_t field = frame_checksum_of_pseudo_header(super);

    memcpy(l4 + frame_checksum_offset(super), &field, sizeof(field));
    if (is_tcp(super)) {
        gso_type = is_ipv4(super) ? VNET_HDR_GSO_TCPV4 : VNET_HDR_GSO_TCPV6;
        gso_type |= l4[TCP_FLAGS_OFFSET] & TCP_CWR ? VNET_HDR_GSO_ECN : 0;
    }
    super->vnet = (struct virtio_net_hdr){
        .flags = VNET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_type,
        .hdr_len = super->facts.payload_offset,
        .gso_size = (uint16_t)payload_bytes(super),
        .csum_start = super->facts.l4_offset,
        .csum_offset = frame_checksum_offset(super),
    };
}

static uint16_t grow_sum(uint16_t sum, uint32_t n)
{
    uint32_t grown = sum + n;

    return (uint16_t)((grown & 0xffff) + (grown >> 16));
}

static void grow_length(uint8_t *field, uint32_t n)
{
    bytes_store_be16(field, (uint16_t)(bytes_load_be16(field) + n));
}

/* The headers of a row that has grown by the payload of `frame`. */
static void extend_headers(struct frame *super, const struct frame *frame)
{
    uint8_t *ip = super->head + super->facts.l3_offset;
    uint8_t *l4 = super->head + super->facts.l4_offset;
    uint32_t n = payload_bytes(frame);
    uint8_t *field = l4 + frame_checksum_offset(super);

    if (is_ipv4(super)) {
        uint16_t sum = (uint16_t)~bytes_load_be16(ip + IPV4_CHECKSUM_OFFSET);

        grow_length(ip + IPV4_TOTAL_LENGTH_OFFSET, n);
        bytes_store_be16(ip + IPV4_CHECKSUM_OFFSET, (uint16_t)~grow_sum(sum, n));
    } else {
        grow_length(ip + IPV6_PAYLOAD_LENGTH_OFFSET, n);
    }
    bytes_store_be16(field, grow_sum(bytes_load_be16(field), n));
    if (is_tcp(super))
        l4[TCP_FLAGS_OFFSET] |= l4_header(frame)[TCP_FLAGS_OFFSET] & (TCP_PSH | TCP_FIN);
    else
        grow_length(l4 + UDP_LENGTH_OFFSET, n);
}

static void append_to_row(struct frame *super, struct frame *frame)
{
    assert(frame->merged_next == NULL);
    if (super->merged_count == 0)
        super->merged_next = frame;
    else
        super->merged_last->merged_next = frame;
    super->merged_last = frame;
    super->merged_count++;
}

enum merge_refusal merge_join(struct frame *super, struct frame *frame, unsigned offloads)
{
    enum merge_refusal refusal = check_kind(super, frame);

    if (!refusal)
        refusal = check_ip(super, frame);
    if (!refusal && is_tcp(frame))
        refusal = check_tcp(super, frame, offloads);
    if (!refusal)
        refusal = check_place(super, frame);
    if (refusal)
        return refusal;
    if (!checksums_are_good(super) || !checksums_are_good(frame))
        return MERGE_REFUSED_CHECKSUM;
    if (super->merged_count == 0)
        begin_row(super);
    extend_headers(super, frame);
    super->facts.flags |= frame->facts.flags & FRAME_EXPRESS;
    super->len += payload_bytes(frame);
    append_to_row(super, frame);
    return MERGE_JOINED;
}
