/*
 * The sender's wishes against the frame's facts. hdr_len is never believed. csum_start and
 * csum_offset of a plain frame may point anywhere behind the headers that the switch decides by (a
 * tunnel's inner checksum may lie far behind the head); those of a super-packet must be exactly the
 * transport header's, because cutting relies on them.
 */
#include "wire/offload.h"

#include "wire/ip.h"

enum { CSUM_BYTES = 2 };

/*
 * Completing a checksum writes two bytes of the frame after it was bridged: they must not lie in
 * the Ethernet header, its tags, or an IP header in front of a transport header that we know.
 */
static bool check_csum(const struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                       size_t frame_len)
{
    size_t floor = facts->l4_offset != 0 ? facts->l4_offset : facts->l3_offset;

    return hdr->csum_start >= floor &&
           (size_t)hdr->csum_start + hdr->csum_offset + CSUM_BYTES <= frame_len;
}

/* The GSO type names the protocol that the frame really carries; ECN is TCP's alone. */
static bool check_gso_type(const struct virtio_net_hdr *hdr, const struct frame_facts *facts)
{
    switch (hdr->gso_type) {
    case VNET_HDR_GSO_TCPV4:
    case VNET_HDR_GSO_TCPV4 | VNET_HDR_GSO_ECN:
        return (facts->flags & FRAME_IPV4) && (facts->flags & FRAME_TCP);
    case VNET_HDR_GSO_TCPV6:
    case VNET_HDR_GSO_TCPV6 | VNET_HDR_GSO_ECN:
        return (facts->flags & FRAME_IPV6) && (facts->flags & FRAME_TCP);
    case VNET_HDR_GSO_UDP_L4:
        return facts->flags & FRAME_UDP;
    default:
        return false;
    }
}

static bool check_gso(const struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                      size_t head_len, size_t frame_len)
{
    unsigned csum_offset = facts->flags & FRAME_TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET;

    return check_gso_type(hdr, facts) && (hdr->flags & VNET_HDR_F_NEEDS_CSUM) &&
           hdr->csum_start == facts->l4_offset && hdr->csum_offset == csum_offset &&
           facts->payload_offset <= head_len && hdr->gso_size != 0 &&
           offload_segments(hdr, facts, frame_len) <= OFFLOAD_SEGMENTS_MAX;
}

bool offload_check_wish(struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                        size_t head_len, size_t frame_len)
{
    if (facts->flags & FRAME_MALFORMED)
        return false;
    hdr->flags &= VNET_HDR_F_NEEDS_CSUM | VNET_HDR_F_DATA_VALID;
    hdr->num_buffers = 0;
    hdr->hdr_len = facts->payload_offset;
    if (!(hdr->flags & VNET_HDR_F_NEEDS_CSUM))
        hdr->csum_start = hdr->csum_offset = 0;
    else if (!check_csum(hdr, facts, frame_len))
        return false;

    if (hdr->gso_type != VNET_HDR_GSO_NONE && !check_gso(hdr, facts, head_len, frame_len))
        return false;
    if (offload_segments(hdr, facts, frame_len) == 1) {
        hdr->gso_type = VNET_HDR_GSO_NONE;
        hdr->gso_size = 0;
        return true;
    }
    /* What follows the IP packet would be cut into payload. Where nothing does, the frame ends
     * where its IP length says, so no length is more than its field can hold. */
    return !(facts->flags & FRAME_TRAILER);
}

unsigned offload_segments(const struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                          size_t frame_len)
{
    size_t payload = frame_len - facts->payload_offset;

    if (hdr->gso_type == VNET_HDR_GSO_NONE || payload <= hdr->gso_size)
        return 1;
    return (unsigned)((payload + hdr->gso_size - 1) / hdr->gso_size);
}

unsigned offload_needs_gso(const struct virtio_net_hdr *hdr, const struct frame_facts *facts)
{
    unsigned needs = hdr->flags & VNET_HDR_F_NEEDS_CSUM ? OFFLOAD_CSUM : 0;

    if (hdr->gso_type & VNET_HDR_GSO_ECN)
        needs |= OFFLOAD_ECN;
    switch (hdr->gso_type & ~VNET_HDR_GSO_ECN) {
    case VNET_HDR_GSO_TCPV4:
        return needs | OFFLOAD_TSO4;
    case VNET_HDR_GSO_TCPV6:
        return needs | OFFLOAD_TSO6;
    default:
        assert(hdr->gso_type == VNET_HDR_GSO_UDP_L4);
        return needs | (facts->flags & FRAME_IPV4 ? OFFLOAD_USO4 : OFFLOAD_USO6);
    }
}
